"""Takes Bundles apart: one entry after another, however large the file, and what each entry asks for.

A Bundle of gigabytes is never held: a scan for brackets finds where entries begin and end, many bytes at a time, and
so a Bundle can also be split between two entries. A `DELETE` entry becomes an order to delete, an OperationOutcome a
remark of the server; both are counted, and no resources.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from mayo_data.sources.blocks import Broken

UNPARSABLE = (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError, ArithmeticError)

_SCANNED = 1 << 20  # bytes scanned at a time: the scan needs many times as much
_SHALLOW = 4 << 10  # bytes kept of what stands at the top level, to find keys in
_HEAD = 64 << 10  # bytes kept of what stands before the entries
_DEEPEST = 8  # Bundles within Bundles that are opened
_TYPE = re.compile(rb'"resourceType"\s*:\s*"([A-Za-z]+)"')
_ENTRY = re.compile(rb'"entry"\s*:\s*\Z')
_UPDATED = re.compile(rb'"meta"\s*:\s*\{[^{}]*?"lastUpdated"\s*:\s*"([^"\\]{4,40})"')
_URN = re.compile(rb'"urn:uuid:[0-9A-Za-z-]{1,64}"')
_DELETED = re.compile(r"(?:.*/)?([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})")
_QUOTE, _BACKSLASH = ord('"'), ord("\\")
_STRUCTURAL = np.zeros(256, dtype=bool)
_STRUCTURAL[list(b'"\\{}[]')] = True

_parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.encode

Names = dict[bytes, bytes]
"""How the entries of a Bundle call each other: `"urn:uuid:…"` to `"Type/id"`, both as they are written."""


class Row(NamedTuple):
    """What an entry, or a line, comes to: a body, and why the row ends here (or an empty string)."""

    body: bytes | None
    reason: str = ""


class Deletion(msgspec.Struct):
    """An order to delete: the body of a row that ends as `read/deletion`.

    Attributes:
        reference: `Type/id` of the resource.
        version: When, in microseconds since 1970: newer versions stay. None where the source does not say.
    """

    reference: str
    version: int | None = None


# ── where entries begin and end ───────────────────────────────────────────────────────────────────


class Document:
    """A JSON document that is read once, from its beginning or from one of its entries.

    Args:
        content: Blocks of bytes.
        longest: Longest entry that is let through, in bytes.
        at: Place of the first byte in the file; not zero where reading begins at an entry.

    >>> bundle = Document(iter([b'{"resourceType": "Bundle", "entry": [{"a": 1}, {"b"', b': []}]}']), 100)
    >>> list(bundle.entries()), bundle.kind
    ([(37, b'{"a": 1}'), (47, b'{"b": []}')], 'Bundle')
    """

    def __init__(self, content: Iterable[bytes], longest: int, at: int = 0) -> None:
        self.kind: str | None = None
        self.head = b""
        self._content = content
        self._longest = longest
        self._at = at
        self._within = at > 0  # in the list of entries
        self._shallow = b""
        self._unit: list[bytes] = []
        self._size = 0

    def entries(self, *, whole: bool = True) -> Iterator[tuple[int, bytes | None]]:
        """Yield place and text of every entry; None for one that is too long.

        Args:
            whole: The content goes on to the end of the document, which must be well-formed.

        Raises:
            Broken: The document ends in the middle, or goes on after its end. What came before has been yielded.
        """
        scan = _Brackets(2 if self._within else 0)
        start = at = self._at
        skipping = False  # inside an element of the top level that is not the list of entries
        depth = scan.depth
        for block in self._blocks():
            begin = 0
            for place, outer, opens in scan(block):
                if outer < 0 or (outer == 0 and depth < 0):
                    raise Broken("json")
                if outer == 0 and not opens:
                    self._top(block[begin:place])
                    depth = -1  # the document is done
                elif outer == 1 and opens and not self._within:
                    self._top(block[begin:place])
                    self._within = block[place] == ord("[") and _ENTRY.search(self._shallow) is not None
                    skipping = not self._within
                    start = at + place + 1
                elif outer == 1 and self._within:
                    self._add(block[begin:place])
                    yield from self._gap(start)
                    self._within = False
                elif outer == 1:
                    self._head(block[begin : place + 1])
                    skipping = False
                elif outer == 2 and self._within:
                    self._add(block[begin : place if opens else place + 1])
                    if opens:
                        yield from self._gap(start)
                        start = at + place
                    else:
                        yield start, self._take()
                        start = at + place + 1
                else:
                    continue
                begin = place if (opens and outer == 2) or skipping else place + 1
            rest = block[begin:]
            if self._within:
                self._add(rest)
            elif skipping:
                self._head(rest)
            elif depth < 0 and rest.strip():
                raise Broken("json")
            else:
                self._top(rest)
            at += len(block)
        if whole and (depth >= 0 or scan.quoted):
            raise Broken("json")
        if not whole:
            yield from self._gap(start)

    def _blocks(self) -> Iterator[bytes]:
        return (block[cut : cut + _SCANNED] for block in self._content for cut in range(0, len(block), _SCANNED))

    def _gap(self, start: int) -> Iterator[tuple[int, bytes | None]]:
        """What stands between entries: commas, or something that is no object and gets a row all the same."""
        text = self._take()
        if text is None:
            yield start, None
        elif stray := text.strip(b" \t\r\n,"):
            yield from ((start, piece.strip()) for piece in stray.split(b",") if piece.strip())

    def _add(self, text: bytes) -> None:
        self._size += len(text)
        self._unit = [*self._unit, text] if self._size <= self._longest else []

    def _take(self) -> bytes | None:
        found = b"".join(self._unit) if self._size <= self._longest else None
        self._unit, self._size = [], 0
        return found

    def _top(self, text: bytes) -> None:
        self._head(text)
        self._shallow = (self._shallow + text)[-_SHALLOW:]
        if self.kind is None and (named := _TYPE.search(self._shallow)):
            self.kind = named[1].decode()

    def _head(self, text: bytes) -> None:
        if len(self.head) < _HEAD:
            self.head += text[: _HEAD - len(self.head)]


class _Brackets:
    """Finds, block by block, the brackets outside of strings, and how deep they stand."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.quoted = False
        self._escaped = False  # the first byte of the next block stands behind a backslash

    def __call__(self, block: bytes) -> list[tuple[int, int, bool]]:
        """Return place, depth of what is around, and whether it opens, of the brackets that bound entries."""
        raw = np.frombuffer(block, dtype=np.uint8)
        at = np.flatnonzero(_STRUCTURAL[raw])
        char = raw[at]
        quotes = self._unescaped(at[char == _QUOTE], at[char == _BACKSLASH], len(raw))
        bare = (char != _QUOTE) & (char != _BACKSLASH)
        place, char = at[bare], char[bare]
        outside = (np.searchsorted(quotes, place) + self.quoted) % 2 == 0
        place, opens = place[outside], (char[outside] & 0x7) == 0x3  # { and [ end in 011, } and ] in 101
        after = self.depth + np.cumsum(np.where(opens, 1, -1))
        if len(after):
            self.depth = int(after[-1])
        self.quoted = bool((len(quotes) + self.quoted) % 2)
        outer = after - opens
        kept = outer <= 2
        return list(zip(place[kept].tolist(), outer[kept].tolist(), opens[kept].tolist(), strict=True))

    def _unescaped(
        self, quotes: npt.NDArray[np.int64], backslashes: npt.NDArray[np.int64], size: int
    ) -> npt.NDArray[np.int64]:
        """The quotes that no backslash takes away: of a run of backslashes, every second one is itself escaped."""
        if self._escaped:
            if len(backslashes) and backslashes[0] == 0:
                backslashes = backslashes[1:]
            if len(quotes) and quotes[0] == 0:
                quotes = quotes[1:]
        self._escaped = False
        if not len(backslashes):
            return quotes
        number = np.arange(len(backslashes))
        begins = np.r_[True, np.diff(backslashes) != 1]
        escaping = backslashes[(number - number[begins][np.cumsum(begins) - 1]) % 2 == 0]
        self._escaped = bool(escaping[-1] == size - 1)
        return quotes[~np.isin(quotes, escaping + 1)]


