"""Seals a training: which reads went into which model, so that a model can be walked back to its data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import orjson

from mayo_data.dataset.label_tables import Labels
from mayo_data.errors import ConfigError, StoreError
from mayo_data.lineage import consumption, search
from mayo_data.lineage.ledger import Ledger
from mayo_data.store import write
from mayo_data.store.layout import Store
from mayo_data.types import Json


@dataclass(frozen=True)
class Training:
    """A sealed training.

    Attributes:
        training_id: Its id in the ledger.
        model_digest: Digest of the model's files; an inference names its model by it.

    >>> Training("T-1", "ab").training_id
    'T-1'
    """

    training_id: str
    model_digest: str


def training_run(
    store: Path | str,
    *,
    name: str,
    reads: Sequence[str],
    files: Sequence[Path | str],
    config: Mapping[str, Any],
    labels: Labels | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> Training:
    """Seal a training in the ledger: code version, config, split, labels, snapshot, digests of the files.

    Args:
        store: Folder of the store.
        name: Name of the model.
        reads: `Reader.lineage_id` of every read that went into it, all of one snapshot.
        files: The files of the model, as written; folders give all files in them.
        config: Its parameters, JSON-able; only their digest is kept.
        labels: The labels, where the reads did not have them.
        metrics: Figures that were measured: numbers, flags, codes.

    Raises:
        ConfigError: A read is not in the ledger or of another snapshot, there is no file, or a metric is a free text.
        StoreError: The store cannot be read, or a subject of its snapshot has withdrawn, or was
            erased, since it was read.
    """
    opened = Store.open(Path(store))
    found = _reads(opened.ledger, reads)
    told = consumption.training(
        name=name,
        reads=found,
        files=_files(files),
        config=config,
        labels=labels.about() if labels else None,
        metrics=metrics,
        code_version=metadata.version("mayo-data"),
    )
    if _gone_since(opened.ledger, told["lineage_ids"]):
        raise StoreError(
            "a subject of the snapshot has withdrawn since it was read", hint="train anew on the newest snapshot"
        )
    Ledger(opened.ledger).append("training", told)
    return Training(told["training_id"], told["model_digest"])


def records(ledger: Path, kind: str, key: str, values: Iterable[str]) -> dict[str, Json]:
    """Return the bodies of records by a field that names them; what is not in the ledger is not in the result.

    Only lines that hold one of the values are parsed.

    Args:
        ledger: Path of the ledger.
        kind: Kind of the records.
        key: The field.
        values: What it must be.

    Raises:
        StoreError: The ledger cannot be read.

    >>> records(Path("nowhere"), "read", "lineage_id", ["L-1"])
    {}
    """
    wanted = set(values)
    needles = [orjson.dumps(value) for value in wanted]
    found: dict[str, Json] = {}
    try:
        with ledger.open("rb") as file:
            for line in file:
                if line.endswith(b"\n") and any(needle in line for needle in needles):
                    record = orjson.loads(line)
                    if record["kind"] == kind and record["body"].get(key) in wanted:
                        found[record["body"][key]] = record["body"]
    except FileNotFoundError:
        pass
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise StoreError("the ledger is damaged", hint="run: mayo-data ledger verify") from error
    return found


def _reads(ledger: Path, reads: Sequence[str]) -> list[Json]:
    if isinstance(reads, str) or not all(isinstance(read, str) for read in reads):
        raise ConfigError("reads is a list of lineage ids", hint="give [reader.lineage_id, ...]")
    wanted = list(dict.fromkeys(reads))
    found = records(ledger, "read", "lineage_id", wanted)
    if len(found) < len(wanted):
        raise ConfigError("a read is not in the ledger of this store", hint="give Reader.lineage_id of this store")
    return [found[read] for read in wanted]


def _gone_since(ledger: Path, reads: Sequence[str]) -> bool:
    """Whether somebody whom these reads may have given withdrew, or was erased, after one of them."""
    gone: set[int] = set()
    read: set[str] = set()
    needles = [f'"lineage_id":"{one}"' for one in reads]
    for record in search.records(ledger, *needles, kinds=("withdrawal", "erasure")):
        kind, body = record["kind"], record["body"]
        if kind == "read":
            read.add(body["snapshot"])
        elif kind in ("withdrawal", "erasure") and body["subject_id"] not in gone:
            gone.add(body["subject_id"])
            if read.intersection((*body.get("snapshots_blocked", ()), *body.get("snapshots", ()))):
                return True
    return False


def _files(files: Sequence[Path | str]) -> list[consumption.ModelFile]:
    if isinstance(files, str | Path):
        raise ConfigError("files is a list of paths", hint="give [path, ...]")
    made = []
    for given in map(Path, files):
        folder = given if given.is_dir() else given.parent
        inside = sorted(path for path in given.rglob("*") if path.is_file()) if given.is_dir() else [given]
        for path in inside:
            name = consumption.named("the name of a file", path.relative_to(folder).as_posix())
            try:
                made.append(consumption.ModelFile(name, write.sha256(path), path.stat().st_size))
            except OSError as error:
                raise ConfigError("a file of the model cannot be read", hint="give the paths as written") from error
    return made
