"""Draws the accounts of a run as a flow: bands as thick as their rows are many, what is dropped turns away."""

from __future__ import annotations

from dataclasses import dataclass

from mayo_data.report.html import Html, join, tag
from mayo_data.report.parts import number
from mayo_data.types import Json

_FULL = 86.0  # thickness of the most rows
_REASONS = 2  # that are named in the picture


@dataclass(frozen=True)
class _Point:
    """Rows between two arrows: how many, of what."""

    rows: int
    unit: str


def flow(steps: list[Json], key: str) -> Html:
    """Return two pictures of the same, for a wide and for a narrow page.

    Args:
        steps: The arrows: `name`, `rows_in`, `rows_out`, `dropped`, `produced`.
        key: Begins the ids in the picture.
    """
    points = _points(steps)
    most = {unit: max(point.rows for point in points if point.unit == unit) for unit in {p.unit for p in points}}
    thick = [max(3.0, _FULL * point.rows / (most[point.unit] or 1)) for point in points]
    said = "; ".join(
        f"{step['name']}: {number(step['rows_in'])} in, {number(step['rows_out'])} out"
        + "".join(f", {number(one['rows'])} dropped as {one['reason'].replace('_', ' ')}" for one in step["dropped"])
        for step in steps
    )
    return join([_across(steps, points, thick, f"{key}-wide", said), _down(steps, points, thick, f"{key}-tall", said)])


def _points(steps: list[Json]) -> list[_Point]:
    """What flows before the first arrow, between two, and after the last; a step may hand on something else."""
    unit = "rows"
    found = [_Point(steps[0]["rows_in"], unit)]
    for at, step in enumerate(steps):
        following = steps[at + 1]["rows_in"] if at + 1 < len(steps) else None
        produced = {name: n for name, n in step["produced"].items() if following is None or n == following}
        if following is None and "events" in produced:
            unit, rows = "events", produced["events"]
        elif following is not None and following != step["rows_out"] and produced:
            unit, rows = next(iter(produced.items()))
        else:
            rows = step["rows_out"] if following is None else following
        found.append(_Point(rows, "rows" if unit == "resources" else unit))
    return found


def _paint(before: _Point, after: _Point, key: str) -> dict[str, str]:
    """One colour for rows, one for events, and from one to the other where an arrow turns one into the other."""
    if before.unit == after.unit:
        return {"class_": f"band {before.unit}"}
    return {"fill": f"url(#{key}-{'to' if after.unit == 'events' else 'from'}-events)"}


def _turns(key: str, kind: str) -> Html:
    ends = {"x2": "0", "y2": "1"} if kind == "tall" else {}

    def turn(name: str, *classes: str) -> Html:
        stops = (tag("stop", offset=offset, class_=one) for offset, one in zip(("0", "1"), classes, strict=True))
        return tag("linearGradient", *stops, id=f"{key}-{name}", **ends)

    return tag("defs", turn("to-events", "rows", "events"), turn("from-events", "events", "rows"))


def _svg(key: str, kind: str, width: float, height: float, said: str, *parts: Html) -> Html:
    title = tag("title", "Rows in, rows out", id=f"{key}-title")
    return tag(
        "svg",
        title,
        tag("desc", said, id=f"{key}-desc"),
        _turns(key, kind),
        *parts,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        class_=f"picture {kind}",
        aria_labelledby=f"{key}-title {key}-desc",
    )


def _gone(step: Json) -> int:
    return sum(one["rows"] for one in step["dropped"])


def _why(step: Json) -> list[str]:
    lines = [f"{number(one['rows'])} {one['reason'].replace('_', ' ')}" for one in step["dropped"][:_REASONS]]
    more = len(step["dropped"]) - _REASONS
    return [*lines, f"and {more} more reasons"] if more > 0 else lines


