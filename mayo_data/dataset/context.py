"""What a model is given when it predicts: the history of one subject as it was knowable at that time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from mayo_data.dataset import cutting
from mayo_data.dataset.shelf import shelf
from mayo_data.dataset.trust import SPLITS, Verify, trust
from mayo_data.errors import ConfigError, StoreError
from mayo_data.lineage import consumption, inputs
from mayo_data.lineage.ledger import Ledger
from mayo_data.store import write
from mayo_data.store.layout import MANIFEST, Store

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Context:
    """The history of a subject at a time, and where it is recorded.

    Attributes:
        subject_id: The subject.
        at: The time, UTC.
        events: The events that were knowable then, in order: what `cut` leaves of the subject's timeline.
        lineage_id: Id of the record `context` in the ledger; a prediction keeps it.
        inputs: Digest of the list of the events' ids, which is kept beside the ledger.
        snapshot: The snapshot they are from.

    >>> Context(7, datetime(2020, 1, 1), pa.table({}), "L-1", "ab", "000001").subject_id
    7
    """

    subject_id: int
    at: datetime
    events: pa.Table = field(repr=False)
    lineage_id: str
    inputs: str
    snapshot: str

    def pandas(self) -> pd.DataFrame:
        """Return the events as a pandas data frame."""
        frame: pd.DataFrame = self.events.to_pandas()
        return frame


def context(
    store: Store,
    path: Path,
    subject_id: int,
    at: datetime | str,
    *,
    consumer: str,
    columns: Sequence[str] | None = None,
    override: str | None = None,
    verify: Verify = "cached",
) -> Context:
    """Return the history of a subject that was knowable at a time; see `Dataset.context`.

    Raises:
        ConfigError: `at` is no time, the consumer no name, or there is no such column.
        StoreError: There is no such subject, or she or he has withdrawn, or the snapshot may not be read.
    """
    moment, who = cutting.moment(at), consumption.named("consumer", consumer)
    try:
        subject_id = int(subject_id)
    except (TypeError, ValueError):
        raise ConfigError("a subject_id is a whole number", hint="subjects() lists them") from None
    found = shelf(path, write.sha256(path / MANIFEST))
    if columns is not None and (not columns or not set(columns) <= set(found.schema.names)):
        raise ConfigError("there is no such column", hint=f"use some of {', '.join(found.schema.names)}")
    events, file = None, None
    for file in found.file_of(subject_id):
        rows = found.one(subject_id, file)
        if rows.num_rows:
            events = rows
            break
    files = [SPLITS] if events is None else [SPLITS, f"data/{file}"]
    trusted = trust(store, path, consumer=who, verify=verify, override=override, files=files)
    if subject_id in trusted.withdrawn:
        raise StoreError("this subject has withdrawn", hint="no override lets such a history be read")
    if events is None:
        raise StoreError("no such subject in this snapshot", hint="subjects() lists them")
    knowable = cutting.cut(events, moment)
    folder = store.ledger.parent
    digest = inputs.write(folder, knowable.select(inputs.SCHEMA.names))
    lineage_id = consumption.lineage_id()
    body = {
        "lineage_id": lineage_id,
        "snapshot": path.name,
        "manifest_sha256": trusted.manifest_sha256,
        "subject_id": subject_id,
        "at": moment.isoformat(),
        "consumer": who,
        "events": knowable.num_rows,
        "inputs": digest,
        "override": trusted.override,
    }
    Ledger(store.ledger).append("context", body)
    shown = knowable if columns is None else knowable.select(list(columns))
    return Context(subject_id, moment, shown, lineage_id, digest, path.name)
