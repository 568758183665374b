"""The OMOP side of a run: load ─→ people ─→ map, up to where its events meet those of FHIR in the shuffle.

Set-wise all the way: rows are typed, joined and turned into events by DuckDB, column by column. What passes through
Python is one row a person, and every distinct text that may hold PHI.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from mayo_data.config import GatesConfig
from mayo_data.engine import Engine
from mayo_data.engine.local import cores, threaded
from mayo_data.engine.relational import Session
from mayo_data.errors import ConfigError, MayoDataError, SourceError
from mayo_data.keys import Secret
from mayo_data.omop.model import concepts, mapping, tables
from mayo_data.phi import omop_people
from mayo_data.phi.code_systems import CodeSystems
from mayo_data.phi.identifiers import Record
from mayo_data.phi.policy import PhiPolicy
from mayo_data.phi.structured import Scrub
from mayo_data.phi.vault import Vault
from mayo_data.pipeline import omop_load
from mayo_data.pipeline.omop_load import Loaded, LoadTask, digest, load_table
from mayo_data.pipeline.omop_tasks import (
    OmopMapTask,
    PeopleTask,
    finished,
    map_here,
    map_rows,
    people_ready,
    unmapped,
)
from mayo_data.pipeline.report import Watcher
from mayo_data.pipeline.tasks import MapReceipt
from mayo_data.quality import gates
from mayo_data.sources import fhir, omop, postgresql
from mayo_data.sql import name, text
from mayo_data.stage import fate
from mayo_data.types import Identifier, Step, Verdict

T = TypeVar("T")
R = TypeVar("R")

_ROWS = 2_000_000  # rows of a map task
_TEXT_ROWS = 2_000  # the same where the rows are notes
_PEOPLE = 5_000  # people of a task
_MANY = 20_000  # different texts of a table that one process reads
_WORDY_ROWS = 100_000  # rows of a map task where there are more
_FEW = 4  # tasks that are not worth a process
_LONG = frozenset(["note", "note_nlp"])


@dataclass
class OmopSide:
    """What a run does with an OMOP export.

    Args:
        source: Folder, DuckDB file, or URL of a PostgreSQL server.
        first: Number of its first part in the store.
        folder: Where a server's tables are put before they are read. PHI zone.
        whole: For OMOP out: every table of the CDM, not only those of which events are made.
        zone: IANA name of the zone in which its clock runs; empty for UTC.

    Attributes:
        nameless: People with notes whose name no table and no FHIR export says.
    """

    source: Path | str
    first: int
    folder: Path
    whole: bool = False
    zone: str = ""
    nameless: int = 0
    surveys: list[fhir.Survey] = field(default_factory=list)
    receipts: list[Loaded] = field(default_factory=list)
    _db: Session | None = None

    def discover(self, engine: Engine) -> None:
        """Find the tables and take their digests.

        Raises:
            SourceError: There is no table `person`.
        """
        known = [table for table, spec in tables().items() if self.whole or _read(table, spec.of)]
        if omop.is_server(self.source):
            self.export = postgresql.fetch(str(self.source), self.folder, known)
        elif omop.is_database(self.source):
            path = Path(self.source)
            self.export = omop.from_relations(path, "", _relations(path, self.folder, known), known)
        else:
            self.export = omop.discover(Path(self.source), tables())
        parts = [part for part in self.export.parts if part.table in known]
        if not any(part.table == "person" for part in parts):
            raise SourceError(
                "the input has no table person", hint="an OMOP export needs it: nobody else says who is who"
            )
        self.parts = list(enumerate(parts, self.first))
        paths = list(dict.fromkeys(part.path for part in parts))
        digests = dict(zip(paths, _in_order(engine, digest, paths), strict=True))
        for number, part in self.parts:
            packed = part.path.suffix[1:].casefold() if part.path.suffix.casefold() in (".gz", ".zst") else ""
            file = fhir.SourceFile(part.path, number, f"omop.{part.form}", packed, part.path.stat().st_size)
            # Of a database, each table is a source of its own, with the digest of the whole file.
            self.surveys.append(fhir.Survey(file, digests[part.path], (), False))

    @property
    def vocabulary(self) -> bool:
        """Whether it has the table `concept`."""
        return any(part.table == "concept" for _, part in self.parts)

    def subjects(self) -> list[int]:
        """Return the subjects of the persons whose rows it brings; call it after `ready`."""
        return [row[0] for row in self._session.rows("SELECT DISTINCT subject_id FROM people")]

    @property
    def numbers(self) -> frozenset[int]:
        """Numbers of its parts in the store."""
        return frozenset(number for number, _ in self.parts)

    @property
    def size(self) -> int:
        """Bytes of the input, roughly as they would be unpacked."""
        return sum(one.file.size * (8 if one.file.compression else 1) for one in self.surveys)

    # ── load ──────────────────────────────────────────────────────────────────────────────────────

    def load(self, engine: Engine, work: Path, quarantine: Path, tell: Watcher) -> None:
        """Read every table into one DuckDB, typed. It stays open until `close`."""
        self.loaded = work / "omop"
        self.loaded.mkdir(exist_ok=True, mode=0o700)
        self.threads = max(1, cores() // engine.threads)
        self._db = Session(self.loaded / "spill", threads=cores())
        grouped: dict[str, list[tuple[int, omop.Part]]] = {}
        for number, part in self.parts:
            grouped.setdefault(part.table, []).append((number, part))
        for path in {str(part.path) for _, part in self.parts if part.form == "duckdb"}:
            self._db.run(f"ATTACH {text(path)} AS given (READ_ONLY)", "the DuckDB file cannot be opened")
        sizes = {one.file.source_table: one.file.size for one in self.surveys}
        tasks = [
            LoadTask(table, tuple(parts), quarantine)
            for table, parts in sorted(grouped.items(), key=lambda item: -sum(sizes[number] for number, _ in item[1]))
        ]
        tell("load", done=0, total=len(tasks))
        for done, receipt in enumerate(self._beside(engine, load_table, tasks), 1):
            self.receipts.append(receipt)
            tell("load", done=done, total=len(tasks))
        self.receipts.sort(key=lambda receipt: receipt.table)
        self._have = {receipt.table: frozenset(receipt.have) for receipt in self.receipts}

    def _beside(self, engine: Engine, function: Callable[[Session, T], R], tasks: Sequence[T]) -> Iterator[R]:
        """Do tasks in threads of this process, each with a branch of the session; results as they come.

        What DuckDB and Arrow do needs no process of its own, and no copy of the rows.
        """

        def one(task: T) -> R:
            with self._session.branch() as db:
                return function(db, task)

        yield from threaded(one, tasks, engine.threads)

    def close(self) -> None:
        """Let go of the loaded tables."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def hand_over_all(self) -> None:
        """Write everything as Parquet, and let go of it."""
        self.hand_over(["people", "words", "concepts", *self._anchored()])
        self.hand_over([omop_load.relation(receipt.table) for receipt in self.receipts])
        self.close()

    def hand_over(self, names: Sequence[str]) -> None:
        """Write relations as Parquet, for tasks in processes of their own. PHI zone."""
        for relation in names:
            out = self.loaded / f"{relation}.parquet"
            self._session.run(f"COPY (SELECT * FROM {relation}) TO {text(str(out))} (FORMAT parquet, COMPRESSION lz4)")
            out.chmod(0o600)  # DuckDB makes files as the account is used to

    # ── people ────────────────────────────────────────────────────────────────────────────────────

    def enroll(self, vault: Vault, join: tuple[str, ...]) -> None:
        """Put into the vault what the tables say of people and of the site.

        Args:
            vault: The vault.
            join: Systems of identifiers under which FHIR knows the same people by their `person_source_value`.
        """
        db = self._session
        vault.add(self._persons(db, vault, join), join=join)
        vault.add(self._attached(db))
        vault.add(self._directory(db))

    def ready(self, engine: Engine, scrub: Scrub) -> None:
        """Make what the rows are joined with: people, the words that name them, concepts, anchors."""
        db = self._session
        query = f"SELECT t.person_id, {self._home(('zip', 'state'))} FROM {self._people_from(('zip', 'state'))}"
        people = [tuple(row) for row in db.rows(f"{query} ORDER BY t.person_id")]
        chunks = [people[index : index + _PEOPLE] for index in range(0, len(people), _PEOPLE)] or [[]]
        tasks = [PeopleTask(tuple(chunk), scrub) for chunk in chunks]
        found = list(engine.map(people_ready, tasks) if len(tasks) > _FEW else map(people_ready, tasks))
        db.keep("people", pa.concat_tables(one for one, _ in found))
        db.keep("words", pa.concat_tables(one for _, one in found))
        self._anchors(db)
        self._concepts(db, scrub)
        if "note" in self._have:
            written = f"SELECT person_id FROM {omop_load.relation('note')} WHERE fate IS NULL"
            self.nameless = int(db.one(f"SELECT count(*) FROM people WHERE NOT named AND person_id IN ({written})"))

    @property
    def _session(self) -> Session:
        if self._db is None:
            raise MayoDataError("the tables are not loaded")
        return self._db

    def _home(self, columns: Sequence[str]) -> str:
        have = self._have.get("location", frozenset()) if "location_id" in self._have["person"] else frozenset()
        return ", ".join(f"l.{name(one)}" if one in have else f"NULL::VARCHAR AS {name(one)}" for one in columns)

    def _people_from(self, columns: Sequence[str], table: str = "person") -> str:
        joined = "location" in self._have and "location_id" in self._have[table]
        home = f" LEFT JOIN {omop_load.relation('location')} AS l ON l.location_id = t.location_id AND l.fate IS NULL"
        return f"(SELECT * FROM {omop_load.relation(table)} WHERE fate IS NULL) AS t{home if joined else ''}"

    def _persons(self, db: Session, vault: Vault, join: tuple[str, ...]) -> Iterator[Record]:
        lives = ("address_1", "address_2", "city", "zip", "county")
        died = "NULL::TIMESTAMP AS death_date"
        dead = ""
        if "death" in self._have and "death_date" in self._have["death"]:
            died = "d.death_date"
            dead = f" LEFT JOIN {omop_load.relation('death')} AS d ON d.person_id = t.person_id AND d.fate IS NULL"
        query = f"SELECT t.*, {self._home(lives)}, {died} FROM {self._people_from(lives)}{dead}"
        for batch in db.batches(query):
            for row in batch.to_pylist():
                ref = omop_people.reference(row["person_id"])
                yield omop_people.person(row, ref, _aliases(vault, row.get("person_source_value"), join))

    def _attached(self, db: Session) -> Iterator[Record]:
        """Numbers of policies and devices: what a note may say of a person."""
        for table, columns in _NUMBERS.items():
            for column, category in columns:
                if column not in self._have.get(table, ()):
                    continue
                query = (
                    f"SELECT DISTINCT person_id, trim({name(column)}) FROM {omop_load.relation(table)} "
                    f"WHERE fate IS NULL AND length(trim({name(column)})) >= 4 "
                    f"AND person_id IN (SELECT person_id FROM {omop_load.relation('person')} WHERE fate IS NULL)"
                )
                for batch in db.batches(query):
                    for person, value in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True):
                        ref = omop_people.reference(person)
                        yield omop_people.attached(ref, (Identifier(category, "value", value),))

    def _directory(self, db: Session) -> Iterator[Record]:
        if "provider" in self._have:
            for batch in db.batches(f"SELECT * FROM {omop_load.relation('provider')} WHERE fate IS NULL"):
                yield from map(omop_people.provider, batch.to_pylist())
        if "care_site" in self._have:
            lives = ("address_1", "address_2", "city", "zip", "county")
            have = self._have.get("location", frozenset()) if "location_id" in self._have["care_site"] else frozenset()
            where = ", ".join(f"l.{name(one)}" if one in have else f"NULL::VARCHAR AS {name(one)}" for one in lives)
            for batch in db.batches(f"SELECT t.*, {where} FROM {self._people_from(lives, 'care_site')}"):
                yield from map(omop_people.place, batch.to_pylist())

    # ── what rows are joined with ─────────────────────────────────────────────────────────────────

    def _anchors(self, db: Session) -> None:
        """Whose the rows are on which others hang: costs, relationships, findings in notes."""
        if not any("through" in mapping().get(table, {}) for table in self._have):
            return
        queries = []
        for table in sorted({*concepts()["domains"].values()}):
            spec, have = tables()[table], self._have.get(table, frozenset())
            if spec.key not in have or "person_id" not in have:
                continue
            prefix = mapping()[table].get("time", "")
            times = [f"t.{name(one)}" for one in (f"{prefix}_datetime", f"{prefix}_date") if one in have]
            moment = f"coalesce({', '.join(times)})" if times else "NULL::TIMESTAMP"
            queries.append(
                f"SELECT {text(table)} AS anchor, t.{name(spec.key or '')} AS id, t.person_id, {moment} AS moment "
                f"FROM {omop_load.relation(table)} AS t WHERE t.fate IS NULL"
            )
        db.run(f"CREATE TABLE anchors AS {' UNION ALL '.join(queries)}")

    def _concepts(self, db: Session, scrub: Scrub) -> None:
        """Which codes the concepts in use stand for, as the policy lets them leave."""
        policy = scrub.policy
        fixed = {int(number): entry for number, entry in concepts()["fixed"].items()}
        rows: dict[int, tuple[str | None, str, str | None]] = {
            number: (None, *entry) for number, entry in fixed.items()
        }
        if {"concept_id", "vocabulary_id", "concept_code"} <= self._have.get("concept", frozenset()):
            used = " UNION ".join(
                f"SELECT {name(column)} AS id FROM {omop_load.relation(table)}"
                for table, have in self._have.items()
                if table in mapping()
                for column in have
                if tables()[table].fields[column].kind == "concept"
            )
            meaning = "any_value(c.concept_name)" if "concept_name" in self._have["concept"] else "NULL"
            found = db.rows(
                f"SELECT c.concept_id, any_value(c.vocabulary_id), any_value(c.concept_code), {meaning} "
                f"FROM {omop_load.relation('concept')} AS c WHERE c.fate IS NULL AND c.concept_id <> 0 "
                f"AND c.concept_id IN (SELECT id FROM ({used})) GROUP BY c.concept_id"
            )
            systems = _Codes(policy, scrub.secret)
            for number, vocabulary, code, described in found:
                tail = systems.tail(vocabulary or "", code or "")
                if number in fixed:
                    rows[number] = (code, *fixed[number])
                elif tail is not None:
                    rows[number] = (code, tail, described if not tail.startswith("MASKED//") else None)
        numbers = sorted(rows)
        columns = {
            "concept_id": pa.array(numbers, pa.int64()),
            "code": pa.array([rows[number][0] for number in numbers], pa.string()),
            "tail": pa.array([rows[number][1] for number in numbers], pa.string()),
            "description": pa.array([rows[number][2] for number in numbers], pa.string()),
        }
        db.keep("concepts", pa.table(columns))

    # ── map ───────────────────────────────────────────────────────────────────────────────────────

    def map(
        self, engine: Engine, scrub: Scrub, rules: GatesConfig, shards: int, work: Path, quarantine: Path,
        tell: Watcher,
    ) -> list[MapReceipt]:  # fmt: skip
        """Turn the rows of every table into staged events."""
        parts = dict(self.parts)
        wordy = {receipt.table for receipt in self.receipts if self._wordy(receipt, engine)}
        tasks: list[OmopMapTask] = []
        receipts: list[MapReceipt] = []
        for receipt in self.receipts:
            if receipt.table == "concept":
                continue
            receipts += [
                _ended(receipt.table, number, count, "read/bad_row") for number, count in receipt.rejected.items()
            ]
            if unmapped(receipt.table):
                receipts += _directory_rows(receipt, self._bad(receipt))
                continue
            size = _TEXT_ROWS if receipt.table in _LONG else _WORDY_ROWS if receipt.table in wordy else _ROWS
            for number, rows in receipt.rows.items():
                for first in range(1, rows + 1, size):
                    last = first + size - 1  # part of the name: another run may cut otherwise, and find our receipts
                    tasks.append(
                        OmopMapTask(
                            f"omop-{number:06d}-{first:012d}-{last:012d}", receipt.table, tuple(receipt.have), number,
                            parts[number], first, last, scrub, rules, shards, work, self.loaded,
                            quarantine, self.threads, engine.workers, self.zone,
                        )
                    )  # fmt: skip
        # A task at which this process ended before is done in another one, too.
        elsewhere = {task.name for task in tasks if task.table in wordy or task.mark.exists()}
        texts = [task for task in tasks if task.name in elsewhere]
        here = [task for task in tasks if task.name not in elsewhere]
        tell("map", done=0, total=len(tasks))
        found = self._mapped(engine, sorted(here, key=self._rows, reverse=True))
        if texts:  # a note is work for the text scrubber, and that for a process
            self.hand_over(["people", "words", "concepts", *self._anchored()])
            self.hand_over(sorted({omop_load.relation(task.table) for task in texts}))
            found = chain(found, engine.map(map_rows, texts))
        for done, made in enumerate(found, 1):
            receipts.append(made)
            tell("map", done=done, total=len(tasks))
        self._table_of = {number: part.table for number, part in self.parts}
        # What is built next needs the memory; of the tables only the people are asked for again.
        for table in self._session.tables() - {"people"}:
            self._session.run(f"DROP TABLE {name(table)}")
        return receipts

    def _wordy(self, receipt: Loaded, engine: Engine) -> bool:
        """Whether a table has so many different texts that reading them is work for processes."""
        if receipt.table in _LONG or engine.workers == 1 or sum(receipt.rows.values()) <= _MANY:
            return receipt.table in _LONG
        fields = tables()[receipt.table].fields
        read = [field for field in receipt.have if fields[field].action in ("code", "label", "text")]
        counts = ", ".join(f"approx_count_distinct({name(field)})" for field in read)
        found = self._session.rows(f"SELECT {counts} FROM {omop_load.relation(receipt.table)}")[0] if read else ()
        return receipt.table in mapping() and sum(found) > _MANY

    def _mapped(self, engine: Engine, tasks: Sequence[OmopMapTask]) -> Iterator[MapReceipt]:
        before = [(task, finished(task)) for task in tasks]
        yield from (receipt for _, receipt in before if receipt is not None)
        yield from self._beside(engine, map_here, [task for task, receipt in before if receipt is None])

    def _anchored(self) -> list[str]:
        return ["anchors"] if self._session.has("anchors") else []

    def _rows(self, task: OmopMapTask) -> int:
        receipt = next(one for one in self.receipts if one.table == task.table)
        return min(receipt.rows[task.source_table] - task.first + 1, task.last - task.first + 1)

    def _bad(self, receipt: Loaded) -> dict[int, Counter[str]]:
        """The fates of the rows of a table that is not mapped, by part."""
        ended = f"FROM {omop_load.relation(receipt.table)} WHERE fate IS NOT NULL"
        found: dict[int, Counter[str]] = {}
        for number, ending, count in self._session.rows(f"SELECT source_table, fate, count(*) {ended} GROUP BY ALL"):
            found.setdefault(number, Counter())[ending] = count
        return found

    def accounts(self, maps: Sequence[MapReceipt]) -> list[Step]:
        """Return what became of the rows of every table: one step a table, in the order of their names."""
        found: dict[str, tuple[Counter[str], Counter[str]]] = {}
        for receipt in maps:
            table = self._table_of.get(receipt.source_table)
            if table is not None:
                rows, ended = found.setdefault(table, (Counter(), Counter()))
                rows.update(receipt.rows)
                ended.update(receipt.fates)
        return [
            Step(table, rows["read_in"], rows["normalize"], dict(sorted(ended.items())), {"events": rows["events"]})
            for table, (rows, ended) in sorted(found.items())
        ]

    def verdicts(self, accounts: Sequence[Step], model: str) -> list[Verdict]:
        """Return what gate G1 says of the tables: is every row accounted for, and is everybody with notes named?"""
        named = [gates.name_verdict(self.nameless, model)] if self.nameless else []
        return [gates.table_verdict(accounts), *named]

    def notes(self) -> Counter[str]:
        """Return what else was seen: columns that the standard does not know, rows under the key of another row."""
        unknown = sum(receipt.unknown for receipt in self.receipts)
        return +Counter({"columns/unknown": unknown, "keys/shared": sum(receipt.twins for receipt in self.receipts)})


