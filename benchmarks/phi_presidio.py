"""The ensemble beside stock Presidio, on one core: `python benchmarks/phi_presidio.py [CORPUS ...] [--form FORM]`.

In one run and in turn, over the same texts: stock Presidio (`AnalyzerEngine` with its default recognizers and our
shipped spaCy pipeline as its NLP engine), the same through Presidio's `BatchAnalyzerEngine`, and `mayo_data.Detector`
(known identifiers, patterns, model, consistency) with each model asked for. Texts: the notes of a synthetic export,
with the record and without, and any labelled corpus given by path. Prints characters a second (processor time, median
of the rounds), the ratio, and what was found: a span counts as full when every letter and digit of it is covered. No
network: Presidio's e-mail recognizer gets the public suffix list that tldextract carries.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # before numpy is loaded

# ruff: noqa: E402, TID251 - Presidio and spaCy are what we are measured against
import orjson
import presidio_analyzer
import spacy
import tldextract
from presidio_analyzer import AnalyzerEngine, BatchAnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
from rich.console import Console
from rich.table import Table

import mayo_data
from mayo_data import assets
from mayo_data.keys import Secret
from mayo_data.phi import corpora, tagger
from mayo_data.phi.detector import Detector
from mayo_data.phi.evaluation import Finder, evaluate
from mayo_data.phi.identifiers import from_fhir
from mayo_data.phi.known import Known
from mayo_data.phi.vault import Vault
from mayo_data.synth import generate
from mayo_data.types import PhiSpan

# What our pipeline calls a thing to Presidio's name for it.
ENTITIES = {
    "NAME": "PERSON", "DATE": "DATE_TIME", "AGE": "AGE", "STREET": "LOCATION", "CITY": "LOCATION", "COUNTY": "LOCATION",
    "ZIP": "LOCATION", "HOSPITAL": "ORGANIZATION", "ORG": "ORGANIZATION", "PHONE": "PHONE_NUMBER", "NET": "URL",
    "ID": "ID", "ROOM": "LOCATION", "USERNAME": "ID",
}  # fmt: skip
STOCK = "stock AnalyzerEngine"
WARM = "Load everything: seen by Dr. Roe on 3/4/2021, jo@example.org."


def stock() -> AnalyzerEngine:
    """Presidio as it comes, with our spaCy pipeline as its model."""
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    path = str(assets.path("schemas", "phi", "model"))
    naming = NerModelConfiguration(model_to_presidio_entity_mapping=ENTITIES, low_score_entity_names=[])
    engine = SpacyNlpEngine([{"lang_code": "en", "model_name": path}], naming)
    assert tagger.SPANS  # makes our pipeline known to spaCy
    engine.load()
    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"], nlp_engine=engine)
    return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])


class Presidio:
    """Stock Presidio as something to measure.

    Args:
        analyzer: The engine.
        batch: Texts a batch, through `BatchAnalyzerEngine`; 0 for one call a text.
        entities: What it looks for; everything otherwise.
    """

    def __init__(self, analyzer: AnalyzerEngine, batch: int = 0, entities: list[str] | None = None) -> None:
        self._analyzer = analyzer
        self._batch = batch
        self._entities = entities

    def detect(self, texts: Sequence[str], known: Any = None) -> list[list[PhiSpan]]:
        if self._batch:
            engine = BatchAnalyzerEngine(self._analyzer)
            found = engine.analyze_iterator(texts, "en", batch_size=self._batch, entities=self._entities)
        else:
            found = [self._analyzer.analyze(text, "en", entities=self._entities) for text in texts]
        return [
            [PhiSpan(one.start, one.end, one.entity_type, "presidio", float(one.score)) for one in results]
            for results in found
        ]


def synthetic(patients: int, seed: int) -> tuple[list[corpora.Document], list[corpora.Document]]:
    """The notes of a synthetic export, with the record of each subject in hand, and without."""
    with tempfile.TemporaryDirectory() as folder:
        export = Path(folder)
        generate(export, patients=patients, seed=seed, formats=("fhir",))
        resources = [orjson.loads(line) for file in (export / "fhir").glob("*.ndjson") for line in file.open("rb")]
        records = [record for resource in resources for record in from_fhir(resource)]
        notes = [orjson.loads(line) for line in (export / "gold" / "notes.jsonl").open("rb")]
        vault = Vault(export / "vault", Secret(bytes(32)))
        vault.add(sorted(records, key=lambda record: record.kind != "patient"))
        people: dict[str, Any] = {}
        for subject in {note["subject"] for note in notes}:
            person = vault.person(f"Patient/{subject}")
            people[subject] = Known(person.identifiers, 1, 5, person.sex) if person else None
        vault.close()
    blind = [
        corpora.Document(
            str(at),
            note["text"],
            sorted(corpora.Gold(span["start"], span["end"], span["category"]) for span in note["spans"]),
        )
        for at, note in enumerate(notes)
    ]
    return [one._replace(known=people[note["subject"]]) for one, note in zip(blind, notes, strict=True)], blind


def clocked(
    contestants: dict[str, Callable[[], Finder]], documents: Sequence[corpora.Document], rounds: int
) -> dict[str, float]:
    """Return the median of the processor seconds of each; in turn, so that a busy machine is busy for all.

    What is made anew for each round remembers no text of the one before.
    """
    texts, known = [one.text for one in documents], [one.known for one in documents]
    seconds: dict[str, list[float]] = {who: [] for who in contestants}
    for _ in range(rounds):
        for who, make in contestants.items():
            finder = make()
            finder.detect([WARM])
            began = time.process_time()
            finder.detect(texts, known)
            seconds[who].append(time.process_time() - began)
    return {who: statistics.median(taken) for who, taken in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="*", type=Path, help="labelled texts, file or folder")
    parser.add_argument("--form", default="inline", choices=corpora.FORMATS, help="form of the corpora")
    parser.add_argument("--model", action="append", help="default, fast, or a path; may be repeated (default: both)")
    parser.add_argument("--patients", type=int, default=40, help="size of the synthetic export")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here")
    asked = parser.parse_args()
    recorded, blind = synthetic(asked.patients, asked.seed)
    sets = {"synthetic notes, with the record": recorded, "synthetic notes": blind}
    for path in asked.corpora:
        sets[path.stem] = list(corpora.read(path, asked.form))
    analyzer = stock()
    names = asked.model or ["default", "fast"]
    ours = [f"mayo_data, {name}" for name in names]
    contestants: dict[str, Callable[[], Finder]] = {
        STOCK: lambda: Presidio(analyzer),
        "BatchAnalyzerEngine, by 64": lambda: Presidio(analyzer, batch=64),
        **{who: partial(Detector, name) for who, name in zip(ours, names, strict=True)},
    }
    console = Console(width=120)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for name, documents in sets.items():
        size = sum(len(one.text) for one in documents)
        table = Table(title=f"{name}: {len(documents):,} texts, {size:,} characters")
        for head in ("", "characters/s", "to stock", "full", "touched", "precision", "F1", "taken of plain text"):
            table.add_column(head, justify="right" if head else "left")
        rows = figures[name] = {}
        seconds = clocked(contestants, documents, asked.rounds)
        for who, make in contestants.items():
            speed = size / seconds[who]
            score = evaluate(documents, make())
            rows[who] = {
                "characters_per_second": round(speed),
                "ratio": round(speed / rows[STOCK]["characters_per_second"], 2) if rows else 1.0,
                "covered": score.covered.value,
                "touched": score.touched.value,
                "precision": score.precision,
                "f1": score.f1,
                "taken": (score.taken - score.hit) / (score.plain or 1),
            }
            row = rows[who]
            shares = (f"{row[key]:.4f}" for key in ("covered", "touched", "precision", "f1"))
            table.add_row(who, f"{speed:,.0f}", f"{row['ratio']:.1f} x", *shares, f"{row['taken']:.2%}")
        console.print(table)
    for who in ours:
        slowest = min(rows[who]["characters_per_second"] for rows in figures.values())
        ratio = min(rows[who]["ratio"] for rows in figures.values())
        console.print(f"{who}: at least {slowest:,.0f} characters/s (aim 50,000), {ratio:.1f} x stock (aim 3 x)")
    versions = {
        "mayo_data": mayo_data.__version__,
        "presidio_analyzer": _version(presidio_analyzer),
        "spacy": spacy.__version__,
        "python": platform.python_version(),
    }
    console.print(f"one core of {os.cpu_count()}, {platform.machine()}, {_processor()}")
    console.print(", ".join(f"{name} {version}" for name, version in versions.items()))
    if asked.json:
        found = {"figures": figures, "versions": versions, "processor": _processor()}
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


def _version(module: Any) -> str:
    from importlib.metadata import version

    return version(module.__name__)


def _processor() -> str:
    """The processor's name, where the system tells."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "processor unknown")


if __name__ == "__main__":
    main()
