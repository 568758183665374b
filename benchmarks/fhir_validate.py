"""The acceptor beside fhir.resources: `python benchmarks/fhir_validate.py EXPORT [--lines 2000] [--json FILE]`.

One process, the same lines for both, in memory and unpacked; processor time, so that neighbours do not count. The
acceptor reads all of them, the library the first lines of each file. Prints MB/s, the ratio, and how many lines the
acceptor left to the library.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

import msgspec
from fhir.resources.R4B import get_fhir_model_class  # noqa: TID251 - what the acceptor is measured against
from rich.console import Console
from rich.table import Table
from whole_run import lines_of

from mayo_data.conformance.acceptor import Acceptor


class Typed(msgspec.Struct):
    resourceType: str  # noqa: N815 - the name of the element


def accepted(acceptor: Acceptor, lines: list[bytes]) -> tuple[float, int]:
    """Seconds, and how many lines were left to the library."""
    began = time.process_time()
    left = sum(not acceptor.accepts(line) for line in lines)
    return time.process_time() - began, left


def judged(lines: list[bytes]) -> float:
    """Seconds that the library takes; what it refuses is refused."""
    kinds = [msgspec.json.decode(line, type=Typed).resourceType for line in lines]
    began = time.process_time()
    for line, kind in zip(lines, kinds, strict=True):
        try:
            get_fhir_model_class(kind).model_validate_json(line)
        except ValueError:
            continue
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("--lines", type=int, default=2000, help="lines of each file that the library judges")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    acceptor = Acceptor()
    table = Table()
    for name in ("file", "lines", "MB", "acceptor MB/s", "fhir.resources MB/s", "ratio", "left to the library"):
        table.add_column(name, justify="left" if name == "file" else "right")
    size = left = 0
    fast = slow = 0.0
    for path in sorted(path for path in arguments.export.rglob("*") if ".ndjson" in path.name):
        lines = lines_of(path)
        some = lines[: arguments.lines]
        accepted(acceptor, some[:1])  # builds the structs of the type
        judged(some[:1])  # loads its model
        taken, refused = accepted(acceptor, lines)
        whole = sum(map(len, lines))
        library = judged(some) * whole / max(1, sum(map(len, some)))
        size, left, fast, slow = size + whole, left + refused, fast + taken, slow + library
        table.add_row(
            path.name, f"{len(lines):,}", f"{whole / 1e6:.1f}", f"{whole / 1e6 / taken:.0f}",
            f"{whole / 1e6 / library:.1f}", f"{library / taken:.0f} ×", f"{refused:,}",
        )  # fmt: skip
    table.add_section()
    table.add_row(
        "all", "", f"{size / 1e6:.1f}", f"{size / 1e6 / fast:.0f}", f"{size / 1e6 / slow:.1f}", f"{slow / fast:.0f} ×",
        f"{left:,}",
    )  # fmt: skip
    console = Console(width=140)
    console.print(table)
    console.print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; one process")
    if arguments.json:
        found = {"bytes": size, "acceptor_seconds": fast, "library_seconds": slow, "left": left}
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
