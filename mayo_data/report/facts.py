"""Collects what the report says of a snapshot: counts, names of rules, digests. One JSON-able mapping, no PHI.

Nothing of the clock or of this machine's paths is in it: the same store, read by the same version, gives the same
facts. What the ledger does not know is not guessed.
"""

from __future__ import annotations

import hashlib
import platform
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mayo_data import assets
from mayo_data.dataset import Dataset, coverage, risk
from mayo_data.errors import ConfigError, StoreError
from mayo_data.lineage.ledger import Ledger, verify
from mayo_data.phi import policy as policies
from mayo_data.store.snapshot import Manifest
from mayo_data.types import Json

if TYPE_CHECKING:
    import duckdb  # noqa: TID251 - for the type of what connect returns

VERSION = 1
_MODELS = ("default", "fast", "none")
_KEPT = frozenset(["run", "step", "gate", "snapshot", "read", "training", "audit", "erasure"])
_LIBRARIES = ("duckdb", "numpy", "onnxruntime", "presidio-analyzer", "pyarrow", "spacy")
_RUN_FIELDS = (
    "run_id",
    "pipeline",
    "mode",
    "base",
    "as_of",
    "policy",
    "policy_fingerprint",
    "legal",
    "key_id",
    "code_version",
)

_TEXTS = "SELECT category, recognizer, action, count(*)::BIGINT FROM decision GROUP BY ALL ORDER BY ALL"
_QUARTILES = """
SELECT count(*)::BIGINT, quantile_cont(n_events, [0.05, 0.25, 0.5, 0.75, 0.95]),
       quantile_cont(date_diff('day', first_time, last_time) / 365.25, [0.05, 0.25, 0.5, 0.75, 0.95])
FROM subject
"""
_KINDS = """
SELECT kind, sum(n_events)::BIGINT AS events, count(*)::BIGINT AS codes FROM code
GROUP BY kind HAVING events > 0 ORDER BY events DESC, kind
"""
# Of the events of a subject only the year is looked at, and a year of few subjects is not shown.
_YEARS = """
SELECT year(time)::INT AS year, count(*)::BIGINT AS events, count(DISTINCT subject_id)::BIGINT AS subjects
FROM event WHERE time IS NOT NULL GROUP BY year ORDER BY year
"""


def gather(
    store: Path | str,
    *,
    snapshot: str | None = None,
    population: int | None = None,
    policy: str | None = None,
    smallest: int = 11,
) -> Json:
    """Collect the facts of a snapshot.

    Args:
        store: Folder of the store.
        snapshot: Name of a snapshot; the newest by default.
        population: People that the store is a sample of, for journalist and marketer risk.
        policy: Name of a preset or path of the site's policy under which the snapshot was made, so that its lines can
            be told; a preset that is named in the ledger is found by itself.
        smallest: Subjects in the smallest cell that is shown, and size of class below which a subject is at risk.

    Raises:
        StoreError: There is no such store or snapshot, or its ledger is damaged.
        ConfigError: The policy is not the one of the snapshot.
    """
    dataset = Dataset(store, snapshot)
    heard = _hear(Ledger(dataset.store.ledger), dataset.path.name)
    records = heard.kept
    manifest = Manifest.read(dataset.path)
    committed = _committed(records, dataset.path.name)
    runs = _chain(records, committed)
    with dataset.connect() as db:
        said: Json = {
            "format": VERSION,
            "snapshot": _snapshot(dataset, manifest, committed, records),
            "run": {name: runs[-1]["body"].get(name) for name in _RUN_FIELDS} | {"at": runs[-1]["at"]},
            "runs": [
                {"run_id": run["body"]["run_id"], "at": run["at"], "mode": run["body"].get("mode", "full")}
                for run in runs
            ],
            "inputs": _inputs(store, dataset, runs),
            "policy": _policy(runs[-1]["body"], policy),
            "scrubs": _rows(db, "SELECT DISTINCT policy, policy_fingerprint, detector, key_id FROM scrub ORDER BY ALL"),
            "loss": _loss(records, runs[-1]["body"]["run_id"]),
            "gates": _gates(records, runs[-1]["body"]["run_id"]),
            "phi": _phi(db),
            "timelines": _timelines(db, smallest),
            "lineage": _lineage(heard, dataset.path.name, runs),
        }
    said["leaks"] = [one for one in said["gates"] if "leak" in one["check"]]
    try:
        said["risk"] = risk(store, snapshot=snapshot, threshold=smallest, population=population)
    except ConfigError:  # a store without a subject has no classes
        said["risk"] = None
    said["coverage"] = coverage(store, snapshot=snapshot, smallest=smallest)
    said["audit"] = _audit(records, dataset.path.name)
    said["ledger"] = _ledger(dataset, heard)
    said["versions"] = _versions(manifest)
    return said


def _rows(db: duckdb.DuckDBPyConnection, query: str) -> list[Json]:
    found = db.execute(query)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


