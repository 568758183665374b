"""The note templates: text with marks, rendered into text and exact spans in one place.

A template of `schemas/synth/notes` is plain text with
`[[CATEGORY:path]]` PHI; the path is looked up in the scene and the result becomes a span,
`{path}` plain text from the scene, `{>name}` one of the snippets of that name, and
`<<one||two>>` a choice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, Protocol

from mayo_data import assets
from mayo_data.synth.dice import Dice
from mayo_data.synth.facts import Span

CATEGORIES = frozenset(
    [
        *(
            "PATIENT",
            "STAFF",
            "RELATIVE",
            "DATE",
            "YEAR",
            "AGE90",
            "PHONE",
            "FAX",
            "EMAIL",
            "URL",
            "IP",
            "SSN",
            "MRN",
        ),
        *(
            "ACCOUNT",
            "HEALTHPLAN",
            "LICENSE",
            "VEHICLE",
            "DEVICE",
            "OTHERID",
            "ROOM",
            "STREET",
            "CITY",
            "STATE",
        ),
        *("ZIP", "COUNTY", "COUNTRY", "HOSPITAL", "ORG", "USERNAME"),
    ]
)
_TOKEN = re.compile(
    r"\[\[(?P<category>[A-Z0-9]+):(?P<path>[^\]]+)\]\]|\{>(?P<snippet>\w+)\}|\{(?P<plain>[^}]+)\}|<<(?P<choice>.*?)>>",
    re.DOTALL,
)


class Piece(NamedTuple):
    """Text, with its PHI category or an empty string."""

    text: str
    category: str = ""


class Scene(Protocol):
    """What a template is rendered against."""

    def text(self, path: str) -> str:
        """Return the text at a path."""
        ...

    def snippet(self, name: str) -> str:
        """Return the snippet name that suits the scene: `social` may become `social_child`."""
        ...

    def pieces(self, path: str) -> list[Piece]:
        """Return plain text at a path, which may hold PHI pieces itself (an age of 93)."""
        ...


@dataclass(frozen=True, slots=True)
class Node:
    """A token of a template: kind, its argument, and what it holds."""

    kind: str
    value: str = ""
    category: str = ""
    options: tuple[tuple[Node, ...], ...] = ()


@cache
def parse(text: str) -> tuple[Node, ...]:
    """Return the tokens of a template.

    Raises:
        ValueError: A mark has a category that does not exist.

    >>> [node.kind for node in parse("Hi [[PATIENT:pt.full]]")]
    ['text', 'mark']
    """
    found, last = [], 0
    for match in _TOKEN.finditer(text):
        if match.start() > last:
            found.append(Node("text", text[last : match.start()]))
        last = match.end()
        if match["category"]:
            if match["category"] not in CATEGORIES:
                raise ValueError(f"no such PHI category: {match['category']}")
            found.append(Node("mark", match["path"], match["category"]))
        elif match["snippet"]:
            found.append(Node("snippet", match["snippet"]))
        elif match["plain"]:
            found.append(Node("plain", match["plain"]))
        else:
            options = tuple(parse(option) for option in match["choice"].split("||"))
            found.append(Node("choice", options=options))
    if last < len(text):
        found.append(Node("text", text[last:]))
    return tuple(found)


def _sections(name: str, mark: str) -> list[tuple[str, str]]:
    text = assets.path("schemas", "synth", "notes", f"{name}.txt").read_text(encoding="utf-8")
    parts = re.split(rf"^{re.escape(mark)}(\w+)\n", text, flags=re.MULTILINE)
    return [(key, body.strip("\n")) for key, body in zip(parts[1::2], parts[2::2], strict=True)]


@cache
def styles(name: str) -> list[tuple[str, str]]:
    """Return the styles of a note type: name and template.

    >>> len(styles("discharge_summary")) >= 3
    True
    """
    return _sections(name, "=== ")


@cache
def snippets() -> dict[str, list[str]]:
    """Return the snippets by name; one of each name is drawn."""
    found: dict[str, list[str]] = {}
    for name, body in _sections("_snippets", "@"):
        found.setdefault(name, []).append(body)
    return found


def fill(nodes: tuple[Node, ...], scene: Scene, dice: Dice) -> list[Piece]:
    """Return the pieces of a template, choices made."""
    found: list[Piece] = []
    for node in nodes:
        if node.kind == "text":
            found.append(Piece(node.value))
        elif node.kind == "mark":
            found.append(Piece(scene.text(node.value), node.category))
        elif node.kind == "plain":
            found.extend(scene.pieces(node.value))
        elif node.kind == "snippet":
            found.extend(fill(parse(dice.pick(snippets()[scene.snippet(node.value)])), scene, dice))
        else:
            found.extend(fill(dice.pick(node.options), scene, dice))
    return found


def join(pieces: list[Piece]) -> tuple[str, list[Span]]:
    """Return the text and its spans; exact, because nothing is searched for.

    >>> join([Piece("Hi "), Piece("Ann", "PATIENT")])
    ('Hi Ann', [Span(start=3, end=6, category='PATIENT')])
    """
    texts, spans, at = [], [], 0
    for text, category in pieces:
        if category and text:
            spans.append(Span(at, at + len(text), category))
        texts.append(text)
        at += len(text)
    return "".join(texts), spans
