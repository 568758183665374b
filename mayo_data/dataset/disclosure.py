"""How easily a subject of a store could be singled out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mayo_data.dataset.opening import connect
from mayo_data.types import Json


def risk(
    store: Path | str,
    *,
    snapshot: str | None = None,
    quasi: Sequence[str] | None = None,
    sensitive: Sequence[str] | None = None,
    threshold: int = 11,
    population: int | None = None,
) -> Json:
    """Measure how easily a subject of a store could be singled out: `md.risk`, and what `mayo-data risk` calls.

    Args:
        store: Folder of the store.
        snapshot: Name of a snapshot; the newest by default.
        quasi: What others may know of a subject, of `age_band`, `sex`, `race`, `ethnicity`, `zip3`,
            `admission_year`, `rarest_code` (a code that few have), `sequence` (the first conditions); by default the
            first six.
        sensitive: What they want to know; by default `condition`, the condition that the subject has most entries of.
        threshold: Class size below which a subject is at risk.
        population: People that the store is a sample of.

    Returns:
        `quasi`; `risk`, see `mayo_data.quality.risk.Risk`; `options`, see `mayo_data.quality.profile.Option`.

    Raises:
        StoreError: There is no such store.
        ConfigError: There is no such column, or the store has no subject.
    """
    from dataclasses import asdict

    from mayo_data.quality import profile
    from mayo_data.quality import risk as measures

    columns = tuple(quasi or profile.QUASI)
    with connect(store, snapshot) as db:
        table = profile.make(db)
        wanted = tuple(profile.SENSITIVE if sensitive is None else sensitive)
        found = measures.assess(db, table, columns, wanted, threshold=threshold, population=population)
        options = profile.options(db, table, columns, threshold)
    return {"quasi": list(columns), "risk": found.dict(), "options": [asdict(option) for option in options]}
