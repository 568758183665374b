"""A small transformer over the last events of a history (extra `torch`): about a million weights, kept as safetensors.

An event is its code and how long ago it was; age stands for itself. It reads what the count features read, in order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mayo_data.errors import ConfigError
from mayo_data.model.features import Floats, History, Ints, Reading, Vocabulary
from mayo_data.types import Json

_WIDTH, _LAYERS, _HEADS = 128, 3, 4
_AGES = 48  # steps of time: the logarithm of days, in quarters
_BATCH = 64
_RATE = 1e-3


def shape(vocabulary: Vocabulary, events: int) -> Json:
    """Return the shape of a network: what `model.json` keeps to build it again.

    >>> shape(Vocabulary((0,), (), ("A",)), 256)["codes"]
    3
    """
    codes = 2 + len(vocabulary.facts) + len(vocabulary.codes)  # 0 pads, 1 stands for the whole
    return {"codes": codes, "events": events, "width": _WIDTH, "layers": _LAYERS, "heads": _HEADS}


def parameters(asked: Json) -> int:
    """Return how many weights a network of a shape has.

    >>> 900_000 < parameters({"codes": 2500, "events": 256, "width": 128, "layers": 3, "heads": 4}) < 1_100_000
    True
    """
    width = asked["width"]
    layer = 12 * width * width + 13 * width
    return int((asked["codes"] + _AGES + 1) * width + asked["layers"] * layer + 2 * width + width + 1)


@dataclass(frozen=True)
class Transformer:
    """A network with its vocabulary.

    Attributes:
        vocabulary: Which codes it reads.
        shape: See `shape`.
        network: The torch module.
    """

    vocabulary: Vocabulary
    shape: Json
    network: Any

    def predict(self, histories: Sequence[History], reading: Reading) -> Floats:
        """Return the probability of the outcome for each history."""
        torch = _torch()
        found = []
        self.network.eval()
        with torch.no_grad():
            for start in range(0, len(histories), _BATCH):
                rows = _rows(histories[start : start + _BATCH], reading, self.vocabulary, self.shape["events"])
                found.append(torch.sigmoid(self.network(*(torch.from_numpy(row) for row in rows))).double().numpy())
        return np.concatenate(found) if found else np.zeros(0)

    def write(self, path: Path) -> None:
        """Write the weights as safetensors."""
        from safetensors.torch import save_file

        save_file({name: weight.contiguous() for name, weight in self.network.state_dict().items()}, str(path))


def fit(
    histories: Sequence[History], reading: Reading, truth: Floats, vocabulary: Vocabulary, asked: Json, epochs: int,
    seed: int,
) -> Transformer:  # fmt: skip
    """Train a network.

    Args:
        histories: Training samples.
        reading: What numbers their codes.
        truth: 0 or 1 for each.
        vocabulary: Which codes it reads.
        asked: See `shape`.
        epochs: Passes over the samples.
        seed: For weights and order.

    Raises:
        ConfigError: torch is not installed, or all samples have the same outcome.
    """
    torch = _torch()
    if len(np.unique(truth)) < 2:
        raise ConfigError(
            "all training samples have the same outcome", hint="a task with more of both, or a larger store"
        )
    torch.manual_seed(seed)
    network = _network(asked)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.05)
    rows = [torch.from_numpy(row) for row in _rows(histories, reading, vocabulary, asked["events"])]
    goal = torch.from_numpy(truth.astype(np.float32))
    steps = epochs * math.ceil(len(goal) / _BATCH)
    fall = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=max(steps, 2))
    order = torch.Generator().manual_seed(seed)
    network.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(goal), generator=order).split(_BATCH):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                network(*(row[batch] for row in rows)), goal[batch]
            )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            fall.step()
    return Transformer(vocabulary, asked, network)


def restore(path: Path, vocabulary: Vocabulary, asked: Json) -> Transformer:
    """Return the model of stored weights.

    Raises:
        ConfigError: torch is not installed, or the weights cannot be read or do not fit.
    """
    _torch()
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if asked != shape(vocabulary, int(asked.get("events", 0))):
        raise ConfigError("the shape of the model is not one of this version", hint="train it again")
    network = _network(asked)
    try:
        network.load_state_dict(load_file(str(path)))
    except (OSError, SafetensorError, RuntimeError, KeyError) as error:
        raise ConfigError("the weights of the model cannot be read", hint="train it again") from error
    return Transformer(vocabulary, asked, network)


def _rows(
    histories: Sequence[History], reading: Reading, vocabulary: Vocabulary, events: int
) -> tuple[Ints, Ints, Any]:
    """The last events of each history: places of codes, steps of time, age. The first place stands for the whole."""
    known = {code: place for place, code in enumerate((*vocabulary.facts, *vocabulary.codes), 2)}
    places = np.array([known.get(name, 0) for name in reading.names] or [0], np.int64)
    codes = np.zeros((len(histories), events + 1), np.int64)
    steps = np.zeros((len(histories), events + 1), np.int64)
    ages = np.zeros(len(histories), np.float32)
    codes[:, 0] = 1
    for number, one in enumerate(histories):
        timed = places[one.codes]
        read = np.concatenate([places[one.facts], timed])
        days = np.concatenate([np.full(len(one.facts), math.inf), one.days])
        there = np.flatnonzero(read)[-events:]
        size = len(there)
        codes[number, 1 : size + 1] = read[there]
        with np.errstate(invalid="ignore"):
            step = np.floor(4 * np.log1p(np.minimum(days[there], 1e5))) + 1
        steps[number, 1 : size + 1] = np.minimum(np.where(np.isfinite(days[there]), step, 0), _AGES - 1)
        ages[number] = 0 if math.isnan(one.age) else one.age / 100
    return codes, steps, ages


def _network(asked: Json) -> Any:
    torch = _torch()
    nn: Any = torch.nn
    width = asked["width"]
    base: Any = nn.Module

    class Network(base):  # type: ignore[misc]
        """Codes, steps of time and age in; log odds out."""

        def __init__(self) -> None:
            super().__init__()
            self.code = nn.Embedding(asked["codes"], width, padding_idx=0)
            self.step = nn.Embedding(_AGES, width)
            self.age = nn.Linear(1, width, bias=False)
            layer = nn.TransformerEncoderLayer(
                width, asked["heads"], 4 * width, dropout=0.1, batch_first=True, norm_first=True, activation="gelu"
            )
            self.layers = nn.TransformerEncoder(layer, asked["layers"], enable_nested_tensor=False)
            self.norm = nn.LayerNorm(width)
            self.out = nn.Linear(width, 1)

        def forward(self, codes: Any, steps: Any, ages: Any) -> Any:
            seen = self.code(codes) + self.step(steps)
            whole = seen[:, :1] + self.age(ages[:, None])[:, None]
            read = self.layers(torch.cat([whole, seen[:, 1:]], dim=1), src_key_padding_mask=codes == 0)
            return self.out(self.norm(read[:, 0])).squeeze(-1)

    return Network()


def _torch() -> Any:
    try:
        import safetensors.torch  # noqa: F401
        import torch
    except ImportError as error:
        raise ConfigError("a transformer needs torch and safetensors", hint='pip install "mayo-data[torch]"') from error
    return torch