def _read(table: str, of: str) -> bool:
    return of in ("subject", "directory") or table == "concept"


# Which fields of which tables are numbers that lead to a person.
_NUMBERS = {
    "payer_plan_period": (("family_source_value", "HEALTHPLAN"),),
    "device_exposure": (("unique_device_id", "DEVICE"), ("production_id", "DEVICE")),
}


class _Codes:
    """The codes of OMOP's vocabularies as the store writes them."""

    def __init__(self, policy: PhiPolicy, secret: Secret) -> None:
        self._systems = CodeSystems(policy.admit)
        self._own = {name: (short, re.compile(rule)) for name, (short, rule) in concepts()["own"].items()}
        self._uris = concepts()["systems"]
        self._secret = secret

    def tail(self, vocabulary: str, code: str) -> str | None:
        """VOCABULARY//CODE where the vocabulary has a public owner, or the policy admits it; else a keyed token."""
        if not code:
            return None
        uri = self._uris.get(vocabulary)
        if uri is not None and self._systems.admits(uri, code):
            return f"{self._systems.short(uri)}//{code}"
        short, rule = self._own.get(vocabulary, ("", None))
        if rule is not None and rule.fullmatch(code):
            return f"{short}//{code}"
        if self._systems.admits(f"omop:{vocabulary}", code):
            return f"{re.sub('[^A-Z0-9]+', '_', vocabulary.upper()).strip('_')}//{code}"
        return f"MASKED//{self._secret.integer('code', f'omop:{vocabulary}|{code}'):016x}"


