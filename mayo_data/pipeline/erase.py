"""A subject is erased: out of every kept snapshot, the vault and the memory; the ledger keeps the proof.

What the ledger says of the subject stays: keyed ids and digests. Nothing is unlearned: models stay what they are, and
the proof names those that were trained on the subject. The export, the quarantine and backups are the site's to clear.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mayo_data import keys
from mayo_data.errors import StoreError
from mayo_data.lineage import impact, search, withdrawals
from mayo_data.lineage.ledger import Ledger
from mayo_data.phi.vault import Vault
from mayo_data.pipeline.place import Place
from mayo_data.pipeline.snapshots import settle
from mayo_data.pipeline.withdraw import checked, mark, whole
from mayo_data.store import without
from mayo_data.store.layout import Store
from mayo_data.store.snapshot import Manifest
from mayo_data.store.without import Memory
from mayo_data.timeline.build import codes
from mayo_data.types import Json


@dataclass(frozen=True)
class Erasure:
    """What came of an erasure.

    Attributes:
        subject_id: Who was erased.
        snapshots: Snapshot to `before` and `after` (sha256 of its manifest) and `rows` (table to rows that went).
        vault: Rows that went from the vault.
        memory: Files of the memory that went.
        inputs: Files of event ids, of what was read about the subject, that went.
        models: `training_id` of the models that were trained on the subject, or may have been.
    """

    subject_id: int
    snapshots: dict[str, Json]
    vault: int
    memory: int
    inputs: int
    models: tuple[str, ...]


def erase(
    store: Path | str,
    subject_id: int,
    reason: str,
    *,
    key_file: Path | str | None = None,
    phi_zone: Path | str | None = None,
) -> Erasure:
    """Erase a subject: `md.erase`, and what `mayo-data erase` calls.

    Every snapshot that holds the subject is made again without them, under its old name. Readers that have one open
    lose it. All new versions are ready, and the proof is in the ledger, before the first is put in place: where it is
    killed in between, `mayo-data verify` says so, and the same call again finishes the work.

    Args:
        store: Folder of the store.
        subject_id: Who is erased.
        reason: Why, in words that name nobody: it stands in the ledger for ever.
        key_file: The site's key, for the vault; otherwise the environment variable.
        phi_zone: PHI zone of the store; by default `STORE.phi`.

    Raises:
        StoreError: There is no such store or subject, another run is writing, or the PHI zone is another one.
        ConfigError: The reason is empty or too long.
        KeyMissingError: There is no key.
    """
    said, subject_id = checked(reason), whole(subject_id)
    secret = keys.load(Path(key_file) if key_file else None)
    opened = Store.open(Path(store))
    place = Place.of(opened.root, Path(phi_zone) if phi_zone else None)
    ledger = Ledger(opened.ledger)
    if secret.key_id != opened.key_id:
        raise StoreError("this is not the key of the store", hint="give its key: --key-file")
    with opened.lock(), place.lock():
        settle(opened, ledger)
        holding = [name for name in opened.snapshots() if without.holds(opened.snapshot(name), subject_id)]
        if not holding and subject_id not in withdrawals.withdrawn(opened.ledger):
            raise StoreError("no snapshot holds this subject", hint="view subject lists them")
        models = tuple(impact.models_of(opened.root / "snapshots", opened.ledger, subject_id))
        mark(opened, place, subject_id, Path(key_file) if key_file else None)
        place.clear("")
        known: dict[str, Path] = {}
        memory = Memory(place.memory, codes)
        cuts = {name: without.cut(opened, name, subject_id, memory, known=known) for name in holding}
        changes: dict[str, Json] = {
            name: {
                "before": Manifest.read(opened.snapshot(name)).sha256, "after": cut.manifest.sha256, "rows": cut.rows,
            }
            for name, cut in cuts.items()
        }  # fmt: skip
        vault = _vault(place, secret, subject_id)
        kept = {name: cuts[name].manifest if name in cuts else Manifest.read(opened.snapshot(name))
                for name in opened.snapshots()}  # fmt: skip
        needed = {sha256 for one in kept.values() for sha256 in one.memory.values()}
        going = sum(path.stem not in needed for path in place.memory.glob("*.parquet"))
        inputs = _inputs(opened.ledger, subject_id)
        done = Erasure(subject_id, changes, vault, going, len(inputs), models)
        ledger.append(
            "erasure",
            {
                "subject_id": subject_id, "reason": said, "snapshots": changes, "vault": vault, "memory": going,
                "inputs": len(inputs), "models": list(models),
            },
        )  # fmt: skip
        for name, cut in cuts.items():
            without.replace(opened, name, cut.draft)
        without.forget(place.memory, kept)
        for path in inputs:
            path.unlink()
    return done


def _vault(place: Place, secret: keys.Secret, subject_id: int) -> int:
    if not place.vault.exists():
        return 0
    vault = Vault(place.vault, secret)
    try:
        return vault.forget(subject_id)
    finally:
        vault.close()


def _inputs(ledger: Path, subject_id: int) -> list[Path]:
    """Files of event ids that records about the subject name, and no record about anybody else."""
    mine: set[str] = set()
    for record in search.records(ledger, f'"subject_id":{subject_id}'):
        if record["kind"] in ("context", "inference") and record["body"].get("subject_id") == subject_id:
            mine.add(str(record["body"].get("inputs")))
    others = {
        str(record["body"].get("inputs"))
        for record in (search.of_kind(ledger, "context", "inference") if mine else ())
        if record["body"].get("subject_id") != subject_id
    }
    folder = ledger.parent / "inputs"
    paths = [folder / sha256[:2] / f"{sha256}.arrow" for sha256 in sorted(mine - others)]
    return [path for path in paths if path.is_file()]
