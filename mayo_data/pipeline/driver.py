"""The only composition root: stage × engine × gate × ledger.

    survey ─→ read ─→ validate ─→ scrub ─→ normalize ─→ shuffle ─→ build ─→ commit
      G0                             G1         G2                   G3       G4

Everything that may hold PHI lies in the PHI zone; the store sees only what came through the scrub. A run commits
all of its snapshot in one rename, or nothing.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

import mayo_data
from mayo_data import keys
from mayo_data.config import PipelineConfig
from mayo_data.conformance.validate import Validate
from mayo_data.engine import Engine
from mayo_data.engine.local import LocalEngine, cores, threaded
from mayo_data.errors import GateError, MayoDataError, SourceError
from mayo_data.events.normalize import Normalize
from mayo_data.keys import Secret
from mayo_data.lineage import steps as accounts
from mayo_data.lineage.ledger import Ledger
from mayo_data.phi import policy as policies
from mayo_data.phi.structured import Scrub
from mayo_data.phi.vault import Vault
from mayo_data.pipeline import tables
from mayo_data.pipeline.leaks import note_names, refusal
from mayo_data.pipeline.omop import OmopSide, several
from mayo_data.pipeline.place import Place, private
from mayo_data.pipeline.report import RunReport, Watcher
from mayo_data.pipeline.setaside import forget_again, left_out, remember
from mayo_data.pipeline.shards import BaseShard, BuildReceipt, BuildTask, build_shard
from mayo_data.pipeline.shuffle import shuffle
from mayo_data.pipeline.survey import survey
from mayo_data.pipeline.tasks import MapReceipt, MapTask, deletions_of, is_quarantined, map_split, rows_of, summed
from mayo_data.quality import gates
from mayo_data.sources import fhir
from mayo_data.store.layout import Store
from mayo_data.types import Step, Verdict

if TYPE_CHECKING:
    from mayo_data.pipeline.delta import Base
    from mayo_data.store.snapshot import Manifest

_MIB = 1 << 20
_SHARD_BYTES = 64 * _MIB
_LEAST_SHARDS = 4
_MOST_SHARDS = 8192  # of more than half a terabyte the shards grow: a store of many small files is slow to open
_SMALL = 32 * _MIB  # of a delta, for which it does not pay to start processes


@dataclass
class Run:
    """One run, from the export to the snapshot: see `mayo_data.pipeline.start.run`."""

    config: PipelineConfig
    inputs: Sequence[Path | str]
    place: Place
    site_secret: Secret
    workers: int
    strict: bool
    tell: Watcher
    engine: Engine | None = None
    steps: list[Step] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    tables: list[Step] = field(default_factory=list)
    omop: OmopSide | None = None
    base: Base | None = None
    spoken_of: set[str] = field(default_factory=set)  # patients of whom a delta says something
    searched: set[int] = field(default_factory=set)
    run_id: str = ""
    began: float = field(default_factory=time.monotonic)

    def go(self) -> RunReport:
        """Do all of it."""
        exports, tables = several(self.inputs, self.config.source.format)
        self.export = fhir.discover(exports[0], self.site_secret.turn) if exports else fhir.Export(())
        self.policy = policies.load(self.config.phi.policy, admit=self.config.phi.admit, model=self.config.phi.model)
        # The end of the year: whoever turns 90 this year counts as 90, and the run keeps its name till then.
        self.as_of = self.config.phi.as_of or f"{datetime.now(UTC).year}-12-31"
        self.store = Store.create(self.place.store, self.site_secret.key_id)
        self.ledger = Ledger(self.store.ledger)
        small = self.config.source.mode == "delta" and not tables and self.export.weight < _SMALL
        workers = 1 if small else self.workers
        with self.store.lock(), self.place.lock(), self.engine or LocalEngine(workers) as engine:
            try:
                last = self._heal()
                first, folder = self._based(last) + len(self.export.files), self.place.phi_zone / "server"
                self.omop = OmopSide(tables[0], first, folder, zone=self.config.source.time_zone) if tables else None
                return self._locked(last, self.export.files, engine)
            except MayoDataError as error:
                if self.run_id:
                    body = {"run_id": self.run_id, "error": type(error).__name__, "exit_code": error.exit_code}
                    self.ledger.append("failure", body)
                raise
            finally:
                if self.omop:
                    self.omop.close()
                forget_again(self.ledger.path, self.place, self.site_secret)

    def _locked(self, last: Manifest | None, files: Sequence[fhir.SourceFile], engine: Engine) -> RunReport:
        surveys = self._survey(files, engine)
        if self.omop:
            self.omop.discover(engine)
            if self.base:
                self.base.speaks(self.omop.vocabulary)
            surveys += self.omop.surveys
            unread = (*self.export.unread, *self.omop.export.unread)
            self.export = replace(self.export, unread=unread)
            files = [found.file for found in surveys]
        self.read = self._name(surveys)
        base = self.base.manifest.sha256 if self.base else ""
        self.run_id = keys.fingerprint(self.read, base) if base else self.read
        if last is not None and (last.run_id == self.run_id or (base and last.fingerprints.get("read") == self.read)):
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
        engine.rest()
        return self._commit(maps, builds, surveys, validate, scrub, normalize)

    def _heal(self) -> Manifest | None:
        """Finish a run that was killed between its commit and its end; return the manifest of the last one."""
        from mayo_data.pipeline.snapshots import settle

        manifest = settle(self.store, self.ledger)
        if manifest is not None:
            shutil.rmtree(self.place.work(manifest.run_id), ignore_errors=True)
        return manifest

    def _based(self, last: Manifest | None) -> int:
        """Find what a delta is merged into; return the number of the first source file."""
        from mayo_data.pipeline import delta

        if self.config.source.mode == "full" or last is None:
            return 0
        self.secret = self.site_secret
        _, scrub, normalize = self._stages()
        self.base = delta.base_of(self.store.current(), last, self.place, self.config, scrub, normalize)
        self.export = delta.shifted(self.export, self.base.first)
        return self.base.first

    # ── survey ────────────────────────────────────────────────────────────────────────────────────

    def _survey(self, files: Sequence[fhir.SourceFile], engine: Engine) -> list[fhir.Survey]:
        """Look at every file once, and put into the vault what they say of people."""
        named = self.spoken_of if self.base else None
        return survey(files, engine, self.config, self.place, self.site_secret, self.tell, named)

    def _name(self, surveys: Sequence[fhir.Survey]) -> str:
        """Name what a run reads, and how; the base of a delta is not part of it."""
        said = msgspec.to_builtins(self.config)
        said["source"].pop("mode")
        config = orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()
        first = self.base.first if self.base else 0
        inputs = [f"{found.file.source_table - first}:{found.sha256}" for found in surveys]
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
            if self.base:
                self.base.knows(vault)
                known = (vault.person(ref) for ref in self.spoken_of)
                self.searched = {self.secret.subject_id(person.ref) for person in known if person is not None}
        finally:
            vault.close()
        weight = sum(split.weight for found in surveys for split in found.splits)
        weight += self.omop.size if self.omop else 0
        given = self.base.shards if self.base else self.config.store.shards
        self.shards = given or min(max(_LEAST_SHARDS, -(-weight // _SHARD_BYTES)), _MOST_SHARDS)
        self.ledger.append(
            "run",
            {
                "run_id": self.run_id, "pipeline": self.config.name, "code_version": mayo_data.__version__,
                "policy": self.policy.name, "policy_fingerprint": self.policy.fingerprint,
                "legal": self.policy.legal, "key_id": self.site_secret.key_id, "as_of": self.as_of,
                "mode": "delta" if self.base else "full", "base": self.base.path.name if self.base else None,
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

    def _enroll(self, side: OmopSide, engine: Engine) -> None:
        """Read the tables, and put into the vault whom they name."""
        side.load(engine, self.work, self.place.quarantine(self.run_id), self.tell)
        vault = Vault(self.place.vault, self.site_secret)
        try:
            side.enroll(vault, self.config.phi.join)
            vault.index(self.secret)
        finally:
            vault.close()

    def _map_tables(self, side: OmopSide, scrub: Scrub, engine: Engine) -> list[MapReceipt]:
        side.ready(engine, scrub)
        quarantine = self.place.quarantine(self.run_id)
        maps = side.map(engine, scrub, self.config.gates, self.shards, self.work, quarantine, self.tell)
        if not self.export.files or self.config.validate == "off":  # rows of tables are typed when they are read
            for receipt in maps:
                receipt.rows.pop("validate", None)
        self.tables = side.accounts(maps)
        self.verdicts += side.verdicts(self.tables, self.policy.model)
        return maps

    # ── map and build ─────────────────────────────────────────────────────────────────────────────

    def _stages(self) -> tuple[Validate | None, Scrub, Normalize]:
        share = self.config.validate
        validate = None if share == "off" else Validate(share)
        who = (self.policy, self.secret, self.site_secret, self.place.vault, self.as_of)
        scrub = Scrub(*who, seconds=self.config.phi.seconds)
        return validate, scrub, Normalize(self.config.events.mapping, 0)

    def _map(
        self, surveys: Sequence[fhir.Survey], validate: Validate | None, scrub: Scrub, normalize: Normalize,
        engine: Engine,
    ) -> list[MapReceipt]:  # fmt: skip
        splits = sorted((split for found in surveys for split in found.splits), key=lambda split: -split.weight)
        limit = self.config.source.max_line_mib * _MIB
        quarantine = self.place.quarantine(self.run_id)
        rules, cross = self.config.gates, self.config.phi.crosswalk
        tasks = [
            MapTask(split, validate, scrub, normalize, rules, limit, self.shards, self.work, quarantine, cross)
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
        rows = summed(receipt.rows for receipt in maps)
        ended = summed(receipt.fates for receipt in maps)
        rules = self.config.gates
        arrows = [name for name in ("read", "validate", "scrub", "normalize") if name in rows or name != "validate"]
        for came, name in pairwise(["read_in", *arrows]):
            dropped = {fate.split("/", 1)[1]: n for fate, n in sorted(ended.items()) if fate.startswith(name + "/")}
            produced = {"events": rows["events"]} if name == "normalize" else {}
            self.steps.append(Step(name, rows[came], rows[name], dropped, produced))
        found = gates.source_verdicts(files, broken, rows["read_in"])
        found += gates.event_verdicts(summed(receipt.checks for receipt in maps), rules)
        if self.base:  # it may bring deletions only, or nothing
            found = [verdict for verdict in found if not verdict.check.endswith("s_found")]
        self._judge([verdict for verdict in found if verdict.gate == "G0"], SourceError)
        self._compare(maps)
        self._judge(gates.resource_verdicts(self.steps, rules))
        self._judge([verdict for verdict in found if verdict.gate == "G2"])
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
        rows = rows_of(maps)
        wrong = sum(count != rows[table] for table, count in said.items())
        self._judge([gates.manifest_verdict(len(said), wrong)])
        if self.strict and wrong:
            shutil.rmtree(self.work, ignore_errors=True)
            raise SourceError(
                f"manifest.json: {self.verdicts[-1].observed}, and --strict is on", hint="fetch them again"
            )

    def _build(self, maps: Sequence[MapReceipt], scrub: Scrub, engine: Engine) -> list[BuildReceipt]:
        self.draft = self.store.staging(self.run_id)
        note_names(self.work, self.place.vault, scrub.vault_secret)
        exchange = shuffle(maps, self.shards, self.work, engine, self.tell)
        splits = tuple(self.config.store.splits.items())
        beside, bases, out = self._beside(), self._bases(), left_out(self.ledger.path, self.place, self.site_secret)
        deletions = tuple(deletions_of(self.work, receipt.name) for receipt in maps if receipt.deletions)
        tasks = [
            BuildTask(
                number, self.shards, exchange.get(number, ()), self.draft, self.work, self.place.vault,
                scrub.vault_secret, scrub.secret, splits, deletions, beside, self._kept(),
                tuple(sorted(one for one in self.searched if one % self.shards == number)), base, out,
            )
            for number, base in enumerate(bases)
        ]  # fmt: skip
        self.tell("build", done=0, total=len(tasks))
        receipts = []
        alone = engine.workers == 1 and self.workers != 1  # a small delta: threads do for what is left
        found = threaded(build_shard, tasks, self.workers or cores()) if alone else engine.beside(build_shard, tasks)
        for done, receipt in enumerate(found, 1):
            receipts.append(receipt)
            self.tell("build", done=done, total=len(tasks))
        receipts.sort(key=lambda receipt: receipt.number)
        rows = summed(receipt.rows for receipt in receipts)
        mapped = self.steps[-1]
        self.steps.append(
            Step("shuffle", mapped.produced["events"], rows["staged"], {}, {"resources": mapped.rows_out})
        )
        if self.base:
            resources = {"resources": mapped.rows_out + rows["kept"]}
            self.steps.append(Step("merge", mapped.rows_out, mapped.rows_out, {}, resources))
        dropped = {name: rows[name] for name in ("superseded", "deleted", "replaced", "withdrawn") if rows[name]}
        self.steps.append(Step("build", rows["resources_in"], rows["resources"], dropped, {"events": rows["events"]}))
        self._judge(gates.shard_verdicts(summed(receipt.checks for receipt in receipts)))
        self.verdicts.append(gates.leak_verdict(sum(len(receipt.leaks) for receipt in receipts)))
        if not self.verdicts[-1].passed:
            self._record()
            self._drop()
            raise refusal([leak for receipt in receipts for leak in receipt.leaks], delta=self.base is not None)
        return receipts

    def _beside(self) -> frozenset[int]:
        """Source files of OMOP exports, where there is FHIR beside them."""
        omop = (self.omop.numbers if self.omop else frozenset()) | (self.base.tables if self.base else frozenset())
        return omop if self.export.files or (self.base and self.base.has_fhir) else frozenset()

    def _bases(self) -> Sequence[BaseShard | None]:
        """What each shard is merged with."""
        from mayo_data.pipeline import delta

        if self.base is None:
            return [None] * self.shards
        people = delta.replaced_subjects(self.omop.subjects(), self.work / "replaced.parquet") if self.omop else None
        return [self.base.shard(number, people) for number in range(self.shards)]

    def _kept(self) -> frozenset[str]:
        """PHI categories that this policy keeps as they are."""
        dates = {"DATE"} if self.policy.dates == "keep" else set()
        return frozenset(dates | ({"ZIP"} if self.policy.zip_method == "keep" else set()))

    # ── commit ────────────────────────────────────────────────────────────────────────────────────

    def _commit(
        self, maps: Sequence[MapReceipt], builds: Sequence[BuildReceipt], surveys: Sequence[fhir.Survey],
        validate: Validate | None, scrub: Scrub, normalize: Normalize,
    ) -> RunReport:  # fmt: skip
        from mayo_data.phi.structured import detector
        from mayo_data.pipeline import delta, quality
        from mayo_data.pipeline.snapshots import recorded
        from mayo_data.store import snapshot  # DuckDB: only when there is something to commit
        from mayo_data.store import validate as rules

        self.tell("commit", done=0, total=1)
        sources = tables.sources(surveys, rows_of(maps), self.run_id, self.secret)
        scrubs, arrived = tables.scrubs(scrub, self.run_id), None
        if self.base:  # what is here already keeps its lineage
            arrived = pq.read_table(self.base.path / "lineage" / "arrivals.parquet")
            sources = pa.concat_tables([self.base.sources.cast(sources.schema), sources])
            scrubs = pq.read_table(self.base.path / "lineage" / "scrubs.parquet", schema=scrubs.schema)
        whole = tables.write_whole(
            self.draft, self.work, self.shards, sources, scrubs, tables.arrivals(self.work, maps, arrived)
        )
        stages = {stage.name: stage.fingerprint for stage in (validate, scrub, normalize) if stage}
        ordered = [deletions_of(self.work, receipt.name) for receipt in maps if receipt.deletions]
        memory = delta.gathered(self.work, self.base, builds, ordered) if self.policy.ids == "keyed" else {}
        receipts = [*(file for receipt in builds for file in receipt.files), *whole]
        changed = delta.changed(self.work, builds) if self.base else None
        names = self.store.snapshots()
        manifest = snapshot.seal(
            self.draft,
            run_id=self.run_id,
            code_version=mayo_data.__version__,
            policy=self.policy.name,
            policy_fingerprint=self.policy.fingerprint,
            key_id=self.secret.key_id,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            previous=names[-1] if names else None,
            fingerprints={
                **stages,
                **delta.rules(self.config, stages, detector(scrub)),
                "read": self.read,
                **delta.vocabulary(self.base, self.omop),
            },
            receipts=receipts,
            mode="delta" if self.base else "full",
            memory=memory,
            changes=delta.changes(changed) if changed else None,
            before=self.base.manifest if self.base else None,
            base=self.base.path if self.base else None,
            changed=changed["events"] if changed else None,
        )
        if self.base and self.base.stays(manifest, surveys, self.steps[0].rows_in):
            return self._unchanged(self.base, surveys)
        findings = [found for found in rules.validate(self.draft) if found.severity == "error"]
        broken = Counter({found.rule: found.count for found in findings})
        faults = accounts.check(self.steps)
        tallies = summed(receipt.tallies for receipt in maps)
        before = self.base.path if self.base else self.store.current() if names else None
        self._judge(
            quality.verdicts(
                self.draft, before, self.steps, tallies, self.config.gates, self.policy, scrub.secret, self.work,
                self.place.quarantine(self.run_id),
                {found.file.source_table: os.fsencode(found.file.path.name).decode("utf-8", "backslashreplace")
                 for found in surveys},
                changed,
            )
        )  # fmt: skip
        self._judge(gates.snapshot_verdicts(broken, faults))
        self._record()
        self.place.sweep()
        delta.keep(self.work, self.place.memory, memory)
        remember(self.work, maps, self.place, self.site_secret)
        target = self.store.commit(self.draft)
        recorded(self.ledger, target.name, manifest)
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
            self.place.phi_zone, self.export.endings, manifest.mode, sum(receipt.rewritten for receipt in builds),
        )  # fmt: skip

    def _unchanged(self, base: Base, surveys: Sequence[fhir.Survey]) -> RunReport:
        """End a delta that says nothing new: the snapshot before stays the current one."""
        self._record()
        self.ledger.append("unchanged", {"run_id": self.run_id, "snapshot": base.path.name})
        self._drop()
        return self._repeated([found.file for found in surveys], base.manifest)

    def _drop(self) -> None:
        """Remove what the run has made so far."""
        shutil.rmtree(self.work, ignore_errors=True)
        if hasattr(self, "draft"):
            shutil.rmtree(self.draft, ignore_errors=True)

    def _judge(self, found: Sequence[Verdict], error: type[MayoDataError] = GateError) -> None:
        self.verdicts += found
        stopped = [verdict for verdict in found if not verdict.passed and verdict.action == "stop"]
        if stopped:
            self._record()
            self._drop()
            said = "; ".join(f"{verdict.gate} {verdict.check}: {verdict.observed}" for verdict in stopped)
            raise error(
                f"gate stopped the run: {said}",
                hint="see the quarantine in the PHI zone, or the gates of the pipeline file",
            )

    def _record(self) -> None:
        """Write what is known of the arrows and gates to the ledger."""
        for kind, records in (("step", self.steps), ("table", self.tables), ("gate", self.verdicts)):
            for record in records:
                self.ledger.append(kind, {"run_id": self.run_id, **asdict(record)})
