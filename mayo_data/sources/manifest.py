"""The `manifest.json` of a Bulk Data export: which files the server says there are, and how many resources in each.

The manifest is the only way to know that a file is missing, or was cut at the end of a line. It names files by URL;
what is taken from it is a name inside the folder in which it lies, never a place to go to.

Source: HL7 FHIR Bulk Data Access 2.0, Export, response of a complete request.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import msgspec

from mayo_data.errors import SourceError

NAME = "manifest.json"
LONGEST = 64 << 20  # bytes; a manifest over that is no manifest
_PACKED = ("", ".gz", ".zst")


class Listed(msgspec.Struct, frozen=True):
    """One line of a manifest.

    Attributes:
        url: Where the server kept the file.
        type: Type of the resources in it.
        count: Number of the resources, where the server says it.
    """

    url: str
    type: str | None = None
    count: int | None = None


class Manifest(msgspec.Struct, frozen=True):
    """What of a Bulk Data manifest matters here: files of resources, of deletions, and of what went wrong.

    >>> found = read(b'{"output": [{"type": "Patient", "url": "https://e.org/1/Patient.ndjson", "count": 7}]}')
    >>> found.output[0].count
    7
    """

    output: list[Listed]
    deleted: list[Listed] | None = None
    error: list[Listed] | None = None


def read(raw: bytes) -> Manifest | None:
    """Parse a `manifest.json`; return None where it is JSON but no manifest of a Bulk Data export.

    Args:
        raw: The file.

    Raises:
        SourceError: It is not JSON, or its `output`, `deleted` or `error` have the wrong shape.
    """
    try:
        whole = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        if "output" not in whole:
            return None
        return msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if isinstance(error, msgspec.ValidationError) and b'"output"' not in raw:
            return None
        raise SourceError(
            "manifest.json cannot be read", hint="ask for it again, or take it out of the folder"
        ) from None


def match(
    manifest: Manifest, folder: tuple[str, ...], there: Mapping[tuple[str, ...], object]
) -> dict[tuple[str, ...], int]:
    """Find the files of `output`, `deleted` and `error`; return how many resources are in those that say it.

    Args:
        manifest: The manifest.
        folder: Where it lies, relative to the input.
        there: Files of the input that are read, by their relative path.

    Raises:
        SourceError: It names a place outside its folder, or a file that is not there.
    """
    counts: dict[tuple[str, ...], int] = {}
    lines = [(line, line.count) for line in manifest.output]
    lines += [(line, None) for line in (*(manifest.deleted or ()), *(manifest.error or ()))]
    missing = 0
    for line, count in lines:
        parts = _place(line.url)
        names = [(*folder, *parts[:-1], parts[-1] + packed) for packed in _PACKED]
        at = next((name for name in names if name in there), None)
        if at is None:
            missing += 1
        elif count is not None:
            counts[at] = count
    if missing:
        raise SourceError(
            f"{missing} of {len(lines)} files that manifest.json lists are not in its folder",
            hint="the export is not complete: fetch them too. Files renamed on the way? Then take manifest.json out",
        )
    return counts


def _place(url: str) -> tuple[str, ...]:
    """The file's path inside the folder: a URL of a server gives its last part, a relative one all of it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _outside() from None
    if parts.scheme and parts.netloc and parts.scheme != "file":
        place: tuple[str, ...] = (unquote(parts.path).rpartition("/")[2],)
    elif parts.scheme or url.startswith(("/", "\\")):
        raise _outside()
    else:
        place = PurePosixPath(unquote(url)).parts
    if not place or any(part in ("", "..", ".") or "/" in part or "\\" in part or "\0" in part for part in place):
        raise _outside()
    return place


def _outside() -> SourceError:
    return SourceError(
        "manifest.json names a place outside its folder", hint="only files beside it, or below, are read; mend it"
    )
