"""The vault: the identifiers seen so far, sealed, in the PHI zone.

Tonight's delta may hold a note and no Patient: the vault still knows whom the note must not name. Keys are keyed
digests and values are sealed with AES-256-GCM, so the file alone says nothing. One SQLite file: flat in memory
however many people there are, one writer (the driver), any number of readers (the workers).
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mayo_data.errors import StoreError
from mayo_data.keys import Secret
from mayo_data.phi.identifiers import Record
from mayo_data.types import Identifier, Json

_NONCE = 12
_SCHEMA = """
create table if not exists person(key blob primary key, subject integer, sealed blob not null) without rowid;
create index if not exists person_subject on person(subject);
create table if not exists alias(key blob primary key, person blob not null) without rowid;
create table if not exists directory(key blob primary key, sealed blob not null) without rowid;
create table if not exists owner(key blob primary key, sealed blob not null) without rowid;
create table if not exists named(key blob primary key, sealed blob not null) without rowid;
create table if not exists medication(key blob primary key, sealed blob not null) without rowid;
create table if not exists withdrawn(key blob primary key) without rowid;
create table if not exists crosswalk(key integer primary key, subject integer, sealed blob not null);
create index if not exists crosswalk_subject on crosswalk(subject);
"""


_SOME = "select key, sealed from person where key > ? order by key limit 10000"


class Person(NamedTuple):
    """What the vault knows of one patient.

    Attributes:
        ref: `Patient/id`: what the subject_id is derived from.
        known: False while only a relative, coverage or device spoke of them.
        identifiers: What must not appear in their output.
        sex: FHIR gender.
        birth: ISO birth date.
        death: ISO date of death.
    """

    ref: str
    known: bool
    identifiers: tuple[Identifier, ...]
    sex: str | None
    birth: str | None
    death: str | None


class _Body(msgspec.Struct):
    """A person as it is sealed."""

    ref: str
    known: bool
    identifiers: tuple[Identifier, ...]
    sex: str | None
    birth: str | None
    death: str | None


_body = msgspec.json.Decoder(_Body)


class Vault:
    """Identifiers of patients, the site's directory, and the medications that orders refer to.

    Args:
        path: The SQLite file; made on first write.
        secret: The site's key: seals the values, hides the keys.
        readonly: Workers only read.

    Raises:
        StoreError: The vault was sealed with another key, or is damaged.
    """

    def __init__(self, path: Path, secret: Secret, *, readonly: bool = False) -> None:
        self._secret = secret
        self._aead = AESGCM(secret.derive("vault"))
        if readonly:
            # Workers share one finished file: no locks, no journal.
            self._db = sqlite3.connect(
                f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True, check_same_thread=False
            )
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600, exist_ok=True)
            os.chmod(path, 0o600)
            self._db = sqlite3.connect(path)
            try:
                self._db.executescript(_SCHEMA)
                self._check()
            except sqlite3.DatabaseError as error:
                self._db.close()
                raise StoreError(
                    "the vault cannot be read", hint="restore it from a backup, or give a new --phi-zone"
                ) from error
            except StoreError:
                self._db.close()
                raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add(self, records: Iterable[Record], *, join: tuple[str, ...] = ()) -> int:
        """Merge what the survey found, in one transaction; return how many records there were.

        Identifiers are only ever added: a name that was changed is still a name of that person. Patients come
        before what is attached to them.

        Args:
            records: What the survey found.
            join: Systems of identifiers that belong to one person only: two Patient resources with the same
                value are the same person, as are those that `Patient.link` connects.
        """
        count = 0
        with self._db:
            for record in records:
                count += 1
                if record.kind in ("patient", "attached"):
                    self._add_person(record, join)
                elif record.kind == "medication":
                    self._put("medication", record.ref, record.concept)
                elif record.kind == "owner":
                    self._put("owner", record.ref, record.aliases[0])
                else:
                    if record.identifiers:
                        self._put("directory", record.ref, record.identifiers)
                    for alias in record.aliases:
                        self._put("named", alias, record.ref)
        return count

    def person(self, ref: str) -> Person | None:
        """Return the patient whom a reference key names, or None."""
        key = self._key("person", ref)
        row = self._db.execute("select sealed from person where key = ?", (key,)).fetchone()
        if row is None:
            alias = self._db.execute("select person from alias where key = ?", (self._key("alias", ref),)).fetchone()
            if alias is None:
                return None
            key = alias[0]
            row = self._db.execute("select sealed from person where key = ?", (key,)).fetchone()
        return self._person(row[0], key) if row else None

    def index(self, secret: Secret) -> int:
        """Note every patient's `subject_id` under a key, so that the leak audit finds them; return their number.

        Args:
            secret: The key of the pseudonyms: the site's, or the random one of a Safe Harbor run.
        """
        count, last = 0, b""
        with self._db:
            while rows := self._db.execute(_SOME, (last,)).fetchall():  # some at a time: flat in memory
                found = [(secret.subject_id(_body.decode(self._plain(sealed, key)).ref), key) for key, sealed in rows]
                self._db.executemany("update person set subject = ? where key = ?", found)
                count, last = count + len(rows), rows[-1][0]
        return count

    def subject(self, subject_id: int) -> Person | None:
        """Return the patient behind a `subject_id`, for the leak audit (after `index`)."""
        row = self._db.execute("select key, sealed from person where subject = ?", (subject_id,)).fetchone()
        return self._person(row[1], row[0]) if row else None

    def withdraw(self, subject_id: int) -> bool:
        """Mark the patient behind a `subject_id`, so that later runs know them under any key (after `index`).

        Returns:
            Whether the vault knows the patient.
        """
        with self._db:
            query = "insert or ignore into withdrawn select key from person where subject = ?"
            self._db.execute(query, (subject_id,))
        marked = "select 1 from person where subject = ? and key in (select key from withdrawn)"
        return self._db.execute(marked, (subject_id,)).fetchone() is not None

    def withdrawn(self) -> frozenset[int]:
        """Return the `subject_id`s of the patients who are marked (after `index`)."""
        query = "select subject from person where subject is not null and key in (select key from withdrawn)"
        return frozenset(row[0] for row in self._db.execute(query))

    def forget(self, subject_id: int) -> int:
        """Remove all that is known of a patient but the mark of `withdraw`; return how many rows went.

        The mark is a keyed digest that says nothing by itself.
        """
        gone = 0
        self._db.execute("pragma secure_delete = on")
        with self._db:
            for (key,) in self._db.execute("select key from person where subject = ?", (subject_id,)).fetchall():
                for owned, sealed in self._db.execute("select key, sealed from owner").fetchall():
                    if self._is(str(self._open(sealed, owned)), key):
                        gone += self._db.execute("delete from owner where key = ?", (owned,)).rowcount
                gone += self._db.execute("delete from alias where person = ?", (key,)).rowcount
                gone += self._db.execute("delete from person where key = ?", (key,)).rowcount
            gone += self._db.execute("delete from crosswalk where subject = ?", (subject_id,)).rowcount
        if gone:
            self._db.execute("vacuum")
        return gone

    def cross(self, rows: Iterable[tuple[int, int, str]]) -> int:
        """Keep which source resource a keyed id stands for, sealed: the crosswalk. Off unless a site turns it on.

        Args:
            rows: `resource_key`, `subject_id`, and `Type/id` as the source has it.

        Returns:
            How many there were.
        """
        sealed = [(key, subject, self._seal(name, _number(key))) for key, subject, name in rows]
        with self._db:
            self._db.executemany("insert or replace into crosswalk values (?, ?, ?)", sealed)
        return len(sealed)

    @property
    def crossed(self) -> bool:
        """Whether there is a crosswalk."""
        return self._db.execute("select 1 from crosswalk limit 1").fetchone() is not None

    def identify(self, resource_key: int) -> str | None:
        """Return the source resource behind a keyed id, as `Type/id`, or None. Re-identification: record it first."""
        row = self._db.execute("select sealed from crosswalk where key = ?", (resource_key,)).fetchone()
        return str(self._open(row[0], _number(resource_key))) if row else None

    def strangers(self, subjects: Iterable[int]) -> int:
        """Return how many of some `subject_id`s belong to nobody here (after `index`)."""
        known = {row[0] for row in self._db.execute("select subject from person")}
        return sum(subject not in known for subject in subjects)

    def owner(self, ref: str) -> str | None:
        """Return the key of the patient whose Encounter or Binary a reference key names, or None."""
        found: str | None = self._get("owner", ref)
        return found

    def resource(self, alias: str) -> str | None:
        """Return `Type/id` of the directory entry that has an identifier, or None.

        Args:
            alias: `Type:identifier:SYSTEM|VALUE`.
        """
        found: str | None = self._get("named", alias)
        return found

    def medication(self, ref: str) -> Json | None:
        """Return the code of a Medication that a reference key names, or None."""
        found: Json | None = self._get("medication", ref)
        return found

    def people(self) -> Iterator[Person]:
        """Yield every patient, for the leak audit."""
        for key, sealed in self._db.execute("select key, sealed from person order by key"):
            yield self._person(sealed, key)

    def directory(self) -> Iterator[Identifier]:
        """Yield the names, numbers and addresses of clinicians and facilities."""
        for key, sealed in self._db.execute("select key, sealed from directory order by key"):
            for entry in self._open(sealed, key):
                yield Identifier(*entry)

    def _add_person(self, record: Record, join: tuple[str, ...]) -> None:
        same = [*record.links, *(alias for alias in record.aliases if alias[11:].rpartition("|")[0] in join)]
        before = self.person(record.ref)
        for other in same:
            before = before or self.person(other)
        if before is None and record.ref.startswith("identifier:"):
            return  # speaks of a patient who is in neither this export nor the vault
        ref = before.ref if before else record.ref
        key = self._key("person", ref)
        merged = {*(before.identifiers if before else ()), *record.identifiers}
        for other in same:
            found = self.person(other)
            if found is not None and found.ref != ref:
                merged |= {*found.identifiers}
                self._join(found.ref, key)
        body = {
            "ref": ref,
            "known": record.kind == "patient" or bool(before and before.known),
            "identifiers": sorted(merged),
            "sex": record.sex or (before.sex if before else None),
            "birth": record.birth or (before.birth if before else None),
            "death": record.death or (before.death if before else None),
        }
        self._db.execute("insert or replace into person(key, sealed) values (?, ?)", (key, self._seal(body, key)))
        for alias in (*record.aliases, *record.links, record.ref):
            if alias != ref:
                self._db.execute("insert or replace into alias values (?, ?)", (self._key("alias", alias), key))

    def _join(self, ref: str, key: bytes) -> None:
        """Let every name of one person lead to another, who is the same."""
        gone = self._key("person", ref)
        self._db.execute("delete from person where key = ?", (gone,))
        self._db.execute("update alias set person = ? where person = ?", (key, gone))
        self._db.execute("insert or ignore into withdrawn select ? from withdrawn where key = ?", (key, gone))
        self._db.execute("insert or replace into alias values (?, ?)", (self._key("alias", ref), key))

    def _is(self, ref: str, key: bytes) -> bool:
        """Whether a reference key names the person of a row."""
        if self._key("person", ref) == key:
            return True
        row = self._db.execute("select person from alias where key = ?", (self._key("alias", ref),)).fetchone()
        return row is not None and row[0] == key

    def _get(self, table: str, ref: str) -> Any:
        key = self._key(table, ref)
        row = self._db.execute(f"select sealed from {table} where key = ?", (key,)).fetchone()
        return self._open(row[0], key) if row else None

    def _put(self, table: str, ref: str, body: object) -> None:
        key = self._key(table, ref)
        self._db.execute(f"insert or replace into {table} values (?, ?)", (key, self._seal(body, key)))

    def _key(self, table: str, ref: str) -> bytes:
        return self._secret.digest(f"vault-{table}", ref)[:16]

    def _seal(self, body: object, key: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._aead.encrypt(nonce, msgspec.json.encode(body), key)

    def _open(self, sealed: bytes, key: bytes) -> Any:
        found: Any = msgspec.json.decode(self._plain(sealed, key))
        return found

    def _plain(self, sealed: bytes, key: bytes) -> bytes:
        try:
            return self._aead.decrypt(sealed[:_NONCE], sealed[_NONCE:], key)
        except InvalidTag as error:
            raise StoreError(
                "the vault was sealed with another key, or is damaged",
                hint="use the key of this store, or a new --phi-zone",
            ) from error

    def _person(self, sealed: bytes, key: bytes) -> Person:
        body = _body.decode(self._plain(sealed, key))
        return Person(body.ref, body.known, body.identifiers, body.sex, body.birth, body.death)

    def _check(self) -> None:
        """Fail early where the vault belongs to another key."""
        self._db.execute("create table if not exists seal(body blob not null)")
        row = self._db.execute("select body from seal").fetchone()
        if row is None:
            with self._db:
                self._db.execute("insert into seal values (?)", (self._seal({"key_id": self._secret.key_id}, b"seal"),))
        else:
            self._open(row[0], b"seal")


def _number(key: int) -> bytes:
    """A number as what its row is sealed to."""
    return key.to_bytes(8, "big")
