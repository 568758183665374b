"""Kills runs, resumes them, and counts: `python -m tests.faults.kills --kills 200`.

A run is killed with SIGKILL, after a line of its log (so at every boundary of a stage) or at a random moment, up to
five times; then it is run to its end. Whatever was killed, nobody ever sees half a snapshot, and at the end the store
is that of an undisturbed run: the same logical digest, nothing left lying about, no gap in the ledger. Every other
round is a delta onto a finished store.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

import mayo_data as md
from mayo_data import keys
from mayo_data.lineage.ledger import Ledger, verify
from mayo_data.store.layout import Store
from mayo_data.store.snapshot import Manifest
from mayo_data.synth import generate

PIPELINE = """\
name = "killed"
[phi]
as_of = "2024-01-01"
model = "none"
[store]
shards = 3
"""
MOST = 5  # kills of one run


@dataclass
class Ground:
    """What every round starts from: an export, a delta, a key, a finished store, and the digests that must come out."""

    root: Path
    rows: dict[str, list[bytes]] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def prepare(cls, root: Path, *, patients: int = 1) -> Ground:
        """Invent the exports, and run both undisturbed."""
        ground = cls(root)
        generate(root / "export", patients=patients, seed=5)
        night = root / "night"
        night.mkdir()
        for path in sorted((root / "export" / "fhir").glob("*.ndjson")):
            rows = path.read_bytes().splitlines(keepends=True)
            later = [_later(row) for row in rows[:2]]
            (night / path.name).write_bytes(b"".join(later) + (b"{torn" if path.name.startswith("Obs") else b""))
        (root / "killed.toml").write_text(PIPELINE)
        keys.generate(root / "site.key")
        base = root / "base"
        base.mkdir()
        for kind in ("full", "delta"):
            seen = ground.play(base, kind, workers=1)
            assert seen.code == 0, seen.said
            ground.digests[kind] = Manifest.read(Store.open(base / "store").current()).logical_digest
            ground.lines[kind] = seen.lines
            if kind == "full":
                shutil.copytree(base, root / "finished", symlinks=True)
        return ground

    def play(self, folder: Path, kind: str, *, workers: int, line: int = 0, after: float = 0.0) -> Seen:
        """Run once; kill it after a line of its log, or after some seconds; 0 lets it run.

        Args:
            folder: Where the store is.
            kind: `full` or `delta`.
            workers: Number of processes.
            line: Which line of the log, from 1.
            after: Seconds.
        """
        source = self.root / "night" if kind == "delta" else self.root / "export" / "fhir"
        words = [
            sys.executable, "-m", "mayo_data", "run", str(self.root / "killed.toml"), "--input", str(source), "--store",
            str(folder / "store"), "--key-file", str(self.root / "site.key"), "--workers", str(workers), "--log", "json",
            *(["--delta"] if kind == "delta" else []),
        ]  # fmt: skip
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, text=True
        )
        assert process.stdout is not None
        assert process.stderr is not None
        timer = threading.Timer(after, process.kill) if after else None
        if timer:
            timer.start()
        lines = []
        for text in process.stdout:
            lines.append(str(orjson.loads(text)["event"]) if text.endswith("}\n") else "torn")
            if line == len(lines):
                process.kill()
        said = process.stderr.read()
        code = process.wait()
        if timer:
            timer.cancel()
        process.stdout.close()
        process.stderr.close()
        _all_gone(process.pid)
        return Seen(code, lines, said)


@dataclass(frozen=True)
class Seen:
    """What was seen of a run: its exit code, the events of its log, what it said."""

    code: int
    lines: Sequence[str]
    said: str


def _later(row: bytes) -> bytes:
    """A newer version of a resource."""
    body = orjson.loads(row)
    body["meta"] = {**body.get("meta", {}), "lastUpdated": "2031-01-01T00:00:00Z"}
    return orjson.dumps(body) + b"\n"


def _all_gone(group: int) -> None:
    """Wait for the workers of a run that was killed: they end with it."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    os.killpg(group, signal.SIGKILL)
    raise AssertionError("workers outlive a run that was killed")


