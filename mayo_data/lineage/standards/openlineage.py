"""OpenLineage: the runs of a store and their arrows as run events (specification 2-0-2).

A run is a job, its arrows and its checks are jobs whose parent it is. Source files are named by their digest, since
a file name can carry PHI. The ledger notes an arrow when it is accounted for, so START of an arrow has the time at
which its run began.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mayo_data import schema
from mayo_data.lineage.standards import columns
from mayo_data.lineage.standards.account import PROJECT, Account, Attempt, identity, lost
from mayo_data.lineage.standards.writing import line
from mayo_data.types import Json

_EVENT = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS = {
    "columnLineage": "1-2-0/ColumnLineageDatasetFacet",
    "dataQualityAssertions": "1-1-0/DataQualityAssertionsDatasetFacet",
    "dataQualityMetrics": "1-0-1/DataQualityMetricsDatasetFacet",
    "datasetVersion": "1-0-1/DatasetVersionDatasetFacet",
    "documentation": "1-1-0/DocumentationDatasetFacet",
    "errorMessage": "1-0-1/ErrorMessageRunFacet",
    "inputStatistics": "1-0-0/InputStatisticsInputDatasetFacet",
    "jobType": "2-0-4/JobTypeJobFacet",
    "outputStatistics": "1-0-2/OutputStatisticsOutputDatasetFacet",
    "parent": "1-2-0/ParentRunFacet",
    "processing_engine": "1-1-1/ProcessingEngineRunFacet",
    "schema": "1-2-0/SchemaDatasetFacet",
}
_OWN = {
    "mayo_phiPolicy": "MayoPhiPolicyRunFacet",
    "mayo_lossLedger": "MayoLossLedgerRunFacet",
    "mayo_recordLineage": "MayoRecordLineageDatasetFacet",
    "mayo_training": "MayoTrainingRunFacet",
}
OWN_SCHEMAS = "https://raw.githubusercontent.com/mayo-data/mayo-data/main/schemas/facets/1-0-0"
_ON_EXPORT = ("G0", "G1")  # gates that look at what came in; the others look at the events
_TABLES = {"read": "raw", "validate": "checked", "scrub": "scrubbed", "normalize": "staged", "shuffle": "staged"}
_MASKED = ("subject_id", "encounter_id", "text_value")  # keyed pseudonyms, scrubbed text


def events(account: Account, namespace: str | None = None, *, run_id: str | None = None) -> list[Json]:
    """Return the run events of a store, in the order in which they happened.

    Args:
        account: The store's account.
        namespace: Of jobs and datasets; by default a name that no other store has.
        run_id: Only runs of this id.

    Returns:
        JSON-able run events: START and COMPLETE, FAIL or ABORT for every attempt at a run; START and COMPLETE for
        every arrow, for the checks, for snapshots that no run made, and for trainings.
    """
    maker = _Maker(account, line(namespace) if namespace else f"mayo-data-{account.store}")
    made: list[Json] = []
    for attempt in account.attempts():
        if run_id is None or attempt.body["run_id"] == run_id:
            made += maker.run(attempt)
    if run_id is None:
        for record in account.without_run():
            made += maker.taken_over(record)
        for record in account.of("training"):
            made += maker.training(record)
    return sorted(made, key=lambda event: event["eventTime"])


class _Maker:
    def __init__(self, account: Account, namespace: str) -> None:
        self.account = account
        self.namespace = namespace
        self.fields = [
            {"name": field.name, "type": str(field.type), "description": schema.doc(field)}
            for field in schema.table("events")
        ]

    def run(self, attempt: Attempt) -> list[Json]:
        body, ends = attempt.body, attempt.end["body"] if attempt.end else {}
        name = line(body.get("pipeline") or "run")
        run_id = identity("run", attempt.record["digest"])
        version = str(body.get("code_version", ""))
        facets = self._facets(
            version,
            processing_engine={"name": "mayo_data", "version": version},
            mayo_phiPolicy={
                key: body[key] for key in ("policy", "policy_fingerprint", "legal", "key_id", "as_of") if key in body
            },
        )
        job = self._job(name, version, "JOB", "Turns an export into a snapshot of de-identified timelines.")
        files = self._files(body.get("inputs", []), version)
        made = [self._event("START", attempt.record["at"], run_id, facets, job, files, [], version)]
        parent = {"run": {"runId": run_id}, "job": {"namespace": self.namespace, "name": name}}
        for step in attempt.steps:
            made += self._step(attempt, step, parent, version)
        if attempt.gates:
            made += self._gates(attempt, parent, version)
        if attempt.ended is None:
            return made
        last: dict[str, Any] = {**facets}
        if attempt.steps:
            rows = {
                key: {step["body"]["name"]: step["body"][f"rows_{key}"] for step in attempt.steps}
                for key in ("in", "out")
            }
            said = {"rowsIn": rows["in"], "rowsOut": rows["out"], "dropped": lost(attempt.steps)}
            last |= self._facets(version, mayo_lossLedger=said)
        if attempt.state == "FAIL":
            message = f"{ends['error']}, exit code {ends['exit_code']}"
            last |= self._facets(version, errorMessage={"message": message, "programmingLanguage": "PYTHON"})
        outputs = self._snapshot(attempt, version) if attempt.end and attempt.end["kind"] == "snapshot" else []
        if outputs:
            outputs[0]["facets"] |= self._facets(version, columnLineage=self._lineage(attempt))
        inputs = [*files, *self._sources(attempt, version)] if outputs else files
        made.append(self._event(attempt.state, attempt.ended, run_id, last, job, inputs, outputs, version))
        return made

    def taken_over(self, record: Json) -> list[Json]:
        """Events of a snapshot that no run made: a rollback, a withdrawal."""
        body, version = record["body"], ""
        run_id = identity("snapshot", record["digest"])
        job = self._job(line(body.get("mode") or "snapshot"), version, "COMMAND", "Makes a snapshot out of another.")
        before = body.get("restores") or _before(body["snapshot"])
        inputs = [self._dataset("events", version, datasetVersion={"datasetVersion": before})] if before else []
        outputs = [self._events_of(body, version)]
        return [
            self._event("START", record["at"], run_id, {}, job, inputs, [], version),
            self._event("COMPLETE", record["at"], run_id, {}, job, inputs, outputs, version),
        ]

    def training(self, record: Json) -> list[Json]:
        """Events of a training: from the snapshot that it read to the model."""
        body, version = record["body"], str(record["body"].get("code_version") or "")
        reads = {read["body"]["lineage_id"]: read for read in self.account.of("read")}
        used = [reads[one] for one in body.get("lineage_ids", []) if one in reads]
        began = min([record["at"], *(read["at"] for read in used)])
        snapshots = sorted({body["snapshot"], *(read["body"]["snapshot"] for read in used)})
        digests = {one["body"]["snapshot"]: one["body"]["logical_digest"] for one in self.account.of("snapshot")}
        inputs = [
            self._dataset("events", version, datasetVersion={"datasetVersion": f"{name}-{digests.get(name, '')[:16]}"})
            for name in snapshots
        ]
        said = {
            "trainingId": body["training_id"], "lineageIds": list(body.get("lineage_ids", [])),
            "modelDigest": body["model_digest"], "configSha256": body.get("config_sha256"),
            "split": body.get("split"), "labels": _text(body.get("labels")), "metrics": body.get("metrics"),
        }  # fmt: skip
        facets = self._facets(version, mayo_training={key: value for key, value in said.items() if value is not None})
        job = self._job(f"training/{line(body['name'])}", version, "MODEL", "Trains a model on a snapshot.")
        model = self._dataset(
            f"model/{body['training_id']}", version, datasetVersion={"datasetVersion": body["model_digest"]}
        )
        files = body.get("files", [])
        size = {"size": sum(one["bytes"] for one in files), "fileCount": len(files)}
        model["outputFacets"] = self._facets(version, outputStatistics=size)
        run_id = identity("training", body["training_id"])
        return [
            self._event("START", began, run_id, facets, job, inputs, [], version),
            self._event("COMPLETE", record["at"], run_id, facets, job, inputs, [model], version),
        ]

    # ── parts of a run ────────────────────────────────────────────────────────────────────────────

    def _step(self, attempt: Attempt, step: Json, parent: Json, version: str) -> list[Json]:
        body, names = step["body"], [one["body"]["name"] for one in attempt.steps]
        name, place = body["name"], names.index(body["name"])
        came = [self._table(_TABLES.get(names[place - 1], "staged"), version)] if place else []
        if not came:
            came = self._files(attempt.body.get("inputs", []), version)
        if name == "normalize":
            came += self._sources(attempt, version)
        went = self._table(_TABLES.get(name, "staged"), version)
        if name == names[-1]:
            ended = attempt.end is not None and attempt.end["kind"] == "snapshot"
            went = self._snapshot(attempt, version)[0] if ended else self._dataset("events", version)
        else:
            counts = {"rowCount": body["produced"].get("events", body["rows_out"])}
            went["outputFacets"] = self._facets(version, outputStatistics=counts)
        if name == "normalize":
            went["facets"] |= self._facets(version, columnLineage=self._lineage(attempt))
        job_name = f"{parent['job']['name']}.{name}"
        job = self._job(job_name, version, "TASK", f"The arrow {name} of a run.")
        run_id = identity("step", parent["run"]["runId"], name)
        fate = {"rowsIn": {name: body["rows_in"]}, "rowsOut": {name: body["rows_out"]}, "dropped": lost([step])}
        facets = self._facets(version, parent=parent, mayo_lossLedger=fate)
        first = self._facets(version, parent=parent)
        return [
            self._event("START", attempt.record["at"], run_id, first, job, came, [], version),
            self._event("COMPLETE", step["at"], run_id, facets, job, came, [went], version),
        ]

    def _gates(self, attempt: Attempt, parent: Json, version: str) -> list[Json]:
        """Events of the checks, as one job: what was asserted of the export, and of the events."""
        export: list[Json] = []
        produced: list[Json] = []
        for gate in attempt.gates:
            one = gate["body"]
            said = {
                "assertion": f"{one['gate']}_{one['check']}", "success": bool(one["passed"]),
                "severity": "error" if one["action"] == "stop" else "warn", "actual": line(one["observed"]),
            }  # fmt: skip
            (export if one["gate"] in _ON_EXPORT else produced).append(said)
        inputs = []
        for name, found in (("export", export), ("events", produced)):
            if found:
                dataset = self._dataset(name, version)
                dataset["inputFacets"] = self._facets(version, dataQualityAssertions={"assertions": found})
                inputs.append(dataset)
        job = self._job(f"{parent['job']['name']}.gates", version, "TASK", "The gates G0 to G4 of a run.")
        run_id = identity("gates", parent["run"]["runId"])
        facets = self._facets(version, parent=parent)
        stopped = any(not one["body"]["passed"] and one["body"]["action"] == "stop" for one in attempt.gates)
        state, last = "FAIL" if stopped else "COMPLETE", attempt.gates[-1]["at"]
        return [
            self._event("START", attempt.record["at"], run_id, facets, job, [], [], version),
            self._event(state, last, run_id, facets, job, inputs, [], version),
        ]

    def _snapshot(self, attempt: Attempt, version: str) -> list[Json]:
        """The tables that a run made; of the snapshot that is spoken of, all of them with their statistics."""
        assert attempt.end is not None
        body = attempt.end["body"]
        first = self._events_of(body, version)
        if body["manifest_sha256"] != self.account.manifest_sha256:
            return [first]
        made, files = [first], self.account.manifest["files"]
        for name, summary in sorted(self.account.manifest["tables"].items()):
            mine = [one for one in files if table_of(one["path"]) == name]
            size = {"rowCount": summary["rows"], "size": sum(one["bytes"] for one in mine), "fileCount": len(mine)}
            dataset = first if name == "events" else self._table(name, version)
            if dataset is not first:
                dataset["facets"] |= self._facets(version, datasetVersion={"datasetVersion": summary["digest"]})
                made.append(dataset)
            dataset["outputFacets"] = self._facets(version, outputStatistics=size)
            metrics = {"rowCount": size["rowCount"], "bytes": size["size"], "fileCount": len(mine), "columnMetrics": {}}
            dataset["facets"] |= self._facets(version, dataQualityMetrics=metrics)
        return made

    def _events_of(self, body: Json, version: str) -> Json:
        digest = body["logical_digest"]
        record = {
            "snapshot": body["snapshot"], "manifestSha256": body["manifest_sha256"], "logicalDigest": digest,
            "eventId": ["source_table", "source_row", "source_item"], "sources": "lineage/sources.parquet",
            "resources": "lineage/resources", "decisions": "lineage/decisions", "scrubs": "lineage/scrubs.parquet",
        }  # fmt: skip
        dataset = self._dataset(
            "events",
            version,
            schema={"fields": self.fields},
            datasetVersion={"datasetVersion": f"{body['snapshot']}-{digest[:16]}"},
            mayo_recordLineage=record,
        )
        dataset["outputFacets"] = self._facets(version, outputStatistics={"rowCount": body["events"]})
        return dataset

    def _lineage(self, attempt: Attempt) -> Json:
        sources = self._read(attempt)
        fields = {
            column: {"inputFields": [self._input(one, column) for one in origins]}
            for column, origins in columns.lineage(sources).items()
        }
        decides = {"type": "INDIRECT", "subtype": "FILTER", "description": "entered in error gives no event"}
        whole = [{**self._place(one), "transformations": [decides]} for one in columns.filters(sources)]
        return {"fields": fields, "dataset": whole}

    def _input(self, origin: columns.Origin, column: str) -> Json:
        masking = column in _MASKED
        how = "IDENTITY" if column in ("value_text", "status") else "TRANSFORMATION"
        return {
            **self._place(origin),
            "transformations": [{"type": "DIRECT", "subtype": how, **({"masking": True} if masking else {})}],
        }

    def _place(self, origin: columns.Origin) -> Json:
        return {"namespace": self.namespace, "name": _source_name(origin.source), "field": origin.element}

    def _read(self, attempt: Attempt) -> list[str]:
        """Resource types and tables of a run: those that were counted in its snapshot, else all that a run may read."""
        mine = attempt.end is not None and attempt.end["body"].get("snapshot") == self.account.snapshot
        if mine and self.account.types:
            return sorted(self.account.types)
        tables = [one["body"]["name"] for one in attempt.tables if one["body"]["rows_in"]]
        return tables or list(columns.known())

    def _sources(self, attempt: Attempt, version: str) -> list[Json]:
        found = []
        for source in self._read(attempt):
            if names := columns.elements(source):
                dataset = self._dataset(
                    _source_name(source), version, schema={"fields": [{"name": name} for name in names]}
                )
                counted = self.account.types.get(source)
                if counted is not None:
                    dataset["inputFacets"] = self._facets(version, inputStatistics={"rowCount": counted})
                found.append(dataset)
        return found

    def _files(self, inputs: Iterable[Json], version: str) -> list[Json]:
        found = []
        for one in inputs:
            dataset = self._dataset(
                f"source/{one['sha256']}", version, datasetVersion={"datasetVersion": one["sha256"]}
            )
            dataset["inputFacets"] = self._facets(version, inputStatistics={"size": one["bytes"], "fileCount": 1})
            found.append(dataset)
        return found

    # ── the words of the standard ─────────────────────────────────────────────────────────────────

    def _table(self, name: str, version: str) -> Json:
        table = schema.table(name)
        fields = [{"name": field.name, "type": str(field.type), "description": schema.doc(field)} for field in table]
        doc = (table.metadata or {}).get(b"doc", b"").decode()
        return self._dataset(name, version, schema={"fields": fields}, documentation={"description": doc})

    def _dataset(self, name: str, version: str, **facets: Json) -> Json:
        return {"namespace": self.namespace, "name": name, "facets": self._facets(version, **facets)}

    def _job(self, name: str, version: str, kind: str, doc: str) -> Json:
        said = {"processingType": "BATCH", "integration": "MAYO_DATA", "jobType": kind}
        facets = self._facets(version, jobType=said)
        facets["documentation"] = {
            "_producer": _producer(version),
            "_schemaURL": _url("1-1-0/DocumentationJobFacet"),
            "description": doc,
        }
        return {"namespace": self.namespace, "name": name, "facets": facets}

    def _facets(self, version: str, **facets: Json) -> dict[str, Any]:
        return {name: _facet(name, body, version) for name, body in facets.items()}

    def _event(
        self, state: str, at: str, run_id: str, facets: Json, job: Json, inputs: Sequence[Json],
        outputs: Sequence[Json], version: str,
    ) -> Json:  # fmt: skip
        return {
            "eventType": state, "eventTime": at, "run": {"runId": run_id, "facets": facets}, "job": job,
            "inputs": list(inputs), "outputs": list(outputs), "producer": _producer(version), "schemaURL": _EVENT,
        }  # fmt: skip


def table_of(path: str) -> str | None:
    """Return which table a file of a snapshot belongs to, or None where it is of no table.

    >>> table_of("data/0001.parquet"), table_of("lineage/resources/0000.parquet"), table_of("catalog.duckdb")
    ('events', 'resources', None)
    """
    if not path.endswith(".parquet"):
        return None
    folder, _, rest = path.partition("/")
    return "events" if folder == "data" else rest.partition("/")[0].removesuffix(".parquet")


def _facet(name: str, body: Json, version: str) -> Json:
    own = _OWN.get(name)
    url = f"{OWN_SCHEMAS}/{own}.json#/$defs/{own}" if own else _url(_FACETS[name])
    return {"_producer": _producer(version), "_schemaURL": url, **body}


def _url(path: str) -> str:
    return f"https://openlineage.io/spec/facets/{path}.json#/$defs/{path.partition('/')[2]}"


def _producer(version: str) -> str:
    return f"{PROJECT}/tree/v{version}" if version else PROJECT


def _source_name(source: str) -> str:
    return f"{'omop' if columns.is_omop(source) else 'fhir'}/{source}"


def _before(name: str) -> str | None:
    return f"{int(name) - 1:0{len(name)}d}" if name.isdigit() and int(name) > 1 else None


def _text(labels: Any) -> Any:
    return {key: line(value) for key, value in labels.items()} if isinstance(labels, dict) else labels
