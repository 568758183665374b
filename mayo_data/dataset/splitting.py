"""Which subjects, and which predictions of them, belong to a split.

By hash: the store gives every subject a split by a keyed hash of the subject, so it stays when subjects are added. By
time: a cut date divides subjects by their last prediction. In both, a subject is in one split only.
"""

from __future__ import annotations

from datetime import date, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mayo_data.dataset.cutting import moment
from mayo_data.dataset.trust import Trusted, splits
from mayo_data.errors import ConfigError, StoreError

Ints = npt.NDArray[np.int64]
TIME = ("train", "held_out")


def by_hash(trusted: Trusted, split: str | None) -> Ints:
    """Return the subjects of a split of the store, or all, ascending; nobody who has withdrawn.

    Raises:
        StoreError: There is no such split.
    """
    subjects, names = splits(trusted.path, trusted.manifest_sha256)
    if split is not None:
        known = sorted(set(names.tolist()))
        if split not in known:
            raise StoreError("no such split", hint=f"use one of {', '.join(known)}")
        subjects = subjects[names == split]
    gone = np.fromiter(trusted.withdrawn, np.int64, len(trusted.withdrawn))
    return subjects[~np.isin(subjects, gone)]


def by_time(labels: pa.Table, split: str, cut_date: datetime | date | str) -> pa.Table:
    """Return the labels of a split by time.

    `train` are the subjects whose last prediction is before the cut date, with all their predictions. `held_out` are
    the others, with their predictions from the cut date on. So no subject is in both, and the model is tested on a
    later time than it was trained on. Earlier predictions of held-out subjects are in neither. Labels of `train` look
    ahead of the cut date by the length of their outcome window: choose the date so that this is what you mean.

    A store moves the dates of each subject by an offset of its own where the policy says so. The cut date is then
    exact only up to this offset.

    Args:
        labels: A MEDS label table.
        split: `train` or `held_out`.
        cut_date: The date; UTC.

    Raises:
        ConfigError: There is no such split.

    >>> times = [datetime(2020, 1, 1), datetime(2021, 1, 1), datetime(2020, 6, 1)]
    >>> rows = pa.table({"subject_id": [1, 1, 2], "prediction_time": pa.array(times, pa.timestamp("us"))})
    >>> [by_time(rows, split, "2020-12-31").column("subject_id").to_pylist() for split in TIME]
    [[2], [1]]
    """
    if split not in TIME:
        raise ConfigError("a split by time is train or held_out")
    limit = pa.scalar(moment(cut_date), pa.timestamp("us"))
    late = labels.filter(pc.greater_equal(labels.column("prediction_time"), limit))
    if split == "held_out":
        return late
    held = pc.is_in(labels.column("subject_id"), value_set=pc.unique(late.column("subject_id")))
    return labels.filter(pc.invert(held))


def shuffled(keys: Ints, seed: int) -> npt.NDArray[np.intp]:
    """Return an order of keys that their values and a seed alone decide: on every machine, with every version.

    Args:
        keys: Distinct numbers.
        seed: The seed.

    >>> shuffled(np.array([1, 2, 3]), 0).tolist() == shuffled(np.array([1, 2, 3]), 0).tolist()
    True
    """
    salt = _mixed(np.array([seed % 2**64], dtype=np.uint64))
    return np.argsort(_mixed(keys.astype(np.uint64) ^ salt), kind="stable")


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every bit of a key changes every bit of the result."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
