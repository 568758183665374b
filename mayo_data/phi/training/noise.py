"""Makes filled notes as untidy as real ones, without losing sight of what is an identifier.

Every step takes pieces and gives pieces, so a span is never counted in characters before the text is finished.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from functools import cache

from mayo_data.phi.training.lists import Chain, listed
from mayo_data.phi.training.slots import Piece

Pieces = list[Piece]
_PEOPLE = frozenset(["PATIENT", "STAFF", "RELATIVE", "PERSON"])
_WORD = re.compile(r"[A-Za-z]{5,}")
_LONG = re.compile(r"\b[A-Za-z]{4,}\b")
_NEAR = dict(zip("abcdefghijklmnopqrstuvwxyz", "svxfrdghujknbm,koqwetrdcxt"[:26].replace(",", "i"), strict=False))
_OCR = (
    ("l", "1"),
    ("O", "0"),
    ("o", "0"),
    ("rn", "m"),
    ("m", "rn"),
    ("S", "5"),
    ("I", "l"),
    ("cl", "d"),
    ("e", "c"),
    ("B", "8"),
    ("i", ";"),
    ("t", "f"),
)


def lines(pieces: Sequence[Piece]) -> list[Pieces]:
    """Return the lines of a document; the line feed stands at the end of its line.

    Args:
        pieces: The document.
    """
    found: list[Pieces] = [[]]
    for piece in pieces:
        for part in re.split(r"(?<=\n)", piece.text):
            if part:
                found[-1].append(Piece(part, piece.category))
                if part.endswith("\n"):
                    found.append([])
    return [line for line in found if line]


def _each(pieces: Sequence[Piece], change: Callable[[str], str], categories: frozenset[str] | None = None) -> Pieces:
    """Change the text of all pieces, or of those of some categories (empty for literal text)."""
    return [Piece(change(p.text), p.category) if categories is None or p.category in categories else p for p in pieces]


def shout(pieces: Pieces, rng: random.Random) -> Pieces:
    """Write all in capitals."""
    return _each(pieces, str.upper)


def mumble(pieces: Pieces, rng: random.Random) -> Pieces:
    """Write all in lower case."""
    return _each(pieces, str.lower)


def shout_names(pieces: Pieces, rng: random.Random) -> Pieces:
    """Write the names of people in capitals."""
    return _each(pieces, str.upper, _PEOPLE)


def mumble_names(pieces: Pieces, rng: random.Random) -> Pieces:
    """Write what identifies in lower case."""
    return _each(pieces, str.lower, _PEOPLE | {"DATE", "CITY", "HOSPITAL", "ORG", "STREET"})


def shout_lines(pieces: Pieces, rng: random.Random) -> Pieces:
    """Write some lines in capitals."""
    share = rng.uniform(0.1, 0.5)
    return [p for line in lines(pieces) for p in (shout(line, rng) if rng.random() < share else line)]


def _typo(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 1:
        return word[:at] + word[at + 1 :]
    if kind == 2:
        return word[:at] + word[at] + word[at:]
    return word[:at] + _NEAR.get(word[at].lower(), "e") + word[at + 1 :]


def typos(pieces: Pieces, rng: random.Random) -> Pieces:
    """Misspell some words, names less than the rest."""
    share = rng.uniform(0.01, 0.08)

    def change(text: str) -> str:
        return _WORD.sub(lambda m: _typo(m.group(), rng) if rng.random() < share else m.group(), text)

    return _each(pieces, change, frozenset({""} | (_PEOPLE if rng.random() < 0.4 else set())))


@cache
def _english() -> tuple[tuple[str, ...], Chain]:
    words = listed("english", "words")
    return words, Chain(words)


def strange(pieces: Pieces, rng: random.Random) -> Pieces:
    """Put other words, or words that do not exist, for some that identify nothing.

    Without it the network learns which words the templates use, and takes every other one for a name.
    """
    share = rng.uniform(0.02, 0.2)
    words, chain = _english()

    def other(match: re.Match[str]) -> str:
        if rng.random() >= share:
            return match.group()
        word = rng.choice(words) if rng.random() < 0.6 else chain.make(rng).lower()
        old = match.group()
        return word.upper() if old.isupper() else word.capitalize() if old[0].isupper() else word

    return _each(pieces, lambda text: _LONG.sub(other, text), frozenset({""}))


def scan(pieces: Pieces, rng: random.Random) -> Pieces:
    """Confuse letters as a scanner does."""
    share = rng.uniform(0.005, 0.03)
    pairs = rng.sample(_OCR, 5)

    def change(text: str) -> str:
        for old, new in pairs:
            if old in text:
                parts = text.split(old)
                text = parts[0] + "".join((new if rng.random() < share else old) + part for part in parts[1:])
        return text

    return _each(pieces, change, None if rng.random() < 0.5 else frozenset({""}))


def wrap(pieces: Pieces, rng: random.Random) -> Pieces:
    """Break long lines at a width, names and addresses too."""
    width = rng.randint(38, 100)
    flat = "".join(p.text for p in pieces)
    breaks: set[int] = set()
    start = last = 0
    for at, char in enumerate(flat):
        if char == "\n":
            start = last = at + 1
        elif char == " ":
            if at - start > width and last > start:
                breaks.add(last)
                start = last + 1
            last = at
    made: Pieces = []
    at = 0
    for text, category in pieces:
        if category:
            made.append(Piece("".join("\n" if at + i in breaks else c for i, c in enumerate(text)), category))
        else:
            made.append(Piece("".join("\n" if at + i in breaks else c for i, c in enumerate(text)), ""))
        at += len(text)
    return made


def unwrap(pieces: Pieces, rng: random.Random) -> Pieces:
    """Join the lines to one."""
    joint = rng.choice((" ", " ", "  ", " | "))
    return _each(pieces, lambda text: re.sub(r"\n+", joint, text))


def gaps(pieces: Pieces, rng: random.Random) -> Pieces:
    """Double some spaces, or write tabs."""
    share = rng.uniform(0.02, 0.2)
    wide = rng.choice(("  ", "  ", "   ", "\t"))
    return _each(pieces, lambda text: "".join(wide if c == " " and rng.random() < share else c for c in text))


def squeeze(pieces: Pieces, rng: random.Random) -> Pieces:
    """Leave out some spaces after marks."""
    share = rng.uniform(0.1, 0.9)
    return _each(
        pieces, lambda text: re.sub(r"(?<=[,;:.)]) (?=\S)", lambda m: "" if rng.random() < share else " ", text),
        frozenset({""}),
    )  # fmt: skip


def crlf(pieces: Pieces, rng: random.Random) -> Pieces:
    """End lines as Windows does."""
    return _each(pieces, lambda text: text.replace("\n", "\r\n"))


def markup(pieces: Pieces, rng: random.Random) -> Pieces:
    """Leave some marks of HTML or Markdown."""
    kind = rng.randrange(4)
    made: Pieces = []
    for line in lines(pieces):
        if kind == 0:
            end = "\n" if line[-1].text.endswith("\n") else ""
            body = [*line[:-1], Piece(line[-1].text.removesuffix("\n"), line[-1].category)]
            made += [
                Piece(rng.choice(("<p>", "", "<div>")), ""),
                *body,
                Piece(rng.choice(("<br>", "</p>", "<br/>")) + end, ""),
            ]
        elif kind == 1:
            made += [
                Piece(re.sub(r"^([A-Z][\w /]{1,24}:)", r"**\1**", p.text) if not p.category else p.text, p.category)
                for p in line
            ]
        elif kind == 2:
            made += [
                Piece(
                    p.text.replace(" & ", " &amp; ").replace("  ", "&nbsp; ") if not p.category else p.text, p.category
                )
                for p in line
            ]
        else:
            made += [Piece(rng.choice(("- ", "* ", "> ", "", "")), ""), *line]
    return [p for p in made if p.text]


def behead(pieces: Pieces, rng: random.Random) -> Pieces:
    """Leave out the first lines."""
    found = lines(pieces)
    cut = rng.randint(1, max(1, len(found) // 3))
    return [p for line in found[cut:] for p in line] or pieces


def crop(pieces: Pieces, rng: random.Random) -> Pieces:
    """Keep a few lines in a row."""
    found = lines(pieces)
    size = rng.randint(1, max(1, min(len(found), 25)))
    start = rng.randint(0, len(found) - size)
    return [p for line in found[start : start + size] for p in line]


def shuffle(pieces: Pieces, rng: random.Random) -> Pieces:
    """Put the paragraphs in another order."""
    blocks: list[Pieces] = [[]]
    for line in lines(pieces):
        blocks[-1] += line
        if not "".join(p.text for p in line).strip():
            blocks.append([])
    rng.shuffle(blocks)
    return [p for block in blocks for p in block]


def splice(pieces: Pieces, other: Pieces, rng: random.Random) -> Pieces:
    """Put some lines of another document between those of this one.

    Args:
        pieces: The document.
        other: Another one.
        rng: Random numbers.
    """
    mine, theirs = lines(pieces), lines(crop(other, rng))
    if mine and not mine[-1][-1].text.endswith("\n"):
        mine[-1].append(Piece("\n", ""))
    if theirs and not theirs[-1][-1].text.endswith("\n"):
        theirs[-1].append(Piece("\n", ""))
    at = rng.randint(0, len(mine))
    return [p for line in (*mine[:at], *theirs, *mine[at:]) for p in line]


_STEPS: tuple[tuple[Callable[[Pieces, random.Random], Pieces], float], ...] = (
    (behead, 0.06), (crop, 0.15), (shuffle, 0.04), (strange, 0.4), (typos, 0.12), (squeeze, 0.05), (unwrap, 0.03),
    (wrap, 0.2), (scan, 0.04), (shout_lines, 0.03), (shout_names, 0.05), (mumble_names, 0.05), (shout, 0.06),
    (mumble, 0.06), (gaps, 0.04), (markup, 0.05), (crlf, 0.03),
)  # fmt: skip


def soil(pieces: Pieces, rng: random.Random) -> Pieces:
    """Apply some steps by chance.

    Args:
        pieces: The document.
        rng: Random numbers.
    """
    for step, share in _STEPS:
        if rng.random() < share and pieces:
            pieces = step(pieces, rng)
    return pieces
