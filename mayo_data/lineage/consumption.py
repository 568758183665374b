"""Records of what consumed a store: reads, contexts, trainings, inferences, feedback. Pure: facts in, bodies out.

A body holds counts, digests and keyed ids. What a person could have typed (a feedback, a kept output) is let through
only where it is a number, a flag or a code.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from mayo_data.errors import ConfigError
from mayo_data.types import Json

FEEDBACK = ("accepted", "overridden", "outcome")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@/+-]{0,99}")
_HEX = re.compile(r"[0-9a-f]{64}")
_DEEPEST = 8


class ModelFile(NamedTuple):
    """A file of a model: its name, the sha256 of its bytes, its size in bytes.

    >>> ModelFile("model.onnx", "ab", 2).name
    'model.onnx'
    """

    name: str
    sha256: str
    bytes: int


def lineage_id() -> str:
    """Return a new id for a read or a context, which a checkpoint or a prediction keeps.

    >>> len(lineage_id())
    34
    """
    return "L-" + secrets.token_hex(16)


def training_id() -> str:
    """Return a new id for a training.

    >>> training_id()[:2]
    'T-'
    """
    return "T-" + secrets.token_hex(8)


def prediction_id() -> str:
    """Return a new id for a prediction.

    >>> prediction_id()[:2]
    'P-'
    """
    return "P-" + secrets.token_hex(16)


def named(what: str, value: str) -> str:
    """Return a name that may stand in the ledger for ever: letters, digits and `_.:@/+-`, at most 100.

    Raises:
        ConfigError: It is another text; who consumes is named by a word, not by a sentence.

    >>> named("consumer", "triage-model/2")
    'triage-model/2'
    """
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ConfigError(f"{what} must be a plain name", hint="letters, digits and _.:@/+- only, at most 100")
    return value


def subjects_digest(subjects: npt.NDArray[np.int64]) -> str:
    """Return the sha256 of a set of subjects: sorted, each as 8 bytes, little end first.

    >>> subjects_digest(np.array([2, 1])) == subjects_digest(np.array([1, 2]))
    True
    """
    return hashlib.sha256(np.sort(subjects).astype("<i8").tobytes()).hexdigest()


def model_digest(files: Sequence[ModelFile]) -> str:
    """Return the digest of a model: sha256 over the lines `name sha256`, sorted by name.

    >>> a, b = ModelFile("a", "00", 1), ModelFile("b", "11", 1)
    >>> model_digest([a, b]) == model_digest([b, a])
    True
    """
    lines = "".join(f"{file.name} {file.sha256}\n" for file in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def checked_digest(value: str) -> str:
    """Return a sha256 in lower-case hex.

    Raises:
        ConfigError: It is none.

    >>> checked_digest("ab" * 32) == "ab" * 32
    True
    """
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise ConfigError("this is no model digest", hint="use Training.model_digest, 64 hex digits")
    return value


def canonical(value: object) -> bytes:
    """Return a value as JSON that is the same for equal values: keys sorted, no spaces; bytes as they are.

    Raises:
        ConfigError: The value cannot be written as JSON.

    >>> canonical({"b": 1, "a": 2})
    b'{"a":2,"b":1}'
    """
    if isinstance(value, bytes):
        return value
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY, default=str)
    except TypeError as error:
        raise ConfigError("this cannot be written as JSON", hint="give numbers, text, lists and mappings") from error


def sha256(value: object) -> str:
    """Return the digest of a value, by its canonical JSON.

    >>> sha256({"a": 1, "b": 2}) == sha256({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(canonical(value)).hexdigest()


def harmless(value: object, depth: int = 0) -> object:
    """Return a value that may be kept in the ledger: numbers, flags, codes, and lists and mappings of these.

    A free text could name somebody, and the ledger is never rewritten.

    Raises:
        ConfigError: There is a free text in it, or something that is no JSON.

    >>> harmless({"risk": 0.25, "class": "high"})
    {'risk': 0.25, 'class': 'high'}
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {named("a key", key): harmless(one, depth + 1) for key, one in value.items()}
    if depth < _DEEPEST and isinstance(value, list | tuple):
        return [harmless(one, depth + 1) for one in value]
    raise ConfigError("only numbers, flags and codes may be kept in the ledger", hint="its digest is kept anyway")


def training(
    *, name: str, reads: Sequence[Json], files: Sequence[ModelFile], config: Mapping[str, object],
    labels: Json | None, metrics: Mapping[str, object] | None, code_version: str,
) -> Json:  # fmt: skip
    """Return the body of a `training` record, with a new id.

    Args:
        name: Name of the model.
        reads: Bodies of the `read` records that the training consumed; all of one snapshot.
        files: The files of the model.
        config: Its parameters; only their digest is kept.
        labels: Which labels; by default those of the reads.
        metrics: Figures that were measured.
        code_version: Version of the code.

    Raises:
        ConfigError: There is no read, or no file, or the reads are of several snapshots, or two files have one name.

    >>> read = {"lineage_id": "L-1", "snapshot": "000001", "split": "train", "labels": None}
    >>> body = training(name="m", reads=[read], files=[ModelFile("w", "00", 1)], config={}, labels=None,
    ...                 metrics=None, code_version="0.1.0")
    >>> body["split"], body["snapshot"]
    ('train', '000001')
    """
    if not reads:
        raise ConfigError("a training needs the reads that it consumed", hint="give Reader.lineage_id of each")
    if not files:
        raise ConfigError("a training needs the files of its model", hint="give the paths that were written")
    if len({file.name for file in files}) < len(files):
        raise ConfigError("two files of the model have one name", hint="give them different names")
    if len({read["snapshot"] for read in reads}) > 1:
        raise ConfigError("the reads are of several snapshots", hint="read all splits of one snapshot")
    splits = sorted({str(read["split"]) for read in reads if read["split"] is not None})
    return {
        "training_id": training_id(),
        "name": named("name", name),
        "lineage_ids": [read["lineage_id"] for read in reads],
        "snapshot": reads[0]["snapshot"],
        "code_version": code_version,
        "config_sha256": sha256(dict(config)),
        "split": "+".join(splits) or None,
        "labels": labels or next((read["labels"] for read in reads if read["labels"]), None),
        "metrics": harmless(dict(metrics or {})),
        "files": [file._asdict() for file in sorted(files)],
        "model_digest": model_digest(files),
    }


def feedback(prediction: str, kind: str, value: object) -> Json:
    """Return the body of a `feedback` record.

    Args:
        prediction: The id of the prediction.
        kind: `accepted`, `overridden` or `outcome`.
        value: A number, a flag or a code; for an outcome, what came to be.

    Raises:
        ConfigError: There is no such kind, or the value is a free text.

    >>> feedback("P-1", "outcome", True)
    {'prediction_id': 'P-1', 'feedback': 'outcome', 'value': True}
    """
    if kind not in FEEDBACK:
        raise ConfigError(f"no feedback {str(kind)[:40]!r}", hint=f"use one of {', '.join(FEEDBACK)}")
    return {"prediction_id": prediction, "feedback": kind, "value": harmless(value)}
