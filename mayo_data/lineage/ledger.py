"""The ledger: an append-only, hash-chained file of what was done, one record a line.

Each record holds the digest of the one before it, so a record that is changed, removed, moved or put in
breaks the chain. What no chain can show is that its end was cut off; for that the digest of the last record
is kept in a second file beside it, and can be anchored anywhere else (`head`, `verify(anchors=...)`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from mayo_data.errors import MayoDataError, StoreError
from mayo_data.types import Json

GENESIS = "0" * 64  # `prev` of the first record
_FIELDS = {"seq", "kind", "at", "body", "prev", "digest"}
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a ledger: where and which rule, never what the record says.

    Attributes:
        line: Line of the file, from 1; 0 for the file as a whole.
        rule: `unreadable`, `torn`, `changed`, `sequence`, `chain`, `cut_off` or `anchor`.
        hint: What it means.

    >>> Problem(3, "changed", "the record is not the one that was written").line
    3
    """

    line: int
    rule: str
    hint: str


class Ledger:
    """An append-only file of records `{seq, kind, at, body, prev, digest}`.

    Writers take turns by a lock on the file; readers need none.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ledger = Ledger(Path(folder) / "ledger.jsonl")
    ...     first = ledger.append("run", {"run_id": "r1"})
    ...     [record["kind"] for record in ledger.records()], ledger.head() == first
    (['run'], True)
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, kind: str, body: Mapping[str, object], *, at: str | None = None) -> str:
        """Add a record and return its digest, once it is safely on the disk.

        A last line that a crash left unfinished was never acknowledged: it is taken away, and a record of
        kind `healed` says so.

        Args:
            kind: What the record is about: `run`, `step`, `gate`, `snapshot`, ...
            body: JSON-able; no value of the PHI zone. Records of a run carry its `run_id`.
            at: ISO 8601 time with zone. Default: now.

        Raises:
            StoreError: The ledger cannot be written, or its end is not the one that was written last.
            MayoDataError: `body` cannot be written as JSON, or `at` is no time.
        """
        when = stamp(at)
        with self._turn() as handle:
            torn, last = _tail(handle)
            self._agree(last)
            if torn:
                os.ftruncate(handle, os.fstat(handle).st_size - torn)
                last = self._write(handle, last, "healed", {"bytes": torn}, stamp(None))
            return str(self._write(handle, last, kind, body, when)["digest"])

    def settle(self) -> None:
        """Finish what a crash left half done: a torn last line, or a note that does not know the last record yet.

        Raises:
            StoreError: The ledger cannot be written, or its end is not the one that was written last.
        """
        if not self.path.exists():
            return
        with self._turn() as handle:
            torn, last = _tail(handle)
            self._agree(last)
            if torn:
                os.ftruncate(handle, os.fstat(handle).st_size - torn)
                self._write(handle, last, "healed", {"bytes": torn}, stamp(None))
            elif last:
                self._remember(last)

    def records(self, kind: str | None = None) -> Iterator[Json]:
        """Yield the records, oldest first; a line that is being written is not seen yet.

        Args:
            kind: Only records of this kind.

        Raises:
            StoreError: A line is no record.
        """
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                record = _parse(line)
                if record is None:
                    raise StoreError(f"line {number} of the ledger is no record", hint="run: mayo-data ledger verify")
                if kind is None or record["kind"] == kind:
                    yield record

    def adopt(self, content: bytes) -> int:
        """Take over a ledger that went on elsewhere; what was written here alone follows it, in its order.

        A copy of a store that is read on two machines has two ends. Records of this one are appended again, with the
        time at which they were made.

        Args:
            content: Whole lines of the other ledger.

        Returns:
            How many records of this one were appended again.

        Raises:
            StoreError: One of the two is no unbroken chain, or cannot be written.
        """
        draft = Ledger(self.path.with_name(self.path.name + ".adopted"))
        draft.path.parent.mkdir(parents=True, exist_ok=True)
        with self._turn():  # nobody appends to a file that is about to be replaced
            return self._adopt(draft, content)

    def _adopt(self, draft: Ledger, content: bytes) -> int:
        draft.path.write_bytes(content)
        _note(draft.path).unlink(missing_ok=True)
        try:
            if any(problem.rule != "cut_off" for problem in verify(draft.path)):
                raise StoreError("the ledger that was fetched is damaged", hint="ask who published it")
            here, there = list(self.records()), list(draft.records())
            apart = (n for n, (a, b) in enumerate(zip(here, there, strict=False)) if a != b)
            shared = next(apart, min(len(here), len(there)))
            if len(there) == shared:
                return 0
            draft._remember(there[-1])
            for record in here[shared:]:
                draft.append(record["kind"], record["body"], at=record["at"])
            last = list(draft.records())[-1]
            draft.path.replace(self.path)  # it is longer than what was noted, so a crash here is settled
            self._remember(last)
            return len(here) - shared
        finally:
            for left in (draft.path, _note(draft.path)):
                left.unlink(missing_ok=True)

    def head(self) -> str:
        """Return the digest of the last record: written down elsewhere, it shows whether the end was cut off.

        Raises:
            StoreError: The last line is no record.
        """
        return self.end()[1]

    def end(self) -> tuple[int, str]:
        """Return number and digest of the last record; 0 and zeros where there is none.

        Raises:
            StoreError: The last line is no record.
        """
        try:
            handle = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return 0, GENESIS
        try:
            _, last = _tail(handle)
        finally:
            os.close(handle)
        return (int(last["seq"]), str(last["digest"])) if last else (0, GENESIS)

    @contextmanager
    def _turn(self) -> Iterator[int]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new = not self.path.exists()
            handle = self._locked()
        except OSError as error:
            raise StoreError(
                f"the ledger cannot be written: {error.strerror}", hint="check its rights and space"
            ) from error
        try:
            if new:
                _flush(self.path.parent)
            yield handle
        except OSError as error:
            raise StoreError(
                f"the ledger cannot be written: {error.strerror}", hint="check its rights and space"
            ) from error
        finally:
            os.close(handle)

    def _locked(self) -> int:
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                if os.path.samestat(os.fstat(handle), os.stat(self.path)):
                    return handle
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)  # `adopt` put another file in its place while this one waited

    def _agree(self, last: Json | None) -> None:
        """Refuse to go on from an end that is not the one written last; that would bury the evidence."""
        noted = _noted(self.path)
        seq, digest = (last["seq"], last["digest"]) if last else (0, GENESIS)
        # A crash between the two files leaves the note one record behind, never ahead.
        if noted is None:
            agreed = seq <= 1
        else:
            agreed = noted["seq"] < seq or (noted["seq"], noted["digest"]) == (seq, digest)
        if not agreed:
            raise StoreError("records are missing at the end of the ledger", hint="run: mayo-data ledger verify")

    def _write(self, handle: int, last: Json | None, kind: str, body: Mapping[str, object], at: str) -> Json:
        record: Json = {"at": at, "body": body, "kind": kind}
        record["prev"] = last["digest"] if last else GENESIS
        record["seq"] = last["seq"] + 1 if last else 1
        try:
            record["digest"] = _digest(record)
            line = _encode(record) + b"\n"
        except TypeError as error:
            raise MayoDataError(f"the body of a {kind!r} record cannot be written as JSON") from error
        written = os.write(handle, line)
        while written < len(line):
            written += os.write(handle, line[written:])
        os.fsync(handle)
        self._remember(record)
        return record

    def _remember(self, last: Json) -> None:
        note = _note(self.path)
        temporary = note.with_name(note.name + ".writing")
        with temporary.open("wb") as file:
            file.write(_encode({"digest": last["digest"], "seq": last["seq"]}) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(note)
        _flush(note.parent)


def verify(path: Path, *, anchors: Collection[str] = ()) -> list[Problem]:
    """Check a ledger from end to end: nothing changed, removed, moved, put in or cut off.

    Args:
        path: The ledger.
        anchors: Digests (`head`) that were written down elsewhere; each must be in the chain.

    Returns:
        What is wrong; empty for a sound ledger. No ledger is sound, unless a record is known of.

    Raises:
        StoreError: The file cannot be read.
    """
    problems: list[Problem] = []
    seen, prev, seq, number = {GENESIS: 0}, GENESIS, 0, 0
    noted = _noted(path)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                record = _parse(line)
                if not line.endswith(b"\n"):
                    problems.append(Problem(number, "torn", "the last line is unfinished; the next append heals it"))
                    break
                if record is None:
                    problems.append(Problem(number, "unreadable", "the line is no record"))
                    seq += 1
                    continue
                digest = record.pop("digest")
                if digest != _digest(record) or line != _encode({**record, "digest": digest}) + b"\n":
                    problems.append(Problem(number, "changed", "the record is not the one that was written"))
                if record["seq"] != seq + 1:
                    problems.append(Problem(number, "sequence", "a record was removed, moved or put in before it"))
                if record["prev"] != prev:
                    problems.append(Problem(number, "chain", "it does not follow the record before it"))
                seq, prev = record["seq"], digest
                seen[digest] = seq
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StoreError(f"the ledger cannot be read: {error.strerror}", hint="check its rights") from error
    if (noted is None and number > 1) or (noted is not None and seen.get(noted["digest"]) != noted["seq"]):
        problems.append(Problem(0, "cut_off", "the record that was written last, as noted beside it, is not there"))
    problems += [
        Problem(0, "anchor", "a digest that was anchored elsewhere is not in the chain")
        for anchor in anchors
        if anchor not in seen
    ]
    return problems


def _encode(record: Mapping[str, object]) -> bytes:
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS)


def _digest(record: Mapping[str, object]) -> str:
    return hashlib.sha256(_encode(record)).hexdigest()


def _parse(line: bytes) -> Json | None:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(record, dict) or set(record) != _FIELDS:
        return None
    if type(record["seq"]) is not int or not isinstance(record["kind"], str) or not isinstance(record["body"], dict):
        return None
    return record


def _tail(handle: int) -> tuple[int, Json | None]:
    """Return the bytes of an unfinished last line, and the last record before it."""
    size = position = os.fstat(handle).st_size
    tail = b""
    while position and tail.count(b"\n") < 2:
        step = min(_BLOCK, position)
        position -= step
        tail = os.pread(handle, step, position) + tail
    whole = tail.rfind(b"\n") + 1
    torn = len(tail) - whole if size else 0
    if not whole:
        return torn, None
    record = _parse(tail[tail.rfind(b"\n", 0, whole - 1) + 1 : whole])
    if record is None or record["digest"] != _digest({key: record[key] for key in _FIELDS - {"digest"}}):
        raise StoreError("the last line of the ledger is no sound record", hint="run: mayo-data ledger verify")
    return torn, record


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".head")


def _noted(path: Path) -> Json | None:
    try:
        text = _note(path).read_bytes()
        noted = orjson.loads(text)
    except FileNotFoundError:
        return None
    except (OSError, orjson.JSONDecodeError):
        text, noted = b"", None
    whole = isinstance(noted, dict) and set(noted) == {"digest", "seq"} and type(noted["seq"]) is int
    if not whole or text != _encode(noted) + b"\n":
        return {"seq": 1 << 62, "digest": ""}  # damaged: agrees with nothing
    found: Json = noted
    return found


def stamp(at: str | None) -> str:
    """Return a time as a record has it: ISO 8601 in UTC, to the microsecond.

    Args:
        at: ISO 8601 time with zone; None for now.

    Raises:
        MayoDataError: It is no time, or has no zone.

    >>> stamp("2026-01-01T01:00:00+01:00")
    '2026-01-01T00:00:00.000000+00:00'
    """
    if at is None:
        return datetime.now(UTC).isoformat(timespec="microseconds")
    try:
        moment = datetime.fromisoformat(at)
    except ValueError as error:
        raise MayoDataError("the time of a record must be ISO 8601") from error
    if moment.tzinfo is None:
        raise MayoDataError("the time of a record needs a zone")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
