"""The suites of the gates: run on a draft before its commit, and on any snapshot afterwards.

What they look at is de-identified already; still nothing but counts leaves here: no expectation reports a value.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from mayo_data import assets, keys
from mayo_data.config import GatesConfig
from mayo_data.errors import ConfigError
from mayo_data.keys import Secret
from mayo_data.lineage.ledger import Ledger
from mayo_data.phi import policy as policies
from mayo_data.phi.policy import PhiPolicy
from mayo_data.pipeline.place import private
from mayo_data.quality import expectations, suites
from mayo_data.store.layout import Store
from mayo_data.types import Step, Verdict

if TYPE_CHECKING:
    from mayo_data.store.snapshot import Manifest
    from mayo_data.store.suites import Lent

Engine = Literal["sql", "gx"]
_OF_ALL = ("subjects_found",)  # says nothing of a delta: it may only delete
_LISTED = 10_000  # rows of a check that the quarantine lists
_WORD, _COUNT, _YES, _REAL = pa.string(), pa.int64(), pa.bool_(), pa.float64()
_STEPS = pa.schema([("arrow", _WORD), ("reason", _WORD), ("rows", _COUNT), ("of", _COUNT), ("quarantine", _YES)])
_MASKED = pa.schema([("public", _YES), ("codes", _COUNT)])
_OFFSETS = pa.schema([("subject_id", pa.int64()), ("days", pa.int64())])
_NUMBERS = ("low", "high", "age_low", "age_high", "typical_low", "typical_high", "factor")
_RANGES = pa.schema([*((n, _WORD) for n in ("loinc", "code", "name", "unit")), *((n, _REAL) for n in _NUMBERS)])
_SEXED = pa.schema([("sex", _WORD), ("vocabulary", _WORD), ("start", _WORD), ("prefix", _YES)])


@dataclass(frozen=True)
class Checked:
    """What one expectation came to: counts, never a value.

    Attributes:
        gate: G0 to G4.
        check: Its name.
        category: Conformance, Completeness or Plausibility.
        action: What follows where it does not hold: stop, quarantine, warn.
        passed: Whether it holds.
        unexpected: Rows that are not as expected; None where the engine tells the verdict alone.
        rows: Rows that were looked at; None likewise.
        says: What must hold.
        by: Where it does not: the names that most of it has, to count.

    >>> Checked("G2", "code_present", "Conformance", "stop", True, 0, 9, "").verdict.observed
    'Conformance: 0 of 9 rows'
    """

    gate: str
    check: str
    category: str
    action: Literal["stop", "quarantine", "warn"]
    passed: bool
    unexpected: int | None
    rows: int | None
    says: str
    by: Mapping[str, int] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """The same as the ledger has it."""
        seen = "" if self.rows is None else f": {self.unexpected} of {self.rows} rows"
        most = ", ".join(f"{name} {count}" for name, count in self.by.items())
        return Verdict(
            self.gate, self.check, self.passed, f"{self.category}{seen}{f' ({most})' if most else ''}", self.action
        )


@dataclass(frozen=True)
class Inspection:
    """What the suites say of a snapshot.

    Attributes:
        snapshot: Its name.
        engine: `sql`, or `gx` for Great Expectations itself.
        checks: What each expectation came to.
        data_docs: Page of the Data Docs, where they were built.
    """

    snapshot: str
    engine: str
    checks: tuple[Checked, ...]
    data_docs: Path | None = None

    @property
    def stopped(self) -> tuple[Checked, ...]:
        """What would have stopped a run."""
        return tuple(one for one in self.checks if not one.passed and one.action == "stop")


def verdicts(
    draft: Path,
    before: Path | None,
    steps: Sequence[Step],
    tallies: Mapping[str, int],
    rules: GatesConfig,
    policy: PhiPolicy,
    secret: Secret,
    work: Path,
    quarantine: Path,
    files: Mapping[int, str],
    changed: Mapping[str, pa.Table] | None = None,
) -> list[Verdict]:
    """Run the suites on a draft, before it is committed.

    Args:
        draft: Folder of the draft.
        before: Folder of the snapshot before, or None.
        steps: What became of the rows.
        tallies: Counts of the run; `system/URI` says how many codes of a system were masked.
        rules: Suites of the site, checks left out, and how much history a comparison needs.
        policy: Says how dates were moved.
        secret: Key of the run, for the days that dates were moved by.
        work: A folder in the PHI zone: real months are counted there.
        quarantine: Where the rows of a check with action `quarantine` are listed, by file and line.
        files: Source file to its name, for that list.
        changed: Of a delta, its rows: `delta.changed`. Gates look at the delta alone.

    Raises:
        ConfigError: A suite of the site cannot be run.
    """
    from mayo_data.store.suites import opened

    loaded = suites.load(rules.suites, (*rules.skip, *_OF_ALL) if changed is not None else rules.skip)
    beside = _beside(steps, _masked(tallies), _offsets(draft, policy, secret), rules)
    folder = work / "quality"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    try:
        with opened(draft, before, beside, suites.tables(), folder, changed=changed) as lent:
            checks = _checked(lent, loaded)
            _set_aside(lent, loaded, checks, files, quarantine / "quality.ndjson")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return [one.verdict for one in checks]


def inspect(
    store: Path | str,
    *,
    snapshot: str | None = None,
    engine: Engine = "sql",
    more: Sequence[Path | str] = (),
    skip: Sequence[str] = (),
    history_rows: int = GatesConfig().history_rows,
    key_file: Path | str | None = None,
    data_docs: Path | str | None = None,
) -> Inspection:
    """Run the suites on a snapshot of a store: `mayo-data quality`.

    The ledger keeps a record of kind `inspection`: which checks did not hold.

    Args:
        store: Folder of the store.
        snapshot: Its name; by default the current one.
        engine: `sql` for our own compilation, `gx` for Great Expectations itself, which takes seconds to load.
        more: Suites of the site.
        skip: Checks that are left out.
        history_rows: Rows in the snapshot before from which a comparison counts.
        key_file: The site's key: only with it can missing days and months be seen where the policy moves dates.
        data_docs: Folder for the Data Docs of Great Expectations, verdicts without values; implies `gx`.

    Raises:
        ConfigError: A suite cannot be run, or the key is that of another store.
        StoreError: There is no such snapshot, or somebody in it has withdrawn.

    >>> inspect("/nowhere")
    Traceback (most recent call last):
    mayo_data.errors.StoreError: ...
    """
    from mayo_data.dataset.trust import refuse_blocked
    from mayo_data.store.snapshot import Manifest
    from mayo_data.store.suites import opened

    opened_store = Store.open(Path(store))
    names = opened_store.snapshots()
    path = opened_store.snapshot(snapshot) if snapshot else opened_store.current()
    refuse_blocked(opened_store, path)
    manifest = Manifest.read(path)
    before = opened_store.snapshot(manifest.previous) if manifest.previous in names else None
    ledger = Ledger(opened_store.ledger)
    rules = msgspec.structs.replace(GatesConfig(), history_rows=history_rows)
    offsets = _OFFSETS.empty_table()
    if key_file is not None:
        offsets = _of_key(path, manifest, keys.load(Path(key_file)))
    beside = _beside(_steps(ledger, manifest.run_id), _MASKED.empty_table(), offsets, rules)
    loaded = suites.load([str(one) for one in more], skip)
    page = None
    with tempfile.TemporaryDirectory(prefix="quality") as place:
        with opened(path, before, beside, suites.tables(), Path(place)) as lent:
            checks = _checked(lent, loaded)
        if engine == "gx" or data_docs is not None:
            from mayo_data.quality import great

            docs = Path(data_docs) if data_docs is not None else None
            said, page = great.judged(Path(place) / "quality.duckdb", loaded, docs, Path(place))
            checks = [_by_gx(one, said[one.gate, one.check]) for one in checks]
            engine = "gx"
    failed = [{"gate": one.gate, "check": one.check, "action": one.action} for one in checks if not one.passed]
    ledger.append(
        "inspection", {"snapshot": path.name, "engine": engine, "checks": len(checks), "not_as_expected": failed}
    )
    return Inspection(path.name, engine, tuple(checks), page)


def _by_gx(one: Checked, passed: bool) -> Checked:
    return Checked(**{**asdict(one), "passed": passed})


def _checked(lent: Lent, loaded: Sequence[suites.Suite]) -> list[Checked]:
    from mayo_data.store.suites import counted, tally

    found = []
    for suite in loaded:
        for one in suite.expectations:
            query, about = expectations.compiled(one), one.meta
            try:
                unexpected, rows = counted(lent, query.counts)
                held = query.holds(unexpected, rows)
                most = tally(lent, about.table, about.by, query.bad) if about.by and query.bad and not held else {}
            except ValueError as error:
                raise ConfigError(
                    f"{one.meta.check}: its table or column is not there, or of another type",
                    hint="schemas/quality/tables.toml lists the tables",
                ) from error
            found.append(
                Checked(suite.gate, about.check, about.category, about.action, held, unexpected, rows, about.says, most)
            )
    return found


def _set_aside(
    lent: Lent,
    loaded: Sequence[suites.Suite],
    checks: Sequence[Checked],
    files: Mapping[int, str],
    path: Path,
) -> None:
    """List, in the PHI zone, where the rows of failed checks with action `quarantine` come from."""
    from mayo_data.store.suites import places

    every: dict[tuple[str, str], suites.Expectation] = {
        (suite.gate, one.meta.check): one for suite in loaded for one in suite.expectations
    }
    lines = []
    for one in checks:
        bad = expectations.compiled(every[one.gate, one.check]).bad
        if not one.passed and one.action == "quarantine" and bad:
            for source, row in places(lent, every[one.gate, one.check].meta.table, bad, _LISTED):
                file = files.get(source, f"source_table {source}")
                reason = {"arrow": "quality", "reason": one.check, "path": None, "body": ""}
                lines.append({"file": file, "line": row, **reason})
    if lines:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with private(path) as out:
            out.writelines(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)


def _beside(steps: Iterable[Step], masked: pa.Table, offsets: pa.Table, rules: GatesConfig) -> dict[str, pa.Table]:
    return {
        "steps": pa.Table.from_pylist(_ended(steps), schema=_STEPS),
        "masked": masked,
        "offsets": offsets,
        "limits": pa.table({"history_rows": pa.array([rules.history_rows], pa.int64())}),
        "ranges": pa.Table.from_pylist(suites.ranges(), schema=_RANGES),
        "sexed": pa.Table.from_pylist(suites.sexed(), schema=_SEXED),
    }


def _ended(steps: Iterable[Step]) -> list[dict[str, Any]]:
    reasons = assets.toml("schemas", "reasons.toml")
    return [
        {
            "arrow": step.name, "reason": reason, "rows": count, "of": step.rows_in,
            "quarantine": bool(reasons.get(step.name, {}).get(reason, {}).get("quarantine")),
        }
        for step in steps
        for reason, count in step.dropped.items()
    ]  # fmt: skip


def _steps(ledger: Ledger, run_id: str) -> list[Step]:
    """The arrows of a run, from the ledger."""
    return [
        Step(body["name"], body["rows_in"], body["rows_out"], body["dropped"], body["produced"])
        for body in (record["body"] for record in ledger.records("step"))
        if body["run_id"] == run_id
    ]


def _masked(tallies: Mapping[str, int]) -> pa.Table:
    """How many codes were masked that name a public system, and how many that name a site's own."""
    systems = assets.toml("schemas", "fhir", "code_systems.toml")["system"]
    public = {one["uri"] for one in systems if not one.get("prefix")}
    counts = {True: 0, False: 0}
    for name, count in tallies.items():
        if name.startswith("system/"):
            counts[name[7:] in public] += count
    return pa.Table.from_pylist([{"public": kind, "codes": n} for kind, n in counts.items()], schema=_MASKED)


def _offsets(snapshot: Path, policy: PhiPolicy, secret: Secret) -> pa.Table:
    """By how many days the dates of each subject were moved; nothing where only years are left."""
    if policy.dates == "year":
        return _OFFSETS.empty_table()
    subjects = pq.read_table(snapshot / "metadata" / "subject_splits.parquet", columns=["subject_id"])
    ids = subjects.column("subject_id").to_pylist()
    shift = policy.dates == "shift"
    days = [secret.offset_days(one, most=policy.max_days) if shift else 0 for one in ids]
    return pa.table([ids, days], schema=_OFFSETS)


def _of_key(snapshot: Path, manifest: Manifest, secret: Secret) -> pa.Table:
    if secret.key_id != manifest.key_id:
        raise ConfigError("the key is not the one that the snapshot was made with", hint="give its own key, or none")
    try:
        found = policies.load(manifest.policy)
    except ConfigError:  # a site's own: how far it moves dates is not known here
        return _OFFSETS.empty_table()
    return _offsets(snapshot, found, secret)