def _aliases(vault: Vault, source_value: Any, join: tuple[str, ...]) -> tuple[str, ...]:
    """Under which keys FHIR may know a person; where two systems name two people, neither is believed."""
    if not join or not isinstance(source_value, str) or not source_value.strip():
        return ()
    keys = [f"identifier:{system}|{source_value.strip()}" for system in join]
    known = [(key, person.ref) for key in keys if (person := vault.person(key)) is not None]
    if len({ref for _, ref in known}) > 1:
        return ()
    return (known[0][0],) if known else (keys[0],)


def _relations(path: Path, folder: Path, known: Collection[str]) -> list[tuple[str, str]]:
    """The tables of a DuckDB file; a view of it could read every file that the job may read, its key among them."""
    with Session(folder / "look.spill") as db:
        db.run(f"ATTACH {text(str(path))} AS given (READ_ONLY)", "the DuckDB file cannot be opened")
        found = db.rows(
            "SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_catalog = 'given'"
        )
    views = sorted({row[1].casefold() for row in found if row[2] != "BASE TABLE"} & set(known))
    if views:
        raise SourceError(f"in the DuckDB file, {', '.join(views)} is a view", hint="only tables are read: make it one")
    return [(row[0], row[1]) for row in found if row[2] == "BASE TABLE"]


