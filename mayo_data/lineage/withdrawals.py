"""Who has withdrawn: the subjects that no load may hand out and no later run may bring back."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mayo_data.errors import StoreError
from mayo_data.lineage import search


def withdrawn(ledger: Path) -> frozenset[int]:
    """Return the subjects of all withdrawals and erasures in a ledger.

    Readers ask before they hand out a snapshot, and runs before they build one.

    Args:
        ledger: Path of the store's ledger; a missing one knows of nobody.

    Raises:
        StoreError: The ledger cannot be read, or a withdrawal in it is damaged.

    >>> withdrawn(Path("no/ledger.jsonl"))
    frozenset()
    """
    try:
        return frozenset(int(one["body"]["subject_id"]) for one in search.of_kind(ledger, "withdrawal", "erasure"))
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError("the ledger is damaged", hint="run: mayo-data ledger verify") from error


def within(snapshot: Path, ledger: Path) -> int:
    """Return how many subjects of a snapshot have withdrawn: where there is one, it is not to be loaded.

    Args:
        snapshot: Folder of the snapshot.
        ledger: Path of the store's ledger.

    Raises:
        StoreError: The ledger or the snapshot cannot be read.
    """
    subjects = withdrawn(ledger)
    if not subjects:
        return 0
    table = search.found(snapshot / "metadata" / "subject_splits.parquet", {}, ["subject_id"])
    return int(np.isin(np.asarray(table.column("subject_id")), np.array(sorted(subjects), np.int64)).sum())


def tainted(ledger: Path) -> frozenset[str]:
    """Return the `training_id` of every model that was trained on a subject who withdrew later.

    Nothing is unlearned by this: it says which models would have to be trained again.

    Args:
        ledger: Path of the store's ledger.

    Raises:
        StoreError: The ledger cannot be read, or is damaged.

    >>> tainted(Path("no/ledger.jsonl"))
    frozenset()
    """
    found = search.of_kind(ledger, "withdrawal", "erasure")
    return frozenset(model for one in found for model in one["body"].get("models", ()))
