"""Writes the notes of a chart: picks a style, fills the template, roughs the text up as real systems do."""

from __future__ import annotations

import textwrap

from mayo_data.synth import template
from mayo_data.synth.dice import Dice
from mayo_data.synth.facts import Chart, Note
from mayo_data.synth.scene import ChartScene
from mayo_data.synth.template import Piece

_WIDTH = 78


def write(chart: Chart) -> None:
    """Fill in text, spans and style of every note of a chart.

    Args:
        chart: The complete chart; each note gets its own dice, so that a new note changes no other.
    """
    for fact in chart.facts:
        if isinstance(fact, Note):
            _write(chart, fact)


def _write(chart: Chart, note: Note) -> None:
    dice = Dice(chart.person.seed, "note", chart.person.number, note.key)
    style, text = dice.pick(template.styles(note.type))
    pieces = template.fill(template.parse(text), ChartScene(chart, note, dice), dice)
    if style == "caps" or dice.chance(0.07):
        pieces = [Piece(_upper(piece.text), piece.category) for piece in pieces]
        style = style if style == "caps" else f"{style}+caps"
    windows = dice.chance(0.05)
    if windows:
        pieces = [Piece(piece.text.replace("\n", "\r\n"), piece.category) for piece in pieces]
        style += "+crlf"
    note.style = style
    note.text, note.spans = template.join(pieces)
    if not windows and dice.chance(0.12):
        note.text = wrap(note.text)
        note.style += "+wrapped"


def _upper(text: str) -> str:
    # Letter by letter, and only where the capital is one letter too: offsets stay, "ß" stays.
    return "".join(char.upper() if len(char.upper()) == 1 else char for char in text)


def wrap(text: str, width: int = _WIDTH) -> str:
    r"""Break long lines at spaces, one character for one, so that offsets stay: names do break across lines.

    >>> wrap("aa bb cc", 5)
    'aa bb\ncc'
    """
    lines = []
    for line in text.split("\n"):
        wrapper = textwrap.TextWrapper(
            width,
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=False,
            expand_tabs=False,
            replace_whitespace=False,
        )
        lines.append(_broken(line, [len(part) for part in wrapper.wrap(line)]))
    return "\n".join(lines)


def _broken(line: str, sizes: list[int]) -> str:
    chars, at = list(line), 0
    for size in sizes[:-1]:
        at += size
        for index in (at - 1, at):
            if chars[index] == " ":
                chars[index] = "\n"
                break
    return "".join(chars)
