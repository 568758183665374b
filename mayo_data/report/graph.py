"""Draws where a snapshot came from and who has read it: files, runs, snapshot, reads, models, from left to right."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from mayo_data.report.html import Html, join, tag
from mayo_data.report.parts import number
from mayo_data.types import Json

_MOST = 8  # boxes in a column
_WIDEST, _BOX_HEIGHT, _ROOM, _GAP = 176.0, 46.0, 10.0, 56.0  # of a box; room below it; least room beside it
_NAME, _UNDER = 9.2, 7.1  # width of a letter in the two lines, wide fonts included
_NAMES = ("files", "runs", "snapshot", "reads", "models")


class _Box(NamedTuple):
    """One box: two lines, and which boxes of the column before it comes from; None for all of them."""

    title: str
    under: str
    of: tuple[int, ...] | None = None


def lineage(facts: Json, key: str) -> Html:
    """Return two pictures of the same, for a wide and for a narrow page.

    Args:
        facts: Section `lineage` of the facts, with `inputs` and `snapshot`.
        key: Begins the ids in the picture.
    """
    columns = _columns(facts)
    said = "; ".join(
        f"{name}: " + ", ".join(f"{box.title} ({box.under})" if box.under else box.title for box in boxes)
        for name, boxes in zip(_NAMES, columns, strict=True)
        if boxes
    )
    return join([_across(columns, f"{key}-wide", said), _down(columns, facts, f"{key}-tall", said)])


def _columns(facts: Json) -> list[list[_Box]]:
    snapshot = facts["snapshot"]
    files = [
        _Box(", ".join(one["types"][:2]) or str(one["format"]), f"{number(one['rows'])} rows")
        for one in sorted(facts["inputs"], key=lambda one: -one["rows"])
    ]
    runs = [_Box(f"run {run[:8]}", "") for run in facts["runs"]]
    reads, place = _reads(facts)
    models = [
        _Box(
            one["name"] or "model",
            one["training_id"],
            tuple(sorted({place[read] for read in one["reads"] if read in place})),
        )
        for one in facts["trainings"]
    ]
    made = [_Box(f"snapshot {snapshot['name']}", f"{number(snapshot['subjects'])} subjects")]
    return [_few(files, "files"), _few(runs, "runs"), made, reads, _few(models, "models")]


def _reads(facts: Json) -> tuple[list[_Box], dict[str, int]]:
    """Reads by consumer: a training job reads often."""
    times = Counter(one["consumer"] or "unnamed" for one in facts["reads"])
    names = sorted(times, key=lambda name: (-times[name], name))
    boxes = [_Box(name, f"{number(times[name])} reads" if times[name] > 1 else "1 read") for name in names]
    place = {one["lineage_id"]: min(names.index(one["consumer"] or "unnamed"), _MOST - 1) for one in facts["reads"]}
    shown = _few(boxes, "consumers")
    if facts["contexts"] and len(shown) < _MOST:
        shown.append(_Box("inference", f"{number(facts['contexts'])} contexts"))
    return shown, place


def _few(boxes: list[_Box], what: str) -> list[_Box]:
    if len(boxes) <= _MOST:
        return boxes
    rest = len(boxes) - _MOST + 1
    return [*boxes[: _MOST - 1], _Box(f"{number(rest)} more {what}", "")]


def _cut(words: str, width: float, letter: float) -> str:
    most = int((width - 22) / letter)
    return words if len(words) <= most else words[: most - 1] + "…"


def _draw(box: _Box, x: float, y: float, width: float, kind: str) -> Html:
    height = _BOX_HEIGHT
    lines = [
        tag(
            "text",
            _cut(box.title, width, _NAME),
            x=f"{x + 12:.1f}",
            y=f"{y + (20 if box.under else 28):.1f}",
            class_="name",
        )
    ]
    if box.under:
        lines.append(tag("text", _cut(box.under, width, _UNDER), x=f"{x + 12:.1f}", y=f"{y + 36:.1f}", class_="under"))
    frame = tag(
        "rect", x=f"{x:.1f}", y=f"{y:.1f}", width=f"{width:g}", height=f"{height:g}", rx=6, class_=f"box {kind}"
    )
    return tag("g", tag("title", f"{box.title} {box.under}".strip()), frame, *lines)


def _svg(key: str, kind: str, width: float, height: float, said: str, parts: list[Html]) -> Html:
    title = tag("title", "Lineage", id=f"{key}-title")
    return tag(
        "svg",
        title,
        tag("desc", said, id=f"{key}-desc"),
        *parts,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        class_=f"picture {kind}",
        aria_labelledby=f"{key}-title {key}-desc",
    )


def _across(columns: list[list[_Box]], key: str, said: str) -> Html:
    used = [(name, boxes) for name, boxes in zip(_NAMES, columns, strict=True) if boxes]
    height, room = _BOX_HEIGHT, _ROOM
    tall = max(len(boxes) for _, boxes in used) * (height + room)
    gaps = max(len(used) - 1, 1)
    width = min(_WIDEST, (1000.0 - _GAP * gaps) / len(used))
    between = min((1000.0 - width * len(used)) / gaps, 150.0)
    parts: list[Html] = []
    before: list[tuple[float, float]] = []
    shapes: list[Html] = []
    for column, (name, boxes) in enumerate(used):
        x = column * (width + between)
        top = 34 + (tall - len(boxes) * (height + room)) / 2
        shapes.append(tag("text", name, x=f"{x:.1f}", y="16", class_="column"))
        here = []
        for at, box in enumerate(boxes):
            y = top + at * (height + room)
            shapes.append(_draw(box, x, y, width, name))
            here.append((x, y + height / 2))
            ends = before if box.of is None else [before[number_] for number_ in box.of if number_ < len(before)]
            for from_x, from_y in ends:
                start, bend = from_x + width, (x - from_x - width) / 2
                parts.append(
                    tag(
                        "path",
                        class_="edge",
                        d=(
                            f"M{start:.1f},{from_y:.1f} C{start + bend:.1f},{from_y:.1f} "
                            f"{x - bend:.1f},{y + height / 2:.1f} "
                            f"{x:.1f},{y + height / 2:.1f}"
                        ),
                    )
                )
        before = here
    return _svg(key, "wide", 1000, tall + 34, said, [*parts, *shapes])


def _down(columns: list[list[_Box]], facts: Json, key: str, said: str) -> Html:
    """One box a column: on a narrow page the tables say the rest."""
    height = _BOX_HEIGHT
    sums = [
        _Box(f"{number(len(facts['inputs']))} files", f"{number(sum(one['rows'] for one in facts['inputs']))} rows"),
        _Box(f"{number(len(facts['runs']))} run{'s' if len(facts['runs']) > 1 else ''}", ""),
        columns[2][0],
        _Box(f"{number(len(facts['reads']))} reads", f"{number(facts['contexts'])} contexts"),
        _Box(f"{number(len(facts['trainings']))} models", f"{number(facts['inferences'])} predictions"),
    ]
    used = [(name, box) for name, box, boxes in zip(_NAMES, sums, columns, strict=True) if boxes]
    parts: list[Html] = []
    for at, (name, box) in enumerate(used):
        y = 2 + at * (height + 26)
        if at:
            parts.append(tag("path", class_="edge", d=f"M170,{y - 26:.1f} V{y:.1f}"))
        parts.append(_draw(box, 50, y, 240, name))
    return _svg(key, "tall", 340, len(used) * (height + 26) - 22, said, parts)
