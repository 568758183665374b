"""Who is in a store, by group."""

from __future__ import annotations

from pathlib import Path

from mayo_data.dataset.opening import connect
from mayo_data.types import Json


def coverage(store: Path | str, *, snapshot: str | None = None, smallest: int = 11) -> Json:
    """Count subjects, events, notes, what is missing and the time span, by group: `md.coverage`.

    Groups are those of sex, age band, race, ethnicity, language and ZIP3. A cell of fewer subjects is withheld, and so
    is the next smallest wherever a total would give it away.

    Args:
        store: Folder of the store.
        snapshot: Name of a snapshot; the newest by default.
        smallest: Subjects in the smallest cell that is shown. 11 is the rule of the Centers for Medicare & Medicaid
            Services.

    Returns:
        See `mayo_data.quality.coverage.measure`; None stands for what is withheld.

    Raises:
        StoreError: There is no such store or snapshot.
    """
    from mayo_data.quality import coverage as groups

    with connect(store, snapshot) as db:
        return groups.measure(db, smallest=smallest)
