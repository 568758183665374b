"""Authorised re-identification: from a keyed id back to the resource of the source, recorded before it is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mayo_data import keys
from mayo_data.errors import ConfigError, StoreError
from mayo_data.lineage.ledger import Ledger
from mayo_data.phi.vault import Vault
from mayo_data.pipeline.place import Place
from mayo_data.pipeline.withdraw import checked, whole
from mayo_data.store.layout import Store


@dataclass(frozen=True)
class Identity:
    """Which resource of the source a keyed id stands for. PHI zone only.

    Attributes:
        source: `Type/id`, as the source has it.
    """

    source: str

    def __repr__(self) -> str:
        """Say nothing: an answer must not slip into a log."""
        return "Identity(...)"


def reidentify(
    store: Path | str,
    *,
    subject: int | None = None,
    resource: int | None = None,
    reason: str,
    by: str,
    key_file: Path | str | None = None,
    phi_zone: Path | str | None = None,
) -> Identity:
    """Lead a keyed id back to the source: `md.reidentify`, and what `mayo-data reidentify` calls.

    Works only where the site has turned the crosswalk on (`crosswalk = true` under `[phi]`) and for whoever has the
    key. The record in the ledger, with reason and name, is on the disk before the vault is asked. A code or other
    means of record identification must not be disclosed: 45 CFR 164.514(c).

    Args:
        store: Folder of the store.
        subject: A `subject_id`.
        resource: A `resource_key`.
        reason: Why; it stands in the ledger for ever, so it must hold nothing of a patient.
        by: Who asks, as the site knows them.
        key_file: The site's key; otherwise the environment variable.
        phi_zone: PHI zone of the store; by default `STORE.phi`.

    Raises:
        ConfigError: Not one of subject and resource, no reason or name, or the site keeps no crosswalk.
        StoreError: The crosswalk does not know the id, or the key is not that of the store.
        KeyMissingError: There is no key.
    """
    if (subject is None) == (resource is None):
        raise ConfigError("re-identification is of one thing", hint="name a subject or a resource")
    said, who = checked(reason), checked(by)
    subject, resource = (None if one is None else whole(one) for one in (subject, resource))
    secret = keys.load(Path(key_file) if key_file else None)
    opened = Store.open(Path(store))
    place = Place.of(opened.root, Path(phi_zone) if phi_zone else None)
    if secret.key_id != opened.key_id:
        raise StoreError("this is not the key of the store", hint="give its key: --key-file")
    if not place.vault.exists():
        raise StoreError("the vault is not in the PHI zone", hint="give the --phi-zone of this store")
    vault = Vault(place.vault, secret)
    try:
        if not vault.crossed:
            raise ConfigError("this site keeps no crosswalk", hint="crosswalk = true under [phi], then run FHIR again")
        asked = {"subject_id": subject} if subject is not None else {"resource": resource}
        Ledger(opened.ledger).append("reidentification", {"reason": said, "by": who, **asked})
        if subject is not None:
            person = vault.subject(subject)
            found = person.ref if person else None
        else:
            found = vault.identify(resource or 0)
    finally:
        vault.close()
    if found is None:
        raise StoreError("the crosswalk does not know this id", hint="ids are those of view subject and view resource")
    return Identity(found)