@dataclass
class _Heard:
    """A ledger, read once: what there is of every prediction is counted, not kept."""

    kept: list[Json] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    consumers: Counter[str] = field(default_factory=Counter)
    inferences: int = 0
    last: Json = field(default_factory=dict)


def _hear(ledger: Ledger, snapshot: str) -> _Heard:
    heard = _Heard()
    for record in ledger.records():
        kind, here = record["kind"], record["body"].get("snapshot") == snapshot
        heard.last = record
        heard.kinds[kind] += 1
        if kind == "context":
            heard.consumers[str(record["body"].get("consumer", ""))] += here
        elif kind == "inference":
            heard.inferences += here
        elif kind in _KEPT:
            heard.kept.append(record)
    return heard


def _committed(records: Sequence[Json], name: str) -> Json:
    for record in reversed(records):
        if record["kind"] == "snapshot" and record["body"].get("snapshot") == name:
            return record
    raise StoreError("the ledger does not know this snapshot", hint="run: mayo-data ledger verify")


def _chain(records: Sequence[Json], committed: Json) -> list[Json]:
    """The runs that a snapshot goes back to, oldest first: a delta stands on the snapshot before it."""
    runs = {record["body"]["run_id"]: record for record in records if record["kind"] == "run"}
    made = {record["body"]["snapshot"]: record["body"] for record in records if record["kind"] == "snapshot"}
    found: list[Json] = []
    body: Mapping[str, Any] | None = committed["body"]
    seen: set[str] = set()
    while body is not None and body["snapshot"] not in seen:
        seen.add(body["snapshot"])
        run = runs.get(body.get("run_id", ""))
        if run is not None and run not in found:
            found.insert(0, run)
        below = body.get("restores") or (run["body"].get("base") if run else None)
        body = made.get(below) if below else None
    if not found:
        raise StoreError("the ledger does not know the run of this snapshot", hint="run: mayo-data ledger verify")
    return found


def _snapshot(dataset: Dataset, manifest: Manifest, committed: Json, records: Sequence[Json]) -> Json:
    name = dataset.path.name
    erased = any(name in record["body"].get("snapshots", ()) for record in records if record["kind"] == "erasure")
    return {
        "name": name,
        "created_at": manifest.created_at,
        "committed_at": committed["at"],
        "subjects": manifest.counts["subjects"],
        "events": manifest.tables["events"].rows,  # of now: an erasure leaves the record of the commit as it was
        "subjects_left": erased or committed["body"].get("mode") == "withdrawal",
        "logical_digest": manifest.logical_digest,
        "manifest_sha256": hashlib.sha256((dataset.path / "manifest.json").read_bytes()).hexdigest(),
        "code_version": manifest.code_version,
        "policy": manifest.policy,
        "key_id": manifest.key_id,
        "tables": {name: table.rows for name, table in sorted(manifest.tables.items())},
    }


def _inputs(store: Path | str, dataset: Dataset, runs: Sequence[Json]) -> list[Json]:
    """Files by digest: a file name can carry PHI."""
    listed = {one["source_table"]: one.get("listed") for run in runs for one in run["body"].get("inputs", ())}
    arrived = {run["body"]["run_id"]: run["at"] for run in runs}
    with dataset.connect() as db:
        found = _rows(db, "SELECT source_table, sha256, bytes, rows, format, run_id FROM source ORDER BY source_table")
        types = _rows(
            db,
            "SELECT source_table, resource_type AS type, sum(resources)::BIGINT AS n FROM arrival "
            "GROUP BY ALL ORDER BY source_table, n DESC, type",
        )
    kinds: dict[int, list[str]] = defaultdict(list)
    for row in types:
        kinds[row["source_table"]].append(str(row["type"]))
    for row in found:
        table = row["source_table"]
        row |= {"types": kinds[table], "listed": listed.get(table), "arrived": arrived.get(row["run_id"])}
    return found


def _policy(run: Json, given: str | None) -> Json:
    """The policy by its digest, and line by line where its text is at hand."""
    said: Json = {
        "name": run["policy"],
        "fingerprint": run["policy_fingerprint"],
        "legal": run.get("legal", ""),
        "settings": None,
        "identifiers": None,
    }
    loaded = known_policy(said, given)
    if loaded is None:
        return said
    said["settings"] = {
        name: getattr(loaded, name) for name in ("dates", "max_days", "top_age", "zip_method", "replace", "ids")
    } | {"admit": list(loaded.admit), "elements": len(loaded.elements)}
    said["identifiers"] = policies.identifiers(loaded)
    return said


def known_policy(said: Json, given: str | None) -> policies.PhiPolicy | None:
    """Return the policy of a snapshot, where its text is at hand: the one whose fingerprint is in the ledger.

    Args:
        said: `name` and `fingerprint` as the ledger has them.
        given: Preset or path that the caller names.

    Raises:
        ConfigError: The policy that the caller names is another one.
    """
    name = given or (said["name"] if said["name"] in policies.PRESETS else None)
    for model in _MODELS if name else ():  # what reads the text is a part of the policy
        loaded = policies.load(str(name), model=model)
        if loaded.fingerprint == said["fingerprint"]:
            return loaded
    if given:
        raise ConfigError(
            "this is not the policy of the snapshot: the fingerprints differ",
            hint="what the pipeline file admits counts too: put it into the policy",
        )
    return None


