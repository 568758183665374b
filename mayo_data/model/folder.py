"""A model on disk: a folder of JSON and plain arrays, whose files must be those that its training record names.

`model.json` says what it is: task, vocabulary, plan, lineage ids of what it read. `weights.npz` holds plain arrays
(`weights.safetensors` for the transformer); nothing in it can run. `profile.json` says how the snapshot looked, without
small cells, and `report.json` how good the model is, for whom. These four are sealed. `training.json` names the
record that seals them; `report.md` and `report.html` are for reading.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson

from mayo_data.errors import ConfigError, StoreError
from mayo_data.lineage import consumption
from mayo_data.lineage.ledger import Ledger
from mayo_data.model.features import Floats, History, Reading, Vocabulary
from mayo_data.model.logistic import KIND as LOGISTIC
from mayo_data.model.logistic import Logistic
from mayo_data.types import Json

FORMAT = 1
ABOUT, PROFILE, REPORT, TRAINING = "model.json", "profile.json", "report.json", "training.json"
WEIGHTS = {"logistic": "weights.npz", "transformer": "weights.safetensors"}
_LARGEST = 1 << 30  # bytes of a file of a model


class Model(Protocol):
    """What every kind of model can do."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Which codes it knows."""
        ...

    def predict(self, histories: Sequence[History], reading: Reading) -> Floats:
        """Return the probability of the outcome for each history."""
        ...

    def write(self, path: Path) -> None:
        """Write the weights."""
        ...


@dataclass(frozen=True)
class Loaded:
    """A model whose files are those of its training record.

    Attributes:
        folder: Where it lies.
        about: `model.json`.
        model: What predicts.
        digest: The `model_digest` of its training record.
        record: The body of that record.
    """

    folder: Path
    about: Json
    model: Model
    digest: str
    record: Json

    @property
    def name(self) -> str:
        """What the ledger and the routes call it."""
        return str(self.about["name"])


def sealed_files(folder: Path, kind: str) -> list[Path]:
    """Return the files that a training record of this kind of model names."""
    return [folder / name for name in (ABOUT, PROFILE, REPORT, WEIGHTS[kind])]


def digest_of(files: Sequence[Path]) -> str:
    """Return the `model_digest` of files, as their training record has it.

    Raises:
        ConfigError: A file cannot be read.
    """
    bodies = [(path.name, _bytes(path)) for path in files]
    found = [consumption.ModelFile(name, hashlib.sha256(body).hexdigest(), len(body)) for name, body in bodies]
    return consumption.model_digest(found)


def write_json(path: Path, body: Mapping[str, Any]) -> None:
    """Write JSON that is the same for the same content."""
    path.write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")


def read_json(path: Path) -> Json:
    """Return the JSON object in a file of a model.

    Raises:
        ConfigError: It is missing, or no JSON object.
    """
    try:
        body = orjson.loads(_bytes(path))
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{path.name} of the model is no JSON", hint="train it again, or restore it") from error
    if not isinstance(body, dict):
        raise ConfigError(f"{path.name} of the model is no JSON object", hint="train it again, or restore it")
    return body


def load(folder: Path, ledger: Path) -> Loaded:
    """Open a model, if its files are those that a training record of this store's ledger names.

    Args:
        folder: The model.
        ledger: Path of the store's ledger.

    Raises:
        ConfigError: There is no model, or it is of another format.
        StoreError: The ledger has no training record of these files: they were changed, or trained elsewhere.
    """
    about = read_json(folder / ABOUT)
    if about.get("format") != FORMAT or about.get("kind") not in WEIGHTS:
        raise ConfigError(f"this version reads models of format {FORMAT} only", hint="train it again")
    digest = digest_of(sealed_files(folder, about["kind"]))
    bodies = [record["body"] for record in Ledger(ledger).records("training")]
    record = next((body for body in reversed(bodies) if body.get("model_digest") == digest), None)
    if record is None:
        noted = read_json(folder / TRAINING).get("training_id") if (folder / TRAINING).exists() else None
        known = any(body.get("training_id") == noted for body in bodies)
        raise StoreError(
            "the files of the model are not those of its training record" if known
            else "the ledger of this store has no training record of this model",
            hint="restore the files, or train it again: a changed model is not served" if known
            else "give the store that it was trained on",
        )  # fmt: skip
    try:
        words = about["vocabulary"]
        vocabulary = Vocabulary(tuple(words["windows"]), tuple(words["facts"]), tuple(words["codes"]))
    except (KeyError, TypeError) as error:
        raise ConfigError("model.json lacks its vocabulary", hint="train it again") from error
    return Loaded(folder, about, _model(folder, about, vocabulary), digest, record)


def _model(folder: Path, about: Json, vocabulary: Vocabulary) -> Model:
    if about["kind"] != LOGISTIC:
        from mayo_data.model import transformer

        return transformer.restore(folder / WEIGHTS["transformer"], vocabulary, about["shape"])
    try:
        with np.load(io.BytesIO(_bytes(folder / WEIGHTS[LOGISTIC])), allow_pickle=False) as arrays:
            return Logistic.restore(vocabulary, dict(arrays))
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ConfigError("the weights of the model cannot be read", hint="train it again") from error


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise ConfigError(f"{path.name} of the model is too large", hint="give a model that mayo-data train wrote")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path.name} of the model cannot be read", hint="give a folder that mayo-data train wrote"
        ) from error
