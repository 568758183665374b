"""Exports what a store says of itself in the standards of others: OpenLineage, PROV, Croissant, FHIR, cards."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import orjson
import pyarrow as pa
import pyarrow.dataset as ds

from mayo_data.dataset.opening import Dataset
from mayo_data.errors import ConfigError, StoreError
from mayo_data.lineage.ledger import Ledger
from mayo_data.lineage.standards import cards, croissant, fhir, openlineage, prov, writing
from mayo_data.lineage.standards.account import Account, Covered
from mayo_data.types import Json

FORMS: Final = ("openlineage", "prov", "croissant", "fhir", "model-card", "datasheet", "ai-act")
_GROUPS = ("sex", "age_band", "race", "ethnicity", "language")


def account(store: Path | str, snapshot: str | None = None, *, types: bool = True, groups: bool = True) -> Account:
    """Return the account of a store that every export is rendered from.

    Args:
        store: Folder of the store.
        snapshot: Name of a snapshot; the newest by default.
        types: Whether resources are counted by type.
        groups: Whether subjects are counted by group, small groups withheld; this reads the events.

    Raises:
        StoreError: There is no such store or snapshot, or a file of it cannot be read.
    """
    from mayo_data.store.snapshot import Manifest

    found = Dataset(store, snapshot)
    manifest = Manifest.read(found.path)
    counted = _covered(found) if groups else Covered()
    return Account(
        tuple(Ledger(found.store.ledger).records()),
        found.path.name,
        orjson.loads(manifest.encode()),
        manifest.sha256,
        _types(found.path) if types else {},
        counted,
    )


def export(
    store: Path | str,
    form: str,
    *,
    snapshot: str | None = None,
    namespace: str | None = None,
    run_id: str | None = None,
    prefix: str = "",
    training: str | None = None,
    event_id: str | None = None,
    inferences: bool = True,
    as_json: bool = False,
) -> str:
    """Return what a store says of itself in one standard, as text. The same ledger gives the same bytes.

    Args:
        store: Folder of the store.
        form: `openlineage` (JSON lines), `prov`, `croissant`, `fhir` (JSON), `model-card`, `datasheet`, `ai-act`
            (Markdown, or JSON).
        snapshot: Name of a snapshot; the newest by default.
        namespace: Of OpenLineage jobs and datasets.
        run_id: OpenLineage events of this run alone.
        prefix: Of Croissant: where the snapshot lies, seen from the description; a path or URL that ends in `/`.
        training: Of cards: id of a training; by default the newest on this snapshot.
        event_id: Of FHIR: Provenance of the resource of this event alone.
        inferences: Of PROV and FHIR: whether single contexts and inferences are in it.
        as_json: Of cards: JSON instead of Markdown.

    Raises:
        ConfigError: There is no such form, or no such training.
        StoreError: There is no such store, snapshot or event.

    >>> FORMS[0]
    'openlineage'
    """
    if form not in FORMS:
        raise ConfigError(f"no form {form[:40]!r}", hint=f"use one of {', '.join(FORMS)}")
    if form == "fhir" and event_id is not None:
        traced = Dataset(store, snapshot).trace(event_id)
        if "decisions" not in traced or "resource" not in traced:
            raise ConfigError("this is no event id", hint="column event_id of view event, as 3.1042.0")
        return writing.encoded(fhir.of_resource(traced))
    found = account(store, snapshot, types=form != "prov", groups=form not in ("openlineage", "prov"))
    match form:
        case "openlineage":
            return writing.lines(openlineage.events(found, namespace, run_id=run_id))
        case "prov":
            return writing.encoded(prov.document(found, inferences=inferences))
        case "croissant":
            return writing.encoded(croissant.document(found, prefix=prefix))
        case "fhir":
            texts = {one["body"]["training_id"]: _model_card(found, one) for one in found.of("training")}
            return writing.encoded(fhir.bundle(found, inferences=inferences, cards=texts))
        case "model-card":
            record = _training(found, training)
            if not as_json:
                return _model_card(found, record)
            return writing.encoded([cards.card(name, found, record) for name in ("chai", "hti1")])
        case _:
            name = form.replace("-", "_")
            made = cards.card(name, found, _training(found, training) if training or found.trainings() else None)
            return writing.encoded(made) if as_json else cards.text([made])


def lineage_events(store: Path | str, namespace: str | None = None, run_id: str | None = None) -> list[Json]:
    """Return the OpenLineage events of a store, for `transport.send`.

    Raises:
        StoreError: There is no such store.
    """
    return openlineage.events(account(store, groups=False), namespace, run_id=run_id)


def _model_card(found: Account, record: Json | None) -> str:
    return cards.text([cards.card(name, found, record) for name in ("chai", "hti1")])


def _training(found: Account, training_id: str | None) -> Json | None:
    if training_id is None:
        mine = found.trainings() or found.of("training")
        return mine[-1] if mine else None
    record = found.model(training_id)
    if record is None:
        raise ConfigError("the ledger has no such training", hint="mayo-data ledger show STORE --kind training")
    return record


def _types(snapshot: Path) -> dict[str, int]:
    """Count the resources of the snapshot by type."""
    counts: Counter[str] = Counter()
    try:
        table = ds.dataset(snapshot / "lineage" / "resources", format="parquet")
        for batch in table.to_batches(columns=["resource_type"]):
            for one in batch.column(0).value_counts().to_pylist():
                counts[one["values"]] += one["counts"]
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError("a file of the snapshot is missing or unreadable", hint="run mayo-data validate") from error
    return dict(sorted(counts.items()))


def _covered(found: Dataset) -> Covered:
    """Count subjects by group, and whom what is missing of; the house rule for small cells withholds some.

    No row is handed out, so a snapshot that a withdrawal has blocked can be described, too.
    """
    from mayo_data.quality import coverage
    from mayo_data.store import catalog

    with catalog.connect(found.store.root, found.path.name) as db:
        told = coverage.measure(db)
    groups = {
        name: {one["name"]: one["subjects"] for one in told["dimensions"][name]}
        for name in _GROUPS
        if told["dimensions"][name]
    }
    return Covered(groups, told["whole"]["missing"], told["whole"]["years"], told["smallest"])
