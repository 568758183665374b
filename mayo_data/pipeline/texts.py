"""Detection over files of texts, in as many processes as wanted: what `mayo-data detect` does."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from mayo_data.engine.local import LocalEngine
from mayo_data.errors import ConfigError, SourceError
from mayo_data.phi.detector import KEPT, Detector
from mayo_data.phi.record import known_from
from mayo_data.types import PhiSpan

_BATCH = 1_000_000  # characters a task, about
_TEXTS = 256  # texts a task at most


@dataclass
class Detected:
    """What `detect_file` did, in counts.

    Attributes:
        texts: Texts read.
        characters: Their characters.
        spans: Spans by category.
    """

    texts: int = 0
    characters: int = 0
    spans: Counter[str] = field(default_factory=Counter)


class _Task(NamedTuple):
    number: int
    model: str | None
    keep: tuple[str, ...]
    entries: list[tuple[object, str, Any]]  # id, text, known


@lru_cache(maxsize=2)
def _detector(model: str | None, keep: tuple[str, ...]) -> Detector:
    """One detector a process: the model is loaded once."""
    return Detector(model, keep)


def _detect(task: _Task) -> tuple[int, list[tuple[object, list[PhiSpan]]]]:
    records = [known for _, _, known in task.entries]
    found = _detector(task.model, task.keep).detect([text for _, text, _ in task.entries], records)
    return task.number, [(name, spans) for (name, _, _), spans in zip(task.entries, found, strict=True)]


def detect_file(
    source: Path, out: Path, *, model: str | None = "default", keep: frozenset[str] = KEPT, workers: int = 1
) -> Detected:
    """Find the PHI in a file of texts and write where it is, never what it is.

    Args:
        source: JSON lines `{"id", "text"[, "known"]}`. PHI zone.
        out: JSON lines `{"id", "spans": [{"start", "end", "category", "score", "recognizer"}]}`, in the same order;
            offsets count Unicode code points from 0, `end` is the first one after. Appears whole or not at all.
        model: `default`, None for patterns and records alone, or the path of a spaCy pipeline.
        keep: Categories that are not reported.
        workers: Processes; 0 for one a core.

    Raises:
        SourceError: The file cannot be read, or a line is no such object: it is named by its number.
        ConfigError: The output cannot be written, or a record cannot be read.
    """
    done = Detected()
    half = out.with_name(out.name + ".writing")
    try:
        with LocalEngine(workers) as engine, half.open("wb") as file:
            waiting: dict[int, list[tuple[object, list[PhiSpan]]]] = {}
            turn = 0
            for number, answers in engine.map(_detect, _tasks(source, model, tuple(sorted(keep)), done)):
                waiting[number] = answers
                while turn in waiting:
                    for name, spans in waiting.pop(turn):
                        done.spans.update(span.category for span in spans)
                        line = {"id": name, "spans": [_written(span) for span in spans]}
                        file.write(orjson.dumps(line) + b"\n")
                    turn += 1
            file.flush()
            os.fsync(file.fileno())
        half.replace(out)
    except OSError as error:
        raise ConfigError(
            f"the output cannot be written: {error.strerror}", hint="check the path and its space"
        ) from error
    finally:
        half.unlink(missing_ok=True)
    return done


def _written(span: PhiSpan) -> dict[str, object]:
    start, end, category, recognizer, score = span
    return {"start": start, "end": end, "category": category, "score": round(score, 4), "recognizer": recognizer}


def _tasks(source: Path, model: str | None, keep: tuple[str, ...], done: Detected) -> Iterator[_Task]:
    entries: list[tuple[object, str, Any]] = []
    number = size = 0
    for name, text, known in read_texts(source):
        entries.append((name, text, known))
        size += len(text)
        done.texts += 1
        done.characters += len(text)
        if size >= _BATCH or len(entries) >= _TEXTS:
            yield _Task(number, model, keep, entries)
            entries, number, size = [], number + 1, 0
    if entries:
        yield _Task(number, model, keep, entries)


def read_texts(source: Path) -> Iterator[tuple[object, str, Any]]:
    """Yield id, text and record of each line of a file of texts.

    Args:
        source: As for `detect_file`.

    Raises:
        SourceError: The file cannot be read, or a line is no such object.
    """
    try:
        with source.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                yield _entry(line, number)
    except OSError as error:
        raise SourceError(
            f"the texts cannot be read: {error.strerror}", hint="check the path and its rights"
        ) from error


def _entry(line: bytes, number: int) -> tuple[object, str, Any]:
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            entry = json.loads(line)  # reads a lone surrogate, which orjson refuses
        except (ValueError, RecursionError):
            raise SourceError(f"line {number} is not JSON", hint='a line is {"id": ..., "text": ...}') from None
    if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
        raise SourceError(f"line {number} has no text", hint='a line is {"id": ..., "text": ...}')
    known = entry.get("known")
    if known is not None and not isinstance(known, dict):
        raise SourceError(f"line {number}: known is no object", hint='as {"name": "...", "mrn": ["..."]}')
    try:
        known_from(known, 1)
    except ConfigError as error:
        raise SourceError(f"line {number}: {error}", hint=error.hint) from None
    return entry.get("id", number), entry["text"], known
