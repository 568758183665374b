"""A person reads a sample of scrubbed notes; what they find becomes an estimate of what leaks from all of them.

The sample is drawn by a seed, stratified by the type of note. Verdicts lie in the PHI zone, mode 0600, one line each,
so that the reading can go on another day. The ledger gets counts alone.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import orjson

from mayo_data import assets
from mayo_data.dataset import Dataset
from mayo_data.errors import ConfigError, StoreError
from mayo_data.lineage.ledger import Ledger
from mayo_data.quality import intervals
from mayo_data.report.html import tag
from mayo_data.types import Json

Said = Literal["clean", "leak", "unsure"]
METHOD = (
    "Stratified by the type of note. Leaks in 1,000 notes: weighted by stratum, interval of Fay and Feuer 1997 (for "
    "equal weights the exact Poisson interval of Garwood 1936), at 95 %. Share of notes with a leak: exact interval of "
    "Clopper and Pearson 1934 over the notes read, at 95 %."
)
_LEAST = 2  # notes of every type, where there are so many
_STRATA = "SELECT code, count(*)::BIGINT FROM note WHERE text IS NOT NULL AND text <> '' GROUP BY code ORDER BY code"
# sha256 of seed and id orders the notes: the same on every machine, and no note knows its neighbour's chance.
_DRAW = """
SELECT event_id, code, text FROM note WHERE text IS NOT NULL AND text <> '' AND code = $code
ORDER BY sha256(concat($seed::VARCHAR, ':', event_id)), event_id LIMIT $n
"""


@dataclass(frozen=True)
class Note:
    """A note of the sample, as it stands in the store: after the scrub, and still of the PHI zone until judged.

    Attributes:
        event_id: Names the note in its snapshot.
        code: Its type.
        text: Its text.
    """

    event_id: str
    code: str
    text: str

    def _repr_html_(self) -> str:
        """How a notebook shows it: text, whatever it says."""
        return tag("pre", self.text, style="white-space: pre-wrap", title=self.code)


@dataclass(frozen=True)
class Leak:
    """One identifier that was left in a note.

    Attributes:
        category: PHI category, for example `PATIENT`.
        start: Offset of its first character in the note, or None where the reader gave none.
        end: Offset after its last.
    """

    category: str
    start: int | None = None
    end: int | None = None


class Audit:
    """A sample of notes and what a person says of them: `md.audit`.

        audit = md.audit("store", notes=100, seed=1)
        for note in audit.pending():
            print(note.text)
            audit.record(note.event_id, "clean")
        print(audit.estimate())
        audit.commit()

    Args:
        store: Folder of the store.
        notes: How many notes to read.
        seed: The same seed draws the same notes of a snapshot.
        snapshot: Name of a snapshot; the newest by default.
        phi_zone: Where the verdicts are kept; by default `STORE.phi`.

    Raises:
        StoreError: There is no such store or snapshot, it holds no note, or the verdicts kept are damaged.
        ConfigError: The PHI zone lies inside the store.
    """

    def __init__(
        self,
        store: Path | str,
        *,
        notes: int = 100,
        seed: int = 1,
        snapshot: str | None = None,
        phi_zone: Path | str | None = None,
    ) -> None:
        if notes < 1:
            raise ConfigError("a sample has at least one note", hint="give a larger number of notes")
        dataset = Dataset(store, snapshot)
        self.snapshot = dataset.path.name
        self.seed = seed
        self._ledger = Ledger(dataset.store.ledger)
        zone = Path(phi_zone) if phi_zone else Path(store).with_name(Path(store).name + ".phi")
        if zone.resolve().is_relative_to(Path(store).resolve()):
            raise ConfigError("the PHI zone must not lie inside the store", hint="choose another --phi-zone")
        self.path = zone / "audit" / f"{self.snapshot}-{notes}-{seed}.jsonl"
        with dataset.connect() as db:
            self.strata: dict[str, int] = dict(db.execute(_STRATA).fetchall())
            if not self.strata:
                raise StoreError("this snapshot holds no note", hint="view note lists them")
            self.notes = [
                Note(*row)
                for code, n in allocate(self.strata, notes).items()
                for row in db.execute(_DRAW, {"code": code, "seed": seed, "n": n}).fetchall()
            ]
        # Types mixed: whoever reads the same form twenty times in a row reads the twentieth badly.
        self.notes.sort(key=lambda note: hashlib.sha256(f"{seed}:{note.event_id}".encode()).digest())
        self._of = {note.event_id: note for note in self.notes}
        self._said: dict[str, Json] = {}
        for line in self._kept():
            self._take(line)

    def __repr__(self) -> str:
        return f"Audit(snapshot={self.snapshot!r}, notes={len(self.notes)}, read={len(self._said)})"

    def pending(self) -> Iterator[Note]:
        """Yield the notes that nobody has judged yet."""
        for note in self.notes:
            if note.event_id not in self._said:
                yield note

    @property
    def read(self) -> int:
        """How many notes were judged."""
        return len(self._said)

    def record(self, event_id: str, verdict: Said, leaks: Iterable[Leak] = ()) -> None:
        """Keep what a person says of a note, safely on the disk before it returns; a second verdict replaces the first.

        Args:
            event_id: The note.
            verdict: `clean`, `leak` or `unsure`.
            leaks: What leaked; a note with a leak has at least one.

        Raises:
            ConfigError: The note is not of the sample, or the verdict makes no sense.
        """
        line: Json = {
            "event_id": event_id,
            "verdict": verdict,
            "leaks": [{"category": one.category, "start": one.start, "end": one.end} for one in leaks],
        }
        self._take(line)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "ab") as file:
                file.write(orjson.dumps(line) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(f"the verdict cannot be kept: {error.strerror}", hint="check the PHI zone") from error

    def load(self, path: Path | str) -> int:
        """Take verdicts from a file of JSON lines `{"event_id", "verdict", "leaks"}`; return how many.

        Raises:
            ConfigError: A line is no verdict on a note of this sample.
        """
        try:
            lines = Path(path).read_bytes().splitlines()
        except OSError as error:
            raise ConfigError(f"the verdicts cannot be read: {error.strerror}", hint="check the path") from error
        found = []
        for number, text in enumerate(lines, 1):
            if not text.strip():
                continue
            try:
                line = orjson.loads(text)
                leaks = [Leak(one["category"], one.get("start"), one.get("end")) for one in line.get("leaks", ())]
                self._check(line["event_id"], line["verdict"], leaks)
                found.append((line["event_id"], line["verdict"], leaks))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ConfigError(f"line {number} of the verdicts is none ({type(error).__name__})") from None
            except ConfigError as error:
                raise ConfigError(f"line {number} of the verdicts: {error}", hint=error.hint) from None
        for event_id, verdict, leaks in found:  # all of them are sound
            self.record(event_id, verdict, leaks)
        return len(found)

    def estimate(self) -> Json:
        """Return what the verdicts so far say of all notes: counts, rates, exact intervals at 95 %.

        Raises:
            ConfigError: No note was judged yet.
        """
        if not self._said:
            raise ConfigError("no note was judged yet", hint="read some, then ask again")
        read, leaks, leaking, unsure = Counter[str](), Counter[str](), 0, 0
        categories: Counter[str] = Counter()
        for event_id, line in self._said.items():
            code = self._of[event_id].code
            read[code] += 1
            leaks[code] += len(line["leaks"])
            leaking += bool(line["leaks"])
            unsure += line["verdict"] == "unsure"
            categories.update(one["category"] for one in line["leaks"])
        total = sum(self.strata[code] for code in read)  # types of which nothing was read yet say nothing
        weights = [1000 * self.strata[code] / total / n for code, n in read.items()]
        counts = [leaks[code] for code in read]
        rate = sum(weight * count for weight, count in zip(weights, counts, strict=True))
        return {
            "snapshot": self.snapshot,
            "seed": self.seed,
            "sample": len(self.notes),
            "notes": sum(read.values()),
            "notes_in_store": sum(self.strata.values()),
            "leaking_notes": leaking,
            "leaks": sum(leaks.values()),
            "unsure": unsure,
            "categories": dict(sorted(categories.items())),
            "strata": [
                {"code": code, "notes_in_store": self.strata[code], "notes": read[code], "leaks": leaks[code]}
                for code in sorted(self.strata)
            ],
            "leaks_per_1000_notes": round(rate, 4),
            "leaks_per_1000_notes_interval": [round(end, 4) for end in intervals.weighted(weights, counts)],
            "leaking_notes_share": round(leaking / sum(read.values()), 6),
            "leaking_notes_share_interval": [round(end, 6) for end in intervals.binomial(leaking, sum(read.values()))],
            "method": METHOD,
        }

    def commit(self) -> str:
        """Put the estimate into the ledger as a record of kind `audit`, counts only; return its digest."""
        return self._ledger.append("audit", self.estimate())

    def _check(self, event_id: str, verdict: str, leaks: Sequence[Leak]) -> None:
        note = self._of.get(event_id)
        if note is None:
            raise ConfigError("this note is not of the sample", hint="the seed and the number of notes name the sample")
        if verdict not in get_args(Said):
            raise ConfigError("a verdict is clean, leak or unsure")
        if (verdict == "leak") != bool(leaks):
            raise ConfigError("a verdict of leak names what leaked, any other names nothing")
        for leak in leaks:
            if leak.category not in categories():
                raise ConfigError("no such category of PHI", hint="see schemas/phi/categories.toml")
            if (leak.start is None) != (leak.end is None) or (
                leak.start is not None and leak.end is not None and not 0 <= leak.start < leak.end <= len(note.text)
            ):
                raise ConfigError("a leak lies outside of its note", hint="offsets count characters of the note")

    def _take(self, line: Json) -> None:
        leaks = [Leak(**one) for one in line["leaks"]]
        self._check(line["event_id"], line["verdict"], leaks)
        self._said[line["event_id"]] = line

    def _kept(self) -> Iterator[Json]:
        """What was kept; a last line that a crash tore was never acknowledged."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        if lines[-1]:
            with self.path.open("r+b") as file:
                file.truncate(sum(len(line) + 1 for line in lines[:-1]))
        for number, line in enumerate(lines[:-1], 1):
            try:
                found: Any = orjson.loads(line)
                self._check(found["event_id"], found["verdict"], [Leak(**one) for one in found["leaks"]])
            except (ValueError, KeyError, TypeError, ConfigError):
                raise StoreError(
                    f"line {number} of the verdicts kept in the PHI zone is damaged", hint="repair or remove that file"
                ) from None
            yield found


