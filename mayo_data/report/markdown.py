"""Writes the report as Markdown: the same sections, the pictures left to their tables."""

from __future__ import annotations

import re

from mayo_data.report import content
from mayo_data.report.html import text
from mayo_data.report.parts import Cell, Code, Pairs, Picture, Share, Table, number
from mayo_data.types import Json

_MEANS = re.compile(r"([\\`*_{}\[\]#|~])")


def markdown(facts: Json) -> str:
    """Return the report as Markdown (tables as GitHub has them).

    Args:
        facts: What `facts.gather` found.
    """
    snapshot = facts["snapshot"]
    lines = [f"# De-identification report: snapshot {snapshot['name']}", ""]
    lines += [f"* {name}: **{_plain(value)}** ({_plain(means)})" for name, value, means in content.headline(facts)]
    marks = content.attention(facts)
    lines += ["", *(f"> {_plain(mark.text)}\n>" for mark in marks)] if marks else []
    for section in content.sections(facts):
        lines += ["", f"## {section.title}", "", section.lead, ""]
        for block in section.blocks:
            if isinstance(block, Table):
                lines += [f"**{_plain(block.caption)}**", "", *_table(block), ""]
                lines += [_plain(block.notes), ""] if block.notes else []
            elif isinstance(block, Pairs):
                lines += [
                    "| what | value |",
                    "|---|---|",
                    *(f"| {_plain(name)} | {_cell(value)} |" for name, value in block.rows),
                    "",
                ]
            elif not isinstance(block, Picture):
                lines += [block, ""]
    return "\n".join(lines).rstrip() + "\n"


def _table(table: Table) -> list[str]:
    ends = [
        "---:" if all(isinstance(row[at], int | float | Share | None) for row in table.rows) else "---"
        for at in range(len(table.columns))
    ]
    return [
        "| " + " | ".join(table.columns) + " |",
        "|" + "|".join(ends) + "|",
        *("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in table.rows),
    ]


def _cell(cell: Cell) -> str:
    return f"`{_line(cell.text).replace('`', '')}`" if isinstance(cell, Code) else _plain(number(cell))


def _plain(words: str) -> str:
    """Text that means nothing to Markdown, nor to the HTML that it allows."""
    return _MEANS.sub(r"\\\1", text(_line(words)))


def _line(words: str) -> str:
    return " ".join(words.split())
