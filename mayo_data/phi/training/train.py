"""Trains the PHI model from the templates and writes it as a spaCy pipeline."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from mayo_data import assets
from mayo_data.phi import words
from mayo_data.phi.corpora import Document, Gold
from mayo_data.phi.evaluation import Evaluation, evaluate
from mayo_data.phi.network import Network, Shape
from mayo_data.phi.tagger import PhiTagger, pipeline
from mayo_data.phi.training import corpus, people, senses, templates
from mayo_data.phi.training.learn import Learner, Settings
from mayo_data.types import PhiSpan

SHAPE = Shape(32_768, 128, (1, 2, 4, 1), corpus.LABELS)
STEPS = 9_000
BATCH = 4_000  # tokens


def lexicon() -> dict[str, int]:
    """Return what the word lists say of a word, as bits: common, clinical, eponym, drug, given name, place, ..."""
    given, family = people.names()
    english = assets.toml("schemas", "phi", "slots", "english.toml")["words"].split()
    lists = (
        words.common() | set(english),
        words.guard() - words.common() - words.eponyms(),
        words.eponyms(),
        words.generic_places(),
        given | set(words.given_names()),
        family | words.family_names(),
        {part for name in words.place_names("cities") for part in name.split() if len(part) > 3},
        {part for key in ("states", "countries") for name in words.place_names(key) for part in name.split()},
        words.place_names("state_codes"),
    )
    found: dict[str, int] = {}
    for bit, words_of in enumerate(lists):
        for word in words_of:
            found[word] = found.get(word, 0) | 2 << bit
    for word, groups in senses.marks().items():
        found[word] = found.get(word, 0) | groups
    return found


class _Alone:
    """A tagger by itself, as `evaluate` wants it."""

    def __init__(self, tagger: PhiTagger) -> None:
        self._tagger = tagger

    def detect(self, texts: Sequence[str], known: object = None) -> list[list[PhiSpan]]:
        return [
            [
                PhiSpan(tokens.starts[f.first], tokens.starts[f.last] + len(tokens.words[f.last]), f.kind, "", f.score)
                for f in found
            ]
            for tokens, found in self._tagger.read(texts)
        ]


def documents(texts: Sequence[tuple[str, corpus.Spans]]) -> list[Document]:
    """Return texts of the corpus as labelled documents.

    Args:
        texts: See `corpus.fixed`.
    """
    return [Document(str(at), text, [Gold(*span) for span in spans]) for at, (text, spans) in enumerate(texts)]


def _line(score: Evaluation) -> str:
    return (
        f"covered {score.covered.value:.4f} touched {score.touched.value:.4f} "
        f"precision {score.precision:.4f} F1 {score.f1:.4f}"
    )


def train(
    out: Path,
    seed: int = 1,
    max_minutes: float | None = None,
    steps: int = STEPS,
    shape: Shape = SHAPE,
    settings: Settings | None = None,
    threshold: float = 0.2,
    console: Console | None = None,
) -> Evaluation:
    """Train a model, write it, and return how it does on the templates that were held out for testing.

    Args:
        out: The model's folder.
        seed: For everything random: the same seed and steps make the same model.
        max_minutes: When to be done at the latest; the learning rate follows.
        steps: Batches.
        shape: The network's size.
        settings: How it is trained.
        threshold: From which probability on a token is PHI.
        console: Where progress goes.
    """
    console = console or Console(stderr=True)
    problems: list[str] = []
    found = templates.load(problems=problems)
    for problem in problems:
        console.print(f"left out: {problem}", markup=False)
    parts = {name: [t for t in found if t.split == name] for name in ("train", "dev", "test")}
    console.print(", ".join(f"{len(part)} templates to {name}" for name, part in parts.items()))
    learner = Learner(shape, lexicon(), settings or Settings(), seed)
    source = corpus.Corpus(parts["train"], shape.rows, seed)
    dev = documents(corpus.fixed(parts["dev"], seed, 2))
    began = time.monotonic()
    loss = 0.0
    tokens = 0
    for step, batch in zip(range(steps), source.batches(BATCH), strict=False):
        done = step / steps
        if max_minutes is not None:
            done = max(done, (time.monotonic() - began) / (60 * max_minutes))
        if done >= 1:
            break
        now = learner.step(batch, 0.5 * (1 + math.cos(math.pi * done)))
        tokens += sum(len(example.words) for example in batch)
        loss += (now - loss) * (0.02 if step else 1.0)
        if step % 500 == 499:
            result = evaluate(dev, _Alone(PhiTagger(threshold, Network(shape, learner.average, learner.lexicon))))
            speed = tokens / (time.monotonic() - began)
            console.print(f"{step + 1:6} loss {loss:.4f}  dev {_line(result)}  {speed:,.0f} tokens/s")
    network = Network(shape, learner.average, learner.lexicon)
    out.mkdir(parents=True, exist_ok=True)
    nlp = pipeline(network, threshold)
    tagger: PhiTagger = nlp.get_pipe("phi_tagger")
    alone = _Alone(tagger)
    result = evaluate(documents(corpus.fixed(parts["test"], seed, 2)), alone)
    counts = source.counts
    console.print(f"{counts.misaligned:,} of {counts.spans:,} spans misaligned")
    for name in ("dev", "test"):
        clean = evaluate(documents(corpus.fixed(parts[name], seed, 2, clean=True)), alone)
        dirty = evaluate(documents(corpus.fixed(parts[name], seed, 2)), alone)
        console.print(f"{name}: tidy {_line(clean)} | soiled {_line(dirty)}")
    nlp.meta.update(
        name="phi", version="1.0.0", description="PHI in clinical text, trained on text of the project's own making.",
        license="Apache-2.0", author="The mayo_data authors",
    )  # fmt: skip
    nlp.to_disk(out)
    (out / "training.json").write_text(
        json.dumps({"seed": seed, "steps": step, "templates": len(parts["train"]), "test": _line(result)}, indent=1),
        encoding="utf-8",
    )
    return result
