"""What a snapshot holds of whom: counts by subject, resource type and source file."""

from __future__ import annotations

from pathlib import Path

from mayo_data.store import catalog
from mayo_data.types import Json

# OMOP tables leave no arrivals: of them, what gave events is all that is known.
_ARRIVED = """
WITH kept AS (
  SELECT source_table, subject_id, resource_type, count(*) AS current, sum(events)::BIGINT AS events
  FROM resource GROUP BY ALL
), came AS (
  SELECT source_table, subject_id, resource_type, coalesce(a.resources, k.current) AS arrived,
         coalesce(k.current, 0) AS with_events, coalesce(k.events, 0) AS events
  FROM arrival a FULL JOIN kept k USING (source_table, subject_id, resource_type)
)
"""
_TYPES = f"""{_ARRIVED}
SELECT resource_type, sum(arrived)::BIGINT AS resources, sum(with_events)::BIGINT AS with_events,
       count(DISTINCT subject_id) AS subjects,
       (SELECT count(*) FROM subject) - count(DISTINCT subject_id) AS subjects_without,
       sum(events)::BIGINT AS events, list(DISTINCT source_table ORDER BY source_table) AS sources
FROM came GROUP BY resource_type ORDER BY resource_type
"""
_SOURCES = f"""{_ARRIVED}
SELECT s.source_table, s.format, s.run_id, s.rows, coalesce(sum(arrived), 0)::BIGINT AS resources,
       coalesce(sum(with_events), 0)::BIGINT AS with_events, count(DISTINCT subject_id) AS subjects
FROM source s LEFT JOIN came USING (source_table) GROUP BY ALL ORDER BY s.source_table
"""
_SUBJECT = f"""{_ARRIVED}
SELECT resource_type, source_table, s.run_id, arrived AS resources, with_events, events
FROM came JOIN source s USING (source_table) WHERE subject_id = ? ORDER BY ALL
"""


def counted(store: Path, subject_id: int | None = None) -> dict[str, list[Json]]:
    """Return the counts of the newest snapshot: by resource type and by source file; or those of one subject.

    `resources` is what arrived about a subject, each version counted. `with_events` are those of which events stand
    in the snapshot: not those that give none, nor versions that were superseded.

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
