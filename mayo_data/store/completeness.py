"""What a snapshot holds of whom: counts by subject, resource type and source file."""

from __future__ import annotations

from pathlib import Path

from mayo_data.store import catalog
from mayo_data.types import Json

_TYPES = """
SELECT resource_type, count(*) AS resources, count(DISTINCT subject_id) AS subjects,
       (SELECT count(*) FROM subjects) - count(DISTINCT subject_id) AS subjects_without,
       sum(events)::BIGINT AS events, list(DISTINCT source_table ORDER BY source_table) AS sources
FROM resources GROUP BY resource_type ORDER BY resource_type
"""
_SOURCES = """
SELECT s.source_table, s.format, s.run_id, s.rows, count(r.resource_key) AS resources,
       count(DISTINCT r.subject_id) AS subjects
FROM sources s LEFT JOIN resources r USING (source_table) GROUP BY ALL ORDER BY s.source_table
"""
_SUBJECT = """
SELECT resource_type, source_table, s.run_id, count(*) AS resources, sum(events)::BIGINT AS events
FROM resources JOIN sources s USING (source_table) WHERE subject_id = ? GROUP BY ALL ORDER BY ALL
"""


def counted(store: Path, subject_id: int | None = None) -> dict[str, list[Json]]:
    """Return the counts of the newest snapshot: by resource type and by source file; or those of one subject.

    A resource counts where it gave at least one event; versions that were superseded do not.

    Args:
        store: Folder of the store.
        subject_id: One subject alone.

    Raises:
        StoreError: There is no such store.
    """
    with catalog.connect(store) as db:

        def rows(sql: str, *values: int) -> list[Json]:
            found = db.execute(sql, list(values))
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

        if subject_id is not None:
            return {"subject": rows(_SUBJECT, subject_id), "sources": rows(_SOURCES)}
        return {"types": rows(_TYPES), "sources": rows(_SOURCES)}
