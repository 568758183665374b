"""The leak audit of FHIR out: does a resource, as it would be written, hold an identifier of its subject?

Nearly none does, and most of a resource has been in others before. So it is first looked at piece by piece, from one
brace to the next: what a piece says is learned once, and compared with the identifiers. Only a resource with a piece
that could hold one is parsed and searched element by element.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from mayo_data.keys import Secret
from mayo_data.phi import units
from mayo_data.phi.attachments import text_of
from mayo_data.phi.audit import Audit, touches
from mayo_data.phi.markup import parse
from mayo_data.phi.vault import Vault
from mayo_data.pipeline.leaks import NAMES, SHORTEST_NUMBER

_OURS = frozenset(["id", "reference", "resourceType", "system", "contentType", "url", "currency"])
_DATED = r"\d{4}(?:-\d\d(?:-\d\d(?:T[\d:.]+(?:Z|[+-]\d\d:\d\d)?)?)?)?|\d\d:\d\d:\d\d(?:\.\d+)?"
_NAMELESS = r"[\d.-]+|[0-9a-f]{16}"
_SAYS_NOTHING = re.compile(f"{_DATED}|{_NAMELESS}")
_STRINGS_OF_NOTHING = re.compile(f'"(?:{_DATED}|{_NAMELESS})"'.encode())
_REFERENCE = b'reference":"'
_LONG_NUMBER = re.compile(rb"[:,\[](?:\d{%d,}|-\d{%d,})[,\]}]" % (SHORTEST_NUMBER, SHORTEST_NUMBER - 1))
_OURS_RAW = frozenset(name.encode() for name in _OURS)
_PEOPLE = 500  # subjects kept ready
_PIECES = 30_000  # entries of a cache before it starts afresh
_ANYBODY = "anybody#"  # stands for a piece that cannot be judged by itself
_UNCLEAR = frozenset([_ANYBODY])
_FINE = 1_000  # pieces remembered of a subject that look like an identifier and hold none,
_SHORT = 1_000  # and bytes of such a piece
_Ready = tuple[Audit, frozenset[str], set[bytes]]


class Auditor:
    """Searches what is left of a resource for the identifiers of its subject.

    Args:
        vault: File of the vault, where the identifiers are.
        secret: Key of the vault.
        kept: PHI categories that the policy keeps.
    """

    def __init__(self, vault: Path, secret: Secret, kept: frozenset[str]) -> None:
        self._vault = Vault(vault, secret, readonly=True)
        self._kept = kept
        self._audits: dict[int, _Ready] = {}
        self._pieces: dict[bytes, frozenset[str]] = {}

    def close(self) -> None:
        """Close the vault."""
        self._vault.close()

    def leaks(self, subject_id: int, body: bytes) -> list[tuple[str, str]]:
        """Return element path and category of every identifier that is still there.

        Args:
            subject_id: The subject.
            body: A resource as the scrub writes it: without spaces between its parts.
        """
        audit, keys, fine = self._audits.get(subject_id) or self._audit(subject_id)
        open_ = self._open(keys, fine, body)
        if not open_:
            return []
        found = list(_strings(_parsed(body), ""))
        leaks = []
        for index, category in audit.leaks(text for _, text in found):
            path = found[index][0]
            if path.rpartition(".")[2] != "code" or category in NAMES:
                leaks.append((path, category))
        if not leaks and len(fine) < _FINE:
            fine.update(piece for piece in open_ if len(piece) < _SHORT and piece.count(b'"') % 2)
        return leaks

    def _audit(self, subject_id: int) -> _Ready:
        if len(self._audits) >= _PEOPLE:
            del self._audits[next(iter(self._audits))]
        person = self._vault.subject(subject_id)
        audit = Audit([one for one in (person.identifiers if person else ()) if one.category not in self._kept])
        self._audits[subject_id] = audit, audit.touched | _UNCLEAR, set()
        return self._audits[subject_id]

    def _open(self, keys: frozenset[str], fine: set[bytes], body: bytes) -> list[bytes]:
        """Return the pieces of a resource that may hold an identifier, or that cannot be judged by themselves."""
        if b"\\" in body:  # without it every quote begins or ends a string, and a brace before one begins an object
            return [body]
        found = []
        pieces = self._pieces
        for piece in body.split(b'{"'):
            said = pieces.get(piece)
            if said is None:
                said = self._learn(piece)
            if not keys.isdisjoint(said) and piece not in fine:
                found.append(piece)
        return found

    def _learn(self, piece: bytes) -> frozenset[str]:
        """Take out what differs from resource to resource and says nothing, and look up or read the rest."""
        if piece.startswith(_REFERENCE):
            piece = _REFERENCE + piece[piece.find(b'"', len(_REFERENCE)) :]
            if (said := self._pieces.get(piece)) is not None:
                return said
        bare = _STRINGS_OF_NOTHING.sub(b'""', piece)
        if (said := self._pieces.get(bare)) is None:
            if len(self._pieces) >= _PIECES:
                self._pieces.clear()
            said = self._pieces[bare] = _said(bare)
        return said


def _said(piece: bytes) -> frozenset[str]:
    """Return what the values of a piece say, for `Audit.touched`."""
    parts = piece.split(b'"')
    if len(parts) % 2:  # cut within a string that ends with a brace; nothing at all stands before the first
        return _UNCLEAR if piece else frozenset()
    said: set[str] = set()
    for at in range(0, len(parts), 2):
        before, text, after = parts[at - 1] if at else b"", parts[at], parts[at + 1]
        if after[:1] == b":":
            if text == b"data":  # may be a text in base64
                return _UNCLEAR
        elif text and not (before == b":" and parts[at - 2] in _OURS_RAW):
            said |= _says(text.decode())
        if len(after) > SHORTEST_NUMBER and _LONG_NUMBER.search(after):
            return _UNCLEAR
    return frozenset(said)


@lru_cache(maxsize=1 << 15)
def _says(text: str) -> frozenset[str]:
    return touches(text) if _speaks(text) else frozenset()


def _speaks(text: str) -> bool:
    """Whether a string may say who somebody is: pseudonyms, dates and public units do not."""
    return not (_SAYS_NOTHING.fullmatch(text) or units.is_public(text))


def _parsed(body: bytes) -> Any:
    """Parse what is written; a number beyond all measure, which FHIR allows, names nobody."""
    try:
        return msgspec.json.decode(body)
    except msgspec.ValidationError:
        return json.loads(body, parse_int=lambda digits: int(digits) if len(digits) < 100 else 0)


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield what an output says, with its path."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in _OURS or isinstance(inner, dict | list):
                if name == "data" and isinstance(inner, str) and "contentType" in value:
                    yield f"{path}.{name}", text_of(str(value["contentType"]), inner) or ""
                elif name == "div" and isinstance(inner, str):
                    yield f"{path}.{name}", parse(inner).text  # a name across tags is a name
                elif not (name == "value" and str(value.get("system", "")).startswith("urn:mayo-data:pseudonym:")):
                    yield from _strings(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, path)
    elif isinstance(value, str):
        if _speaks(value):
            yield path, value
    elif isinstance(value, int) and not isinstance(value, bool) and len(str(value)) >= SHORTEST_NUMBER:
        yield path, str(value)