def nothing_half(folder: Path, before: int) -> None:
    """Whoever reads now sees what was there before, or one whole snapshot more."""
    if not (folder / "store" / "store.json").exists():
        assert before == 0
        return
    store = Store.open(folder / "store")
    names = store.snapshots()
    assert len(names) in (before, before + 1)
    assert [path.name for path in sorted((folder / "store").glob("snapshots/*"))] == names
    if names:
        with md.connect(folder / "store") as db:
            rows = db.sql("SELECT count(*) FROM event").fetchall()
        assert rows == [(Manifest.read(store.current()).tables["events"].rows,)]
    assert {problem.rule for problem in verify(store.ledger)} <= {"torn"}  # the next append heals it


def whole(folder: Path, digest: str, snapshots: int) -> None:
    """The store is that of an undisturbed run, and nothing was left."""
    store = Store.open(folder / "store")
    assert len(store.snapshots()) == snapshots
    assert Manifest.read(store.current()).logical_digest == digest
    assert md.validate(folder / "store") == []
    assert list((folder / "store" / "staging").iterdir()) == []
    assert list((folder / "store.phi" / "work").iterdir()) == []
    assert [path for path in folder.rglob("*") if path.name.endswith(".writing")] == []
    assert verify(store.ledger) == []
    noted = [record["body"]["manifest_sha256"] for record in Ledger(store.ledger).records("snapshot")]
    assert len(noted) == len(set(noted)) == snapshots
    assert Manifest.read(store.current()).sha256 in noted


def campaign(
    ground: Ground, kills: int, *, seed: int = 0, workers: Sequence[int] = (1, 1, 2), tell: bool = False
) -> Counter[str]:
    """Kill so many runs, and resume each; return how many kills came after which event of the log.

    Args:
        ground: Where it begins.
        kills: At least so many.
        seed: Of the dice.
        workers: Numbers of processes, taken in turn.
        tell: Whether to print how far it is.
    """
    dice = random.Random(seed)
    killed: Counter[str] = Counter()
    boundaries = {kind: dice.sample(range(1, len(lines)), len(lines) - 1) for kind, lines in ground.lines.items()}
    rounds = 0
    while killed.total() < kills:
        kind, count = ("full", "delta")[rounds % 2], workers[rounds % len(workers)]
        before = 1 if kind == "delta" else 0
        folder = ground.root / f"round{rounds}"
        if kind == "delta":
            shutil.copytree(ground.root / "finished", folder, symlinks=True)
        else:
            folder.mkdir()
        for _ in range(dice.randint(1, min(MOST, kills - killed.total()))):
            if boundaries[kind] and dice.random() < 0.7:
                seen = ground.play(folder, kind, workers=count, line=boundaries[kind].pop())
            else:
                seen = ground.play(folder, kind, workers=count, after=dice.uniform(0.1, 3.0))
            assert seen.code in (0, -signal.SIGKILL), seen.said
            if seen.code:
                killed[seen.lines[-1] if seen.lines else "start"] += 1
            nothing_half(folder, before)
        done = ground.play(folder, kind, workers=count)
        assert done.code == 0, done.said
        whole(folder, ground.digests[kind], before + 1)
        shutil.rmtree(folder)
        rounds += 1
        if not any(boundaries.values()):
            boundaries = {
                kind: dice.sample(range(1, len(lines)), len(lines) - 1) for kind, lines in ground.lines.items()
            }
        if tell:
            print(f"{killed.total()} kills in {rounds} rounds", flush=True)
    killed["rounds"] = rounds
    return killed


def main() -> None:
    """The command."""
    given = argparse.ArgumentParser(description="Kill runs, resume them, count.")
    given.add_argument("--kills", type=int, default=200)
    given.add_argument("--seed", type=int, default=0)
    words = given.parse_args()
    with tempfile.TemporaryDirectory() as root:
        began = time.monotonic()
        found = campaign(Ground.prepare(Path(root)), words.kills, seed=words.seed, tell=True)
        rounds = found.pop("rounds")
        print(f"{found.total()} kills, {rounds} runs resumed, all with the digest of an undisturbed run, ", end="")
        print(f"in {time.monotonic() - began:.0f} s")
        for event, count in sorted(found.items()):
            print(f"  after {event}: {count}")


if __name__ == "__main__":
    main()
