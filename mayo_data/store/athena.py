"""A vocabulary downloaded from OHDSI Athena, held in a DuckDB file of its own: millions of concepts, few in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

import duckdb

from mayo_data.errors import SourceError
from mayo_data.store import tables
from mayo_data.store.scratch import OFFLINE

_T = TypeVar("_T")
_MOST = 500_000  # answers remembered before the memory starts anew
_COLUMNS = {
    "concept": ("concept_id", "domain_id", "vocabulary_id", "concept_class_id", "standard_concept", "concept_code",
                "invalid_reason"),
    "concept_relationship": ("concept_id_1", "concept_id_2", "relationship_id", "invalid_reason"),
}  # fmt: skip
_NUMBER = "try_cast(try_cast({0} AS DOUBLE) AS INTEGER)"
_FOUND = "SELECT concept_id, domain_id, vocabulary_id, concept_class_id, standard, concept_code FROM "


class Athena(Generic[_T]):
    """Answers what a map asks a vocabulary; use it as a context manager.

    The concepts are sorted by code, and once more by number, so that a question reads one row group. Answers are
    remembered: an export asks for the same few thousand codes again and again.

    Args:
        folder: Folder with `CONCEPT.csv` and `CONCEPT_RELATIONSHIP.csv`, as Athena unpacks them, or as Parquet.
        concept: Makes a concept of concept_id, domain, vocabulary, class, whether it is standard and valid, code.

    Raises:
        SourceError: A table or a column is missing, or a file cannot be read.
    """

    def __init__(self, folder: Path, concept: Callable[..., _T]) -> None:
        files = tables.listing(folder)
        lacking = [name for name in _COLUMNS if name not in files]
        if lacking:
            raise SourceError(
                f"the vocabulary has no table {' and no '.join(lacking)}",
                hint="download it from https://athena.ohdsi.org; it has CONCEPT.csv and CONCEPT_RELATIONSHIP.csv",
            )
        self._concept = concept
        self._known: dict[tuple[Any, ...], Any] = {}
        self._place = tempfile.TemporaryDirectory(prefix="vocabulary")
        self._db = duckdb.connect(
            str(Path(self._place.name) / "vocabulary.duckdb"),
            config={**OFFLINE, "threads": 2, "memory_limit": "768MB", "temp_directory": self._place.name},
        )
        try:
            self._load(files)
        except duckdb.Error as error:
            self.close()
            raise SourceError(
                "a table of the vocabulary cannot be read", hint="is the download complete, and unpacked as it came?"
            ) from error
        except SourceError:
            self.close()
            raise

    def _load(self, files: dict[str, Path]) -> None:
        for name, wanted in _COLUMNS.items():
            scan = tables.scan(files[name])
            columns = {str(row[0]).lower() for row in self._db.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()}
            lacking = [column for column in wanted if column not in columns]
            if lacking:
                raise SourceError(f"{name} of the vocabulary has no column {lacking[0]}", hint="is it Athena's file?")
        self._db.execute(f"""
            CREATE TABLE by_code AS
            SELECT {_NUMBER.format("concept_id")} AS concept_id, domain_id, vocabulary_id, concept_class_id,
                   coalesce(standard_concept = 'S', false) AND nullif(invalid_reason, '') IS NULL AS standard,
                   CAST(concept_code AS VARCHAR) AS concept_code
            FROM {tables.scan(files["concept"])}
            WHERE {_NUMBER.format("concept_id")} IS NOT NULL
            ORDER BY concept_code, vocabulary_id""")
        self._db.execute("CREATE TABLE by_id AS SELECT * FROM by_code ORDER BY concept_id")
        self._db.execute(f"""
            CREATE TABLE link AS
            SELECT {_NUMBER.format("concept_id_1")} AS start_id, {_NUMBER.format("concept_id_2")} AS end_id,
                   relationship_id
            FROM {tables.scan(files["concept_relationship"])}
            WHERE relationship_id IN ('Maps to', 'Maps to value') AND nullif(invalid_reason, '') IS NULL
            ORDER BY start_id""")

    def find(self, vocabulary: str, code: str) -> _T | None:
        """Return the concept that a code of a vocabulary names."""
        at = ("find", vocabulary, code)
        if at not in self._known:
            query = f"{_FOUND} by_code WHERE concept_code = ? AND vocabulary_id = ? ORDER BY concept_id LIMIT 1"
            self._keep(at, next(iter(self._made(query, code, vocabulary)), None))
        found: _T | None = self._known[at]
        return found

    def get(self, concept_id: int) -> _T | None:
        """Return a concept by its number."""
        at = ("get", concept_id)
        if at not in self._known:
            query = f"{_FOUND} by_id WHERE concept_id = ? LIMIT 1"
            self._keep(at, next(iter(self._made(query, concept_id)), None) if abs(concept_id) < 2**31 else None)
        found: _T | None = self._known[at]
        return found

    def standards(self, concept_id: int) -> tuple[_T, ...]:
        """Return the standard concepts that a concept `Maps to`; a standard one maps to itself, said or not."""
        at = ("standards", concept_id)
        if at not in self._known:
            itself = f"{_FOUND} by_id WHERE concept_id = ? AND standard LIMIT 1"
            self._keep(at, self._targets("Maps to", concept_id) or tuple(self._made(itself, concept_id)))
        found: tuple[_T, ...] = self._known[at]
        return found

    def answers(self, concept_id: int) -> tuple[_T, ...]:
        """Return the standard concepts that a concept `Maps to value`."""
        return self._targets("Maps to value", concept_id)

    def close(self) -> None:
        """Close the database and remove its file."""
        self._db.close()
        self._place.cleanup()

    def _targets(self, kind: str, concept_id: int) -> tuple[_T, ...]:
        at = (kind, concept_id)
        if at not in self._known:
            query = (
                f"{_FOUND} by_id WHERE standard AND concept_id IN"
                " (SELECT end_id FROM link WHERE start_id = ? AND relationship_id = ?) ORDER BY concept_id"
            )
            self._keep(at, tuple(self._made(query, concept_id, kind)))
        found: tuple[_T, ...] = self._known[at]
        return found

    def _made(self, query: str, *values: Any) -> list[_T]:
        return [self._concept(*row) for row in self._db.execute(query, values).fetchall()]

    def _keep(self, at: tuple[Any, ...], answer: Any) -> None:
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[at] = answer

    def __enter__(self) -> Athena[_T]:
        """Return the vocabulary."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()