def is_open(line: bytes) -> bool:
    """Return whether a line is the beginning of a document that goes on behind it.

    >>> is_open(b'{"resourceType": "Bundle",'), is_open(b'{"resourceType": "Bun'), is_open(b"{}")
    (True, False, False)
    """
    scan = _Brackets(0)
    scan(line)
    return scan.depth > 0 and not scan.quoted


# ── what an entry comes to ────────────────────────────────────────────────────────────────────────


def special(line: bytes) -> list[Row] | None:
    """Open a line that is a Bundle or an OperationOutcome; return None for any other.

    Args:
        line: One JSON value.

    >>> [row.body for row in special(b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient"}}]}')]
    [b'{"resourceType":"Patient"}']
    """
    if b'"Bundle"' not in line and b'"OperationOutcome"' not in line:
        return None
    try:
        resource = _parts(line)
        kind = bytes(resource.get("resourceType", b""))
    except UNPARSABLE:
        return None
    if kind == b'"OperationOutcome"':
        return [outcome(line)]
    return _bundle(resource, line, 0) if kind == b'"Bundle"' else None


def _bundle(resource: dict[str, msgspec.Raw], line: bytes, depth: int) -> list[Row]:
    try:
        entries = [bytes(entry) for entry in _list(resource.get("entry", b"[]"))]
    except UNPARSABLE:
        return [Row(line, "not_a_bundle")]
    names: Names = {}
    for entry in entries:
        learn(entry, names)
    when = updated(b'"meta":' + bytes(resource["meta"])) if "meta" in resource else None
    return [row for entry in entries for row in opened(entry, names, when, depth)]


