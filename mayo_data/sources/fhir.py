"""Reads FHIR exports: folders of ndjson (plain, gzip, zstd), Bundles and single resources.

Two passes. `survey` hashes each file, finds where it can be split, and hands over the resources that name people
and places, so that everything is known before the first text is scrubbed. `read` then yields the lines of one
split as `raw` batches.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import msgspec
import pyarrow as pa

from mayo_data import assets, schema
from mayo_data.errors import SourceError
from mayo_data.sources.blocks import Broken, blocks, regions
from mayo_data.stage import fate
from mayo_data.types import Json

_NAME = re.compile(r"\.(ndjson|jsonl|json)(?:\.(gz|zst))?$", re.IGNORECASE)
_FIRST_KEY = re.compile(rb'\s*\{\s*"resourceType"\s*:\s*"([A-Za-z]+)"')
_URN = re.compile(rb'"urn:uuid:[0-9A-Za-z-]{1,64}"')
_UNPARSABLE = (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError, ArithmeticError)
_BOM = b"\xef\xbb\xbf"
_ROWS = 4096
_BYTES = 4 << 20
SPLIT_BYTES = 32 << 20

_decode = msgspec.json.Decoder(float_hook=Decimal).decode  # a Decimal keeps the digits: 1.10 stays 1.10
_encode = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True)
class SourceFile:
    """One file of an export.

    Attributes:
        path: Where it lies (PHI zone: a name can be PHI).
        source_table: Its number in this run, by order of relative path.
        kind: `ndjson` or `json`.
        compression: `""`, `gz` or `zst`.
        size: Bytes on disk.
    """

    path: Path
    source_table: int
    kind: str
    compression: str
    size: int

    @property
    def format(self) -> str:
        """The format as the lineage names it, for example `ndjson.gz`."""
        return f"{self.kind}.{self.compression}" if self.compression else self.kind


@dataclass(frozen=True)
class Split:
    """A part of a file that one task reads.

    Attributes:
        file: The file.
        start: First byte.
        end: Byte after the last, or None for the end of the file.
        first_row: Number of its first line, from 1.
    """

    file: SourceFile
    start: int = 0
    end: int | None = None
    first_row: int = 1

    @property
    def name(self) -> str:
        """A name for files of this split: numbers only."""
        return f"{self.file.source_table:06d}-{self.first_row:012d}"

    @property
    def weight(self) -> int:
        """How much work it is, roughly, in bytes."""
        bytes_ = (self.file.size if self.end is None else self.end) - self.start
        return bytes_ * (8 if self.file.compression else 1)


@dataclass(frozen=True)
class Survey:
    """What the first pass found in one file."""

    file: SourceFile
    sha256: str
    splits: tuple[Split, ...]
    broken: bool


def discover(root: Path) -> list[SourceFile]:
    """List the files of an export, in order of their relative path.

    Args:
        root: A folder (searched recursively) or one file.

    Raises:
        SourceError: There is no such place, or nothing in it that this library reads.
    """
    if not root.exists():
        raise SourceError("the input does not exist", hint="check --input")
    found = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    files: list[SourceFile] = []
    for path in found:
        match = _NAME.search(path.name)
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if match is None or hidden or (path.name == "manifest.json" and len(found) > 1):
            continue
        kind = "json" if match[1].lower() == "json" else "ndjson"
        files.append(SourceFile(path, len(files), kind, (match[2] or "").lower(), path.stat().st_size))
    if not files:
        raise SourceError(
            "the input holds no FHIR file",
            hint="expected *.ndjson, *.jsonl or *.json, plain, .gz or .zst, at any depth",
        )
    return files


def survey(file: SourceFile, named: Callable[[Json], None], *, longest: int, split_bytes: int = SPLIT_BYTES) -> Survey:
    """Read a file once: digest, splits, and the resources that name people, places and medications.

    Args:
        file: The file.
        named: Called with each such resource.
        longest: Longest line that is read, in bytes.
        split_bytes: Size of a split, in bytes; only uncompressed ndjson can be split.

    Raises:
        SourceError: The file cannot be opened.
    """
    listed = assets.toml("schemas", "fhir", "resource_types.toml")["survey"]
    wanted = frozenset(listed)
    pattern = re.compile(rb'"resourceType"\s*:\s*"(?:' + "|".join(listed).encode() + rb')"')
    try:
        with file.path.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(
            f"file {file.source_table} cannot be read: {error.strerror}", hint="check its permissions"
        ) from error
    splits: list[Split] = []
    broken = False
    if file.kind == "json" and not _is_lines(file):
        rows, broken = _document(file, longest)
        for _, body, _ in rows:
            if body is not None and pattern.search(body):
                _name(body, wanted, named)
        return Survey(file, sha256, (Split(file),), broken)
    start = offset = 0
    row = first_row = 1
    try:
        for region in regions(blocks(file.path, file.compression), longest):
            if region is None:
                row += 1
                offset = -1  # after a line that was skipped, offsets are unknown: the rest is one split
                continue
            last = -1
            for match in pattern.finditer(region):
                begin = region.rfind(b"\n", 0, match.start()) + 1
                if begin == 0 and row == 1 and region.startswith(_BOM):
                    begin = len(_BOM)
                if begin == last:
                    continue
                last = begin
                end = region.find(b"\n", match.end())
                line = region[begin : end if end >= 0 else None]
                first = _FIRST_KEY.match(line)
                # Usually the first key tells; a contained resource alone does not make the line one of ours.
                if first is None or first[1].decode() in wanted:
                    _name(line, wanted, named)
            row += region.count(b"\n") + 1
            if offset >= 0:
                offset += len(region) + 1
                if not file.compression and offset - start >= split_bytes and offset < file.size:
                    splits.append(Split(file, start, offset, first_row))
                    start, first_row = offset, row
    except Broken:
        broken = True
    splits.append(Split(file, start, None, first_row))
    return Survey(file, sha256, tuple(splits), broken)


def read(split: Split, *, longest: int) -> Iterator[pa.RecordBatch]:
    """Yield the lines of a split, or the entries of a Bundle, as `raw` batches of at most about 4 MiB.

    Blank lines are no rows. What cannot be read becomes a row with a fate: a line over the limit, the place where
    a file breaks, a document that is no Bundle.

    Args:
        split: What to read.
        longest: Longest line that is read, in bytes.
    """
    table = split.file.source_table
    bodies: list[bytes | None] = []
    numbers: list[int] = []
    fates: list[str | None] = []
    size = 0
    for number, body, reason in _rows(split, longest):
        bodies.append(body)
        numbers.append(number)
        fates.append(fate("read", reason) if reason else None)
        size += len(body) if body is not None else 0
        if len(bodies) >= _ROWS or size >= _BYTES:
            yield _batch(table, numbers, bodies, fates)
            bodies, numbers, fates, size = [], [], [], 0
    if bodies:
        yield _batch(table, numbers, bodies, fates)


def _batch(table: int, numbers: list[int], bodies: list[bytes | None], fates: list[str | None]) -> pa.RecordBatch:
    columns = [
        pa.array([table] * len(numbers), pa.int32()), pa.array(numbers, pa.int64()),
        pa.array(bodies, pa.large_binary()), pa.array(fates, pa.string()),
    ]  # fmt: skip
    return pa.RecordBatch.from_arrays(columns, schema=schema.table("raw"))


def _rows(split: Split, longest: int) -> Iterator[tuple[int, bytes | None, str]]:
    """Yield row number, body, and why the row ends here (or an empty string)."""
    file = split.file
    if file.kind == "json" and not _is_lines(file):
        yield from _document(file, longest)[0]
        return
    number = split.first_row
    try:
        for region in regions(blocks(file.path, file.compression, split.start, split.end), longest):
            if region is None:
                yield number, None, "line_too_long"
                number += 1
                continue
            if number == 1 and region.startswith(_BOM):
                region = region[len(_BOM) :]
            for line in region.split(b"\n"):
                if line and not line.isspace():
                    yield number, line, ""
                number += 1
    except Broken:
        yield number, None, "corrupt_file"


def _is_lines(file: SourceFile) -> bool:
    """Whether a .json file is ndjson by another name: its first line alone is a resource, and no Bundle."""
    try:
        line, end, _ = next(blocks(file.path, file.compression), b"").removeprefix(_BOM).partition(b"\n")
    except Broken:
        return False
    first = _FIRST_KEY.match(line)
    if not end or (first is not None and first[1] == b"Bundle"):
        return False
    return _is_resource(line)


def _is_resource(line: bytes) -> bool:
    try:
        found = _decode(line)
    except _UNPARSABLE:
        return False
    return isinstance(found, dict) and isinstance(found.get("resourceType"), str) and found["resourceType"] != "Bundle"


def _document(file: SourceFile, longest: int) -> tuple[list[tuple[int, bytes | None, str]], bool]:
    """Take a .json file apart: a Bundle into its entries, one resource as it is, ndjson by another name too."""
    held: list[bytes] = []
    size = 0
    try:
        for block in blocks(file.path, file.compression):
            held.append(block)
            size += len(block)
            if size > max(longest, 1 << 30):
                return [(1, None, "line_too_long")], False
    except Broken:
        return [(1, None, "corrupt_file")], True
    body = b"".join(held).removeprefix(_BOM)
    try:
        whole = _decode(body)
    except _UNPARSABLE:
        lines = body.split(b"\n")
        if any(_is_resource(line) for line in lines):  # ndjson whose first line is bad
            return [(number, line, "") for number, line in enumerate(lines, 1) if line and not line.isspace()], False
        return [(1, body[: 1 << 20] or None, "not_a_bundle")], False
    if not isinstance(whole, dict) or whole.get("resourceType") != "Bundle":
        return [(1, body, "")], False
    rows: list[tuple[int, bytes | None, str]] = []
    entries = whole.get("entry", [])
    named = _full_urls(entries)
    for number, entry in enumerate(entries if isinstance(entries, list) else [], 1):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(resource, dict):
            url = entry.get("fullUrl")
            if "id" not in resource and isinstance(url, str) and url.startswith("urn:uuid:"):
                resource["id"] = url[9:]
            rows.append((number, _URN.sub(lambda match: named.get(match[0], match[0]), _encode(resource)), ""))
        else:
            rows.append((number, _encode(entry), ""))  # scrub will say what is wrong with it
    return rows, False


def _full_urls(entries: object) -> dict[bytes, bytes]:
    """How the entries of a Bundle call each other by `urn:uuid:`, where that is not the resource's own id."""
    named: dict[bytes, bytes] = {}
    for entry in entries if isinstance(entries, list) else []:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        url = entry.get("fullUrl") if isinstance(entry, dict) else None
        if isinstance(resource, dict) and isinstance(url, str) and _URN.fullmatch(f'"{url}"'.encode()):
            kind, ident = resource.get("resourceType"), resource.get("id")
            if isinstance(kind, str) and isinstance(ident, str) and ident != url[9:]:
                named[f'"{url}"'.encode()] = _encode(f"{kind}/{ident}")
    return named


def _name(line: bytes, wanted: frozenset[str], named: Callable[[Json], None]) -> None:
    try:
        resource = _decode(line)
    except _UNPARSABLE:
        return  # the read pass gives it a fate
    if isinstance(resource, dict) and resource.get("resourceType") in wanted:
        named(resource)
