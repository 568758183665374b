"""Who a run leaves out because they have withdrawn, and what it keeps in the vault, or takes out of it, at its end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mayo_data.engine.exchange import load
from mayo_data.keys import Secret
from mayo_data.lineage import withdrawals
from mayo_data.lineage.ledger import Ledger
from mayo_data.phi.vault import Vault
from mayo_data.pipeline.place import Place
from mayo_data.pipeline.tasks import MapReceipt, crosswalk_of


def left_out(ledger: Path, place: Place, secret: Secret) -> frozenset[int]:
    """Return the subjects that a run must leave out: those whom the ledger names, and those whom the vault marks.

    The ledger knows subjects by their id. The vault also knows them where the ids are random, or where a withdrawn
    patient turns out to be the same person as another.

    Args:
        ledger: Path of the store's ledger.
        place: Where the vault lies; it has been indexed under the key of the run.
        secret: The site's key.
    """
    found = withdrawals.withdrawn(ledger)
    if not place.vault.exists():
        return found
    vault = Vault(place.vault, secret)
    try:
        return found | vault.withdrawn()
    finally:
        vault.close()


def remember(work: Path, maps: Sequence[MapReceipt], place: Place, secret: Secret) -> None:
    """Put what the map tasks left for the crosswalk into the vault, where a site has turned it on.

    Args:
        work: Folder of the run.
        maps: What the map tasks left.
        place: Where the vault lies.
        secret: The site's key.
    """
    files = [path for receipt in maps if (path := crosswalk_of(work, receipt.name)).exists()]
    if not files:
        return
    vault = Vault(place.vault, secret)
    try:
        for path in files:
            rows = load(path).to_pylist()
            vault.cross((row["resource_key"], row["subject_id"], row["name"]) for row in rows)
    finally:
        vault.close()


def forget_again(ledger: Path, place: Place, secret: Secret) -> None:
    """Take whoever was erased out of the vault again: a run that reads them needs to know them while it lasts.

    Args:
        ledger: Path of the store's ledger.
        place: Where the vault lies.
        secret: The site's key.
    """
    erased = {int(record["body"]["subject_id"]) for record in Ledger(ledger).records("erasure")}
    if not erased or not place.vault.exists():
        return
    vault = Vault(place.vault, secret)
    try:
        for subject in sorted(erased):
            vault.forget(subject)
    finally:
        vault.close()
