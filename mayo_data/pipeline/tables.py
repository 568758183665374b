"""The tables that are one a snapshot (codes, splits, sources, scrubs), and what only the operator may see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import mayo_data
from mayo_data import schema
from mayo_data.engine.exchange import load
from mayo_data.keys import Secret
from mayo_data.phi.structured import Scrub, detector
from mayo_data.pipeline.place import private
from mayo_data.pipeline.shards import left_by, splits_of
from mayo_data.pipeline.tasks import MapReceipt, arrivals_of
from mayo_data.sources import fhir
from mayo_data.store import write
from mayo_data.timeline.build import codes


def sources(surveys: Sequence[fhir.Survey], rows: Mapping[int, int], run_id: str, secret: Secret) -> pa.Table:
    """Return table `sources`: what the files were, without their names.

    Args:
        surveys: What was read.
        rows: Source file to the number of its rows.
        run_id: The run.
        secret: Key of the pseudonyms, for the digest of the name.
    """
    found = [
        {
            "source_table": one.file.source_table,
            "name_key": secret.digest("source-name", one.file.path.name).hex()[:16],
            "sha256": one.sha256,
            "bytes": one.file.size,
            "rows": rows[one.file.source_table],
            "format": one.file.format,
            "run_id": run_id,
        }
        for one in surveys
    ]
    return pa.Table.from_pylist(found, schema=schema.table("sources"))


def scrubs(scrub: Scrub, run_id: str) -> pa.Table:
    """Return table `scrubs`: under which policy, key and detector the rows of this run were scrubbed."""
    row = {
        "scrub_ref": 0,
        "policy": scrub.policy.name,
        "policy_fingerprint": scrub.policy.fingerprint,
        "detector": detector(scrub),
        "key_id": scrub.secret.key_id,
        "run_id": run_id,
        "code_version": mayo_data.__version__,
    }
    return pa.Table.from_pylist([row], schema=schema.table("scrubs"))


def arrivals(work: Path, maps: Sequence[MapReceipt], before: pa.Table | None = None) -> pa.Table:
    """Return table `arrivals`: what arrived of whom in this run, and in those that it was merged into.

    Args:
        work: Folder of the run.
        maps: What the map tasks left; those over OMOP tables leave no arrivals.
        before: Table `arrivals` of the snapshot that a delta is merged into.
    """
    paths = [path for receipt in maps if (path := arrivals_of(work, receipt.name)).exists()]
    nothing = schema.table("arrivals").empty_table()
    found = pa.concat_tables([nothing if before is None else before, *map(load, paths)])
    keys = ["source_table", "subject_id", "resource_type"]
    summed = found.group_by(keys).aggregate([("resources", "sum")]).rename_columns([*keys, "resources"])
    return summed.sort_by([(key, "ascending") for key in keys]).cast(schema.table("arrivals"))


def write_whole(
    draft: Path, work: Path, shards: int, sources: pa.Table, scrubs: pa.Table, arrivals: pa.Table
) -> list[write.FileReceipt]:
    """Merge what the shards left in the work folder, and write the tables that are one a snapshot.

    Args:
        draft: Folder of the snapshot in the making.
        work: Folder of the run, with the codes and splits of every shard.
        shards: Number of shards.
        sources: Table `sources`.
        scrubs: Table `scrubs`.
        arrivals: Table `arrivals`; of subjects who are not in the snapshot nothing is kept.
    """
    numbers = range(shards)
    splits = pa.concat_tables([load(splits_of(work, number)) for number in numbers])
    whole = {
        "metadata/codes": codes([pq.read_table(left_by(work, number, "codes")) for number in numbers]),
        "metadata/subject_splits": splits.sort_by("subject_id"),
        "lineage/sources": sources,
        "lineage/scrubs": scrubs,
        "lineage/arrivals": arrivals.filter(pc.is_in(arrivals.column("subject_id"), splits.column("subject_id"))),
    }
    return [
        write.write_table(table, draft / f"{name}.parquet", schema_name=name.rpartition("/")[2], root=draft)
        for name, table in whole.items()
    ]


def tell_operator(
    folder: Path, surveys: Sequence[fhir.Survey], unread: Sequence[str], tallies: Mapping[str, int]
) -> None:
    """Write, in the PHI zone, which file has which number, what was not read, and which code systems were masked."""
    names = [[one.file.source_table, one.sha256, one.file.path.name] for one in surveys]
    _write(folder / "sources.tsv", ["source_table", "sha256", "file"], names)
    if unread:
        _write(folder / "not_read.tsv", ["file"], [[name] for name in unread])
    masked = {name[7:]: count for name, count in tallies.items() if name.startswith("system/")}
    if masked:
        rows = [[count, name] for name, count in sorted(masked.items(), key=lambda one: (-one[1], one[0]))]
        _write(folder / "masked_systems.tsv", ["codes", "system"], rows)


def _write(path: Path, names: list[str], rows: Sequence[Sequence[Any]]) -> None:
    with private(path) as out:
        for row in [names, *rows]:
            line = "\t".join(" ".join(str(cell).split()) for cell in row)
            out.write(f"{line}\n".encode("utf-8", "surrogateescape"))
