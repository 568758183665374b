"""Cuts a word into the pieces that a BERT vocabulary knows: without capitals and accents, the longest first."""

from __future__ import annotations

import unicodedata
from pathlib import Path

_LONGEST = 100  # letters of a word that BERT's own tokenizer still cuts


class WordPiece:
    """The pieces of words.

    Args:
        vocabulary: A file with one piece a line; its line is its number. A piece that does not begin a word begins
            with `##`.
    """

    def __init__(self, vocabulary: Path) -> None:
        lines = vocabulary.read_text(encoding="utf-8").split("\n")
        self._numbers = {piece: number for number, piece in enumerate(lines) if piece}
        self._unknown = self._numbers["[UNK]"]
        self._widest = max(map(len, self._numbers))

    def number(self, piece: str) -> int:
        """Return the number of a piece, for example of the mark `[CLS]`.

        Args:
            piece: As it stands in the vocabulary.

        Raises:
            KeyError: There is none.
        """
        return self._numbers[piece]

    def cut(self, word: str) -> list[int]:
        """Return the numbers of a word's pieces; none for a word of which nothing is left.

        Args:
            word: A word without spaces.
        """
        found: list[int] = []
        for part in _parts(word):
            found += self._longest(part)
        return found

    def _longest(self, part: str) -> list[int]:
        if len(part) > _LONGEST:
            return [self._unknown]
        found = []
        start, mark = 0, ""
        while start < len(part):
            for end in range(min(len(part), start + self._widest), start, -1):
                number = self._numbers.get(mark + part[start:end])
                if number is not None:
                    break
            else:
                return [self._unknown]
            found.append(number)
            start, mark = end, "##"
        return found


def _parts(word: str) -> list[str]:
    """Cut at marks and at characters of Chinese, which are words of their own; drop accents and capitals.

    >>> _parts("O'Hára")
    ['o', "'", 'hara']
    """
    if word.isascii():
        plain = word.lower()
        if plain.isalnum():
            return [plain]
    else:
        kept = (letter for letter in unicodedata.normalize("NFD", word) if unicodedata.category(letter) != "Mn")
        plain = "".join(kept).lower()
    parts = [""]
    for letter in plain:
        if letter == "\ufffd" or letter.isspace() or unicodedata.category(letter) in ("Cc", "Cf", "Co"):
            continue
        if _is_mark(letter) or _is_chinese(letter):
            parts += [letter, ""]
        else:
            parts[-1] += letter
    return [part for part in parts if part]


def _is_mark(letter: str) -> bool:
    return (letter.isascii() and not letter.isalnum()) or unicodedata.category(letter).startswith("P")


def _is_chinese(letter: str) -> bool:
    code = ord(letter)
    return (
        0x4E00 <= code <= 0x9FFF
        or 0x3400 <= code <= 0x4DBF
        or 0x20000 <= code <= 0x2CEAF
        or 0xF900 <= code <= 0xFAFF
        or 0x2F800 <= code <= 0x2FA1F
    )
