"""The build of a shard, in the engine's processes: anew, merged with the snapshot before, or taken over as it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mayo_data import schema
from mayo_data.engine.exchange import gather, load, save
from mayo_data.keys import Secret
from mayo_data.phi.vault import Vault
from mayo_data.pipeline.leaks import noted_names, search
from mayo_data.quality import gates
from mayo_data.store import write
from mayo_data.store.sums import before_and_after
from mayo_data.timeline import build as timelines
from mayo_data.timeline.build import Shard
from mayo_data.timeline.merge import Held, merge, spoken_of
from mayo_data.timeline.same import same

_FOLDERS = {
    "events": "data", "resources": "lineage/resources", "decisions": "lineage/decisions",
    "same_facts": "lineage/same_facts",
}  # fmt: skip
DIGESTED = ("events", "resources", "decisions")  # logical tables that lie in shards
MEMORY = {"memory": "memory", "codes": "codes", "waiting": "staged"}  # what a shard leaves for the next delta: schemas


@dataclass(frozen=True)
class BaseShard:
    """A shard of the snapshot that a delta is merged into.

    Attributes:
        snapshot: Folder of the snapshot.
        files: Receipts of the shard's files.
        memory: What it left in the PHI zone: `memory`, `codes` and perhaps `waiting`, to file.
        deletions: What was deleted so far, whatever the shard.
        replaced: Subjects of whom the delta brings all rows of an OMOP export, whatever the shard; or None.
        tables: Source files of OMOP exports that were read before.
    """

    snapshot: Path
    files: tuple[write.FileReceipt, ...]
    memory: dict[str, Path]
    deletions: Path
    replaced: Path | None
    tables: frozenset[int]


@dataclass(frozen=True)
class BuildTask:
    """Build one shard."""

    number: int
    shards: int
    exchange: tuple[tuple[Path, list[int]], ...]  # files, and which of their batches
    draft: Path
    folder: Path
    vault: Path
    vault_secret: Secret
    secret: Secret
    splits: tuple[tuple[str, float], ...]
    deletions: tuple[Path, ...]
    tables: frozenset[int]  # source files of an OMOP export, where there is a FHIR export beside it
    kept: frozenset[str]  # PHI categories that the policy keeps, so that the leak audit does not mind them
    searched: tuple[int, ...] = ()  # subjects whom the leak audit searches though the delta says nothing else of them
    base: BaseShard | None = None
    withdrawn: frozenset[int] = frozenset()  # subjects who are left out, whatever the shard


class BuildReceipt(msgspec.Struct, frozen=True):
    """What a finished build task leaves: its files, counts, and what the leak audit found.

    Attributes:
        number: The shard.
        rows: Counts.
        checks: Counts of gate G3.
        leaks: Event id, column, category.
        files: What was written into the draft.
        memory: What it left in the work folder for the next delta: name to sha256.
        merged: Whether it left what a delta changes: `changed_of`.
        rewritten: False where the shard is that of the snapshot before.
    """

    number: int
    rows: dict[str, int]
    checks: dict[str, int]
    leaks: list[tuple[str, str, str]]
    files: list[write.FileReceipt]
    memory: dict[str, str] = {}
    merged: bool = False
    rewritten: bool = True


@dataclass
class _Built:
    """What a shard comes to, before anything is written."""

    held: Held
    codes: pa.Table
    withdrawn: pa.Table
    staged: pa.Table  # what the leak audit searches
    rows: dict[str, int]
    changed: dict[str, pa.Table] = field(default_factory=dict)  # of a delta: `before_and_after`, by table


def build_shard(task: BuildTask) -> BuildReceipt:
    """Build one shard: versions settled, events sorted, every string audited for leaks, files written."""
    receipt = task.folder / f"shard-{task.number:04d}.json"
    if receipt.exists():
        return msgspec.json.decode(receipt.read_bytes(), type=BuildReceipt)
    fresh, left_out = _without(gather(task.exchange, schema.table("staged")), task)
    deletions = _deletions(task.deletions)
    built = _anew(fresh, deletions, task) if task.base is None else _merged(fresh, deletions, task, task.base)
    done = _taken_over(task, task.base) if built is None and task.base is not None else _written(built, task)
    done.rows.update({name: done.rows.get(name, 0) + count for name, count in left_out.items()})
    write.write_bytes(msgspec.json.encode(done), receipt)
    return done


def _without(fresh: pa.Table, task: BuildTask) -> tuple[pa.Table, dict[str, int]]:
    """Leave out who has withdrawn; their resources are counted."""
    mine = [subject for subject in task.withdrawn if subject % task.shards == task.number]
    if not mine:
        return fresh, {}
    of = np.isin(np.asarray(fresh.column("subject_id")), np.array(mine, np.int64))
    gone = fresh.filter(pa.array(of))
    live = gone.filter(pc.is_null(gone.column("fate")))
    heads = int(pc.sum(pc.equal(live.column("source_item"), 0)).as_py() or 0)
    counts = {"resources_in": heads, "withdrawn": heads, "staged": live.num_rows}
    return fresh.filter(pa.array(~of)), counts


def _anew(fresh: pa.Table, deletions: pa.Table, task: BuildTask) -> _Built:
    shard = timelines.build(fresh, deletions)
    rows = {**_counts(shard), "staged": fresh.column("fate").null_count, "resources": shard.resources.num_rows}
    return _Built(_held(shard, task.tables), shard.codes, shard.withdrawn, fresh, rows)


def _merged(fresh: pa.Table, deletions: pa.Table, task: BuildTask, base: BaseShard) -> _Built | None:
    """Merge what a delta brings into the shard; None where it has nothing for it."""
    replaced = _table(base.replaced).column("subject_id").to_numpy() if base.replaced else np.empty(0, np.int64)
    mine = replaced[replaced % task.shards == task.number]
    resources = _of_base(base, "resources")
    subjects = np.union1d(spoken_of(resources, fresh, deletions, mine), np.array(task.searched, np.int64))
    if not len(subjects):
        return None
    held = Held(
        _of_base(base, "events"),
        resources,
        _of_base(base, "decisions"),
        _of_base(base, "same_facts"),
        pq.read_table(base.memory["memory"], schema=schema.table("memory")),
        pq.read_table(base.memory["waiting"], schema=schema.table("staged"))
        if "waiting" in base.memory
        else schema.table("staged").empty_table(),
    )
    orders = pa.concat_tables([_table(base.deletions), deletions])
    found = merge(held, fresh, orders, subjects, replaced=mine, tables=base.tables, second=task.tables)
    rest = resources.num_rows - found.before.resources.num_rows
    rows = {
        **_counts(found.shard), "staged": fresh.column("fate").null_count, "replaced": found.replaced,
        "resources": found.held.resources.num_rows, "kept": resources.num_rows + found.waited,
    }  # fmt: skip
    rows["resources_in"] += rest + found.replaced
    changed = {name: before_and_after(getattr(found.before, name), getattr(found.shard, name)) for name in DIGESTED}
    return _Built(found.held, found.codes, found.shard.withdrawn, found.staged, rows, changed)


def _counts(shard: Shard) -> dict[str, int]:
    return {"resources_in": shard.resources_in, "superseded": shard.superseded, "deleted": shard.deleted}


def _held(shard: Shard, second: frozenset[int]) -> Held:
    facts = same(shard.events, second) if second else schema.table("same_facts").empty_table()
    return Held(shard.events, shard.resources, shard.decisions, facts, shard.memory, shard.waiting)


def _written(built: _Built | None, task: BuildTask) -> BuildReceipt:
    """Audit a shard, and write its files into the draft: only what the audit has passed."""
    assert built is not None
    vault = Vault(task.vault, task.vault_secret, readonly=True)
    try:
        leaks = search(built.staged, vault, task.kept, noted_names(task.folder))
    finally:
        vault.close()
    name = f"{task.number:04d}.parquet"
    files = [] if leaks else [
        write.write_table(getattr(built.held, table), task.draft / folder / name, schema_name=table, root=task.draft)
        for table, folder in _FOLDERS.items()
    ]  # fmt: skip
    left = {"memory": built.held.memory, "codes": built.codes, "waiting": built.held.waiting}
    memory = {
        part: write.write_table(table.cast(schema.table(MEMORY[part])), left_by(task.folder, task.number, part),
                                schema_name=MEMORY[part]).sha256
        for part, table in left.items()
        if part != "waiting" or table.num_rows
    }  # fmt: skip
    subjects = _subjects(built.held.events)
    save(_splits(subjects, task), splits_of(task.folder, task.number))
    save(built.withdrawn, withdrawn_of(task.folder, task.number))
    for table, rows in built.changed.items():
        save(rows, changed_of(task.folder, task.number, table))
    events = built.held.events
    rows = {**built.rows, "events": events.num_rows, "subjects": len(subjects)}
    checks = gates.shard(events, task.number, task.shards)
    return BuildReceipt(task.number, rows, dict(checks), leaks, files, memory, bool(built.changed))


def _taken_over(task: BuildTask, base: BaseShard) -> BuildReceipt:
    """Let the shard of the snapshot before be that of the draft too."""
    counts = {}
    for file in base.files:
        write.link(base.snapshot / file.path, task.draft / file.path)
        counts[file.path.rpartition("/")[0]] = file.rows
    for part, path in base.memory.items():
        write.link(path, left_by(task.folder, task.number, part))
    subjects = _subjects(pq.read_table(task.draft / "data" / f"{task.number:04d}.parquet", columns=["subject_id"]))
    save(_splits(subjects, task), splits_of(task.folder, task.number))
    save(schema.table("deletions").empty_table(), withdrawn_of(task.folder, task.number))
    kept = counts[_FOLDERS["resources"]]
    rows = {"resources_in": kept, "resources": kept, "kept": kept, "events": counts["data"], "subjects": len(subjects)}
    memory = {part: path.stem for part, path in base.memory.items()}
    return BuildReceipt(task.number, rows, {"events": counts["data"]}, [], list(base.files), memory, rewritten=False)


def left_by(folder: Path, number: int, part: str) -> Path:
    """Return the file in which a build task leaves something for the next delta."""
    return folder / f"{part}-{number:04d}.parquet"


def splits_of(folder: Path, number: int) -> Path:
    """Return the file in which a build task leaves the splits of its subjects."""
    return folder / f"splits-{number:04d}.arrow"


def changed_of(folder: Path, number: int, table: str) -> Path:
    """Return the file in which a build task leaves the rows of whom a delta speaks, as they were and as they are."""
    return folder / f"changed-{table}-{number:04d}.arrow"


def withdrawn_of(folder: Path, number: int) -> Path:
    """Return the file in which a build task leaves what the source has withdrawn."""
    return folder / f"withdrawn-{number:04d}.arrow"


def _of_base(base: BaseShard, table: str) -> pa.Table:
    path = next(file.path for file in base.files if file.path.rpartition("/")[0] == _FOLDERS[table])
    return pq.read_table(base.snapshot / path, schema=schema.table(table))


def _deletions(files: Sequence[Path]) -> pa.Table:
    return pa.concat_tables([schema.table("deletions").empty_table(), *(_table(path) for path in files)])


def _subjects(events: pa.Table) -> list[int]:
    found: list[int] = pc.unique(events.column("subject_id")).to_pylist()  # events are sorted by subject
    return found


def _splits(subjects: Sequence[int], task: BuildTask) -> pa.Table:
    """Assign subjects to splits by keyed hash: stable when others are added."""
    names = []
    for subject in subjects:
        share = task.secret.fraction("split", str(subject))
        for name, size in task.splits:  # noqa: B007 - the name that the loop stops at is used
            if share < size:
                break
            share -= size
        names.append(name)
    return pa.table({"subject_id": list(subjects), "split": names}, schema=schema.table("subject_splits"))


def _table(path: Path) -> pa.Table:
    return pq.read_table(path) if path.suffix == ".parquet" else load(path)