def _across(steps: list[Json], points: list[_Point], thick: list[float], key: str, said: str) -> Html:
    left, top, width = 56.0, 64.0, 1000.0
    step_width = (width - 2 * left) / len(steps)
    gap = 4.0
    parts: list[Html] = []
    lost = any(map(_gone, steps))
    for at, step in enumerate(steps):
        x, end = left + at * step_width + gap, left + (at + 1) * step_width - gap
        y, z = top + (_FULL - thick[at]) / 2, top + (_FULL - thick[at + 1]) / 2
        middle = (x + end) / 2
        gone = _gone(step)
        drop = max(2.0, thick[at] * gone / (step["rows_in"] or 1)) if gone else 0.0
        low, after = y + thick[at], z + thick[at + 1]
        parts.append(
            tag(
                "path",
                **_paint(points[at], points[at + 1], key),
                d=f"M{x:.1f},{y:.1f} C{middle:.1f},{y:.1f} {middle:.1f},{z:.1f} {end:.1f},{z:.1f} "
                f"V{after:.1f} C{middle:.1f},{after:.1f} {middle:.1f},{low:.1f} {x:.1f},{low:.1f} Z",
            )
        )
        parts.append(tag("text", step["name"], x=f"{middle:.1f}", y=f"{top - 12:g}", class_="arrow"))
        if gone:
            base = top + _FULL + 46
            to = middle + 6
            parts.append(
                tag(
                    "path",
                    class_="drop",
                    style=f"stroke-width:{drop:.1f}",
                    d=f"M{x:.1f},{low - drop / 2:.1f} C{x + (to - x) * 0.7:.1f},{low - drop / 2:.1f} "
                    f"{to:.1f},{low + 4:.1f} {to:.1f},{base - 4:.1f}",
                )
            )
            for line, words in enumerate(_why(step)):
                parts.append(tag("text", words, x=f"{to:.1f}", y=f"{base + 14 + 17 * line:.1f}", class_="why"))
    for at, point in enumerate(points):
        x = left + at * step_width
        y = top + (_FULL - thick[at]) / 2
        parts.append(
            tag(
                "rect",
                class_=f"node {point.unit}",
                x=f"{x - 4:.1f}",
                y=f"{y:.1f}",
                width=8,
                height=f"{thick[at]:.1f}",
                rx=2,
            )
        )
        anchor = "start" if at == 0 else "end" if at == len(points) - 1 else "middle"
        edge = {"start": -4.0, "end": 4.0, "middle": 0.0}[anchor]
        parts += [
            tag("text", number(point.rows), x=f"{x + edge:.1f}", y="22", class_="count", text_anchor=anchor),
            tag("text", point.unit, x=f"{x + edge:.1f}", y="38", class_="unit", text_anchor=anchor),
        ]
    lines = max((len(_why(step)) for step in steps), default=0)
    return _svg(key, "wide", width, top + _FULL + (60 + 17 * lines if lost else 16), said, *parts)


def _down(steps: list[Json], points: list[_Point], thick: list[float], key: str, said: str) -> Html:
    middle, step_height, top = 52.0, 104.0, 16.0
    parts: list[Html] = []
    for at, step in enumerate(steps):
        y, end = top + at * step_height + 4, top + (at + 1) * step_height - 4
        half, after = thick[at] / 2, thick[at + 1] / 2
        bend = (y + end) / 2
        parts.append(
            tag(
                "path",
                **_paint(points[at], points[at + 1], key),
                d=f"M{middle - half:.1f},{y:.1f} C{middle - half:.1f},{bend:.1f} {middle - after:.1f},{bend:.1f} "
                f"{middle - after:.1f},{end:.1f} H{middle + after:.1f} C{middle + after:.1f},{bend:.1f} "
                f"{middle + half:.1f},{bend:.1f} {middle + half:.1f},{y:.1f} Z",
            )
        )
        gone = _gone(step)
        parts.append(tag("text", step["name"], x=122, y=f"{bend + (-14 if gone else 5):.1f}", class_="arrow left"))
        if gone:
            drop = max(2.0, thick[at] * gone / (step["rows_in"] or 1))
            from_x = middle + half - drop / 2
            parts.append(
                tag(
                    "path",
                    class_="drop",
                    style=f"stroke-width:{drop:.1f}",
                    d=f"M{from_x:.1f},{y:.1f} C{from_x:.1f},{bend:.1f} {from_x + 6:.1f},{bend + 6:.1f} "
                    f"116,{bend + 6:.1f}",
                )
            )
            for line, words in enumerate(_why(step)):
                parts.append(tag("text", words, x=122, y=f"{bend + 6 + 16 * line:.1f}", class_="why left"))
    for at, point in enumerate(points):
        y = top + at * step_height
        parts += [
            tag(
                "rect",
                class_=f"node {point.unit}",
                x=f"{middle - thick[at] / 2:.1f}",
                y=f"{y - 4:.1f}",
                width=f"{thick[at]:.1f}",
                height=8,
                rx=2,
            ),
            tag(
                "text",
                number(point.rows),
                " ",
                tag("tspan", point.unit, class_="unit"),
                x=122,
                y=f"{y + 5:.1f}",
                class_="count left",
            ),
        ]
    return _svg(key, "tall", 340, top + len(steps) * step_height + 16, said, *parts)
