"""Whether anything was altered: the ledger seals the manifests, a manifest seals the files, a record seals a model."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from mayo_data.errors import StoreError
from mayo_data.lineage import ledger, search
from mayo_data.lineage.ledger import Problem
from mayo_data.types import Json

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Broken:
    """One seal that does not hold: what it is of and which rule, never what the file says.

    Attributes:
        what: `ledger`, the name of a snapshot, `inputs`, or the id of a training.
        place: Line of the ledger, or path of the file.
        rule: `changed`, `missing`, `not_listed`, `unknown`, or a rule of `ledger.Problem`.
        hint: What it means.

    >>> Broken("000001", "data/0000.parquet", "changed", "it is not the file that was written").rule
    'changed'
    """

    what: str
    place: str
    rule: str
    hint: str


def verify(root: Path, book: Path, *, anchors: Collection[str] = (), model: Path | None = None) -> list[Broken]:
    """Check a store from end to end: every bit of ledger, manifests, files, kept inputs, and of a model.

    Args:
        root: Folder of the store.
        book: Path of its ledger.
        anchors: Digests that were written down elsewhere (`anchors.check`).
        model: Folder of a model whose training is in the ledger.

    Returns:
        What is wrong; empty where every seal holds.

    Raises:
        StoreError: A file cannot be read, or the model is not in the ledger.
    """
    found = [of_ledger(problem) for problem in ledger.verify(book, anchors=anchors)]
    try:
        sealed = _sealed(book)
    except StoreError:
        return found  # the chain is broken so badly that it seals nothing
    found += _snapshots(root / "snapshots", sealed)
    found += _inputs(book)
    if model is not None:
        found += of_model(book, model)
    return found


def of_ledger(problem: Problem) -> Broken:
    """Return a problem of the ledger as a broken seal.

    >>> of_ledger(Problem(3, "chain", "it does not follow")).place
    'line 3'
    """
    return Broken("ledger", f"line {problem.line}" if problem.line else "the whole", problem.rule, problem.hint)


def of_model(book: Path, folder: Path) -> list[Broken]:
    """Check the files of a model against the record of its training.

    Args:
        book: Path of the ledger.
        folder: Folder of the model. Of several trainings with files of these names, the one that fits best counts.

    Raises:
        StoreError: No training in the ledger has files of these names.
    """
    best: tuple[int, list[Broken]] | None = None
    there = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    digests: dict[str, str] = {}
    for record in reversed(search.of_kind(book, "training")):
        body = record["body"]
        files = body.get("files", ())
        if not any(one["name"] in there for one in files):
            continue
        wrong = []
        for one in files:
            name = one["name"]
            if name not in there:
                wrong.append(Broken(body["training_id"], name, "missing", "the training lists it"))
                continue
            if name not in digests:
                digests[name] = _sha256(there[name])
            if digests[name] != one["sha256"]:
                wrong.append(Broken(body["training_id"], name, "changed", "it is not the file that was trained"))
        if best is None or len(wrong) < best[0]:
            best = (len(wrong), wrong)
    if best is None:
        raise StoreError("the ledger knows no training of this model", hint="give the folder of the model's files")
    return best[1]


def _sealed(book: Path) -> dict[str, tuple[str, bool]]:
    """Snapshot to the digest that its manifest must have, and whether it must be there."""
    found: dict[str, tuple[str, bool]] = {}
    for record in search.of_kind(book, "snapshot", "erasure", "prune"):
        body = record["body"]
        if record["kind"] == "snapshot":
            found[body["snapshot"]] = (body["manifest_sha256"], True)
        elif record["kind"] == "erasure":
            for name, change in body["snapshots"].items():
                found[name] = (change["after"], True)
        else:
            for name in body["removed"]:
                found[name] = (found.get(name, ("", False))[0], False)
    return found


def _snapshots(folder: Path, sealed: dict[str, tuple[str, bool]]) -> Iterator[Broken]:
    for path in sorted(folder.glob("[0-9]*")):
        if path.name not in sealed:
            yield Broken(path.name, MANIFEST, "unknown", "the ledger knows no such snapshot")
            continue
        try:
            text = (path / MANIFEST).read_bytes()
            listed = {str(one["path"]): str(one["sha256"]) for one in orjson.loads(text)["files"]}
        except FileNotFoundError:
            yield Broken(path.name, MANIFEST, "missing", "a snapshot has one")
            continue
        except (orjson.JSONDecodeError, KeyError, TypeError):
            yield Broken(path.name, MANIFEST, "changed", "the manifest is not the one that was written")
            continue
        if hashlib.sha256(text).hexdigest() != sealed[path.name][0]:
            yield Broken(path.name, MANIFEST, "changed", "the manifest is not the one that the ledger seals")
        yield from _files(path, listed)
    there = {path.name for path in folder.glob("[0-9]*")}
    for name in sorted(name for name, (_, kept) in sealed.items() if kept and name not in there):
        yield Broken(name, MANIFEST, "missing", "the ledger knows the snapshot, and of no prune")


def _files(path: Path, listed: dict[str, str]) -> Iterator[Broken]:
    found = {one.relative_to(path).as_posix(): one for one in path.rglob("*") if not one.is_dir()}
    for name in sorted(set(found) - set(listed) - {MANIFEST}):
        yield Broken(path.name, name, "not_listed", "the manifest does not know this file")
    for name, digest in sorted(listed.items()):
        if name not in found:
            yield Broken(path.name, name, "missing", "the manifest lists it")
        elif _sha256(found[name]) != digest:
            yield Broken(path.name, name, "changed", "it is not the file that was written")


def _inputs(book: Path) -> Iterator[Broken]:
    """Files of event ids are called by their digest."""
    for path in sorted((book.parent / "inputs").glob("*/*.arrow")):
        if _sha256(path) != path.stem:
            yield Broken("inputs", f"{path.parent.name}/{path.name}", "changed", "its name is not its digest")


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"a file cannot be read: {error.strerror}", hint="check the rights") from error


def rows(found: Sequence[Broken]) -> list[Json]:
    """Return broken seals as JSON-able rows.

    >>> rows([])
    []
    """
    return [{"what": one.what, "place": one.place, "rule": one.rule, "hint": one.hint} for one in found]
