"""A subject withdraws: a tombstone in the ledger, a new snapshot without them, old ones blocked, models named.

Later runs leave the subject out and count their resources under the reason `withdrawn`. Nothing is unlearned: a model
that was trained on the subject stays what it is, and the ledger names it.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mayo_data import keys
from mayo_data.errors import ConfigError, KeyMissingError, StoreError
from mayo_data.lineage import impact, withdrawals
from mayo_data.lineage.ledger import Ledger
from mayo_data.phi.vault import Vault
from mayo_data.pipeline.place import Place
from mayo_data.pipeline.snapshots import recorded, settle
from mayo_data.store import without
from mayo_data.store.layout import Store
from mayo_data.store.snapshot import Manifest
from mayo_data.store.without import Memory
from mayo_data.timeline.build import codes

_LONGEST = 400  # characters of a reason


@dataclass(frozen=True)
class Withdrawal:
    """What came of a withdrawal.

    Attributes:
        subject_id: Who withdrew.
        snapshot: The snapshot that is current now; it does not hold them.
        rows: Table to the number of rows that went with the new snapshot; empty where no new one was needed.
        snapshots_blocked: Older snapshots that hold them: no reader loads these any more.
        models: `training_id` of the models that were trained on them, or may have been.
        marked: Whether the vault knows them too, under whatever key or name they come back.
    """

    subject_id: int
    snapshot: str
    rows: dict[str, int]
    snapshots_blocked: tuple[str, ...]
    models: tuple[str, ...]
    marked: bool


def withdraw(
    store: Path | str,
    subject_id: int,
    reason: str,
    *,
    key_file: Path | str | None = None,
    phi_zone: Path | str | None = None,
) -> Withdrawal:
    """Withdraw a subject: `md.withdraw`, and what `mayo-data withdraw` calls.

    The tombstone comes before the new snapshot: a kill in between leaves every snapshot with the subject blocked, and
    the same call again finishes the work. A run that was killed before is not resumed; it begins anew.

    Args:
        store: Folder of the store.
        subject_id: Who withdraws.
        reason: Why, in words that name nobody: it stands in the ledger for ever.
        key_file: The site's key; otherwise the environment variable. Needed where the policy's ids are random, as in
            `safe_harbor`: then only the vault knows the patient again. With it, the vault is marked in any case.
        phi_zone: PHI zone of the store; by default `STORE.phi`.

    Raises:
        StoreError: There is no such store or subject, another run is writing, or the PHI zone is another one.
        ConfigError: The reason is empty or too long.
        KeyMissingError: A key is needed and not given.
    """
    said, subject_id = checked(reason), whole(subject_id)
    opened = Store.open(Path(store))
    place = Place.of(opened.root, Path(phi_zone) if phi_zone else None)
    ledger = Ledger(opened.ledger)
    with opened.lock(), place.lock():
        settle(opened, ledger)
        holding = [name for name in opened.snapshots() if without.holds(opened.snapshot(name), subject_id)]
        before = subject_id in withdrawals.withdrawn(opened.ledger)
        if not holding and not before:
            raise StoreError("no snapshot holds this subject", hint="view subject lists them")
        marked = mark(opened, place, subject_id, Path(key_file) if key_file else None)
        place.clear("")  # what a killed run left may hold the subject
        models = tuple(impact.models_of(opened.root / "snapshots", opened.ledger, subject_id))
        current = opened.current().name
        cut, new = None, current
        if current in holding:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            cut = without.cut(opened, current, subject_id, Memory(place.memory, codes), created_at=now)
            new = opened.next_snapshot()
        done = Withdrawal(subject_id, new, cut.rows if cut else {}, tuple(holding), models, marked)
        if not before:
            ledger.append(
                "withdrawal",
                {
                    "subject_id": subject_id, "reason": said, "snapshot": new,
                    "snapshots_blocked": list(holding), "models": list(models), "rows": done.rows,
                },
            )  # fmt: skip
        if cut is not None:
            target = opened.commit(cut.draft)
            recorded(ledger, target.name, cut.manifest)
    return done


def mark(store: Store, place: Place, subject_id: int, key_file: Path | None) -> bool:
    """Mark a patient in the vault, so that later runs know them again even under other ids.

    Args:
        store: The store.
        place: Where the vault lies.
        subject_id: Who withdraws.
        key_file: The site's key, or None for that of the environment, or for none.

    Returns:
        Whether it was done.

    Raises:
        KeyMissingError: The ids of the store are random, and there is no key: no later run would know the patient.
        StoreError: The ids are random, and the vault does not know the patient.
    """
    keyed = all(Manifest.read(store.snapshot(name)).key_id == store.key_id for name in store.snapshots())
    try:
        secret = keys.load(key_file)
    except KeyMissingError:
        if key_file is not None or not keyed:
            raise
        return False
    if not place.vault.exists():
        if not keyed:
            raise StoreError("the vault is not in the PHI zone", hint="give the --phi-zone of this store")
        return False
    vault = Vault(place.vault, secret)
    try:
        marked = vault.withdraw(subject_id)
    finally:
        vault.close()
    if not marked and not keyed:
        raise StoreError(
            "the vault does not know this subject: its id is that of an older run",
            hint="use the id in the newest snapshot",
        )
    return marked


def whole(number: int) -> int:
    """Return a keyed id as a plain integer, whichever kind of integer a frame or an array gave.

    Raises:
        ConfigError: It is no integer.
        StoreError: No id is negative, or has more than 63 bits.

    >>> whole(7)
    7
    """
    try:
        found = operator.index(number)
    except TypeError as error:
        raise ConfigError("an id is a whole number", hint="ids are those of view subject and view resource") from error
    if not 0 <= found < 2**63:
        raise StoreError("no snapshot holds this id", hint="ids are those of view subject and view resource")
    return found


def checked(reason: str) -> str:
    """Return a reason in one line.

    Raises:
        ConfigError: It is empty or too long.

    >>> checked(" consent  withdrawn ")
    'consent withdrawn'
    """
    said = " ".join(reason.split())
    if not said or len(said) > _LONGEST:
        raise ConfigError(f"a reason has 1 to {_LONGEST} characters", hint="say why, and name nobody")
    return said
