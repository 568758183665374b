"""Judges every line, or a sample: is it a FHIR resource, by the models of `fhir.resources`?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Literal

import msgspec
import pyarrow as pa

from mayo_data import schema
from mayo_data.conformance import shapes
from mayo_data.conformance.acceptor import Acceptor
from mayo_data.conformance.element import library
from mayo_data.keys import fingerprint
from mayo_data.stage import fate

SAMPLE: Final = 50  # of which one is judged
_VERSION = "1"
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, ValueError)

_parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True)
class Validate:
    """Gives the fate `validate/not_fhir` to lines that are no FHIR resource: R4B by `fhir.resources`, and R4.

    A line that is refused leaves its body behind: file, line, element path and type of the error lead to it. What is
    not UTF-8, no JSON object, or of no type that can be judged, passes: the scrub has reasons of its own for it.

    Attributes:
        share: `all`, or `sample`: the first of every 50 lines of a file.
    """

    share: Literal["all", "sample"] = "all"
    name: str = field(default="validate", init=False)
    reads: str = field(default="raw", init=False)
    writes: str = field(default="checked", init=False)

    @property
    def fingerprint(self) -> str:
        """Digest of version, share, and the version of the library whose models these are."""
        return fingerprint(self.name, _VERSION, self.share, library())

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Turn `raw` batches into `checked` batches."""
        out = schema.table("checked")
        for batch in batches:
            numbers = batch.column("source_row").to_pylist()
            bodies: list[bytes | None] = batch.column("body").to_pylist()
            fates: list[str | None] = batch.column("fate").to_pylist()
            paths: list[str | None] = [None] * batch.num_rows
            every = self.share == "all"
            for row, body in enumerate(bodies):
                if fates[row] is not None or body is None or not (every or numbers[row] % SAMPLE == 1):
                    continue
                found = fault(body)
                if found is not None:
                    fates[row], paths[row], bodies[row] = fate("validate", "not_fhir"), found, None
            columns = [
                batch.column("source_table"), batch.column("source_row"),
                pa.array(bodies, pa.large_binary()) if any(paths) else batch.column("body"),
                pa.array(fates, pa.string()), pa.array(paths, pa.string()),
            ]  # fmt: skip
            yield pa.RecordBatch.from_arrays(columns, schema=out)


def fault(line: bytes) -> str | None:
    """Return what is wrong with a line: element path and type of the first error, never a value; None if nothing is.

    Args:
        line: One JSON text. What is not UTF-8, no object, or of no type that can be judged, has no fault here.

    >>> fault(b'{"resourceType": "Patient", "gender": "female", "birthDate": "1970-02-28"}')
    >>> fault(b'{"resourceType": "Patient", "name": [{"given": ["Ann", 5]}]}')
    'Patient.name[0].given[1]: string_type'
    >>> fault(b'no JSON at all')
    """
    acceptor = _acceptor()
    if acceptor.accepts(line):
        return None
    try:
        line.decode()
        kind = msgspec.json.decode(_parts(line).get("resourceType", b"null"))
    except _UNREADABLE:
        return None
    except RecursionError:
        return "?: RecursionError"  # where the stack ends is no property of the line: nobody shall read on
    if not isinstance(kind, str) or kind not in shapes.judged():
        return None
    from mayo_data.conformance.library import judge  # loads fhir.resources: only when something was refused

    return judge(line, kind, acceptor)


@cache
def _acceptor() -> Acceptor:
    return Acceptor()
