"""What the PHI model finds by itself, and how fast: `python benchmarks/phi_model.py [--model DIR] [CORPUS ...]`.

Measures on the templates that were held out for testing, tidy and soiled, and on folders of notes with inline marks
(`[[CATEGORY:text]]`). A span counts as found when every letter and digit of it is covered. The rest of the detector
(known identifiers, patterns, document consistency) takes no part here: see `mayo-data evaluate` for the whole.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mayo_data.phi import corpora
from mayo_data.phi.evaluation import Evaluation, evaluate
from mayo_data.phi.model import ModelRecognizer
from mayo_data.phi.training import corpus, templates, train
from mayo_data.types import PhiSpan


class Alone:
    """The model by itself, with a clock."""

    def __init__(self, model: Path | None, threshold: float) -> None:
        self._model = ModelRecognizer(model, threshold)
        self._model.batch(["load the model"])
        self.seconds = 0.0

    def detect(self, texts: Sequence[str], known: Any = None) -> list[list[PhiSpan]]:
        began = time.process_time()
        found = self._model.batch(texts)
        self.seconds += time.process_time() - began
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="*", type=Path, help="folders of notes with inline marks, or Presidio JSON")
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--threshold", type=float, action="append", help="may be repeated")
    parser.add_argument("--form", default="inline", help="form of the corpora")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--by-category", action="store_true", help="at the first threshold")
    arguments = parser.parse_args()
    thresholds = arguments.threshold or [0.3, 0.5, 0.7]
    test = [template for template in templates.load() if template.split == "test"]
    sets = {
        "test templates, tidy": train.documents(corpus.fixed(test, arguments.seed, 2, clean=True)),
        "test templates, soiled": train.documents(corpus.fixed(test, arguments.seed, 2)),
    }
    for folder in arguments.corpora:
        sets[folder.stem] = list(corpora.read(folder, arguments.form))
    console = Console(width=120)
    table = Table(title="The PHI model alone")
    for name in ("texts", "threshold", "spans", "covered", "touched", "char precision", "char F1", "chars/s"):
        table.add_column(name, justify="left" if name == "texts" else "right")
    first: dict[str, Evaluation] = {}
    for name, documents in sets.items():
        for threshold in thresholds:
            alone = Alone(arguments.model, threshold)
            score = evaluate(documents, alone, known=False)
            first.setdefault(name, score)
            figures = (score.covered.value, score.touched.value, score.precision, score.f1)
            speed = f"{score.characters / alone.seconds:,.0f}"
            spans = f"{score.covered.total:,}"
            table.add_row(name, f"{threshold}", spans, *(f"{figure:.4f}" for figure in figures), speed)
    console.print(table)
    for name, score in first.items() if arguments.by_category else ():
        table = Table(title=f"{name}, threshold {thresholds[0]}")
        for column in ("category", "spans", "covered", "touched"):
            table.add_column(column, justify="left" if column == "category" else "right")
        for category, row in score.dict()["categories"].items():
            table.add_row(category, f"{row['spans']:,}", f"{row['covered']:.4f}", f"{row['touched']:.4f}")
        console.print(table)


if __name__ == "__main__":
    main()
