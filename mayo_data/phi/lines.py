"""A line of an export as the scrub first looks at it: taken apart, its parts still as they are written."""

from __future__ import annotations

import msgspec

from mayo_data.phi import fhir_dates
from mayo_data.phi.actions import parse, parts
from mayo_data.phi.identifiers import reference_key
from mayo_data.phi.subject import Reject


def opened(body: bytes) -> dict[str, msgspec.Raw]:
    """Take a line apart: top-level elements, each still as it is written.

    Args:
        body: The line, of any bytes.

    Raises:
        Reject: It is not UTF-8, no JSON, or no object.

    >>> list(opened(b'{"id": "1"}'))
    ['id']
    """
    try:
        if not body.isascii():
            body.decode("utf-8")
        return parts(body)
    except UnicodeDecodeError:
        raise Reject("bad_utf8") from None
    except msgspec.ValidationError:
        raise Reject("not_an_object") from None
    except (msgspec.DecodeError, RecursionError):
        raise Reject("bad_json") from None


def string(raw: msgspec.Raw) -> str | None:
    """Return a JSON string; None for what is none."""
    value = bytes(raw)
    if value[:1] != b'"':
        return None
    return value[1:-1].decode() if b"\\" not in value else str(parse(value))


def reference(raw: bytes, hint: str) -> str | None:
    """Key of a reference; of a list, of the first that names a patient."""
    try:
        value = parse(raw)
    except msgspec.DecodeError:
        return None
    keys = [reference_key(one, hint) for one in (value if type(value) is list else [value])]
    return next((key for key in keys if key is not None and key.startswith("Patient/")), keys[0] if keys else None)


def version(raw: msgspec.Raw) -> int | None:
    """Order of versions: microseconds of meta.lastUpdated. Real time, so it never leaves the PHI zone."""
    if b"lastUpdated" not in bytes(raw):
        return None
    try:
        meta = parse(raw)
        text = meta.get("lastUpdated") if type(meta) is dict else None
        return fhir_dates.microseconds(text) if type(text) is str else None
    except msgspec.DecodeError:
        return None
