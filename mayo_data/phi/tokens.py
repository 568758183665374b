r"""Cuts text into the tokens of the PHI model, and says what the model sees of each.

Runs of letters, groups of digits (`3/4/21`, `507-555-0134`) and single marks: a border of a PHI span falls between
two tokens, also in `04MAR21`, `DOE^JANE` or `jtd/klm`. White space is no token but a feature of the next one.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from mayo_data.phi.words import fold

TOKEN = re.compile(r"[^\W\d_]+(?:['’](?![sS]\b)[^\W\d_]+)*|\d+(?:[./:\-]\d+)*|['’][sS]\b|([-_=*~#+.])\1{2,}|[^\w\s]|_")
WIDEST = 24  # features of a word at most
SENSES = 20  # bits of a lexicon entry that are lists; above them the groups of sense: ten bits fine, then coarse
AROUND = 8  # features of a place
_NINES = str.maketrans("0123456789", "9" * 10)
_LONG = re.compile(r"(.)\1{3,}")


class Tokens(NamedTuple):
    """A text in pieces.

    Attributes:
        words: The tokens.
        starts: Where each begins.
        around: What stands around each: `AROUND` numbers a token, one token after the other.
    """

    words: list[str]
    starts: list[int]
    around: list[int]


def row(feature: str, rows: int) -> int:
    """Return the row of a feature in a table; row 0 stays empty.

    >>> row("n:pain", 1 << 15) == row("n:pain", 1 << 15)
    True
    """
    return 1 + zlib.crc32(feature.encode("utf-8", "surrogatepass")) % (rows - 1)


class Places:
    """Turns what stands around a token into rows of a table; remembers what it has met.

    Args:
        rows: Rows of the table.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._known: dict[str, int] = {}
        self._openings: dict[str, list[int]] = {}

    def _row(self, feature: str) -> int:
        found = self._known.get(feature)
        if found is None:
            if len(self._known) > 100_000:
                self._known.clear()
            found = self._known[feature] = row(feature, self._rows)
        return found

    def split(self, text: str) -> Tokens:
        r"""Return the tokens of a text.

        Args:
            text: Any text.

        >>> Places(64).split("Dr. O'Hara's pt, 3/4/21").words
        ['Dr', '.', "O'Hara", "'s", 'pt', ',', '3/4/21']
        """
        words: list[str] = []
        starts: list[int] = []
        around: list[int] = []
        row = self._row
        # What the first token of a gap and what the last token before it see, by kind of gap.
        gaps = {kind: (row("b" + kind), row("a" + kind)) for kind in ("0", "1", "2", "^", "^^")}
        at = [row(f"p{place}") for place in range(7)]
        all_case, no_label = row("c" + _case(text)), row("l:^")
        line_case = first = label = 0
        opening: list[int] = []
        end = 0
        place = 0
        for match in TOKEN.finditer(text):
            word = match.group()
            start = match.start()
            gap = text[end:start]
            end = match.end()
            if not gap:
                kind = "0" if start else "^"
            elif gap == " ":
                kind = "1"
            elif "\n" in gap or "\r" in gap or not words:
                kind = "^^" if gap.count("\n") > 1 else "^"
            else:
                kind = "2"
            before, after = gaps[kind]
            if place == 0 or kind[0] == "^":
                stop = text.find("\n", start)
                line_case = row("k" + _case(text[start : min(stop if stop >= 0 else start + 120, start + 120)]))
                place = 0
                folded = fold(word)
                first = row("f:" + folded)
                opening = self._opening(folded)
                label = no_label
            if words:
                # What follows a token is known with the next.
                around[-1] = after
            around += (
                before,
                at[place] if place < 6 else at[6],
                line_case,
                all_case,
                first,
                label,
                opening[place] if place < 12 else 0,
                0,
            )
            if word == ":":
                if place:
                    label = row("l:" + fold(words[-1]))
            elif word == "|" or word == ";":
                label = no_label
            words.append(word)
            starts.append(start)
            place += 1
        if words:
            around[-1] = row("a$")
        return Tokens(words, starts, around)

    def _opening(self, first: str) -> list[int]:
        """Return the rows of the first twelve places of a line, by the word that opens it."""
        found = self._openings.get(first)
        if found is None:
            if len(self._openings) > 10_000:
                self._openings.clear()
            found = self._openings[first] = [row(f"q:{first}:{place}", self._rows) for place in range(12)]
        return found