def allocate(strata: dict[str, int], notes: int) -> dict[str, int]:
    """Return how many notes of each type to draw: in proportion, two of each type at least, none twice.

    Args:
        strata: Type to how many there are.
        notes: How many to draw in all; more where there are many types.

    >>> allocate({"a": 900, "b": 90, "c": 1}, 20)
    {'a': 18, 'b': 2, 'c': 1}
    """
    total = sum(strata.values())
    exact = {code: notes * n / total for code, n in strata.items()}
    drawn = {code: min(n, max(_LEAST, int(exact[code]))) for code, n in strata.items()}
    while sum(drawn.values()) < min(notes, total):
        code = max((code for code in strata if drawn[code] < strata[code]), key=lambda code: exact[code] - drawn[code])
        drawn[code] += 1
    return drawn


def categories() -> list[str]:
    """Return the categories that a leak may have.

    >>> "PATIENT" in categories()
    True
    """
    return list(assets.toml("schemas", "phi", "categories.toml"))


def audit(
    store: Path | str,
    *,
    notes: int = 100,
    seed: int = 1,
    snapshot: str | None = None,
    phi_zone: Path | str | None = None,
) -> Audit:
    """Draw a sample of scrubbed notes for a person to read: see `Audit`.

    Args:
        store: Folder of the store.
        notes: How many notes to read.
        seed: The same seed draws the same notes of a snapshot.
        snapshot: Name of a snapshot; the newest by default.
        phi_zone: Where the verdicts are kept; by default `STORE.phi`.

    Raises:
        StoreError: There is no such store or snapshot, or it holds no note.
    """
    return Audit(store, notes=notes, seed=seed, snapshot=snapshot, phi_zone=phi_zone)
