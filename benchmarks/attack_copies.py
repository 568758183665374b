"""What the order and the length of lines in a de-identified copy tell: FHIR or OMOP, as `mayo-data scrub` writes it."""

from __future__ import annotations

import csv
import gzip
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
from attack_sides import People

from mayo_data.omop.model import tables
from mayo_data.phi import omop_people
from mayo_data.sources import omop

Line = tuple[str, str, int]  # whose it is, its id, its length


def attacks(copy: Path, export: Path, theirs: People) -> dict[str, Callable[[], dict[Any, Any]]]:
    """The attacks on a copy by name; what they link is subjects and people."""
    return {
        "copy: place of a line in its file": lambda: _voted(copy, export, theirs, by=None),
        "copy: rank of a line by length": lambda: _voted(copy, export, theirs, by=2),
        "copy: rank of a line by id": lambda: _voted(copy, export, theirs, by=1),
    }


def tell_order(copy: Path, export: Path, say: Callable[[str], object]) -> None:
    """Say which files of a copy are as many lines as, and called like, those of the export."""
    ours, theirs = (dict(files(folder)) for folder in (copy, export))
    shared = [name for name in ours if name in theirs]
    long = sum(len(ours[name]) == len(theirs[name]) for name in shared)
    say(f"copy: {len(shared)} of {len(ours)} files are called as in the export, {long} have as many lines\n")


def files(folder: Path) -> Iterator[tuple[str, list[Line]]]:
    """Lines of each file of FHIR or OMOP, by name."""
    if omop.is_omop(folder):
        for part in omop.discover(folder, tables()).parts:
            found = list(_rows(part.path, tables()[part.table].key or ""))
            if found:
                yield part.path.name.partition(".")[0], found
        return
    for path in sorted(folder.rglob("*.ndjson*")):
        yield path.name, [_line(text) for text in _open(path)]


def _open(path: Path) -> Iterator[bytes]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        yield from file


def _line(text: bytes) -> Line:
    body = orjson.loads(text)
    if body["resourceType"] == "Patient":
        return "Patient/" + body["id"], body["id"], len(text)
    said = (body.get("subject") or body.get("patient") or {}).get("reference", "")
    return "Patient/" + said.rpartition("/")[2].rpartition(":")[2] if said else "", body.get("id", ""), len(text)


def _rows(path: Path, key: str) -> Iterator[Line]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        for row in csv.DictReader(file):
            plain = {name.lower(): value or "" for name, value in row.items()}
            if plain.get("person_id"):
                whose = omop_people.reference(int(plain["person_id"]))
                yield whose, plain.get(key, "").zfill(20), sum(map(len, plain.values()))


def _voted(copy: Path, export: Path, theirs: People, by: int | None) -> dict[Any, Any]:
    """Lay the lines of each file beside those of the export, and let every line vote on whose it is."""
    there = dict(files(export))
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for name, ours in files(copy):
        pair = (ours, there.get(name, []))
        if by is not None:
            pair = tuple(sorted(side, key=lambda line: line[by]) for side in pair)  # type: ignore[assignment]
        for (who, *_), (other, *_) in zip(*pair, strict=False):
            if who and other in theirs:
                votes[who][other] += 1
    links = {who: said.most_common(1)[0][0] for who, said in votes.items()}
    return {int(who.rpartition("/")[2]): other for who, other in links.items() if who.rpartition("/")[2].isdigit()}
