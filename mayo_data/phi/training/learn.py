"""Trains the network: the same steps as `Network.probabilities`, with their derivatives, and Adam.

Written out with numpy, because the project needs no second framework for four convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mayo_data.phi.network import Floats, Ints, Shape, empty
from mayo_data.phi.tokens import AROUND, WIDEST, features

_SETTLED = 200  # steps after which the mean begins

# Which features of a word are the word, and its longer pieces: see `tokens.features`.
_SPELLING = [0, 7, *range(10, WIDEST)]


class Example(NamedTuple):
    """A text as the network learns it.

    Attributes:
        words: Tokens.
        around: `AROUND` rows a token.
        labels: Label of each token.
    """

    words: list[str]
    around: list[int]
    labels: list[int]


@dataclass
class Settings:
    """How the network is trained.

    Attributes:
        rate: Highest learning rate.
        warm: Steps until it is reached.
        dropout: Share of numbers left out after each convolution.
        forget_word: Share of tokens whose word is hidden, so that shape and neighbours have to do.
        forget_lists: Share of tokens whose lists are hidden.
        forget_place: Share of what is known of a token's place that is hidden.
        miss: Weight of a token that is PHI, against 1 for one that is not.
        smooth: Label smoothing.
        average: How slowly the mean of the parameters follows them.
    """

    rate: float = 3e-3
    warm: int = 150
    dropout: float = 0.2
    forget_word: float = 0.3
    forget_lists: float = 0.2
    forget_place: float = 0.2
    miss: float = 1.5
    smooth: float = 0.02
    average: float = 0.998


@dataclass
class Learner:
    """A network in training.

    Args:
        shape: Its size.
        lexicon: Folded word to bits.
        settings: How it is trained.
        seed: For everything random.
    """

    shape: Shape
    lexicon: dict[str, int]
    settings: Settings
    seed: int
    parameters: dict[str, Floats] = field(init=False)
    average: dict[str, Floats] = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = empty(self.shape, self.seed)
        self._rng = np.random.default_rng(self.seed + 1)
        self._first = {name: np.zeros_like(value) for name, value in self.parameters.items()}
        self._second = {name: np.zeros_like(value) for name, value in self.parameters.items()}
        self._rows: dict[str, npt.NDArray[np.int32]] = {}
        self._steps = 0
        self.average = {name: value.copy() for name, value in self.parameters.items()}

    def _kinds(self, examples: Sequence[Example]) -> tuple[Ints, Ints]:
        """Return the feature rows of every kind of word in the batch, and the kind of each token."""
        words = [word for example in examples for word in example.words]
        index = {word: at for at, word in enumerate(dict.fromkeys(words))}
        if len(self._rows) > 150_000:
            self._rows.clear()
        rows = np.zeros((4 * len(index), WIDEST), np.int32)
        for word, at in index.items():
            found = self._rows.get(word)
            if found is None:
                made = features(word, self.lexicon, self.shape.rows)
                found = np.zeros(WIDEST, np.int32)
                found[: len(made)] = made
                self._rows[word] = found
            rows[4 * at : 4 * at + 4] = found
        # Without the longer pieces too, or they would give the word away.
        rows[1::4, _SPELLING] = 0
        rows[2::4, 1] = 0
        rows[3::4, [1, *_SPELLING]] = 0
        hidden = self._rng.random((2, len(words))) < [[self.settings.forget_word], [self.settings.forget_lists]]
        kinds = 4 * np.array([index[word] for word in words], np.int32) + hidden[0] + 2 * hidden[1]
        used, which = np.unique(kinds, return_inverse=True)
        return rows[used], which.astype(np.int32)

    def step(self, examples: Sequence[Example], rate: float) -> float:
        """Learn from one batch and return its loss.

        Args:
            examples: Some texts.
            rate: The learning rate, as a share of the highest.
        """
        p, settings, width = self.parameters, self.settings, self.shape.width
        gap = max(self.shape.steps)
        at: list[npt.NDArray[np.int64]] = []
        end = gap
        for example in examples:
            at.append(np.arange(end, end + len(example.words)))
            end += len(example.words) + gap
        where = np.concatenate(at)
        rows, kinds = self._kinds(examples)
        around = np.array([n for e in examples for n in e.around], np.int32).reshape(-1, AROUND)
        around = np.where(self._rng.random(around.shape) < settings.forget_place, 0, around)
        labels = np.array([n for e in examples for n in e.labels], np.int64)

        summed = p["table"][rows].sum(1)[kinds] + p["table"][around].sum(1)
        real = np.zeros((end, 1), np.float32)
        real[where] = 1
        first, norm0 = _norm(summed, p["scale"], p["shift"])
        hidden = np.zeros((end, width), np.float32)
        hidden[where] = first
        kept = []
        for layer, step in enumerate(self.shape.steps):
            window = np.zeros((end, 3 * width), np.float32)
            window[step:, :width] = hidden[:-step]
            window[:, width : 2 * width] = hidden
            window[:-step, 2 * width :] = hidden[step:]
            mixed = window @ p[f"{layer}.weight"] + p[f"{layer}.bias"]
            left = mixed[:, :width] >= mixed[:, width:]
            best = np.where(left, mixed[:, :width], mixed[:, width:])
            best, norm = _norm(best, p[f"{layer}.scale"], p[f"{layer}.shift"])
            mask = (self._rng.random(best.shape, np.float32) >= settings.dropout) * (real / (1 - settings.dropout))
            mask = mask.astype(np.float32)
            hidden = hidden + best * mask
            kept.append((window, left, norm, mask))
        top = hidden[where]
        scores = top @ p["out.weight"] + p["out.bias"]
        scores -= scores.max(1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(1, keepdims=True)
        rows_at = np.arange(len(labels))
        weight = np.where(labels == 0, 1.0, settings.miss).astype(np.float32)
        total = float(weight.sum())
        loss = float((-np.log(scores[rows_at, labels] + 1e-9) * weight).sum()) / total
        wanted = np.full_like(scores, settings.smooth / scores.shape[1])
        wanted[rows_at, labels] += 1 - settings.smooth
        slope = (scores - wanted) * (weight / total)[:, None]

        grads: dict[str, Floats] = {"out.weight": top.T @ slope, "out.bias": slope.sum(0)}
        back = np.zeros((end, width), np.float32)
        back[where] = slope @ p["out.weight"].T
        for layer in range(len(self.shape.steps) - 1, -1, -1):
            step = self.shape.steps[layer]
            window, left, norm, mask = kept[layer]
            inner, grads[f"{layer}.scale"], grads[f"{layer}.shift"] = _unnorm(back * mask, norm, p[f"{layer}.scale"])
            both = np.concatenate([inner * left, inner * ~left], 1)
            grads[f"{layer}.weight"] = window.T @ both
            grads[f"{layer}.bias"] = both.sum(0)
            inner = both @ p[f"{layer}.weight"].T
            back = back + inner[:, width : 2 * width]
            back[:-step] += inner[step:, :width]
            back[step:] += inner[:-step, 2 * width :]
            back *= real
        inner, grads["scale"], grads["shift"] = _unnorm(back[where], norm0, p["scale"])
        grads["table"] = _scatter(self.shape.rows, width, rows, kinds, around, inner)
        self._update(grads, rate * settings.rate)
        return loss

    def _update(self, grads: dict[str, Floats], rate: float) -> None:
        self._steps += 1
        size = float(np.sqrt(sum(float(np.vdot(value, value)) for value in grads.values())))
        shrink = min(1.0, 1.0 / (size + 1e-9))
        rate *= min(1.0, self._steps / self.settings.warm)
        rate *= (1 - 0.999**self._steps) ** 0.5 / (1 - 0.9**self._steps)
        for name, grad in grads.items():
            grad *= shrink
            first, second, value = self._first[name], self._second[name], self.parameters[name]
            first += 0.1 * (grad - first)
            second += 0.001 * (grad * grad - second)
            value -= rate * first / (np.sqrt(second) + 1e-8)
            if name.endswith("weight"):
                value -= rate * 0.01 * value
        self.parameters["table"][0] = 0
        if self._steps >= _SETTLED:
            # The mean of the last steps: on other authors' notes it does better than any one of them.
            share = max(1 - self.settings.average, 1 / (self._steps - _SETTLED + 2))
            for name, value in self.parameters.items():
                self.average[name] += share * (value - self.average[name])


def _norm(values: Floats, scale: Floats, shift: Floats) -> tuple[Floats, tuple[Floats, Floats]]:
    values = values - values.mean(1, keepdims=True)
    inverse = 1 / np.sqrt((values * values).mean(1, keepdims=True) + 1e-5)
    values *= inverse
    return values * scale + shift, (values, inverse)


def _unnorm(back: Floats, kept: tuple[Floats, Floats], scale: Floats) -> tuple[Floats, Floats, Floats]:
    values, inverse = kept
    grad_scale = (back * values).sum(0)
    grad_shift = back.sum(0)
    back = back * scale
    back -= back.mean(1, keepdims=True) + values * (back * values).mean(1, keepdims=True)
    return back * inverse, grad_scale, grad_shift


def _scatter(rows_of: int, width: int, rows: Ints, kinds: Ints, around: Ints, back: Floats) -> Floats:
    """Add up the slopes of each row of the feature table."""
    order = np.argsort(kinds, kind="stable")
    starts = np.searchsorted(kinds[order], np.arange(len(rows)))
    by_kind = np.add.reduceat(back[order], starts, axis=0)
    grad = np.zeros((rows_of, width), np.float32)
    _add(grad, rows, by_kind)
    _add(grad, around, back)
    grad[0] = 0
    return grad


def _add(grad: Floats, rows: Ints, back: Floats) -> None:
    flat = rows.ravel()
    order = np.argsort(flat, kind="stable")
    flat = flat[order]
    first = int(np.searchsorted(flat, 1))
    order, flat = order[first:], flat[first:]
    if len(flat):
        starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
        grad[flat[starts]] += np.add.reduceat(back[order // rows.shape[1]], starts, axis=0)
