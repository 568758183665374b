"""A snapshot as a plain MEDS dataset: the five columns of MEDS, one folder a split, as tools outside expect it.

A snapshot is a valid MEDS dataset already, with more columns. Tools that want exactly those of MEDS, or find the split
of a file in its path, are given this one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from mayo_data.dataset.reader import Reader
from mayo_data.dataset.trust import Trusted, splits
from mayo_data.errors import ConfigError, StoreError
from mayo_data.store import write
from mayo_data.types import Json

COLUMNS = ("subject_id", "time", "code", "numeric_value", "text_value")
_ROWS = 4_000_000  # of a file, about: what tools hold in memory at a time
_EXTENSIONS = ("raw_source_id_columns", "code_modifier_columns", "other_extension_columns")


def export(trusted: Trusted, reader: Reader, folder: Path) -> Path:
    """Write what a reader gives as a plain MEDS dataset; see `Dataset.meds`.

    Raises:
        ConfigError: The folder is not empty.
        StoreError: A file cannot be read or written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError("the folder is not empty", hint="name a new one")
    try:
        _events(trusted, reader, folder)
        _metadata(trusted, reader, folder / "metadata")
    except OSError as error:
        raise StoreError(f"the dataset cannot be written: {error.strerror}", hint="check rights and space") from error
    return folder


def _events(trusted: Trusted, reader: Reader, folder: Path) -> None:
    subjects, names = splits(trusted.path, trusted.manifest_sha256)
    numbers = dict.fromkeys(sorted(set(names.tolist())), 0)
    waiting: dict[str, list[pa.Table]] = {split: [] for split in numbers}

    def close(split: str) -> None:
        path = folder / "data" / split / f"{numbers[split]}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = pa.concat_tables(waiting[split])
        order = np.argsort(whole.column("subject_id").to_numpy(), kind="stable")  # readers skip more in order
        pq.write_table(whole.take(pa.array(order)), path, compression="zstd", row_group_size=write.ROW_GROUP)
        numbers[split] += 1
        waiting[split] = []

    for batch in reader.batches():
        table = pa.Table.from_batches([batch])
        of = names[np.searchsorted(subjects, table.column("subject_id").to_numpy())]
        for split in numbers:
            mine = table.filter(pa.array(of == split))
            if mine.num_rows:
                waiting[split].append(mine)
            if sum(part.num_rows for part in waiting[split]) >= _ROWS:
                close(split)
    for split, parts in waiting.items():
        if parts:
            close(split)


def _metadata(trusted: Trusted, reader: Reader, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    source = trusted.path / "metadata"
    write.write_bytes((source / "codes.parquet").read_bytes(), folder / "codes.parquet")
    given = pq.read_table(source / "subject_splits.parquet")
    there = np.isin(given.column("subject_id").to_numpy(), reader.subjects)
    pq.write_table(given.filter(pa.array(there)), folder / "subject_splits.parquet")
    about: Json = orjson.loads((source / "dataset.json").read_bytes())
    about = {name: value for name, value in about.items() if name not in _EXTENSIONS}
    write.write_bytes(orjson.dumps(about, option=orjson.OPT_INDENT_2) + b"\n", folder / "dataset.json")
    lineage = {"lineage_id": reader.lineage_id, "snapshot": reader.snapshot, "manifest_sha256": trusted.manifest_sha256}
    write.write_bytes(orjson.dumps(lineage, option=orjson.OPT_INDENT_2) + b"\n", folder / "lineage.json")
