"""A trace or an impact as one HTML page: the diagram as inline SVG, then tables. It needs nothing but itself.

The diagram is drawn twice, from left to right and from top to bottom; the width of the window decides which is seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from mayo_data.lineage import diagram
from mayo_data.lineage.diagram import Box, Layers
from mayo_data.types import Json

_WIDE, _NARROW = 1160, 340  # px
_GAP, _BETWEEN, _LINE, _PAD = 36, 14, 17, 12
_LETTER = 7.0  # px of a letter of 12 px, a digit
_ROWS = 200  # rows of a table in the page
_RULES = ("policy", "policy_fingerprint", "detector", "key_id", "code_version", "run_id")

_STYLE = """
:root { color-scheme: light; --ink: #1f2933; --soft: #5b6773; --rule: #dde2e7; --fill: #f6f8fa; --main: #e8f0f7;
        --edge: #2b5c8a; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff; font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 28px 20px 48px; }
h1 { font-size: 22px; font-weight: 600; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 16px; font-weight: 600; margin: 32px 0 8px; }
p { margin: 0 0 16px; color: var(--soft); max-width: 70ch; overflow-wrap: anywhere; }
svg { display: block; max-width: 100%; height: auto; margin: 20px 0 0; }
svg.tall { display: none; margin-inline: auto; }
.box { fill: var(--fill); stroke: var(--rule); }
.box.main { fill: var(--main); stroke: var(--edge); }
.edge { fill: none; stroke: #9aa5b1; stroke-width: 1.25; }
.tip { fill: #9aa5b1; }
.title { font: 600 13px system-ui, sans-serif; fill: var(--ink); }
.line { font: 12px system-ui, sans-serif; fill: var(--soft); }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; vertical-align: top; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--rule);
         overflow-wrap: anywhere; }
th { font-weight: 600; color: var(--soft); overflow-wrap: normal; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
div.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); column-gap: 48px; }
table.pairs th { width: 11em; font-weight: 400; }
@media (max-width: 820px) {
  svg.wide { display: none; }
  svg.tall { display: block; }
  main { padding: 20px 16px 40px; }
  table.list thead { display: none; }
  table.list tr { display: block; padding: 8px 0; border-bottom: 1px solid var(--rule); }
  table.list td, table.list td.number { display: flex; gap: 12px; text-align: left; padding: 1px 0; border: 0; }
  table.list td::before { content: attr(data-name); flex: 0 0 8.5em; color: var(--soft); }
  table.pairs th { width: 8.5em; }
}
"""


def html(found: Json) -> str:
    """Return a trace or an impact as one self-contained HTML page.

    Args:
        found: What `trace` or `impact` returned.
    """
    title, about = _title(found)
    every = diagram.layers(found)
    body = [f"<h1>{escape(title)}</h1>", f"<p>{escape(about)}</p>", _svg(every, title), *_tables(found)]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _title(found: Json) -> tuple[str, str]:
    kind = found["kind"]
    if kind == "impact":
        ((what, value),) = found["of"].items()
        counts = found["counts"]
        said = ", ".join(
            f"{name} {diagram.count(counts[name])}" for name in ("snapshots", "reads", "trainings", "inferences")
        )
        return f"What came of {what} {value}", f"In the store and its ledger: {said}."
    if kind == "event":
        return (
            f"Where event {found['event_id']} comes from",
            "From the source file to the event. No text of a patient is here.",
        )
    name = found.get("prediction_id") or found.get("lineage_id") or found.get("subject_id")
    return f"Where {kind} {name} comes from", f"In snapshot {found['snapshot']}. No text of a patient is here."


# ── the picture ───────────────────────────────────────────────────────────────────────────────────────────────


def _svg(every: Layers, title: str) -> str:
    return _across(every, title) + "\n" + _down(every, title)


def _across(every: Layers, title: str) -> str:
    """Layers are columns."""
    columns = max(len(every), 1)
    width = min((_WIDE - _GAP * (columns - 1)) / columns, 260)
    heights = [sum(_height(box) for box in layer) + _BETWEEN * (len(layer) - 1) for layer in every]
    tall = max(heights, default=0)
    whole = width * columns + _GAP * (columns - 1)
    places: dict[tuple[int, int], tuple[float, float, float]] = {}
    drawn = []
    for number, layer in enumerate(every):
        x, y = number * (width + _GAP) + 1, (tall - heights[number]) / 2 + 1
        for place, box in enumerate(layer):
            places[number, place] = (x, y, _height(box))
            drawn.append(_box(box, x, y, width - 2))
            y += _height(box) + _BETWEEN
    lines = []
    for one, other in diagram.edges(every):
        (x1, y1, h1), (x2, y2, h2) = places[one], places[other]
        a, b, start, end = y1 + h1 / 2, y2 + h2 / 2, x1 + width - 2, x2 - 6
        bend = (start + end) / 2
        lines.append(
            f'<path class="edge" d="M{start:.0f} {a:.0f} C{bend:.0f} {a:.0f} {bend:.0f} {b:.0f} {end:.0f} {b:.0f}"/>'
        )
        lines.append(f'<path class="tip" d="M{end:.0f} {b - 4:.0f} l6 4 l-6 4 z"/>')
    return _drawing("wide", whole, tall + 2, [*lines, *drawn], title)


def _down(every: Layers, title: str) -> str:
    """Layers are rows, one box below the other."""
    drawn, y = [], 1.0
    for number, layer in enumerate(every):
        if number:
            middle = _NARROW / 2
            drawn.append(f'<path class="edge" d="M{middle:.0f} {y:.0f} v18"/>')
            drawn.append(f'<path class="tip" d="M{middle - 4:.0f} {y + 18:.0f} l4 6 l4 -6 z"/>')
            y += 26
        for place, box in enumerate(layer):
            y += 8 if place else 0
            drawn.append(_box(box, 1, y, _NARROW - 2))
            y += _height(box)
    return _drawing("tall", _NARROW, y + 1, drawn, title)


def _drawing(name: str, width: float, height: float, parts: Iterable[str], title: str) -> str:
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return f'<svg class="{name}" {size} role="img" aria-label="{escape(title)}">' + "".join(parts) + "</svg>"


def _height(box: Box) -> int:
    return 2 * _PAD + 16 + _LINE * len(box.lines)


def _box(box: Box, x: float, y: float, width: float) -> str:
    most = int((width - 2 * _PAD) / _LETTER)
    kind = "box main" if box.main else "box"
    parts = [f'<rect class="{kind}" x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{_height(box)}" rx="6"/>']
    parts.append(_text("title", x + _PAD, y + _PAD + 12, box.title, int(most * 0.95)))
    for number, line in enumerate(box.lines):
        parts.append(_text("line", x + _PAD, y + _PAD + 12 + _LINE * (number + 1), line, most))
    return "".join(parts)


def _text(kind: str, x: float, y: float, text: str, most: int) -> str:
    text = _shown(text)
    cut = text if len(text) <= most else text[: most - 1] + "…"
    whole = f"<title>{escape(text)}</title>" if cut != text else ""
    return f'<text class="{kind}" x="{x:.0f}" y="{y:.0f}">{escape(cut)}{whole}</text>'


# ── the tables ────────────────────────────────────────────────────────────────────────────────────────────────


def _tables(found: Json) -> list[str]:
    if found["kind"] == "impact":
        return _of_impact(found)
    made = []
    if found["kind"] == "event":
        made += _pairs("The event", found["event"], ("subject_id", "code", "time", "available_time", "unit", "status"))
        made += _pairs("The source", found["source"], ("sha256", "row", "format", "bytes", "rows", "source_table"))
        made += _pairs("The resource", found["resource"], ("resource_type", "resource_key", "events"))
        made += _pairs("The mapping", found["mapping"], ("name", "section", "fingerprint"))
        made += _pairs("The scrub", found["scrub"], _RULES)
        made = ['<div class="facts">', *made, "</div>"]
        decided = ("path", "start", "end", "category", "recognizer", "score", "action")
        made += _list("PHI decisions on the texts of that resource", found["decisions"], decided)
        return made
    counts = {name: value for name, value in found["counts"].items() if not isinstance(value, dict)}
    made += _pairs("Counts", counts, tuple(counts))
    categories = found["counts"].get("decisions") or {}
    rows = [{"category": name, "decisions": value} for name, value in categories.items()]
    made += _list("PHI decisions in text, by category", rows, ("category", "decisions"))
    made += _list("Source files", found["sources"], ("source_table", "sha256", "format", "lines", "rows", "run_id"))
    made += _list("Scrubbed under", found["scrubs"], _RULES[:5])
    made += _list("Runs", found["runs"], ("run_id", "at", "mode", "pipeline", "code_version"))
    made += _list("Trainings", found.get("trainings", ()), ("training_id", "name", "model_digest", "split"))
    columns = ["event_id", "code", "time", "sha256", "source_row", "resource_type"]
    if found["kind"] == "subject":
        columns = ["source_table", "source_row", "resource_type", "resource_key", "events"]
    whole = found["counts"].get("found") or found["counts"].get("lines")
    made += _list("Lines of the source", found["lines"], columns, of=whole)
    return made


def _of_impact(found: Json) -> list[str]:
    counts = found["counts"]
    reads = ("lineage_id", "at", "snapshot", "split", "consumer", "purpose", "certain")
    models = ("training_id", "name", "model_digest", "snapshot", "certain")
    told = ("prediction_id", "recorded", "snapshot", "model_digest")
    return [
        *_list("Snapshots", found["snapshots"], ("snapshot", "events", "subjects")),
        *_list("Reads", found["reads"], reads, of=counts["reads"]),
        *_list("Models", found["trainings"], models, of=counts["trainings"]),
        *_list("Predictions on these events", found["inferences"], told, of=counts["inferences"]),
    ]


def _pairs(title: str, row: Json | None, names: Sequence[str]) -> list[str]:
    said = [(name, row[name]) for name in names if row.get(name) is not None] if row else []
    if not said:
        return []
    cells = "".join(f"<tr><th>{_name(name)}</th><td>{_cell(value)}</td></tr>" for name, value in said)
    return [f'<section><h2>{escape(title)}</h2><table class="pairs">{cells}</table></section>']


def _list(title: str, rows: Sequence[Json], names: Sequence[str], *, of: int | None = None) -> list[str]:
    if not rows:
        return []
    shown = rows[:_ROWS]
    whole = len(rows) if of is None else of
    said = f"{title}: {diagram.count(whole)}" + (f", the first {len(shown)}" if len(shown) < whole else "")
    numbers = {name for name in names if all(type(row.get(name)) in (int, float) for row in shown)}
    head = "".join(f"<th{_class(name in numbers)}>{_name(name)}</th>" for name in names)
    lines = [
        "<tr>"
        + "".join(
            f'<td{_class(name in numbers)} data-name="{_name(name)}">{_cell(row.get(name))}</td>' for name in names
        )
        + "</tr>"
        for row in shown
    ]
    table = f'<table class="list"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    return [f"<h2>{escape(said)}</h2>", table]


def _class(number: bool) -> str:
    return ' class="number"' if number else ""


def _name(name: str) -> str:
    return escape(name.replace("_", " "))


def _cell(value: Any) -> str:
    if value is None:
        return "·"
    if isinstance(value, bool):
        return "yes" if value else "perhaps"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and value < 1 << 40:  # ids are longer, and are no quantities
        return diagram.count(value)
    return escape(_shown(str(value)))


def _shown(text: str) -> str:
    """A text without what XML forbids: control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
