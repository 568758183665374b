"""Reads FHIR exports: folders of ndjson (plain, gzip, zstd), Bundles and single resources, here or in an object store.

Two passes. `survey` hashes each file, finds where it can be split, and hands over the resources that name people
and places, so that everything is known before the first text is scrubbed. `read` then yields the rows of one split
as `raw` batches: a line is a row, and so is each entry of a Bundle, whether the Bundle is a file or a line.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

import msgspec
import pyarrow as pa

from mayo_data import assets, schema
from mayo_data.errors import SourceError
from mayo_data.sources import bundles, location, manifest
from mayo_data.sources.blocks import Broken, blocks, regions
from mayo_data.sources.bundles import UNPARSABLE, Document, Row
from mayo_data.sources.location import Found
from mayo_data.sources.parts import LINES, PACKED, Form, SourceFile, Split, Survey
from mayo_data.sources.watch import BETWEEN, CRASHED, FORM, TOGETHER, At, Watch, alone
from mayo_data.stage import fate
from mayo_data.types import Json

__all__ = ["SPLIT_BYTES", "Export", "SourceFile", "Split", "Survey", "discover", "read", "sha256", "survey"]

_NAME = re.compile(r"\.(ndjson|jsonl|json)(?:\.(gz|zst))?$", re.IGNORECASE)
_FIRST_KEY = re.compile(rb'\s*\{\s*"resourceType"\s*:\s*"([A-Za-z]+)"')
_PEOPLE = re.compile(
    rb'"resourceType"\s*:\s*"(?:Patient|RelatedPerson|Person|Practitioner|PractitionerRole|Organization|Location)"'
)
_BOM = b"\xef\xbb\xbf"
_UNPACKED_BEFORE = 8  # times a part of an archive may be smaller than what is unpacked to reach it
_ROWS = 4096
_BYTES = 4 << 20
_ENDINGS = re.compile(
    "csv|tsv|xml|txt|md|pdf|rtf|html?|docx?|xlsx?|parquet|sql|db|sqlite|log|zip|tar|tgz|gz|zst|bz2|xz|7z|part|tmp|dcm|hl7"
    "|json|ndjson|jsonl|ya?ml|toml|sha256|md5"
)
SPLIT_BYTES = 32 << 20

_decode = msgspec.json.Decoder(float_hook=Decimal).decode  # a Decimal keeps the digits: 1.10 stays 1.10


@dataclass(frozen=True)
class Export:
    """What lies at the place of an input.

    Attributes:
        files: What is read, in order of their number.
        unread: Names of what is not read (PHI zone).
        counts: Source file to the number of resources that a manifest says are in it.
    """

    files: tuple[SourceFile, ...]
    unread: tuple[str, ...] = ()
    counts: dict[int, int] = field(default_factory=dict)

    @property
    def weight(self) -> int:
        """How much there is to read, roughly, in bytes."""
        return sum(file.weight for file in self.files)

    @property
    def endings(self) -> dict[str, int]:
        """How many files are not read, by ending; an ending that nobody knows could be PHI, and is `other`."""
        named = Counter(name.rpartition(".")[2].lower() if "." in name else "none" for name in self.unread)
        known: Counter[str] = Counter()
        for ending, count in named.items():
            known[ending if ending == "none" or _ENDINGS.fullmatch(ending) else "other"] += count
        return dict(sorted(known.items()))


def discover(source: Path | str, turn: Callable[[str], bytes] | None = None) -> Export:
    """List the files of an export, in order of their relative path, and check them against a `manifest.json`.

    Documents (`.json`) are often one a patient, called by name or number. Their order would say, to whoever has no more
    than a list of the patients, which number is whose. So they take turns in an order that only the key knows.

    Args:
        source: A folder (searched recursively), one file, or a URL: `s3://`, `gs://`, `abfss://`.
        turn: Gives a document its turn by its relative path, keyed; without it the path itself does.

    Raises:
        SourceError: There is no such place, nothing in it that this library reads, a link that leads out of it, or a
            manifest that names a file which is not there, or not inside.
        ConfigError: The URL is of no known kind.
    """
    files: list[SourceFile] = []
    places: dict[tuple[str, ...], SourceFile] = {}
    unread: list[str] = []
    manifests: list[tuple[Found, manifest.Manifest]] = []
    for found in location.listing(source):
        name = found.parts[-1]
        match = _NAME.search(name)
        listed = _manifest(found) if name == manifest.NAME else None
        if listed is not None:
            manifests.append((found, listed))
        elif (
            name == manifest.NAME
            or match is None
            or not found.regular
            or any(part.startswith(".") for part in found.parts)
        ):
            unread.append("/".join(found.parts))
        else:
            kind = "json" if match[1].lower() == "json" else "ndjson"
            file = SourceFile(found.path, len(files), kind, (match[2] or "").lower(), found.size)
            files.append(file)
            places[found.parts] = file
    if turn is not None:
        places = _by_turn(places, turn)
        files = sorted(places.values(), key=lambda file: file.source_table)
    counts: dict[int, int] = {}
    for found, listed in manifests:
        for parts, count in manifest.match(listed, found.parts[:-1], places).items():
            counts[places[parts].source_table] = count
    if not files and all(listed.output for _, listed in manifests):  # a server may well say that nothing has changed
        raise SourceError(
            "the input holds no FHIR file",
            hint="expected *.ndjson, *.jsonl or *.json, plain, .gz or .zst, at any depth",
        )
    return Export(tuple(files), tuple(unread), counts)


def _by_turn(
    places: dict[tuple[str, ...], SourceFile], turn: Callable[[str], bytes]
) -> dict[tuple[str, ...], SourceFile]:
    """Let the documents of a folder change their numbers among themselves.

    Folders keep their order: what was delivered later counts, where two versions have no date.
    """
    folders: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for parts, file in places.items():
        if file.kind == "json":
            folders.setdefault(parts[:-1], []).append(parts)
    moved = dict(places)
    for documents in folders.values():
        numbers = sorted(places[parts].source_table for parts in documents)
        ordered = sorted(documents, key=lambda parts: (turn("/".join(parts)), parts))
        for parts, number in zip(ordered, numbers, strict=True):
            moved[parts] = replace(places[parts], source_table=number)
    return moved


def _manifest(found: Found) -> manifest.Manifest | None:
    if not found.regular or found.size > manifest.LONGEST:
        return None
    return manifest.read(b"".join(_told(blocks(found.path, ""), manifest.NAME)))


# ── the first pass ────────────────────────────────────────────────────────────────────────────────


def survey(
    file: SourceFile,
    named: Callable[[Json], None],
    *,
    longest: int,
    split_bytes: int = SPLIT_BYTES,
    texts: Callable[[bytes], object] | None = None,
    at: At | None = None,
) -> Survey:
    """Read a file for the first time: digest, form, splits, and the resources that name people, places and medications.

    Args:
        file: The file.
        named: Called with each such resource.
        longest: Longest line or entry that is read, in bytes.
        split_bytes: Size of a split, in bytes; of an archive, eight times as much of its content.
        texts: Called with all that is read, some lines at a time.
        at: Told every place before the work there begins, which is then done row by row.

    Raises:
        SourceError: The file cannot be read.
    """
    watch = Watch.over(file.crashed, at)
    form = _form(file, longest, watch)
    if watch is not None:
        watch.leaves()
    found = _Surveyor(file, form, named, split_bytes * (PACKED if file.compression else 1), texts, watch)
    digest = hashlib.sha256()
    broken = False
    try:
        if form.kind == "lines":
            found.lines(regions(_content(file, seen=digest.update), longest))
        elif form.kind == "bundle":
            found.entries(_entries(Split(file, form=form), longest, watch))
        else:
            found.rows(_resource(file, longest, watch))
    except Broken:
        broken = True
    seen = digest.hexdigest() if form.kind == "lines" and not broken else sha256(file)
    return Survey(file, seen, found.splits(), broken)


def sha256(file: SourceFile) -> str:
    """Return the digest of a file as it is stored, lower-case hex.

    Args:
        file: The file.

    Raises:
        SourceError: It cannot be read.
    """
    digest = hashlib.sha256()
    for block in _told(blocks(file.path, ""), f"file {file.source_table}"):
        digest.update(block)
    return digest.hexdigest()


class _Surveyor:
    """Numbers the rows of a file, notes where it can be split, and picks out who is named."""

    def __init__(
        self,
        file: SourceFile,
        form: Form,
        named: Callable[[Json], None],
        split_bytes: int,
        texts: Callable[[bytes], object] | None,
        watch: Watch | None,
    ) -> None:
        listed = assets.toml("schemas", "fhir", "resource_types.toml")["survey"]
        self._wanted = frozenset(listed)
        self._pattern = re.compile(rb'"resourceType"\s*:\s*"(?:' + "|".join(listed).encode() + rb')"')
        self._file = file
        self._form = form
        self._named = named
        self._texts = texts
        self._watch = watch
        self._split_bytes = split_bytes
        self._row = self._first_row = 1
        self._start = 0
        self._splits: list[Split] = []

    def splits(self) -> tuple[Split, ...]:
        return (*self._splits, Split(self._file, self._start, None, self._first_row, self._form))

    def lines(self, found: Iterator[bytes | int]) -> None:
        offset = 0
        for region in found:
            self._cut(offset)
            if isinstance(region, int):
                self._row += 1
                offset += region + 1
                continue
            offset += len(region) + 1
            if self._row == 1:
                region = region.removeprefix(_BOM)
            if self._watch is not None:
                self._closely(region, offset - len(region) - 1, self._watch)
                continue
            if self._texts is not None:
                self._texts(region)
            if _is_special(region):
                for line in region.split(b"\n"):
                    rows = bundles.special(line)
                    self.rows([Row(line)] if rows is None else rows)
            else:
                self._region(region)
                self._row += region.count(b"\n") + 1

    def _closely(self, region: bytes, offset: int, watch: Watch) -> None:
        for line in region.split(b"\n"):
            rows: list[Row] | None = None
            if not _is_special(line):
                if watch.works_at(self._row):
                    self._read(line)
            elif watch.opens(offset):
                self._read(line)
                rows = bundles.special(line)
            else:
                rows = [Row(line, CRASHED)]
            self.rows([Row(line)] if rows is None else rows)
            offset += len(line) + 1

    def _read(self, text: bytes) -> None:
        if self._texts is not None:
            self._texts(text)

    def entries(self, found: Iterator[tuple[int, bool, list[Row]]]) -> None:
        for offset, splits_here, rows in found:
            if splits_here:
                self._cut(offset)
            self.rows(rows)

    def rows(self, rows: list[Row]) -> None:
        for number, row in enumerate(rows, self._row):
            if self._watch is not None and not (row.reason or self._watch.works_at(number)):
                row = Row(row.body, CRASHED)
            if row.body is not None and row.reason != CRASHED and self._form.kind != "lines":
                self._read(row.body)
            if row.body is not None and not row.reason and self._pattern.search(row.body):
                self._name(row.body)
            if self._watch is not None:
                self._watch.leaves()
        self._row += len(rows)

    def _cut(self, offset: int) -> None:
        """End a split before what begins here, where it is large enough.

        Whoever reads a part of an archive unpacks all that lies before it. So parts grow towards the end, and
        unpacking stays a small share of the work, however large the file.
        """
        before = self._start // _UNPACKED_BEFORE if self._file.compression else 0
        if offset - self._start >= max(self._split_bytes, before):
            self._splits.append(Split(self._file, self._start, offset, self._first_row, self._form))
            self._start, self._first_row = offset, self._row

    def _region(self, region: bytes) -> None:
        last = -1
        for match in self._pattern.finditer(region):
            begin = region.rfind(b"\n", 0, match.start()) + 1
            if begin == last:
                continue
            last = begin
            end = region.find(b"\n", match.end())
            self._name(region[begin : end if end >= 0 else None])

    def _name(self, line: bytes) -> None:
        # Usually the first key tells; of what is contained, only people and places make the line one of ours.
        first = _FIRST_KEY.match(line)
        if first is not None and first[1].decode() not in self._wanted and not _PEOPLE.search(line, first.end()):
            return
        try:
            resource = _decode(line)
        except UNPARSABLE:
            return  # the read pass gives it a fate
        if isinstance(resource, dict) and (resource.get("resourceType") in self._wanted or "contained" in resource):
            self._named(resource)


def _form(file: SourceFile, longest: int, watch: Watch | None) -> Form:
    """How a file is written; `.json` may be a Bundle, one resource, or ndjson by another name."""
    if file.kind == "ndjson":
        return LINES
    if watch is not None and not watch.works_at(FORM):
        return Form("resource")
    content = _content(file)
    try:
        first = next(content, b"").removeprefix(_BOM).lstrip()
        more = next(content, None) is not None
    except Broken:
        more = False
    if _is_lines(first, more):
        return LINES
    document = Document(_content(file), 0)
    with suppress(Broken):
        for _ in document.entries():
            if document.kind is not None:
                break
    if document.kind != "Bundle":
        return Form("resource")
    mark = uuid4().hex
    return Form("bundle", mark if _names(file, longest, mark, watch) else "", bundles.updated(document.head))


def _is_lines(first: bytes, more: bool) -> bool:
    """Whether a file that begins so is ndjson: its first line is a resource, or is bad while others are resources."""
    line, newline, rest = first.partition(b"\n")
    if not newline:
        return False
    if _is_resource(line):
        return more or bool(rest.strip())
    if more:
        if bundles.is_open(line):
            return False
    else:
        try:
            _decode(first)
        except UNPARSABLE:
            pass
        else:
            return False
    return any(_is_resource(line) for line in rest.split(b"\n"))


def _is_resource(line: bytes) -> bool:
    try:
        found = _decode(line)
    except UNPARSABLE:
        return False
    return isinstance(found, dict) and isinstance(found.get("resourceType"), str)


# ── the second pass ───────────────────────────────────────────────────────────────────────────────


def read(
    split: Split, *, longest: int, at: At | None = None, near: frozenset[int] = frozenset()
) -> Iterator[pa.RecordBatch]:
    """Yield the lines of a split, or the entries of a Bundle, as `raw` batches of at most about 4 MiB.

    Blank lines are no rows. What cannot be read becomes a row with a fate: a line over the limit, the place where
    a file breaks, a document that is no Bundle; so does what is no resource: a deletion, a remark of the server.

    Args:
        split: What to read.
        longest: Longest line or entry that is read, in bytes.
        at: Told every place before the work there begins; batches are then small.
        near: First rows of batches in which each row is a place of its own.

    Raises:
        SourceError: The file cannot be read any more.
    """
    most = TOGETHER if at else _ROWS
    table = split.file.source_table
    bodies: list[bytes | None] = []
    numbers: list[int] = []
    fates: list[str | None] = []
    size = 0
    for number, body, reason in _rows(split, longest, Watch.over(split.file.crashed, at)):
        single = bool(near) and alone(number, near)
        apart = at is not None and bool(numbers) and number - numbers[0] >= TOGETHER  # blank lines have numbers, too
        if bodies and (single or apart):
            yield from _turned(_batch(table, numbers, bodies, fates), numbers[0], at)
            bodies, numbers, fates, size = [], [], [], 0
        bodies.append(body)
        numbers.append(number)
        fates.append(fate("read", reason) if reason else None)
        size += len(body) if body is not None else 0
        if single or len(bodies) >= most or size >= _BYTES:
            yield from _turned(_batch(table, numbers, bodies, fates), numbers[0], at)
            bodies, numbers, fates, size = [], [], [], 0
    if bodies:
        yield from _turned(_batch(table, numbers, bodies, fates), numbers[0], at)


def _turned(batch: pa.RecordBatch, first: int, at: At | None) -> Iterator[pa.RecordBatch]:
    """Yield a batch, and tell where it is worked on, and when that is done."""
    if at is not None:
        at(first)
    yield batch
    if at is not None:
        at(BETWEEN)


def _batch(table: int, numbers: list[int], bodies: list[bytes | None], fates: list[str | None]) -> pa.RecordBatch:
    columns = [
        pa.array([table] * len(numbers), pa.int32()), pa.array(numbers, pa.int64()),
        pa.array(bodies, pa.large_binary()), pa.array(fates, pa.string()),
    ]  # fmt: skip
    return pa.RecordBatch.from_arrays(columns, schema=schema.table("raw"))


def _rows(split: Split, longest: int, watch: Watch | None) -> Iterator[tuple[int, bytes | None, str]]:
    """Yield row number, body, and why the row ends here (or an empty string)."""
    number = split.first_row
    found = _line_rows if split.form.kind == "lines" else _document_rows
    try:
        for rows in found(split, longest, watch):
            if isinstance(rows, int):  # blank lines: no rows, but they have numbers
                number += rows
                continue
            for row in rows:
                yield number, *(row if watch is None else watch.row(number, row))
                number += 1
            if watch is not None:
                watch.leaves()
    except Broken as broken:
        yield number, None, broken.reason


def _line_rows(split: Split, longest: int, watch: Watch | None) -> Iterator[Iterable[Row] | int]:
    """Yield the rows of lines, or a number of blank lines."""
    first = split.first_row == 1
    offset = split.start
    for region in regions(_content(split.file, split.start, split.end), longest):
        if isinstance(region, int):
            yield [Row(None, "line_too_long")]
            offset += region + 1
            continue
        offset += len(region) + 1
        if first:
            region = region.removeprefix(_BOM)
        first = False
        place = offset - len(region) - 1
        if not region or region.isspace():
            yield region.count(b"\n") + 1
            continue
        special = _is_special(region)
        for line in region.split(b"\n"):
            if not line or line.isspace():
                yield 1
            elif special and watch is not None and _is_special(line) and not watch.opens(place):
                yield [Row(line, CRASHED)]
            elif special and (rows := bundles.special(line)) is not None:
                yield rows
            else:
                yield [Row(line)]
            place += len(line) + 1


def _document_rows(split: Split, longest: int, watch: Watch | None) -> Iterator[Iterable[Row] | int]:
    if split.form.kind == "resource":
        yield _resource(split.file, longest, watch)
        return
    for _, _, rows in _entries(split, longest, watch):
        yield rows


def _is_special(region: bytes) -> bool:
    return b'"Bundle"' in region or b'"OperationOutcome"' in region


def _entries(split: Split, longest: int, watch: Watch | None) -> Iterator[tuple[int, bool, list[Row]]]:
    """Yield the entries of a Bundle: place, whether a split can begin there, and what the entry comes to."""
    names = _names(split.file, longest, split.form.renamed, watch) if split.form.renamed else {}
    document = Document(_content(split.file, split.start, split.end), longest, split.start)
    for offset, entry in document.entries(whole=split.end is None):
        if entry is None:
            yield offset, False, [Row(None, "line_too_long")]
        elif watch is not None and not watch.opens(offset):
            yield offset, entry[:1] == b"{", [Row(entry, CRASHED)]
        else:
            yield offset, entry[:1] == b"{", bundles.opened(entry, names, split.form.when)


@lru_cache(maxsize=1)
def _names(file: SourceFile, longest: int, mark: str, watch: Watch | None) -> bundles.Names:
    """How the entries of a Bundle call each other. The splits of a file come one after another: one is remembered."""
    names: bundles.Names = {}
    with suppress(Broken):
        for offset, entry in Document(_content(file), longest).entries():
            if entry is not None and (watch is None or watch.opens(offset)):
                bundles.learn(entry, names)
            if watch is not None:
                watch.leaves()
    return names


def _resource(file: SourceFile, longest: int, watch: Watch | None) -> list[Row]:
    """The one resource of a document."""
    held: list[bytes] = []
    size = 0
    for block in _content(file):
        held.append(block)
        size += len(block)
        if size > longest:
            return [Row(None, "line_too_long")]
    if watch is not None and (FORM in watch.crashed or not watch.opens(0)):
        return [Row(b"".join(held), CRASHED)]
    body = bundles.compact(b"".join(held).removeprefix(_BOM))
    try:
        _decode(body)
    except UNPARSABLE:
        return [Row(body[: 1 << 20] or None, "not_a_bundle")]
    rows = bundles.special(body)
    return [Row(body)] if rows is None else rows


def _content(
    file: SourceFile, start: int = 0, end: int | None = None, seen: Callable[[bytes], object] | None = None
) -> Iterator[bytes]:
    return _told(blocks(file.path, file.compression, start, end, seen=seen), f"file {file.source_table}")


def _told(content: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Tell what goes wrong without the name of the file."""
    try:
        yield from content
    except OSError as error:
        raise SourceError(
            f"{name} cannot be read: {location.why(error)}",
            hint="check its permissions, and the network. Run again: finished parts are kept",
        ) from None