def _in_order(engine: Engine, function: Callable[[Path], str], paths: Sequence[Path]) -> list[str]:
    if len(paths) < 2:
        return [function(path) for path in paths]
    found = dict(engine.map(_numbered, [(function, path) for path in paths]))
    return [found[path] for path in paths]


def _numbered(task: tuple[Callable[[Path], str], Path]) -> tuple[Path, str]:
    function, path = task
    return path, function(path)


def _ended(table: str, number: int, count: int, ending: str) -> MapReceipt:
    """The receipt of rows that were none."""
    return MapReceipt(
        f"omop-{table}-{number}-rejected", number, [], {"read_in": count}, {ending: count} if count else {}, {}, {}
    )


def _directory_rows(receipt: Loaded, bad: dict[int, Counter[str]]) -> list[MapReceipt]:
    """The receipts of a table whose rows are no events: places, people of the site, links between rows."""
    directory = tables()[receipt.table].of == "directory"
    ending = fate("scrub", "not_about_a_patient") if directory else fate("normalize", "type_not_mapped")
    made = []
    for number, count in receipt.rows.items():
        ended = bad.get(number, Counter())
        read = count - sum(n for one, n in ended.items() if one.startswith("read/"))
        left = read - sum(n for one, n in ended.items() if one.startswith("scrub/"))
        rows = {"read_in": count, "read": read, "validate": read, "scrub": 0 if directory else left, "normalize": 0}
        fates = {**ended, **({ending: left} if left else {})}
        made.append(MapReceipt(f"omop-{receipt.table}-{number}", number, [], rows, fates, {}, {}))
    return made


def several(inputs: Sequence[Path | str], form: str) -> tuple[list[Path | str], list[Path | str]]:
    """Tell FHIR inputs from OMOP inputs.

    Args:
        inputs: What `--input` says, once or several times.
        form: `source.format`: what a single input is. Of several, each is looked at.

    Raises:
        ConfigError: Two inputs of one kind.
    """
    if len(inputs) == 1:
        return ([], [*inputs]) if form == "omop" else ([*inputs], [])
    found: dict[bool, list[Path | str]] = {True: [], False: []}
    for one in inputs:
        found[omop.is_omop(one)].append(one)
    if len(found[True]) > 1 or len(found[False]) > 1:
        raise ConfigError("a run reads one FHIR export and one OMOP export", hint="give --input once for each")
    return found[False], found[True]
