"""Lineage of a store, both ways: where something comes from, what came of it, and whether anything was altered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mayo_data.errors import ConfigError
from mayo_data.lineage import anchors as sealed
from mayo_data.lineage import impact as forward
from mayo_data.lineage import seals
from mayo_data.lineage import trace as backward
from mayo_data.lineage.seals import Broken
from mayo_data.store.layout import Store
from mayo_data.types import Json


def trace(store: Path | str, name: str | int, *, snapshot: str | None = None, limit: int = backward.LIMIT) -> Json:
    """Return where something comes from, back to file digest and line: `md.trace`.

    Args:
        store: Folder of the store.
        name: An event id (`source_table.source_row.source_item`), a `subject_id`, a lineage id (`L-...`) of a read or
            context, or a prediction id (`P-...`).
        snapshot: Where an event or a subject is looked for; the newest by default.
        limit: How many source lines are listed; all of them are counted.

    Returns:
        See `mayo_data.lineage.trace.trace`.

    Raises:
        StoreError: There is no such store, or nothing in it has this name.
    """
    from mayo_data.store.history import number

    opened = Store.open(Path(store))
    folder = opened.snapshot(number(snapshot)) if snapshot else opened.current()
    return backward.trace(folder, opened.ledger, str(name), limit=limit)


def impact(
    store: Path | str,
    *,
    subject: int | None = None,
    resource: int | None = None,
    file: str | None = None,
    policy: str | None = None,
) -> Json:
    """Return what came of a subject, a resource, a source file or a policy: `md.impact`.

    Args:
        store: Folder of the store.
        subject: A `subject_id`.
        resource: A `resource_key`, as in view `resource`.
        file: sha256 of a source file, 8 digits of it or more; or its number.
        policy: Name or fingerprint of a PHI policy.

    Returns:
        See `mayo_data.lineage.impact.impact`: snapshots, reads, trainings, predictions.

    Raises:
        ConfigError: Not one thing was named.
        StoreError: There is no such store, or nothing of the kind in it.
    """
    opened = Store.open(Path(store))
    folder = opened.root / "snapshots"
    return forward.impact(folder, opened.ledger, subject=subject, resource=resource, file=file, policy=policy)


def verify(
    store: Path | str,
    *,
    model: Path | str | None = None,
    anchors: Sequence[Path | str] = (),
    public_key: Path | str | None = None,
) -> list[Broken]:
    """Check every seal of a store: ledger, manifests, files, kept inputs, and of a model: `md.verify`.

    Args:
        store: Folder of the store.
        model: Folder of a model whose training is in the ledger.
        anchors: Anchors of the ledger that are kept elsewhere (`mayo-data ledger anchor`).
        public_key: Key by which every anchor must be signed.

    Returns:
        What is wrong; empty where every seal holds.

    Raises:
        ConfigError: An anchor cannot be read, or a key is given without an anchor.
        StoreError: There is no such store, or a file cannot be read.
    """
    if public_key is not None and not anchors:
        raise ConfigError("a public key verifies anchors", hint="give --anchor FILE")
    key = Path(public_key) if public_key else None
    digests, problems = sealed.check([Path(one) for one in anchors], public_key=key)
    opened = Store.open(Path(store))
    found = [seals.of_ledger(problem) for problem in problems]
    folder = Path(model) if model else None
    return found + seals.verify(opened.root, opened.ledger, anchors=digests, model=folder)
