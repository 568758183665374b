"""The files of a FHIR export, how they are written, and the parts of them that one task reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mayo_data.sources.location import RemotePath

PACKED = 8  # times that an archive is smaller than what is in it, roughly


@dataclass(frozen=True)
class SourceFile:
    """One file of an export.

    Attributes:
        path: Where it lies, here or in an object store (PHI zone: a name can be PHI).
        source_table: Its number in this run, by order of relative path; see `discover`.
        kind: `ndjson` or `json`.
        compression: `""`, `gz` or `zst`.
        size: Bytes on disk.
        crashed: Places at which a process ended, and which are left alone: see `mayo_data.sources.watch`.
    """

    path: Path | RemotePath
    source_table: int
    kind: str
    compression: str
    size: int
    crashed: frozenset[int] = frozenset()

    @property
    def format(self) -> str:
        """The format as the lineage names it, for example `ndjson.gz`."""
        return f"{self.kind}.{self.compression}" if self.compression else self.kind

    @property
    def weight(self) -> int:
        """How much there is to read, roughly, in bytes."""
        return self.size * (PACKED if self.compression else 1)


class Form(NamedTuple):
    """How a file is written.

    Attributes:
        kind: `lines`, `bundle` or `resource`.
        renamed: Not empty where entries of the Bundle call each other by names that are not their ids: a mark of this
            very survey, under which a process remembers the names.
        when: When the Bundle was written, in microseconds, where it says so.
    """

    kind: str = "lines"
    renamed: str = ""
    when: int | None = None


LINES = Form()


@dataclass(frozen=True)
class Split:
    """A part of a file that one task reads.

    Attributes:
        file: The file.
        start: First byte of its content, decompressed.
        end: Byte after the last, or None for the end of the file.
        first_row: Number of its first row, from 1.
        form: How the file is written.
    """

    file: SourceFile
    start: int = 0
    end: int | None = None
    first_row: int = 1
    form: Form = LINES

    @property
    def name(self) -> str:
        """A name for files of this split: numbers only."""
        return f"{self.file.source_table:06d}-{self.first_row:012d}"

    @property
    def weight(self) -> int:
        """How much work it is, roughly, in bytes."""
        return max((self.file.weight if self.end is None else self.end) - self.start, 1)


@dataclass(frozen=True)
class Survey:
    """What the first pass found in one file."""

    file: SourceFile
    sha256: str
    splits: tuple[Split, ...]
    broken: bool