def _loss(records: Sequence[Json], run_id: str) -> list[Json]:
    hints = assets.toml("schemas", "reasons.toml")
    steps = [
        record["body"] for record in records if record["kind"] == "step" and record["body"].get("run_id") == run_id
    ]
    return [
        {
            "name": step["name"],
            "rows_in": step["rows_in"],
            "rows_out": step["rows_out"],
            "dropped": [
                {"reason": reason, "rows": rows, "hint": hints.get(step["name"], {}).get(reason, {}).get("hint", "")}
                for reason, rows in sorted(step["dropped"].items(), key=lambda item: (-item[1], item[0]))
                if rows
            ],
            "produced": dict(sorted(step["produced"].items())),
        }
        for step in steps
    ]


def _gates(records: Sequence[Json], run_id: str) -> list[Json]:
    found = [
        {name: record["body"].get(name) for name in ("gate", "check", "passed", "observed", "action")}
        for record in records
        if record["kind"] == "gate" and record["body"].get("run_id") == run_id
    ]
    return sorted(found, key=lambda one: str(one["gate"]))  # stable: within a gate as they were asked


def _phi(db: duckdb.DuckDBPyConnection) -> Json:
    rows = [
        {"category": category, "recognizer": recognizer, "action": action, "decisions": n}
        for category, recognizer, action, n in db.execute(_TEXTS).fetchall()
    ]
    by: dict[str, Counter[str]] = {name: Counter() for name in ("category", "recognizer", "action")}
    for row in rows:
        for name, counts in by.items():
            counts[row[name]] += row["decisions"]
    texts = db.execute("SELECT count(*) FROM note").fetchall()[0][0]
    return {
        "notes": texts,
        "decisions": sum(row["decisions"] for row in rows),
        "rows": rows,
        **{
            f"by_{name}": dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
            for name, counts in by.items()
        },
    }


def _timelines(db: duckdb.DuckDBPyConnection, smallest: int) -> Json:
    subjects, events, years = db.execute(_QUARTILES).fetchall()[0]
    shown = subjects >= smallest
    by_year = [
        row if row["subjects"] >= smallest else {**row, "events": None, "subjects": None} for row in _rows(db, _YEARS)
    ]
    while by_year and by_year[0]["events"] is None:
        by_year.pop(0)
    while by_year and by_year[-1]["events"] is None:
        by_year.pop()
    return {
        "events_a_subject": [round(float(one)) for one in events] if shown and events else None,
        "years_a_subject": [round(float(one), 1) for one in years] if shown and years else None,
        "kinds": _rows(db, _KINDS),
        "years": by_year,
    }


def _lineage(heard: _Heard, snapshot: str, runs: Sequence[Json]) -> Json:
    """Who read this snapshot, and what came of it."""
    reads = []
    for record in heard.kept:
        body = record["body"]
        if body.get("snapshot") != snapshot:
            continue
        if record["kind"] == "read":
            reads.append(
                {
                    "lineage_id": body["lineage_id"],
                    "consumer": str(body.get("consumer", "")),
                    "purpose": str(body.get("purpose", "")),
                    "split": body.get("split"),
                    "subjects": body.get("subjects"),
                    "at": record["at"],
                }
            )
    trainings = [
        {
            "training_id": body["training_id"],
            "name": str(body.get("name", "")),
            "model_digest": body.get("model_digest"),
            "reads": list(body.get("lineage_ids", ())),
            "at": record["at"],
        }
        for record in heard.kept
        if record["kind"] == "training"
        for body in (record["body"],)
        if body.get("snapshot") == snapshot
    ]
    return {
        "runs": [run["body"]["run_id"] for run in runs],
        "reads": reads,
        "trainings": trainings,
        "contexts": sum(heard.consumers.values()),
        "context_consumers": dict(sorted((+heard.consumers).items())),
        "inferences": heard.inferences,
    }


def _audit(records: Sequence[Json], snapshot: str) -> Json | None:
    """The newest estimate from labelled notes of this snapshot."""
    found = [record for record in records if record["kind"] == "audit" and record["body"].get("snapshot") == snapshot]
    return {**found[-1]["body"], "at": found[-1]["at"]} if found else None


def _ledger(dataset: Dataset, heard: _Heard) -> Json:
    return {
        "head": heard.last["digest"],
        "seq": heard.last["seq"],
        "records": sum(heard.kinds.values()),
        "last_at": heard.last["at"],
        "kinds": dict(sorted(heard.kinds.items())),
        "problems": sorted(Counter(problem.rule for problem in verify(dataset.store.ledger)).items()),
    }


def _versions(manifest: Manifest) -> Json:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return {
        "made_by": manifest.code_version,
        "reported_by": metadata.version("mayo-data"),
        "python": platform.python_version(),
        "libraries": found,
    }
