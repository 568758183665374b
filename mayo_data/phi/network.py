"""The network of the PHI model: hashed word features, dilated convolutions, a softmax; numpy only.

A word is the sum of its feature rows, so what is known of it is added once a word and then looked up. numpy's BLAS
does the rest: on one core it is three times as fast here as the kernels that come with spaCy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from mayo_data.phi.tokens import WIDEST, Places, Tokens, features

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
_AT_ONCE = 6_000  # tokens
_WORDS = 40_000  # words whose sum is remembered


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


@dataclass(frozen=True)
class Shape:
    """The size of a network.

    Attributes:
        rows: Rows of the feature table.
        width: Numbers a token.
        steps: How far each convolution looks to both sides, in tokens.
        labels: `O`, then `B-` and `I-` of each kind.
    """

    rows: int
    width: int
    steps: tuple[int, ...]
    labels: tuple[str, ...]


def empty(shape: Shape, seed: int) -> dict[str, Floats]:
    """Return the parameters of an untrained network.

    Args:
        shape: Its size.
        seed: For the first values.
    """
    rng = np.random.default_rng(seed)
    width = shape.width
    made: dict[str, Any] = {
        "table": rng.normal(0, 0.1, (shape.rows, width)),
        "scale": np.ones(width),
        "shift": np.zeros(width),
    }
    made["table"][0] = 0
    for layer in range(len(shape.steps)):
        made[f"{layer}.weight"] = rng.normal(0, (2 / (3 * width)) ** 0.5, (3 * width, 2 * width))
        made[f"{layer}.bias"] = np.zeros(2 * width)
        made[f"{layer}.scale"] = np.ones(width)
        made[f"{layer}.shift"] = np.zeros(width)
    made["out.weight"] = np.zeros((width, len(shape.labels)))
    made["out.bias"] = np.zeros(len(shape.labels))
    return {name: value.astype(np.float32) for name, value in made.items()}


class Network:
    """A trained network, ready to read.

    Args:
        shape: Its size.
        parameters: See `empty`.
        lexicon: Folded word to the lists that hold it, as bits.
    """

    def __init__(self, shape: Shape, parameters: dict[str, Floats], lexicon: Mapping[str, int]) -> None:
        self.shape = shape
        self.parameters = parameters
        self.lexicon = lexicon
        self.places = Places(shape.rows)
        self._index: dict[str, int] = {}
        self._sums = np.zeros((1024, shape.width), np.float32)

    def _words(self, words: Sequence[str]) -> Floats:
        index = self._index
        if len(index) > _WORDS:
            index.clear()
        new = [word for word in dict.fromkeys(words) if word not in index]
        if new:
            rows = np.zeros((len(new), WIDEST), np.int32)
            for at, word in enumerate(new):
                found = features(word, self.lexicon, self.shape.rows)
                rows[at, : len(found)] = found
                index[word] = len(index)
            while len(self._sums) < len(index):
                self._sums = np.concatenate([self._sums, np.zeros_like(self._sums)])
            table = self.parameters["table"]
            first = index[new[0]]
            for at in range(0, len(new), 512):
                part = rows[at : at + 512]
                self._sums[first + at : first + at + len(part)] = table[part].sum(1)
        return self._sums[[index[word] for word in words]]

    def probabilities(self, texts: Sequence[Tokens]) -> list[Floats]:
        """Return the probability of every label for every token of every text.

        Args:
            texts: The tokens of some texts, read at once; a few thousand tokens are a good measure.
        """
        # One thread: sums in another order are other numbers, and the same text must always give the same answer.
        with _blas().limit(limits=1, user_api="blas"):
            return self._probabilities(texts)

    def _probabilities(self, texts: Sequence[Tokens]) -> list[Floats]:
        gap = max(self.shape.steps)
        sizes = [len(text.words) for text in texts]
        total = sum(sizes) + gap * (len(texts) + 1)
        hidden = np.zeros((total, self.shape.width), np.float32)
        real = np.zeros((total, 1), np.float32)
        table = self.parameters["table"]
        at = gap
        bounds = []
        for text, size in zip(texts, sizes, strict=True):
            if size:
                around = np.array(text.around, np.int32).reshape(size, -1)
                summed = self._words(text.words)
                for column in around.T:
                    summed += table[column]
                hidden[at : at + size] = summed
                real[at : at + size] = 1
            bounds.append((at, at + size))
            at += size + gap
        p = self.parameters
        hidden = _norm(hidden, p["scale"], p["shift"])
        hidden *= real
        width = self.shape.width
        window = np.zeros((total, 3 * width), np.float32)
        for layer, step in enumerate(self.shape.steps):
            window[step:, :width] = hidden[:-step]
            window[:, width : 2 * width] = hidden
            window[:-step, 2 * width :] = hidden[step:]
            mixed = window @ p[f"{layer}.weight"]
            mixed += p[f"{layer}.bias"]
            best = np.maximum(mixed[:, :width], mixed[:, width:])
            best = _norm(best, p[f"{layer}.scale"], p[f"{layer}.shift"])
            best *= real
            hidden = hidden + best
        scores = hidden @ p["out.weight"] + p["out.bias"]
        scores -= scores.max(1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(1, keepdims=True)
        return [scores[start:end] for start, end in bounds]

    def read(self, texts: Iterable[str]) -> Iterator[tuple[Tokens, Floats]]:
        """Yield the tokens of each text and the probability of each label for each token.

        Args:
            texts: Some texts.
        """
        waiting: list[Tokens] = []
        size = 0
        for text in texts:
            tokens = self.places.split(text)
            if waiting and size + len(tokens.words) > _AT_ONCE:
                yield from zip(waiting, self.probabilities(waiting), strict=True)
                waiting, size = [], 0
            waiting.append(tokens)
            size += len(tokens.words)
        if waiting:
            yield from zip(waiting, self.probabilities(waiting), strict=True)

    def save(self, folder: Path) -> None:
        """Write the network into a folder.

        Args:
            folder: An existing folder.
        """
        half = {name: value.astype(np.float16) for name, value in self.parameters.items()}
        with (folder / "network.npz").open("wb") as file:
            np.savez_compressed(file, **half)  # type: ignore[arg-type]
        (folder / "network.json").write_text(
            json.dumps({**asdict(self.shape), "lexicon": dict(self.lexicon)}, ensure_ascii=False, sort_keys=True),
            encoding="utf-8",
        )

    @classmethod
    def load(cls, folder: Path) -> Network:
        """Read a network that `save` wrote.

        Args:
            folder: Where it lies.
        """
        about = json.loads((folder / "network.json").read_text(encoding="utf-8"))
        lexicon = about.pop("lexicon")
        shape = Shape(about["rows"], about["width"], tuple(about["steps"]), tuple(about["labels"]))
        with np.load(folder / "network.npz", allow_pickle=False) as stored:
            parameters = {name: stored[name].astype(np.float32) for name in stored.files}
        return cls(shape, parameters, lexicon)


def _norm(values: Floats, scale: Floats, shift: Floats) -> Floats:
    values = values - values.mean(1, keepdims=True)
    spread = np.einsum("ij,ij->i", values, values) / values.shape[1]
    values *= (1 / np.sqrt(spread + 1e-5)).astype(np.float32)[:, None]
    values *= scale
    values += shift
    return values
