"""A delta: what it is merged into, whether it fits, and what it leaves for the next one.

The snapshot is merged with what it holds itself. What it cannot hold, because it is real time, lies in the PHI zone
under `memory`: versions, deletions, and what an event says that its table does not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import mayo_data
from mayo_data import keys, schema
from mayo_data.config import PipelineConfig
from mayo_data.engine.exchange import load
from mayo_data.errors import ConfigError, StoreError
from mayo_data.events.normalize import Normalize
from mayo_data.phi.structured import Scrub, detector
from mayo_data.phi.vault import Vault
from mayo_data.pipeline.omop import OmopSide
from mayo_data.pipeline.place import Place
from mayo_data.pipeline.shards import DIGESTED, MEMORY, BaseShard, BuildReceipt, changed_of, left_by, withdrawn_of
from mayo_data.sources import fhir
from mayo_data.store import write
from mayo_data.store.snapshot import Change, Manifest
from mayo_data.store.sums import before_and_after

_REBUILD = "run without --delta over the whole export: it replaces everything"
_WHAT = {
    "policy": "PHI policy (or phi.admit, phi.model)", "key": "key", "code": "version of mayo_data",
    "scrub": "day of reference (phi.as_of)", "normalize": "mapping", "detector": "detector of PHI in texts",
    "phi": "phi.join or source.time_zone", "splits": "store.splits",
}  # fmt: skip


@dataclass(frozen=True)
class Base:
    """The snapshot that a delta is merged into.

    Attributes:
        path: Its folder.
        manifest: Its manifest.
        sources: Table `sources`: what was read so far.
        memory: Folder with what it left in the PHI zone.
    """

    path: Path
    manifest: Manifest
    sources: pa.Table
    memory: Path

    @classmethod
    def of(cls, path: Path, manifest: Manifest, memory: Path) -> Base:
        """Return a snapshot as the base of a delta.

        Args:
            path: Its folder.
            manifest: Its manifest.
            memory: Folder in the PHI zone.

        Raises:
            ConfigError: It was made in a way that no delta fits.
            StoreError: What it left in the PHI zone is not there.
        """
        if not manifest.memory:
            raise ConfigError(f"no delta fits snapshot {path.name}: it keeps no memory", hint=_REBUILD)
        found = cls(path, manifest, pq.read_table(path / "lineage" / "sources.parquet"), memory)
        missing = [name for name, sha256 in manifest.memory.items() if not found.file(sha256).exists()]
        if missing:
            raise StoreError(
                f"{len(missing)} files of the memory of snapshot {path.name} are not in the PHI zone",
                hint=f"give the --phi-zone of this store, or {_REBUILD}",
            )
        return found

    def file(self, sha256: str) -> Path:
        """Return where a file of the memory lies."""
        return self.memory / f"{sha256}.parquet"

    @property
    def shards(self) -> int:
        """Number of shards; a delta keeps it."""
        return self.manifest.tables["events"].files

    @property
    def first(self) -> int:
        """Number of the first source file of the delta: the numbering goes on."""
        return int(pc.max(self.sources.column("source_table")).as_py()) + 1

    @property
    def tables(self) -> frozenset[int]:
        """Source files of OMOP exports that were read so far."""
        omop = self.sources.filter(pc.starts_with(self.sources.column("format"), "omop"))
        return frozenset(omop.column("source_table").to_pylist())

    @property
    def has_fhir(self) -> bool:
        """Whether a FHIR export was read so far."""
        return bool(len(self.tables) < self.sources.num_rows)

    def fits(self, rules: Mapping[str, str]) -> None:
        """Refuse a delta under other rules than those of the snapshot: half of a timeline would be under each.

        Args:
            rules: What `rules` returns for the delta.

        Raises:
            ConfigError: A rule differs.
        """
        ours = {
            **self.manifest.fingerprints, "policy": self.manifest.policy_fingerprint, "key": self.manifest.key_id,
            "code": self.manifest.code_version,
        }  # fmt: skip
        other = [_WHAT[name] for name, value in rules.items() if ours.get(name) != value]
        if other:
            raise ConfigError(
                f"the delta does not fit snapshot {self.path.name}, which has another {', another '.join(other)}",
                hint=_REBUILD,
            )

    def speaks(self, vocabulary: bool) -> None:
        """Refuse an OMOP delta without the concepts that the snapshot was made with: its codes would be others.

        Args:
            vocabulary: Whether the delta has the table `concept`.

        Raises:
            ConfigError: It has not, and the snapshot had.
        """
        if "vocabulary" in self.manifest.fingerprints and not vocabulary:
            raise ConfigError(
                f"the delta has no table concept, with which snapshot {self.path.name} was made",
                hint="put the vocabulary beside the rows of the night",
            )

    def knows(self, vault: Vault) -> None:
        """Refuse a delta after which the vault has other subjects than the snapshot.

        Raises:
            StoreError: The vault is another one, or the delta says that two subjects are one person.
        """
        subjects = pq.read_table(self.path / "metadata" / "subject_splits.parquet").column("subject_id")
        strangers = vault.strangers(subjects.to_pylist())
        if strangers:
            raise StoreError(
                f"{strangers} subjects of snapshot {self.path.name} are not in the vault: "
                "it is another one, or two of them turned out to be one person",
                hint=f"give the --phi-zone of this store, or {_REBUILD}",
            )

    def shard(self, number: int, replaced: Path | None) -> BaseShard:
        """Return one shard for the task that builds it.

        Args:
            number: The shard.
            replaced: File of the subjects of whom an OMOP export brings all rows anew.
        """
        name = f"/{number:04d}.parquet"
        memory = {part: f"{part}/{number:04d}" for part in MEMORY}
        return BaseShard(
            self.path,
            tuple(file for file in self.manifest.files if file.path.endswith(name)),
            {p: self.file(self.manifest.memory[key]) for p, key in memory.items() if key in self.manifest.memory},
            self.file(self.manifest.memory["deletions"]),
            replaced,
            self.tables,
        )

    def stays(self, manifest: Manifest, surveys: Sequence[fhir.Survey], rows: int) -> bool:
        """Whether a delta says nothing new, so that no snapshot is needed: its files were read before, or are empty.

        Args:
            manifest: The draft's.
            surveys: What was read.
            rows: Number of its rows.
        """
        if manifest.logical_digest != self.manifest.logical_digest:
            return False
        if manifest.memory["deletions"] != self.manifest.memory["deletions"]:
            return False
        before = set(self.sources.column("sha256").to_pylist())
        return rows == 0 or before.issuperset(found.sha256 for found in surveys)


def base_of(
    path: Path, manifest: Manifest, place: Place, config: PipelineConfig, scrub: Scrub, normalize: Normalize
) -> Base:
    """Return the snapshot that a delta is merged into, once it is certain that the delta fits.

    Args:
        path: Folder of the snapshot.
        manifest: Its manifest.
        place: Where its memory and the vault lie.
        config: The pipeline file.
        scrub: The scrub of the delta.
        normalize: The normalisation of the delta.

    Raises:
        ConfigError: The delta is under other rules, or no delta fits.
        StoreError: The PHI zone is not that of the store.
    """
    if scrub.policy.ids != "keyed":
        raise ConfigError(f"no delta fits policy {scrub.policy.name}: its ids are random", hint="run without --delta")
    base = Base.of(path, manifest, place.memory)
    key, code = scrub.secret.key_id, mayo_data.__version__
    base.fits({"policy": scrub.policy.fingerprint, "key": key, "code": code})
    Vault(place.vault, scrub.vault_secret).close()  # made where it is missing: then it knows nobody
    stages = {"scrub": scrub.fingerprint, "normalize": normalize.fingerprint}
    base.fits(rules(config, stages, detector(scrub)))
    return base


def rules(config: PipelineConfig, fingerprints: Mapping[str, str], detector: str) -> dict[str, str]:
    """Return what must be the same in a delta as in its base, beside policy, key and version: name to fingerprint.

    Args:
        config: The pipeline file.
        fingerprints: Stage to fingerprint.
        detector: Fingerprint of the detector.
    """
    return {
        "scrub": fingerprints["scrub"],
        "normalize": fingerprints["normalize"],
        "detector": detector,
        "phi": keys.fingerprint(config.source.time_zone, *config.phi.join),
        "splits": keys.fingerprint(*(f"{name}={share}" for name, share in config.store.splits.items())),
    }


def vocabulary(base: Base | None, omop: OmopSide | None) -> dict[str, str]:
    """Return what the manifest says of the OMOP vocabulary: that there was one, in this run or before."""
    before = base is not None and "vocabulary" in base.manifest.fingerprints
    return {"vocabulary": "concept"} if before or (omop is not None and omop.vocabulary) else {}


def shifted(export: fhir.Export, first: int) -> fhir.Export:
    """Return an export whose files are numbered from a given number on.

    >>> shifted(fhir.Export((), counts={0: 7}), 5).counts
    {5: 7}
    """
    files = tuple(replace(file, source_table=file.source_table + first) for file in export.files)
    return replace(export, files=files, counts={number + first: count for number, count in export.counts.items()})


def replaced_subjects(subjects: Collection[int], path: Path) -> Path:
    """Write of whom an OMOP export brings all rows anew, for the tasks that build shards."""
    pq.write_table(pa.table({"subject_id": pa.array(sorted(subjects), pa.int64())}), path)
    return path


def changed(work: Path, builds: Sequence[BuildReceipt]) -> dict[str, pa.Table]:
    """Return the rows of whom a delta speaks, as they were and as they are, of all shards: by logical table."""
    nobody = {name: schema.table(name).empty_table() for name in DIGESTED}
    found = {name: [before_and_after(nothing, nothing)] for name, nothing in nobody.items()}
    for receipt in builds:
        if receipt.merged:
            for name, tables in found.items():
                tables.append(load(changed_of(work, receipt.number, name)))
    return {name: pa.concat_tables(tables) for name, tables in found.items()}


def changes(changed: Mapping[str, pa.Table]) -> dict[str, Change]:
    """Return what a delta does to the digests of the logical tables.

    Args:
        changed: What `changed` returned.
    """
    from mayo_data.store import digest

    return {name: Change(*digest.difference(table)) for name, table in changed.items()}


def gathered(work: Path, base: Base | None, builds: Sequence[BuildReceipt], ordered: Sequence[Path]) -> dict[str, str]:
    """Put together what a run leaves for the next delta, still in its work folder.

    Args:
        work: Folder of the run.
        base: What it was merged into.
        builds: The finished shards.
        ordered: What the source has deleted, by map task.

    Returns:
        Name to sha256: table `Manifest.memory`.
    """
    tables = [schema.table("deletions").empty_table()]
    tables += [pq.read_table(base.file(base.manifest.memory["deletions"]))] if base else []
    tables += map(load, (*ordered, *(withdrawn_of(work, receipt.number) for receipt in builds)))
    whole = pa.concat_tables([table.cast(tables[0].schema) for table in tables])
    always = np.iinfo(np.int64).max  # without a time, all versions are deleted
    whole = whole.set_column(2, "version", pc.fill_null(whole.column("version"), always))
    whole = whole.group_by("resource_key").aggregate([("subject_id", "max"), ("version", "max")])
    version = whole.column("version_max")
    columns = {
        "resource_key": whole.column("resource_key"),
        "subject_id": whole.column("subject_id_max"),
        "version": pc.if_else(pc.equal(version, always), pa.scalar(None, pa.int64()), version),
    }
    table = pa.table(columns).sort_by("resource_key").cast(schema.table("deletions"))
    receipt = write.write_table(table, work / "deletions.parquet", schema_name="deletions")
    shards = {f"{part}/{one.number:04d}": sha256 for one in builds for part, sha256 in one.memory.items()}
    return {**shards, "deletions": receipt.sha256}


def keep(work: Path, memory: Path, names: Mapping[str, str]) -> None:
    """Put what a run leaves into the memory, where a file is called by its digest.

    Args:
        work: Folder of the run.
        memory: Folder in the PHI zone.
        names: What `gathered` returned.
    """
    if not names:
        return
    memory.mkdir(mode=0o700, exist_ok=True)
    for name, sha256 in names.items():
        part, _, number = name.partition("/")
        path = left_by(work, int(number), part) if number else work / "deletions.parquet"
        target = memory / f"{sha256}.parquet"
        if not target.exists():  # a shard that was taken over left the same; so did a run that was killed here
            path.chmod(0o400)
            write.link(path, target)  # and not moved: the run may be killed here, and needs it again
    write.flush(memory)
