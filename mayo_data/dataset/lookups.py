"""What a store says of itself: where an event comes from, what arrived, whether it is valid, its manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mayo_data.dataset.opening import Dataset
from mayo_data.errors import StoreError
from mayo_data.lineage.ledger import Ledger
from mayo_data.store.layout import Store
from mayo_data.types import Json

if TYPE_CHECKING:
    from mayo_data.store.finding import Finding


def completeness(store: Path | str, subject_id: int | None = None) -> Json:
    """Return what arrived when, from which export, and what is missing against its manifest.

    Args:
        store: Folder of the store.
        subject_id: One subject alone; otherwise the counts of all.

    Returns:
        `types` (resource type: resources, subjects, subjects without any, events), `sources` (file: when it arrived,
        rows, resources that gave events, how many its manifest lists, how many are missing), or `subject`
        (resource type by file). What a manifest does not say is None.

    Raises:
        StoreError: There is no such store, or no such subject in it.
    """
    from mayo_data.store import completeness as counts

    found: Json = dict(counts.counted(Path(store), subject_id))
    if subject_id is not None and not found["subject"]:
        raise StoreError("no such subject in this snapshot", hint="view subject lists them")
    runs = {record["body"]["run_id"]: record for record in Ledger(Store.open(Path(store)).ledger).records("run")}
    for source in found["sources"]:
        run = runs.get(source["run_id"])
        inputs = run["body"].get("inputs", []) if run else []
        listed = next((one.get("listed") for one in inputs if one["source_table"] == source["source_table"]), None)
        source["arrived"] = run["at"] if run else None
        source["listed"] = listed
        source["missing"] = max(listed - source["rows"], 0) if listed is not None else None
    arrived = {source["source_table"]: source["arrived"] for source in found["sources"]}
    for row in found.get("subject", ()):
        row["arrived"] = arrived.get(row["source_table"])
    for row in found.get("types", ()):
        days = sorted(day for table in row["sources"] if (day := arrived.get(table)))
        row["first_arrived"], row["last_arrived"] = (days[0], days[-1]) if days else (None, None)
    return found


def validate(path: Path | str) -> list[Finding]:
    """Check any MEDS dataset, or the newest snapshot of a store, against the rules of MEDS 0.4.

    Returns:
        What is wrong; empty for a valid dataset.
    """
    from mayo_data.store import validate as rules

    return rules.validate(Path(path))


def manifest(store: Path | str) -> Any:
    """Return the manifest of the newest snapshot."""
    from mayo_data.store import snapshot

    return snapshot.Manifest.read(Dataset(store).path)