def _case(text: str) -> str:
    return "u" if text.isupper() else "l" if text.islower() else "m"


def shape(word: str) -> str:
    """Return the pattern of a word: `Xxxx`, `99/99/9999`, `XX`.

    >>> shape("McAllister"), shape("04/2021")
    ('XxXxxx', '99/9999')
    """
    if word[0].isdecimal():
        return word.translate(_NINES)
    pattern = "".join("X" if char.isupper() else "x" if char.isalpha() else char for char in word)
    return _LONG.sub(r"\1\1\1", pattern)


def features(word: str, lexicon: Mapping[str, int], rows: int) -> tuple[int, ...]:
    """Return what the model sees of a word itself, as rows of a table: the first is the word, the second the lists.

    Args:
        word: A token.
        lexicon: Folded word to the lists that hold it, as bits.
        rows: Rows of the table.
    """
    low = fold(word)
    found: list[str]
    if word[0].isdecimal():
        nines = low.translate(_NINES)
        found = [
            "n:" + (low if len(low) < 3 else nines),
            "g:0",
            "s:" + nines,
            "d:" + _value(low),
            "u:" + str(min(len(low), 12)),
            "e:" + low[-2:],
            "h:" + low[:2],
        ]
    elif not low[0].isalnum():
        found = ["n:" + low[:4], "g:0", "s:" + low[:1]]
    else:
        size = len(low)
        entry = lexicon.get(low, 0)
        form = not entry and size > 4
        if form:
            entry = next((lexicon[base] for base in _bases(low) if base in lexicon), 0)
        sense = entry >> SENSES
        bits = entry & ((1 << SENSES) - 1)
        found = [
            "n:" + low,
            "g:" + str(-bits if form else bits),
            "s:" + shape(word),
            "c:" + _case(word) + str(min(size, 9)),
            "w:" + ("X" if word[0].isupper() else "x"),
            "2:" + low[-2:],
            "3:" + low[-3:],
            "4:" + low[-4:],
            "5:" + low[:2],
            "6:" + low[:3],
            "7:" + low[:4],
        ]
        if sense:
            found += ["8:" + str(sense & 1023), "9:" + str(sense >> 10)]
        padded = f"^{low}$"
        found += ["t:" + padded[at : at + 3] for at in range(min(size, WIDEST - len(found)))]
    return tuple(row(feature, rows) for feature in found[:WIDEST])


def _bases(low: str) -> Iterator[str]:
    """What a word may be a form of: manages, managed, managing, weakly."""
    for ending in ("s", "es", "ed", "d", "ing", "ly", "er"):
        if low.endswith(ending):
            base = low[: -len(ending)]
            yield base
            if ending in ("ing", "ed", "er"):
                yield base + "e"
                if base[-1:] == base[-2:-1]:
                    yield base[:-1]


def _value(low: str) -> str:
    """What a group of digits may mean: a day, a month and a day, a year, an age over 89."""
    parts = re.split(r"([./:\-])", low)
    if len(parts) == 1:
        number = int(low[:12])
        if len(low) == 4:
            return "year" if 1900 <= number <= 2035 else "four"
        if len(low) == 8:
            return "ymd" if 19000101 <= number <= 20351231 and low[4:6] < "13" and low[6:] < "32" else "eight"
        if number < 13:
            return "month"
        if number < 32:
            return "day"
        if 89 < number < 116:
            return "old"
        return f"z{min(len(low), 10)}"
    numbers = [int(part[:12]) for part in parts[::2]]
    marks = "".join(sorted(set(parts[1::2])))
    kind = "".join(
        "m"
        if 0 < number < 13
        else "d"
        if 0 < number < 32
        else "y"
        if 1900 <= number <= 2035
        else str(min(len(part), 6))
        for number, part in zip(numbers[:5], parts[:10:2], strict=True)
    )
    return marks + kind
