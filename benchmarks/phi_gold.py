"""What of the PHI in notes is found, with the patient's record in hand: `python benchmarks/phi_gold.py`.

Makes a synthetic export, reads its record as a run does, searches every note, and compares with the gold spans.
A gold span counts as found when every letter and digit of it is covered. The notes are of our own making: this shows
regressions and gaps by category, it is no claim about anybody else's notes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from mayo_data.keys import Secret
from mayo_data.phi.identifiers import from_fhir
from mayo_data.phi.text import Gazetteer, Known, TextScrubber, TextSettings
from mayo_data.phi.vault import Vault
from mayo_data.synth import generate

NOT_REQUIRED = {"YEAR", "STATE", "COUNTRY"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=100)
    parser.add_argument("--seed", type=int, default=11)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments.patients, arguments.seed)


def measure(folder: Path, patients: int, seed: int) -> None:
    generate(folder, patients=patients, seed=seed, formats=("fhir",))
    secret = Secret(bytes(32))
    vault = Vault(folder / "vault", secret)
    resources = [orjson.loads(line) for file in (folder / "fhir").glob("*.ndjson") for line in file.open("rb")]
    records = [record for resource in resources for record in from_fhir(resource)]
    vault.add(sorted(records, key=lambda record: record.kind != "patient"))
    scrubber = TextScrubber(TextSettings(), secret, Gazetteer(vault.directory()))
    people: dict[str, Known] = {}
    found: Counter[str] = Counter()
    total: Counter[str] = Counter()
    hit = covered = plain = 0
    for line in (folder / "gold" / "notes.jsonl").open("rb"):
        note = orjson.loads(line)
        ref = f"Patient/{note['subject']}"
        if ref not in people:
            person = vault.person(ref)
            assert person is not None
            people[ref] = Known(person.identifiers, 1, 5, person.sex)
        text = note["text"]
        marks = bytearray(len(text))
        for span in scrubber.find(text, people[ref]):
            marks[span.start : span.end] = b"\1" * (span.end - span.start)
        gold = bytearray(len(text))
        for span in note["spans"]:
            inside = [at for at in range(span["start"], span["end"]) if text[at].isalnum()]
            total[span["category"]] += 1
            found[span["category"]] += all(marks[at] for at in inside)
            gold[span["start"] : span["end"]] = b"\1" * (span["end"] - span["start"])
        for at, char in enumerate(text):
            if char.isalnum():
                covered += marks[at]
                hit += marks[at] & gold[at]
                plain += not gold[at]
    table = Table(title=f"{patients} patients, seed {seed}: PHI in notes, with the record in hand")
    for name in ("category", "gold", "fully covered"):
        table.add_column(name, justify="left" if name == "category" else "right")
    for category in sorted(total):
        mark = " (need not be)" if category in NOT_REQUIRED else ""
        table.add_row(category + mark, f"{total[category]:,}", f"{found[category] / total[category]:.4f}")
    needed = [category for category in total if category not in NOT_REQUIRED]
    all_gold = sum(total[category] for category in needed)
    table.add_row("all that must go", f"{all_gold:,}", f"{sum(found[category] for category in needed) / all_gold:.4f}")
    console = Console()
    console.print(table)
    console.print(
        f"letters and digits: precision {hit / covered:.4f}; of the rest, {(covered - hit) / plain:.4%} was taken"
    )
    vault.close()


if __name__ == "__main__":
    main()
