"""The report of a model for people: Markdown, and one small HTML page that loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mayo_data.types import Json

HONEST = (
    "A reference model: it shows that data, model and prediction stay traceable. On invented patients its figures "
    "measure the plumbing, not medicine. It is no medical device, and nobody should be treated by it."
)
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:54rem;margin:3rem auto;padding:0 1rem}"
    "h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse}"
    "td,th{padding:.25rem .9rem .25rem 0;border-bottom:1px solid #e6e6e6;text-align:left;font-weight:400}"
    "th{color:#666}code{font-size:.85em}svg{margin-top:1rem}p.note{color:#555}"
)


def write(target: Path, about: Json, report: Json, seal: Json) -> None:
    """Write `report.md` and `report.html` beside the model."""
    sections = list(_sections(about, report, seal))
    name = f"Model {report['name']}"
    (target / "report.md").write_text(markdown(name, HONEST, sections), encoding="utf-8")
    curve = calibration_curve(report["calibration"]["curve"])
    (target / "report.html").write_text(html(name, HONEST, sections, {"Calibration": curve}), encoding="utf-8")


Section = tuple[str, str, Sequence[str], Sequence[Sequence[Any]]]  # title, note, columns, rows


def markdown(title: str, lead: str, sections: Sequence[Section]) -> str:
    """Return sections of tables as Markdown.

    >>> print(markdown("T", "Lead.", [("Part", "", ("a", "b"), [(1, None)])]).splitlines()[-1])
    | 1 | withheld |
    """
    lines = [f"# {title}", "", lead]
    for name, note, columns, rows in sections:
        lines += ["", f"## {name}", ""]
        lines += [note, ""] if note else []
        if rows:
            lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
            lines += ["| " + " | ".join(cell(value).replace("|", "\\|") for value in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def html(title: str, lead: str, sections: Sequence[Section], pictures: dict[str, str] | None = None) -> str:
    """Return sections of tables as one page; pictures (SVG) stand below the section that they belong to.

    >>> "<td>&lt;b&gt;</td>" in html("T", "Lead.", [("Part", "", ("a",), [("<b>",)])])
    True
    """
    parts = [f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>"]
    parts += [f"<style>{_STYLE}</style><h1>{escape(title)}</h1><p>{escape(lead)}</p>"]
    for name, note, columns, rows in sections:
        parts.append(f"<h2>{escape(name)}</h2>" + (f"<p class=note>{escape(note)}</p>" if note else ""))
        if rows:
            head = "".join(f"<th>{escape(column)}</th>" for column in columns)
            body = "".join(
                "<tr>" + "".join(f"<td>{escape(cell(value))}</td>" for value in row) + "</tr>" for row in rows
            )
            parts.append(f"<table><tr>{head}</tr>{body}</table>")
        parts.append((pictures or {}).get(name, ""))
    return "\n".join(part for part in parts if part) + "</html>\n"


def cell(value: Any) -> str:
    """Return a value as a cell shows it.

    >>> cell(None), cell(0.12345), cell(12345), cell(True)
    ('withheld', '0.123', '12,345', 'yes')
    """
    if value is None:
        return "withheld"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def interval(found: Json | None) -> str | None:
    """Return a metric with its interval, as a cell shows it.

    >>> interval({"value": 0.7, "low": 0.61, "high": 0.79})
    '0.700 (0.610 to 0.790)'
    """
    if found is None or found["value"] is None:
        return None
    if found["low"] is None:
        return cell(found["value"])
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def _sections(about: Json, report: Json, seal: Json) -> Iterator[Section]:
    yield (
        "What it is",
        "",
        ("", ""),
        [
            ("task", report["task"]["name"]),
            ("kind", report["kind"]),
            ("parameters", report["parameters"]),
            ("codes it knows", len(about["vocabulary"]["codes"])),
            ("snapshot", report["snapshot"]),
            ("training record", seal["training_id"]),
            ("model digest", seal["model_digest"]),
            *(("read", one) for one in report["lineage_ids"]),
        ],
    )
    columns = ("split", "subjects", "samples", "outcomes", "rate")
    yield "Samples", "", columns, [(name, *(one[key] for key in columns[1:])) for name, one in report["splits"].items()]
    control = report["control"]
    yield (
        "How good it is",
        (
            f"Measured on: {report['measured_on']}. "
            f"Intervals: 95 %, over resampled subjects. Groups under {report['smallest_cell']} people are withheld. "
            "The control is the same model trained on shuffled labels: its interval must hold 0.5."
        ),
        ("measure", "value"),
        [
            ("AUROC", interval(report["test"]["auroc"])),
            ("average precision", interval(report["test"]["average_precision"])),
            (
                f"AUROC of {control['models']} controls",
                interval({"value": control["auroc"], "low": control["low"], "high": control["high"]}),
            ),
            ("0.5 within the control's interval", control["holds"]),
        ],
    )
    said = report["calibration"]
    yield (
        "Calibration",
        "Right: slope 1, intercept 0, error 0.",
        ("measure", "value"),
        [
            ("slope", said["slope"]),
            ("intercept", said["intercept"]),
            ("expected calibration error", said["ece"]),
        ],
    )
    for attribute, rows in report["groups"].items():
        yield (
            f"By {attribute}",
            "",
            ("group", "subjects", "samples", "rate", "predicted", "AUROC"),
            [
                (*(row[key] for key in ("group", "subjects", "samples", "rate", "predicted")), interval(row["auroc"]))
                for row in rows
            ],
        )


def calibration_curve(curve: Sequence[Json]) -> str:
    """Return the calibration curve as SVG: what was predicted against what was observed."""
    if not curve:
        return ""
    most = max(max(one["predicted"], one["observed"]) for one in curve) * 1.1 or 1.0
    points = [(40 + 260 * one["predicted"] / most, 280 - 260 * one["observed"] / most) for one in curve]
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#3f8f7b"/>' for x, y in points)
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return (
        '<svg width="340" height="320" role="img" aria-label="calibration curve" font-size="12" fill="#555">'
        '<line x1="40" y1="280" x2="300" y2="20" stroke="#ccc" stroke-dasharray="4 4"/>'
        '<path d="M40 20V280H300" fill="none" stroke="#ccc"/>'
        f'<polyline points="{line}" fill="none" stroke="#3f8f7b"/>{dots}'
        f'<text x="40" y="298">0</text><text x="300" y="298" text-anchor="end">{most:.2f}</text>'
        '<text x="170" y="314" text-anchor="middle">predicted</text>'
        '<text x="12" y="150" transform="rotate(-90 12 150)" text-anchor="middle">observed</text></svg>'
    )
