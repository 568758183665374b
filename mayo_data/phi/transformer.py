"""A small transformer as recognizer: MiniLM, fine-tuned on our own notes, in int8, run by onnxruntime.

It is slow beside the network of `mayo_data.phi.network`, so it reads only where the network is in doubt. The encoder
knows no capitals, so each piece of a word also carries how its token is written and what stands before it.
`mayo_data.phi.training.transformer` makes such a model.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mayo_data.errors import ConfigError
from mayo_data.phi.model import ModelRecognizer
from mayo_data.phi.network import Floats
from mayo_data.phi.tokens import TOKEN, Tokens, shape
from mayo_data.phi.wordpiece import WordPiece

GRAPH, VOCABULARY, ABOUT = "transformer.onnx", "vocabulary.txt", "transformer.json"
INPUTS = ("ids", "looks", "shapes")
LOOKS = 40  # five gaps, eight cases
SHAPES = 1024  # hashed patterns such as 99/99/9999
WIDEST = 8  # pieces of a token that are read
GATE = (0.07, 0.85)  # between these the network is in doubt, and the transformer reads too
SHARE = 0.65  # of the transformer in the mean of both
_CONTEXT = 14  # tokens on both sides of a doubtful one
_WORDS = 100_000  # words whose pieces are remembered
_HINT = "pip install onnxruntime"
Ints = npt.NDArray[np.int64]


class Pieces(NamedTuple):
    """A text as the encoder sees it.

    Attributes:
        words: The tokens.
        starts: Where each begins in the text.
        firsts: Index of its first piece, and at the end the number of all pieces.
        ids: Number of each piece in the vocabulary.
        looks: How its token is written and what stands before it, 0 to `LOOKS`.
        shapes: Hash of its token's pattern, 0 to `SHAPES`.
    """

    words: list[str]
    starts: list[int]
    firsts: list[int]
    ids: list[int]
    looks: list[int]
    shapes: list[int]


class Window(NamedTuple):
    """A part of a text that is read at once.

    Attributes:
        first: Its first token.
        last: The token after its last.
        keep: First token whose answer counts here; those before belong to the window before.
        stop: The token after the last whose answer counts.
    """

    first: int
    last: int
    keep: int
    stop: int


def _case(word: str) -> int:
    if word[0].isdecimal():
        return 1
    if not word[0].isalpha():
        return 0
    if word.islower():
        return 2
    if word.isupper():
        return 4 if len(word) > 1 else 5
    if word[0].isupper() and word[1:].islower():
        return 3
    return 6 if word[0].isupper() else 7


def _gap(gap: str) -> int:
    if not gap:
        return 0
    breaks = gap.count("\n") or gap.count("\r")
    if breaks:
        return 3 if breaks == 1 else 4
    return 1 if gap == " " else 2


class Reader:
    """Cuts text into pieces; remembers the words it has met.

    Args:
        vocabulary: The encoder's, one piece a line.
    """

    def __init__(self, vocabulary: Path) -> None:
        self._pieces = WordPiece(vocabulary)
        self._known: dict[str, tuple[list[int], int, int]] = {}
        marks = ("[CLS]", "[SEP]", "[UNK]", "[MASK]")
        self.begin, self.finish, self._unknown, self.masked = map(self._pieces.number, marks)

    def _word(self, word: str) -> tuple[list[int], int, int]:
        found = self._known.get(word)
        if found is None:
            if len(self._known) > _WORDS:
                self._known.clear()
            ids = self._pieces.cut(word[:64])[:WIDEST] or [self._unknown]
            found = self._known[word] = (ids, _case(word), zlib.crc32(shape(word).encode("utf-8", "replace")) % SHAPES)
        return found

    def read(self, text: str) -> Pieces:
        """Return the pieces of a text.

        Args:
            text: Any text.
        """
        pieces = Pieces([], [], [0], [], [], [])
        words, starts, firsts, ids, looks, shapes = pieces
        end = 0
        gap = 4
        for match in TOKEN.finditer(text):
            start = match.start()
            if starts:
                gap = _gap(text[end:start])
            end = match.end()
            word = match.group()
            found, case, pattern = self._word(word)
            size = len(found)
            ids += found
            looks.append(8 * gap + case)
            looks += [case] * (size - 1)
            shapes += [pattern] * size
            words.append(word)
            starts.append(start)
            firsts.append(firsts[-1] + size)
        return pieces

    def window(self, pieces: Pieces, window: Window) -> tuple[Ints, Ints, Ints]:
        """Return the pieces of a window, with a mark at both ends, their looks and their shapes: a row each.

        Args:
            pieces: The text.
            window: Which part of it.
        """
        start, end = pieces.firsts[window.first], pieces.firsts[window.last]
        return (
            np.array([[self.begin, *pieces.ids[start:end], self.finish]], np.int64),
            np.array([[0, *pieces.looks[start:end], 0]], np.int64),
            np.array([[0, *pieces.shapes[start:end], 0]], np.int64),
        )


def windows(firsts: Sequence[int], size: int, edge: int, part: slice | None = None) -> Iterator[Window]:
    """Yield the windows of a text: each token counts in one of them, with others on both sides where there are any.

    Args:
        firsts: See `Pieces`.
        size: Pieces a window holds at most; at least `2 * edge + 2 * WIDEST`.
        edge: Pieces at the ends of a window that only serve as context.
        part: The tokens that are read, where not all are.

    >>> list(windows([0, 1, 2, 3, 4, 5, 6], 4, 1))
    [Window(first=0, last=4, keep=0, stop=3), Window(first=2, last=6, keep=3, stop=6)]
    """
    first = keep = 0 if part is None else part.start
    begin, total = first, len(firsts) - 1 if part is None else part.stop
    while keep < total:
        last = first
        while last < total and firsts[last + 1] - firsts[first] <= size:
            last += 1
        stop = last
        if last < total:
            while stop > keep + 1 and firsts[last] - firsts[stop] < edge:
                stop -= 1
        yield Window(first, last, keep, stop)
        first = keep = stop
        while first > begin and firsts[keep] - firsts[first - 1] <= edge:
            first -= 1


@cache
def _engine(folder: Path, threads: int) -> _Engine:
    """Return the model of a folder, loaded once a process."""
    return _Engine(folder, threads)


class Transformer(ModelRecognizer):
    """A fine-tuned transformer as recognizer: reads many texts at once. Picklable: a process loads it when it reads.

    Args:
        model: The folder that `mayo_data.phi.training.transformer` wrote.
        threshold: From which probability on a token is PHI, 0 to 1; the model's own by default.
        categories: The model's kinds to our categories, beside `mayo_data.phi.model.KINDS`.
        network: A pipeline of the project's own whose probabilities are mixed with the transformer's, `default` for
            the shipped one: they err in different places, so that both together are better than either.
        gate: The network reads everything; the transformer, the slow one, reads what lies around a token of which
            the network is not sure: its chance lies between these two, 0 to 1.
        threads: Threads of onnxruntime; one, because the workers share the cores.

    Raises:
        ConfigError: No such model, or the network knows other kinds.
    """

    def __init__(
        self,
        model: str | Path,
        threshold: float | None = None,
        categories: Mapping[str, str] | None = None,
        network: str | Path | None = None,
        gate: tuple[float, float] = (0.0, 1.0),
        threads: int = 1,
    ) -> None:
        super().__init__(model, threshold, categories)
        self._folder, self._gate, self._threads = Path(model), gate, threads
        self._network = None if network is None else ModelRecognizer(None if network == "default" else network)
        beside = "" if self._network is None else f"+{self._network.name}:{gate[0]}-{gate[1]}"
        self.name = f"transformer:{_engine(self._folder, threads).digest[:12]}{beside}:{threshold}"

    def _read(
        self, pieces: list[str]
    ) -> Iterator[tuple[list[tuple[int, int, str, float]], Sequence[int], Sequence[float]]]:
        from mayo_data.phi.decode import decode

        engine = _engine(self._folder, self._threads)
        least = engine.threshold if self._threshold is None else self._threshold
        for text in pieces:
            tokens, chances = self._chances(engine, text)
            found = decode(tokens, chances, engine.labels, least)
            starts, words = tokens.starts, tokens.words
            # As with the project's other model: below a pattern that is sure, above one that guesses.
            spans = [(starts[f.first], starts[f.last] + len(words[f.last]), f.kind, 0.3 + f.score / 2) for f in found]
            yield spans, starts, (1 - chances[:, 0]).tolist()

    def _chances(self, engine: _Engine, text: str) -> tuple[Tokens, Floats]:
        if self._network is None:
            pieces = engine.reader.read(text)
            parts = [slice(0, len(pieces.words))]
            chances, share = np.zeros((len(pieces.words), len(engine.labels)), np.float32), 1.0
        else:
            chances, share = self._network.chances(text, engine.labels).copy(), SHARE
            doubt = 1 - chances[:, 0]
            parts = _around((doubt >= self._gate[0]) & (doubt <= self._gate[1]))
            pieces = engine.reader.read(text)
        for part in parts:
            read = engine.chances(pieces, part)
            chances[part] += (read - chances[part]) * np.float32(share)
        return Tokens(pieces.words, pieces.starts, []), chances


def _around(found: npt.NDArray[np.bool_]) -> list[slice]:
    """Return the parts of a text around the tokens that were found, with room for context on both sides.

    >>> _around(np.array([False] * 100 + [True] + [False] * 100))
    [slice(86, 115, None)]
    """
    parts: list[slice] = []
    for at in np.flatnonzero(found).tolist():
        start, stop = max(0, at - _CONTEXT), min(len(found), at + _CONTEXT + 1)
        if parts and start <= parts[-1].stop:
            parts[-1] = slice(parts[-1].start, stop)
        else:
            parts.append(slice(start, stop))
    return parts


class _Engine:
    """Vocabulary and graph in memory."""

    def __init__(self, folder: Path, threads: int) -> None:
        if missing := [name for name in (GRAPH, VOCABULARY, ABOUT) if not (folder / name).is_file()]:
            raise ConfigError(f"no transformer in that folder: {', '.join(missing)} is missing")
        try:
            import onnxruntime
        except ImportError:
            raise ConfigError("the transformer needs the package onnxruntime", hint=_HINT) from None
        about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        self.digest: str = about["digest"]
        self.labels: list[str] = about["labels"]
        self.threshold: float = about["threshold"]
        self._size, self._edge = int(about["window"]), int(about["edge"])
        self.reader = Reader(folder / VOCABULARY)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(folder / GRAPH),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["SkipLayerNormFusion"],  # its kernel is six times as slow as the two it stands for
        )

    def chances(self, pieces: Pieces, part: slice) -> Floats:
        """Return the probability of every label for each token of a part of a text."""
        chances = np.zeros((part.stop - part.start, len(self.labels)), np.float32)
        # One window at a time: int8 takes its scale from all that is read at once, and what is found in a text must
        # not depend on its company. Several at a time are no faster.
        for window in windows(pieces.firsts, self._size - 2, self._edge, part):
            inputs = self.reader.window(pieces, window)
            (scores,) = self._session.run(None, dict(zip(INPUTS, inputs, strict=True)))
            values = scores[0, np.array(pieces.firsts[window.keep : window.stop]) - pieces.firsts[window.first] + 1]
            values = np.exp(values - values.max(1, keepdims=True))
            chances[window.keep - part.start : window.stop - part.start] = values / values.sum(1, keepdims=True)
        return chances
