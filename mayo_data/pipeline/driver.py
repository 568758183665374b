"""The only composition root: stage × engine × gate × ledger.

    survey ─→ read ─→ validate ─→ scrub ─→ normalize ─→ shuffle ─→ build ─→ commit
      G0                             G1         G2                   G3       G4

Everything that may hold PHI lies in the PHI zone; the store sees only what came through the scrub. A run commits
all of its snapshot in one rename, or nothing.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
import orjson

import mayo_data
from mayo_data import config as configs
from mayo_data import keys
from mayo_data.config import PipelineConfig, ValidateShare
from mayo_data.conformance.validate import Validate
from mayo_data.engine.local import LocalEngine
from mayo_data.errors import GateError, LeakError, MayoDataError, SourceError
from mayo_data.events.normalize import Normalize
from mayo_data.keys import Secret
from mayo_data.lineage import steps as accounts
from mayo_data.lineage.ledger import Ledger
from mayo_data.phi import policy as policies
from mayo_data.phi.structured import Scrub
from mayo_data.phi.vault import Vault
from mayo_data.pipeline import tables
from mayo_data.pipeline.omop import OmopSide, several
from mayo_data.pipeline.place import Place, private
from mayo_data.pipeline.report import RunReport, Watcher
from mayo_data.pipeline.survey import survey
from mayo_data.pipeline.tasks import (
    BuildReceipt,
    BuildTask,
    MapReceipt,
    MapTask,
    build_shard,
    deletions_of,
    is_quarantined,
    map_split,
)
from mayo_data.quality import gates
from mayo_data.sources import fhir
from mayo_data.sources import omop as omop_sources
from mayo_data.store.layout import Store
from mayo_data.types import Step, Verdict

if TYPE_CHECKING:
    from mayo_data.store.snapshot import Manifest

Inputs = Path | str | Sequence[Path | str]
_MIB = 1 << 20
_SHARD_BYTES = 64 * _MIB
_LEAST_SHARDS = 4


def run_file(
    pipeline: Path | str,
    source: Inputs,
    store: Path | str,
    *,
    key_file: Path | str | None = None,
    phi_zone: Path | str | None = None,
    workers: int = 0,
    strict: bool = False,
    validate: ValidateShare | None = None,
    watcher: Watcher | None = None,
) -> RunReport:
    """Run a pipeline file over an export: `md.run`, and what `mayo-data run` calls.

    Args:
        pipeline: Path of a pipeline file, or the name of a shipped one.
        source: Folder, file or URL of the export (PHI zone); or one of FHIR and one of OMOP.
        store: Folder of the store (de-identified zone).
        key_file: File of the site's key; otherwise the environment variable `MAYO_DATA_KEY`.
        phi_zone: Folder for quarantine, vault and work in progress.
        workers: Number of processes; 0 for one a core.
        strict: Stop at the first bad row instead of setting it aside.
        validate: Which rows are validated, in place of what the pipeline file says: `all`, `sample`, `off`.
        watcher: Who is told how far it is.

    Raises:
        MayoDataError: See `run` and `mayo_data.errors`.
    """
    config = configs.load(Path(pipeline))
    return run(
        config if validate is None else msgspec.structs.replace(config, validate=validate),
        source,
        Path(store),
        keys.load(Path(key_file) if key_file else None),
        phi_zone=Path(phi_zone) if phi_zone else None,
        workers=workers,
        strict=strict,
        watcher=watcher,
    )


def run(
    config: PipelineConfig,
    source: Inputs,
    store: Path,
    secret: Secret,
    *,
    phi_zone: Path | None = None,
    workers: int = 0,
    strict: bool = False,
    watcher: Watcher | None = None,
) -> RunReport:
    """Turn an export into a new snapshot of a store: all of it, or nothing.

    Running again is safe: a killed run resumes from its finished parts, and a run over the same input, parameters
    and key that is in the store already does nothing.

    Args:
        config: The pipeline file.
        source: Folder, file or URL (`s3://`, `gs://`, `abfss://`, `postgresql://`) of the export (PHI zone); or two:
            a FHIR export and an OMOP export, whose people become one timeline each.
        store: Folder of the store (de-identified zone); made where it does not exist.
        secret: The site's key.
        phi_zone: Folder for quarantine, vault and work in progress; by default `STORE.phi` beside the store.
        workers: Number of processes; 0 for one a core.
        strict: Stop at the first damaged file or quarantined row instead of setting it aside.
        watcher: Who is told how far it is.

    Raises:
        SourceError: Nothing to read, or `strict` met a bad row.
        GateError: A gate stopped the run.
        LeakError: The leak audit found an identifier.
        StoreError: The store belongs to another key, or another run is writing.
    """
    place = Place.of(store, phi_zone)
    inputs = (source,) if isinstance(source, str | Path) else tuple(source)
    for one in inputs:
        if not omop_sources.is_server(one):
            place.apart_from(one)
    return _Run(config, inputs, place, secret, workers, strict, watcher or _silent).go()


@dataclass
class _Run:
    config: PipelineConfig
    inputs: Sequence[Path | str]
    place: Place
    site_secret: Secret
    workers: int
    strict: bool
    tell: Watcher
    steps: list[Step] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    tables: list[Step] = field(default_factory=list)
    omop: OmopSide | None = None
    run_id: str = ""
    began: float = field(default_factory=time.monotonic)

    def go(self) -> RunReport:
        exports, tables = several(self.inputs, self.config.source.format)
        self.export = fhir.discover(exports[0]) if exports else fhir.Export(())
        self.policy = policies.load(self.config.phi.policy, admit=self.config.phi.admit, model=self.config.phi.model)
        # The end of the year: whoever turns 90 this year counts as 90, and the run keeps its name till then.
        self.as_of = self.config.phi.as_of or f"{datetime.now(UTC).year}-12-31"
        self.store = Store.create(self.place.store, self.site_secret.key_id)
        self.ledger = Ledger(self.store.ledger)
        with self.store.lock(), self.place.lock(), LocalEngine(self.workers) as engine:
            try:
                first, folder = len(self.export.files), self.place.phi_zone / "server"
                self.omop = OmopSide(tables[0], first, folder) if tables else None
                return self._locked(self.export.files, engine)
            except MayoDataError as error:
                if self.run_id:
                    body = {"run_id": self.run_id, "error": type(error).__name__, "exit_code": error.exit_code}
                    self.ledger.append("failure", body)
                raise

    def _locked(self, files: Sequence[fhir.SourceFile], engine: LocalEngine) -> RunReport:
        last = self._heal()
        surveys = self._survey(files, engine)
        if self.omop:
            self.omop.discover(engine)
            surveys += self.omop.surveys
            unread = (*self.export.unread, *self.omop.export.unread)
            self.export = replace(self.export, unread=unread)
            files = [found.file for found in surveys]
        self.run_id = self._name(surveys)
        if last is not None and last.run_id == self.run_id:
            return self._repeated(files, last)
        self._open(files, surveys)
        broken = sum(found.broken for found in surveys)
        if self.strict and broken:
            raise SourceError(f"{broken} damaged files, and --strict is on", hint="ask for them again")
        if self.omop:
            self._enroll(self.omop, engine)
        validate, scrub, normalize = self._stages()
        maps = self._map(surveys, validate, scrub, normalize, engine)
        if self.omop:
            maps += self._map_tables(self.omop, scrub, engine)
        self._account_maps(maps, len(files), broken)
        builds = self._build(maps, scrub, engine)
        return self._commit(maps, builds, surveys, validate, scrub, normalize)

    def _heal(self) -> Manifest | None:
        """Finish a run that was killed between its commit and its end; return the manifest of the last one."""
        self.ledger.settle()
        if not self.store.snapshots():
            return None
        from mayo_data.store.snapshot import Manifest  # DuckDB: only when there is a snapshot

        current = self.store.current()
        manifest = Manifest.read(current)
        known = {record["body"]["manifest_sha256"] for record in self.ledger.records("snapshot")}
        if manifest.sha256 not in known:
            self._record_snapshot(current, manifest)
        shutil.rmtree(self.place.work(manifest.run_id), ignore_errors=True)
        return manifest

    def _record_snapshot(self, path: Path, manifest: Manifest) -> None:
        self.ledger.append(
            "snapshot",
            {
                "run_id": manifest.run_id, "snapshot": path.name, "manifest_sha256": manifest.sha256,
                "logical_digest": manifest.logical_digest, "events": manifest.tables["events"].rows,
                "subjects": manifest.counts["subjects"],
            },
        )  # fmt: skip

    # ── survey ────────────────────────────────────────────────────────────────────────────────────

    def _survey(self, files: Sequence[fhir.SourceFile], engine: LocalEngine) -> list[fhir.Survey]:
        """Look at every file once, and put into the vault what they say of people."""
        return survey(files, engine, self.config, self.place, self.site_secret, self.tell)

    def _name(self, surveys: Sequence[fhir.Survey]) -> str:
        config = orjson.dumps(msgspec.to_builtins(self.config), option=orjson.OPT_SORT_KEYS).decode()
        inputs = [f"{found.file.source_table}:{found.sha256}" for found in surveys]
        return keys.fingerprint(
            mayo_data.__version__, config, self.policy.fingerprint, self.site_secret.key_id, self.as_of, *inputs
        )

    def _repeated(self, files: Sequence[fhir.SourceFile], manifest: Manifest) -> RunReport:
        """The report of a run that has nothing to do, because its snapshot is the current one."""
        current = self.store.current()
        self.tell("repeated", snapshot=current.name)
        size = sum(file.size for file in files)
        events = manifest.tables["events"].rows
        return RunReport(
            self.run_id, current, True, (), {}, {}, (), manifest.counts["subjects"], events, size,
            time.monotonic() - self.began, manifest.logical_digest, self.place.phi_zone, self.export.endings,
        )  # fmt: skip

    def _open(self, files: Sequence[fhir.SourceFile], surveys: Sequence[fhir.Survey]) -> None:
        """Begin the run: its work folder, its key, its first record."""
        self.place.clear(self.run_id)
        self.work = self.place.work(self.run_id)
        self.work.mkdir(parents=True, exist_ok=True, mode=0o700)
        quarantine = self.place.quarantine(self.run_id)
        if not any(self.work.iterdir()):  # a fresh start, not a resumption
            shutil.rmtree(quarantine, ignore_errors=True)
        quarantine.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.secret = self._pseudonym_key()
        vault = Vault(self.place.vault, self.site_secret)
        try:
            vault.index(self.secret)
        finally:
            vault.close()
        weight = sum(split.weight for found in surveys for split in found.splits)
        weight += self.omop.size if self.omop else 0
        self.shards = self.config.store.shards or max(_LEAST_SHARDS, -(-weight // _SHARD_BYTES))
        self.ledger.append(
            "run",
            {
                "run_id": self.run_id, "pipeline": self.config.name, "code_version": mayo_data.__version__,
                "policy": self.policy.name, "policy_fingerprint": self.policy.fingerprint,
                "legal": self.policy.legal, "key_id": self.site_secret.key_id, "as_of": self.as_of,
                "inputs": [
                    {
                        "source_table": found.file.source_table, "sha256": found.sha256, "bytes": found.file.size,
                        "listed": self.export.counts.get(found.file.source_table),
                    }
                    for found in surveys
                ],
            },
        )  # fmt: skip
        self.tell("run", run_id=self.run_id, files=len(files), shards=self.shards)

    def _pseudonym_key(self) -> Secret:
        """The site's key; for Safe Harbor a random one that lives only as long as the run is unfinished."""
        if self.policy.ids == "keyed":
            return self.site_secret
        path = self.work / "random.key"
        if not path.exists() or path.stat().st_size < 32:  # a run may have been killed while it wrote
            with private(path) as out:
                out.write(secrets.token_bytes(32))
        return Secret(path.read_bytes())

    # ── OMOP ──────────────────────────────────────────────────────────────────────────────────────

    def _enroll(self, side: OmopSide, engine: LocalEngine) -> None:
        """Read the tables, and put into the vault whom they name."""
        side.load(engine, self.work, self.place.quarantine(self.run_id), self.tell)
        vault = Vault(self.place.vault, self.site_secret)
        try:
            side.enroll(vault, self.config.phi.join)
            vault.index(self.secret)
        finally:
            vault.close()

    def _map_tables(self, side: OmopSide, scrub: Scrub, engine: LocalEngine) -> list[MapReceipt]:
        side.ready(engine, scrub)
        quarantine = self.place.quarantine(self.run_id)
        maps = side.map(engine, scrub, self.config.gates, self.shards, self.work, quarantine, self.tell)
        if not self.export.files or self.config.validate == "off":  # rows of tables are typed when they are read
            for receipt in maps:
                receipt.rows.pop("validate", None)
        self.tables = side.accounts(maps)
        self.verdicts += [gates.table_verdict(self.tables)]
        return maps

    # ── map and build ─────────────────────────────────────────────────────────────────────────────

    def _stages(self) -> tuple[Validate | None, Scrub, Normalize]:
        share = self.config.validate
        validate = None if share == "off" else Validate(share)
        scrub = Scrub(self.policy, self.secret, self.site_secret, self.place.vault, self.as_of)
        return validate, scrub, Normalize(self.config.events.mapping, 0)

    def _map(
        self, surveys: Sequence[fhir.Survey], validate: Validate | None, scrub: Scrub, normalize: Normalize,
        engine: LocalEngine,
    ) -> list[MapReceipt]:  # fmt: skip
        splits = sorted((split for found in surveys for split in found.splits), key=lambda split: -split.weight)
        limit = self.config.source.max_line_mib * _MIB
        quarantine = self.place.quarantine(self.run_id)
        tasks = [
            MapTask(split, validate, scrub, normalize, self.config.gates, limit, self.shards, self.work, quarantine)
            for split in splits
        ]
        total = sum(split.weight for split in splits)
        weights = {split.name: split.weight for split in splits}
        done = 0
        self.tell("map", done=0, total=total)
        receipts = []
        for receipt in engine.map(map_split, tasks):
            receipts.append(receipt)
            done += weights[receipt.name]
            self.tell("map", done=done, total=total)
        return sorted(receipts, key=lambda receipt: receipt.name)

    def _account_maps(self, maps: Sequence[MapReceipt], files: int, broken: int) -> None:
        rows = _summed(receipt.rows for receipt in maps)
        ended = _summed(receipt.fates for receipt in maps)
        rules = self.config.gates
        arrows = [name for name in ("read", "validate", "scrub", "normalize") if name in rows or name != "validate"]
        for came, name in pairwise(["read_in", *arrows]):
            dropped = {fate.split("/", 1)[1]: n for fate, n in sorted(ended.items()) if fate.startswith(name + "/")}
            produced = {"events": rows["events"]} if name == "normalize" else {}
            self.steps.append(Step(name, rows[came], rows[name], dropped, produced))
        self._judge(gates.source_verdicts(files, broken, rows["read_in"]), SourceError)
        self._compare(maps)
        self._judge(gates.resource_verdicts(self.steps, rules))
        self._judge(gates.event_verdicts(_summed(receipt.checks for receipt in maps), rules))
        bad = sum(ended[fate] for fate in ended if is_quarantined(fate))
        if self.strict and bad:
            shutil.rmtree(self.work, ignore_errors=True)
            raise SourceError(
                f"{bad} rows went to the quarantine, and --strict is on",
                hint=f"see the quarantine of run {self.run_id} in the PHI zone: file, line and reason",
            )

    def _compare(self, maps: Sequence[MapReceipt]) -> None:
        """Compare the rows of each file with what a manifest says: a file cut at the end of a line looks whole."""
        said = self.export.counts
        if not said:
            return
        rows = _rows_of(maps)
        wrong = sum(count != rows[table] for table, count in said.items())
        self._judge([gates.manifest_verdict(len(said), wrong)])
        if self.strict and wrong:
            shutil.rmtree(self.work, ignore_errors=True)
            raise SourceError(
                f"manifest.json: {self.verdicts[-1].observed}, and --strict is on", hint="fetch them again"
            )

    def _build(self, maps: Sequence[MapReceipt], scrub: Scrub, engine: LocalEngine) -> list[BuildReceipt]:
        self.draft = self.store.staging(self.run_id)
        exchange = tuple(
            (self.work / f"{receipt.name}.arrow", tuple(receipt.parcels)) for receipt in maps if receipt.parcels
        )
        splits = tuple(self.config.store.splits.items())
        beside = self.omop.numbers if self.omop and self.export.files else frozenset()
        deletions = tuple(deletions_of(self.work, receipt.name) for receipt in maps if receipt.deletions)
        tasks = [
            BuildTask(
                number, self.shards, exchange, self.draft, self.work, self.place.vault, scrub.vault_secret,
                scrub.secret, splits, deletions, beside, self._kept(),
            )
            for number in range(self.shards)
        ]  # fmt: skip
        self.tell("build", done=0, total=len(tasks))
        receipts = []
        for done, receipt in enumerate(engine.map(build_shard, tasks), 1):
            receipts.append(receipt)
            self.tell("build", done=done, total=len(tasks))
        receipts.sort(key=lambda receipt: receipt.number)
        rows = _summed(receipt.rows for receipt in receipts)
        mapped = self.steps[-1]
        self.steps.append(
            Step("shuffle", mapped.produced["events"], rows["staged"], {}, {"resources": mapped.rows_out})
        )
        dropped = {name: rows[name] for name in ("superseded", "deleted") if rows[name]}
        self.steps.append(Step("build", rows["resources_in"], rows["resources"], dropped, {"events": rows["events"]}))
        self._judge(gates.shard_verdicts(_summed(receipt.checks for receipt in receipts)))
        self.verdicts.append(gates.leak_verdict(sum(len(receipt.leaks) for receipt in receipts)))
        if not self.verdicts[-1].passed:
            self._record()
            self._leaked(receipts)
        return receipts

    def _kept(self) -> frozenset[str]:
        """PHI categories that this policy keeps as they are."""
        dates = {"DATE"} if self.policy.dates == "keep" else set()
        return frozenset(dates | ({"ZIP"} if self.policy.zip_method == "keep" else set()))

    # ── commit ────────────────────────────────────────────────────────────────────────────────────

    def _commit(
        self, maps: Sequence[MapReceipt], builds: Sequence[BuildReceipt], surveys: Sequence[fhir.Survey],
        validate: Validate | None, scrub: Scrub, normalize: Normalize,
    ) -> RunReport:  # fmt: skip
        from mayo_data.store import snapshot  # DuckDB: only when there is something to commit
        from mayo_data.store import validate as rules

        self.tell("commit", done=0, total=1)
        sources = tables.sources(surveys, _rows_of(maps), self.run_id, self.secret)
        whole = tables.write_whole(
            self.draft, self.work, self.shards, sources=sources,
            scrubs=tables.scrubs(scrub, self.run_id),
        )  # fmt: skip
        receipts = [*(file for receipt in builds for file in receipt.files), *whole]
        names = self.store.snapshots()
        manifest = snapshot.seal(
            self.draft,
            run_id=self.run_id,
            code_version=mayo_data.__version__,
            policy=self.policy.name,
            policy_fingerprint=self.policy.fingerprint,
            key_id=self.secret.key_id,
            created_at=_now(),
            previous=names[-1] if names else None,
            fingerprints={stage.name: stage.fingerprint for stage in (validate, scrub, normalize) if stage},
            receipts=receipts,
        )
        findings = [found for found in rules.validate(self.draft) if found.severity == "error"]
        broken = Counter({found.rule: found.count for found in findings})
        faults = accounts.check(self.steps)
        self._judge(gates.snapshot_verdicts(broken, faults))
        self._record()
        target = self.store.commit(self.draft)
        self._record_snapshot(target, manifest)
        tallies = _summed(receipt.tallies for receipt in maps)
        if self.omop:
            tallies += self.omop.notes()
        tables.tell_operator(self.place.quarantine(self.run_id), surveys, self.export.unread, tallies)
        shutil.rmtree(self.place.phi_zone / "server", ignore_errors=True)
        shutil.rmtree(self.work, ignore_errors=True)
        self.tell("commit", done=1, total=1)
        return RunReport(
            self.run_id, target, False, tuple(self.steps),
            {name[4:]: count for name, count in sorted(tallies.items()) if name.startswith("phi/")},
            {name: n for name, n in sorted(tallies.items()) if not name.startswith(("phi/", "system/"))},
            tuple(self.verdicts), manifest.counts["subjects"], manifest.tables["events"].rows,
            sum(found.file.size for found in surveys), time.monotonic() - self.began, manifest.logical_digest,
            self.place.phi_zone, self.export.endings,
        )  # fmt: skip

    def _leaked(self, builds: Sequence[BuildReceipt]) -> NoReturn:
        shutil.rmtree(self.draft, ignore_errors=True)
        shutil.rmtree(self.work, ignore_errors=True)
        found = [leak for receipt in builds for leak in receipt.leaks]
        where = ", ".join(f"event {event} ({column}, {category})" for event, column, category in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise LeakError(
            f"{len(found)} identifiers of a subject in that subject's output: {where}{more}. Nothing was committed",
            hint="source_table.source_row of the event id leads to the line; tell the maintainers which category leaks",
        )

    def _judge(self, found: Sequence[Verdict], error: type[MayoDataError] = GateError) -> None:
        self.verdicts += found
        stopped = [verdict for verdict in found if not verdict.passed and verdict.action == "stop"]
        if stopped:
            self._record()
            shutil.rmtree(self.work, ignore_errors=True)
            if hasattr(self, "draft"):
                shutil.rmtree(self.draft, ignore_errors=True)
            said = "; ".join(f"{verdict.gate} {verdict.check}: {verdict.observed}" for verdict in stopped)
            raise error(
                f"gate stopped the run: {said}",
                hint="see the quarantine in the PHI zone, or the gates of the pipeline file",
            )

    def _record(self) -> None:
        """Write what is known of the arrows and gates to the ledger."""
        for step in self.steps:
            self.ledger.append("step", {"run_id": self.run_id, **asdict(step)})
        for table in self.tables:
            self.ledger.append("table", {"run_id": self.run_id, **asdict(table)})
        for verdict in self.verdicts:
            self.ledger.append("gate", {"run_id": self.run_id, **asdict(verdict)})


def _silent(event: str, **fields: Any) -> None:
    """Watch nothing."""


def _summed(counters: Iterable[dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for counts in counters:
        total.update(counts)
    return total


def _rows_of(maps: Iterable[MapReceipt]) -> Counter[int]:
    """Source file to the number of its rows."""
    rows: Counter[int] = Counter()
    for receipt in maps:
        rows[receipt.source_table] += receipt.rows["read_in"]
    return rows


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
