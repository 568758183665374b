"""Model families for PHI side by side: `python benchmarks/phi_families.py [CORPUS ...]`.

Patterns, the project's network, the transformer, the mean of both, and the mean where the network is in doubt (what is
shipped), each alone and with the patterns: recall
by span, precision by letters and digits, and characters a second of one core. Measured on the templates that were held
out for testing, and on folders of notes with inline marks (`[[CATEGORY:text]]`). A span counts as full when every
letter and digit of it is covered. The record of the patient takes no part here.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # before numpy is loaded

# ruff: noqa: E402
from rich.console import Console
from rich.table import Table

from mayo_data import assets
from mayo_data.phi import corpora
from mayo_data.phi.detector import Detector
from mayo_data.phi.evaluation import Evaluation, Finder, evaluate
from mayo_data.phi.model import ModelRecognizer
from mayo_data.phi.training import corpus, templates
from mayo_data.phi.transformer import GATE, Transformer
from mayo_data.types import PhiSpan

WARM = ["Load the model: seen by Dr. Roe on 3/4/2021."]


class Alone:
    """A recognizer without the rest of the ensemble."""

    def __init__(self, recognizer: ModelRecognizer) -> None:
        self._recognizer = recognizer

    def detect(self, texts: Sequence[str], known: Any = None) -> list[list[PhiSpan]]:
        return self._recognizer.batch(texts)


def families(network: str, transformer: Path | None, thresholds: Sequence[float | None]) -> dict[str, Finder]:
    made: dict[str, Finder] = {"patterns": Detector(model=None)}
    for threshold in thresholds:
        mark = "" if threshold is None else f" at {threshold}"
        models: dict[str, ModelRecognizer] = {}
        if network != "none":
            models["network"] = ModelRecognizer(None if network == "default" else network, threshold)
        if transformer is not None:
            models["transformer"] = Transformer(transformer, threshold)
            if network != "none":
                models["mean of both"] = Transformer(transformer, threshold, network=network)
                models["mean in doubt"] = Transformer(transformer, threshold, network=network, gate=GATE)
        for name, model in models.items():
            made[name + mark] = Alone(model)
            made[f"{name}{mark}, with patterns"] = Detector(model=model)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="*", type=Path, help="folders of notes with inline marks")
    parser.add_argument("--form", default="inline", help="form of the corpora")
    parser.add_argument("--network", default="default", help="folder of a spaCy pipeline, or none")
    parser.add_argument("--transformer", type=Path, default=assets.path("schemas", "phi", "transformer"))
    parser.add_argument("--threshold", type=float, action="append", help="from which a token is PHI; may be repeated")
    parser.add_argument("--split", default="test", choices=("dev", "test"), help="which templates")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    held_out = [template for template in templates.load(problems=[]) if template.split == asked.split]
    texts = corpus.fixed(held_out, asked.seed, 2)
    sets = {
        f"{asked.split} templates": [
            corpora.Document(str(at), text, [corpora.Gold(*span) for span in spans])
            for at, (text, spans) in enumerate(texts)
        ]
    }
    for folder in asked.corpora:
        sets[folder.stem] = list(corpora.read(folder, asked.form))
    console = Console(width=130)
    found = families(asked.network, asked.transformer, asked.threshold or [None])
    for name, documents in sets.items():
        table = Table(title=f"{name}: {len(documents)} texts, {sum(len(d.text) for d in documents):,} characters")
        for head in ("family", "full", "touched", "precision", "F1", "taken of plain text", "characters/s"):
            table.add_column(head, justify="left" if head == "family" else "right")
        for family, finder in found.items():
            table.add_row(family, *measure(documents, finder))
        console.print(table)


def measure(documents: Sequence[corpora.Document], finder: Finder) -> list[str]:
    finder.detect(WARM)
    clocked = Clocked(finder)
    made: Evaluation = evaluate(documents, clocked)
    figures = made.dict()
    names = ("covered", "touched", "character_precision", "character_f1")
    shares = [f"{figures[name]:.4f}" for name in names]
    return [*shares, f"{figures['plain_text_taken']:.3%}", f"{made.characters / clocked.seconds:,.0f}"]


class Clocked:
    """Measures processor time, so that other work on the machine does not count."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self.seconds = 0.0

    def detect(self, texts: Sequence[str], known: Any = None) -> list[list[PhiSpan]]:
        began = time.process_time()
        found = self._finder.detect(texts, known)
        self.seconds += time.process_time() - began
        return found


if __name__ == "__main__":
    main()