def learn(entry: bytes, names: Names) -> None:
    """Note how the other entries of its Bundle may call the resource of an entry: by a URN, which says no type.

    Args:
        entry: The entry.
        names: Where it is noted.
    """
    if b"urn:uuid:" not in entry:
        return
    try:
        found = _parts(entry)
        url = bytes(found.get("fullUrl", b""))
        if not _URN.fullmatch(url):
            return
        resource = _parts(found["resource"])
        kind, ident = _text(resource["resourceType"]), _text(resource["id"])
    except (*UNPARSABLE, KeyError):
        return
    names[url] = _encode(f"{kind}/{ident}")


def opened(entry: bytes, names: Names, when: int | None, depth: int = 0) -> list[Row]:
    """Return what an entry of a Bundle comes to: one row, or those of the Bundle inside it.

    Args:
        entry: The entry; what is none gives a row too, and the scrub says what is wrong with it.
        names: What the entries call each other.
        when: When the Bundle was written, in microseconds: a deletion takes effect then.
        depth: Number of Bundles around this one.
    """
    try:
        found = _parts(entry)
        if order := _deletion(found, when):
            return [Row(_encode(order), "deletion")]
        body = bytes(found.get("resource", b""))
        if body[:1] != b"{":
            return [Row(compact(entry))]
        resource = _parts(body)
    except UNPARSABLE:
        return [Row(compact(entry))]
    kind = bytes(resource.get("resourceType", b""))
    if kind == b'"Bundle"' and depth < _DEEPEST:
        return _bundle(resource, body, depth + 1)
    if kind == b'"OperationOutcome"':
        return [outcome(body)]
    body = compact(body)
    url = bytes(found.get("fullUrl", b""))
    if "id" not in resource and _URN.fullmatch(url):
        body = b'{"id":"' + url[10:] + (b"," if resource else b"") + body[1:]
    if names and b'"urn:uuid:' in body:
        body = _URN.sub(lambda urn: names.get(urn[0], urn[0]), body)
    return [Row(body)]


def outcome(body: bytes) -> Row:
    """Return the row of an OperationOutcome: what the server has to say of its own export is no resource."""
    bad = re.search(rb'"severity"\s*:\s*"(?:error|fatal)"', body) is not None
    return Row(body, "export_error" if bad else "export_note")


def updated(head: bytes) -> int | None:
    """Return `meta.lastUpdated`, in microseconds since 1970, of what stands before the entries of a Bundle.

    >>> updated(b'"meta": {"lastUpdated": "1970-01-01T00:00:01Z"}')
    1000000
    """
    found = _UPDATED.search(head)
    return _instant(found[1].decode("utf-8", "replace")) if found else None


def _instant(text: object) -> int | None:
    try:
        moment = datetime.fromisoformat(str(text))
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        return None


def _deletion(entry: dict[str, msgspec.Raw], when: int | None) -> Deletion | None:
    """The order that an entry is: its own time counts before that of its Bundle."""
    asked, answered = (_members(entry.get(name)) for name in ("request", "response"))
    url = asked.get("url")
    named = _DELETED.fullmatch(url) if asked.get("method") == "DELETE" and isinstance(url, str) else None
    if named is None:
        return None
    own = _instant(answered.get("lastModified"))
    return Deletion(f"{named[1]}/{named[2]}", when if own is None else own)


def _members(raw: msgspec.Raw | None) -> dict[str, object]:
    try:
        return msgspec.json.decode(raw, type=dict[str, object]) if raw is not None else {}
    except UNPARSABLE:
        return {}


def compact(raw: bytes) -> bytes:
    r"""Take the white space of a pretty-printed value away; digits, order and doubled keys stay.

    >>> compact(b'{\n  "value": 1.10\n}')
    b'{"value":1.10}'
    """
    if b"\n" not in raw and b"\r" not in raw:
        return raw
    try:
        return msgspec.json.format(raw, indent=-1)
    except UNPARSABLE:
        return raw
