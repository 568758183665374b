"""Writes the report as one page that stands for itself: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mayo_data.report import content
from mayo_data.report.flow import flow
from mayo_data.report.graph import lineage
from mayo_data.report.html import Html, join, tag, text
from mayo_data.report.parts import Cell, Code, Mark, Pairs, Picture, Section, Share, Table, number
from mayo_data.types import Json

# Nothing may be loaded, whatever a text of the store says.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_SIGN = (
    "Name of the expert",
    "Qualification and method",
    "Risk determined to be very small: yes / no",
    "Date",
    "Signature of the expert",
    "Signature of the privacy officer",
)


@cache
def _style() -> Html:
    return Html(Path(__file__).with_name("style.css").read_text(encoding="utf-8"))


def page(facts: Json) -> str:
    """Return the report as an HTML document.

    Args:
        facts: What `facts.gather` found.
    """
    found = content.sections(facts)
    snapshot = facts["snapshot"]
    title = f"De-identification report: snapshot {snapshot['name']}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{text(_POLICY)}">'),
        tag("meta", name="referrer", content="no-referrer"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", _style()),
    )
    header = tag(
        "header",
        tag("p", "De-identification report", class_="kicker"),
        tag("h1", f"Snapshot {snapshot['name']}"),
        tag(
            "p",
            f"Made {snapshot['created_at'][:10]} under the policy ",
            tag("strong", facts["policy"]["name"]),
            ". It says what came in, what was done to it, what went out, and what risk remains.",
            class_="lead",
        ),
        tag(
            "dl",
            *(
                tag("div", tag("dt", name), tag("dd", value, class_="value"), tag("dd", means, class_="means"))
                for name, value, means in content.headline(facts)
            ),
            class_="figures",
        ),
    )
    contents = tag(
        "nav",
        tag(
            "ol",
            *(tag("li", tag("a", one.title, href=f"#{one.key}")) for one in found),
            tag("li", tag("a", "Determination", href="#determination")),
        ),
        aria_label="Contents",
    )
    main = tag("main", _attention(facts), contents, *map(_section, found), _determination(), id="main")
    footer = tag(
        "footer",
        "mayo_data ",
        facts["versions"]["reported_by"],
        " · ledger head ",
        tag("code", facts["ledger"]["head"][:16]),
        " · counts only: no value of a patient is in this page",
    )
    body = tag(
        "body",
        tag("a", "Skip to the report", href="#main", class_="skip"),
        tag("div", header, main, footer, class_="sheet"),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def _attention(facts: Json) -> Html:
    marks = content.attention(facts)
    if not marks:
        return tag("ul", tag("li", "Every gate passed, and nothing stands out.", class_="good"), class_="attention")
    return tag("ul", *(tag("li", mark.text, class_=mark.tone) for mark in marks), class_="attention")


def _section(section: Section) -> Html:
    blocks = [_block(block, f"{section.key}-{at}") for at, block in enumerate(section.blocks)]
    heading = tag("h2", section.title, id=f"{section.key}-heading")
    return tag(
        "section",
        heading,
        tag("p", section.lead, class_="about"),
        *blocks,
        id=section.key,
        aria_labelledby=f"{section.key}-heading",
    )


def _determination() -> Html:
    return tag(
        "section",
        tag("h2", "Determination", id="determination-heading"),
        tag(
            "p",
            "45 CFR 164.514(b)(1): a person with appropriate knowledge of and experience with generally accepted "
            "statistical and scientific principles determines that the risk is very small, and documents the methods "
            "and results.",
            class_="about",
        ),
        tag("div", *(tag("div", name) for name in _SIGN), class_="sign"),
        id="determination",
        aria_labelledby="determination-heading",
    )


def _block(block: Table | Pairs | Picture | str, key: str) -> Html:
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Pairs):
        rows = (part for name, value in block.rows for part in (tag("dt", name), tag("dd", _inner(value))))
        return tag("dl", *rows, class_="pairs")
    if isinstance(block, Picture):
        return _picture(block, key)
    pieces = block.split("`")
    return tag("p", *(tag("code", piece) if at % 2 else piece for at, piece in enumerate(pieces)))


def _picture(picture: Picture, key: str) -> Html:
    if picture.kind == "flow":
        drawn = flow(picture.facts["steps"], key)
    elif picture.kind == "lineage":
        drawn = lineage(picture.facts, key)
    else:
        drawn = _years(picture.facts["years"])
    return tag("figure", drawn, tag("figcaption", picture.caption))


def _years(rows: list[Json]) -> Html:
    """Events a year as columns; a year that is withheld is an empty one."""
    most = max((row["events"] or 0 for row in rows), default=0) or 1
    first, last = rows[0]["year"], rows[-1]["year"]
    events = {row["year"]: row["events"] or 0 for row in rows}
    peak = max(events, key=lambda year: events[year])
    bars = (
        tag(
            "span",
            style=f"height:{events.get(year, 0) / most * 100:.2f}%",
            title=f"{year}: {number(events[year])} events" if events.get(year) else f"{year}",
        )
        for year in range(first, last + 1)
    )
    said = f"Events by year from {first} to {last}; most in {peak}: {number(events[peak])}."
    ends = tag(
        "div",
        tag("span", first),
        tag("span", f"most: {number(most)} in {peak}"),
        tag("span", last),
        class_="ends",
        aria_hidden="true",
    )
    return join([tag("div", *bars, class_="columns", role="img", aria_label=said), ends])


def _table(table: Table) -> Html:
    width = len(table.columns)
    kinds = [_kind([row[at] for row in table.rows if at < len(row)]) for at in range(width)]
    slim = kinds.count("share") > 2
    classes = [f"{kind} slim" if kind == "share" and slim else kind for kind in kinds]
    head = tag(
        "thead",
        tag(
            "tr",
            *(
                tag("th", name, scope="col", class_=kind if kind == "number" else None)
                for name, kind in zip(table.columns, kinds, strict=True)
            ),
        ),
    )
    body = tag(
        "tbody",
        *(
            tag(
                "tr",
                *(
                    tag("th", _inner(cell), scope="row", class_=kind or None)
                    if at == 0
                    else tag("td", _inner(cell), class_=kind or None)
                    for at, (cell, kind) in enumerate(zip(row, classes, strict=True))
                ),
            )
            for row in table.rows
        ),
    )
    made = tag("table", tag("caption", table.caption), head, body)
    whole = join(
        [
            tag("div", made, class_="scroll", tabindex=0, role="region", aria_label=table.caption),
            tag("p", table.notes, class_="below") if table.notes else None,
        ]
    )
    return tag("details", tag("summary", table.caption), whole) if table.fold else whole


def _kind(cells: list[Cell]) -> str:
    """How a column is set: numbers to the right, digests small, shares as bars."""
    there = [cell for cell in cells if cell is not None]
    if there and all(isinstance(cell, Share) for cell in there):
        return "share"
    if there and all(isinstance(cell, Code) for cell in there):
        return "code"
    if all(isinstance(cell, int | float) or (isinstance(cell, str) and _numeric(cell)) for cell in there):
        return "number"
    return ""


def _numeric(cell: str) -> bool:
    return cell == "·" or (cell[:1].isdigit() and cell.replace(",", "").replace(".", "").isdigit())


def _inner(cell: Cell) -> Html:
    if isinstance(cell, Share):
        share = cell.value
        if share is None:
            return tag("span", str(cell), class_="percent alone")
        bar = tag(
            "span",
            tag("span", class_="fill", style=f"width:{min(share, 1.0) * 100:.2f}%"),
            class_="track",
            aria_hidden="true",
        )
        return join([bar, tag("span", str(cell), class_="percent")])
    if isinstance(cell, Code):
        return tag("code", cell.text)
    if isinstance(cell, Mark):
        return tag("span", cell.text, class_=f"mark {cell.tone}")
    return text(number(cell))
