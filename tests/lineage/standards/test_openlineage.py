"""OpenLineage events, read by OpenLineage's own client; own facets by their JSON Schemas; sent to a real server."""

from __future__ import annotations

import importlib
import json
import pkgutil
import threading
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attr
import jsonschema  # type: ignore[import-untyped]
import openlineage.client.generated as generated
import pytest
import referencing
from openlineage.client import event_v2, serde

from mayo_data import assets, schema
from mayo_data.dataset import standards
from mayo_data.errors import ConfigError, SourceError
from mayo_data.lineage.ledger import Ledger
from mayo_data.lineage.standards import columns, openlineage, transport, writing
from mayo_data.lineage.standards.account import Account

ENDS = {"COMPLETE", "FAIL", "ABORT"}


def classes() -> dict[str, type]:
    """Every facet that the client knows, by the URL of its schema."""
    found = {}
    for module in pkgutil.iter_modules(generated.__path__):
        for item in vars(importlib.import_module(f"{generated.__name__}.{module.name}")).values():
            if isinstance(item, type) and item.__name__.endswith("Facet") and hasattr(item, "_get_schema"):
                found[item._get_schema()] = item
    return found


KNOWN = classes()


def built(kind: type, value: dict[str, Any]) -> Any:
    """Build a class of the client from JSON, field by field: what it does not know is an error."""
    names = {field.name: field for field in attr.fields(kind)}
    given = {}
    for key, inner in value.items():
        if key in ("_producer", "_schemaURL"):
            continue
        assert key in names, f"{kind.__name__} has no {key}"
        wanted = str(names[key].type)
        inner_kind = next(
            (one for name, one in vars(importlib.import_module(kind.__module__)).items()
             if isinstance(one, type) and attr.has(one) and name in wanted.replace("|", " ").replace("[", " ").replace("]", " ").replace(",", " ").split()),
            None,
        )  # fmt: skip
        if inner_kind is None:
            given[key] = inner
        elif isinstance(inner, list):
            given[key] = [built(inner_kind, one) for one in inner]
        elif "dict" in wanted:
            given[key] = {name: built(inner_kind, one) for name, one in inner.items()}
        else:
            given[key] = built(inner_kind, inner)
    made = kind(**given)
    if "_schemaURL" in value:
        assert made._schemaURL == value["_schemaURL"]
    return made


def facets(found: dict[str, Any]) -> dict[str, Any]:
    made = {}
    for name, body in found.items():
        if name.startswith("mayo_"):
            check_own(name, body)
        else:
            made[name] = built(KNOWN[body["_schemaURL"]], body)
    return made


def check_own(name: str, body: dict[str, Any]) -> None:
    url, _, pointer = body["_schemaURL"].partition("#")
    own = json.loads(assets.path("schemas", "facets", "1-0-0", url.rpartition("/")[2]).read_text())
    assert own["$id"] == url
    assert own["properties"][name]["$ref"] == f"#{pointer}"
    base = {"type": "object", "required": ["_producer", "_schemaURL"]}
    standard = {"$schema": own["$schema"], "$defs": {"RunFacet": base, "DatasetFacet": base}}
    registry = referencing.Registry().with_resources(
        [("https://openlineage.io/spec/2-0-2/OpenLineage.json", referencing.Resource.from_contents(standard))]
    )
    jsonschema.Draft202012Validator(own, registry=registry).validate({name: body})


def event(found: dict[str, Any]) -> event_v2.RunEvent:
    job = found["job"]

    def dataset(kind: type, one: dict[str, Any], more: str) -> Any:
        return kind(one["namespace"], one["name"], facets=facets(one["facets"]), **{more: facets(one.get(more, {}))})

    made = event_v2.RunEvent(
        eventTime=found["eventTime"],
        producer=found["producer"],
        run=event_v2.Run(found["run"]["runId"], facets=facets(found["run"]["facets"])),
        job=event_v2.Job(job["namespace"], job["name"], facets=facets(job["facets"])),
        eventType=event_v2.RunState(found["eventType"]),
        inputs=[dataset(event_v2.InputDataset, one, "inputFacets") for one in found["inputs"]],
        outputs=[dataset(event_v2.OutputDataset, one, "outputFacets") for one in found["outputs"]],
    )
    assert made.schemaURL == found["schemaURL"]
    return made


@pytest.fixture(scope="module")
def events(story: Any) -> list[dict[str, Any]]:
    return openlineage.events(story.account)


def test_the_client_reads_every_event(events: list[dict[str, Any]]) -> None:
    assert len(events) > 10
    for one in events:
        sent = json.loads(serde.Serde.to_json(event(one)))
        assert sent["eventType"] == one["eventType"]
        assert [made["name"] for made in sent["outputs"]] == [made["name"] for made in one["outputs"]]


def test_a_wrong_facet_would_be_found(events: list[dict[str, Any]]) -> None:
    one = json.loads(json.dumps(events[-1]))
    one["job"]["facets"]["jobType"]["nonsense"] = 1
    with pytest.raises(AssertionError, match="nonsense"):
        event(one)
    own = next(one for one in events if "mayo_lossLedger" in one["run"]["facets"])["run"]["facets"]["mayo_lossLedger"]
    with pytest.raises(jsonschema.ValidationError):
        check_own("mayo_lossLedger", {**own, "rowsIn": {"read": -1}})


def test_every_run_starts_once_and_ends_once(events: list[dict[str, Any]]) -> None:
    states = defaultdict(list)
    for one in events:
        states[one["run"]["runId"]].append(one["eventType"])
    assert all(found[0] == "START" and len(found) == 2 and found[1] in ENDS for found in states.values())


def test_arrows_and_gates_belong_to_their_run(events: list[dict[str, Any]], story: Any) -> None:
    (attempt,) = story.account.attempts()
    run = next(one for one in events if one["job"]["name"] == "fhir")["run"]["runId"]
    children = {
        one["job"]["name"] for one in events if one["run"]["facets"].get("parent", {}).get("run") == {"runId": run}
    }
    assert children == {f"fhir.{step['body']['name']}" for step in attempt.steps} | {"fhir.gates"}


def test_gates_are_assertions(events: list[dict[str, Any]], story: Any) -> None:
    (attempt,) = story.account.attempts()
    end = next(one for one in events if one["job"]["name"] == "fhir.gates" and one["eventType"] == "COMPLETE")
    found = [
        said["assertion"]
        for dataset in end["inputs"]
        for said in dataset["inputFacets"]["dataQualityAssertions"]["assertions"]
    ]
    assert sorted(found) == sorted(f"{one['body']['gate']}_{one['body']['check']}" for one in attempt.gates)


def test_column_lineage_names_columns_and_elements_that_are_there(events: list[dict[str, Any]]) -> None:
    end = next(one for one in events if one["job"]["name"] == "fhir" and one["eventType"] == "COMPLETE")
    made = next(one for one in end["outputs"] if one["name"] == "events")
    listed = {one["name"] for one in made["facets"]["schema"]["fields"]}
    assert listed == set(schema.table("events").names)
    inputs = {
        one["name"]: {field["name"] for field in one["facets"]["schema"]["fields"]}
        for one in end["inputs"]
        if "schema" in one["facets"]
    }
    lineage = made["facets"]["columnLineage"]
    assert {"subject_id", "time", "code", "numeric_value"} <= set(lineage["fields"]) <= listed
    places = [place for field in lineage["fields"].values() for place in field["inputFields"]] + lineage["dataset"]
    assert places
    assert all(place["field"] in inputs[place["name"]] for place in places)
    masked = lineage["fields"]["subject_id"]["inputFields"][0]["transformations"][0]
    assert masked["masking"] is True


def test_a_column_is_made_of_the_elements_of_the_mapping() -> None:
    found = columns.lineage(["Observation"])
    assert columns.Origin("Observation", "issued") in found["available_time"]
    assert columns.Origin("Observation", "component.value[x]") in found["numeric_value"]
    assert [one.element for one in found["subject_id"]] == ["subject"]
    assert columns.lineage(["Nothing"]) == {}


def test_columns_of_omop_tables_are_columns_of_the_model() -> None:
    cdm = assets.toml("schemas", "omop", "cdm.toml")
    tables = set(assets.toml("schemas", "omop", "events.toml")) & set(cdm)
    for column, origins in columns.lineage(tables).items():
        assert column in schema.table("events").names
        for one in origins:
            assert one.element in cdm[one.source]["fields"], one
    measured = columns.lineage(["measurement"])
    assert [one.element for one in measured["numeric_value"]] == ["value_as_number"]
    assert {one.element for one in measured["time"]} == {"measurement_date", "measurement_datetime"}


def test_every_type_that_becomes_events_has_its_elements() -> None:
    for source in columns.known():
        assert set(columns.lineage([source])) <= set(schema.table("events").names)
        assert "subject_id" in columns.lineage([source]), source


def test_the_snapshot_has_its_digest_and_its_statistics(events: list[dict[str, Any]], story: Any) -> None:
    end = next(one for one in events if one["job"]["name"] == "fhir" and one["eventType"] == "COMPLETE")
    made = {one["name"]: one for one in end["outputs"]}
    manifest = story.account.manifest
    assert set(made) == set(manifest["tables"])
    assert made["events"]["facets"]["datasetVersion"]["datasetVersion"] == f"000001-{manifest['logical_digest'][:16]}"
    for name, one in made.items():
        assert one["outputFacets"]["outputStatistics"]["rowCount"] == manifest["tables"][name]["rows"]
    size = sum(file["bytes"] for file in manifest["files"] if file["path"].startswith("data/"))
    assert made["events"]["outputFacets"]["outputStatistics"]["size"] == size


def test_a_training_leads_from_the_snapshot_to_the_model(events: list[dict[str, Any]], story: Any) -> None:
    first, last = (one for one in events if one["job"]["name"].startswith("training/"))
    assert first["eventTime"] < last["eventTime"]
    assert last["outputs"][0]["facets"]["datasetVersion"]["datasetVersion"] == story.models[0]
    assert last["run"]["facets"]["mayo_training"]["lineageIds"] == [story.read]
    assert "\n" not in last["job"]["name"]
    assert "\x00" not in last["job"]["name"]


def test_the_same_ledger_gives_the_same_bytes(story: Any) -> None:
    assert standards.export(story.store, "openlineage") == standards.export(story.store, "openlineage")


def test_a_run_that_failed_and_one_that_was_killed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    run = {
        "run_id": "r1", "pipeline": "p", "code_version": "1", "inputs": [{"sha256": "a" * 64, "bytes": 3}],
        "policy": "limited_data_set", "policy_fingerprint": "f", "key_id": "k",
    }  # fmt: skip
    step = {"run_id": "r1", "name": "read", "rows_in": 3, "rows_out": 2, "dropped": {"bad_json": 1}, "produced": {}}
    gate = {
        "run_id": "r1",
        "gate": "G0",
        "check": "rows_found",
        "passed": False,
        "observed": "0 rows",
        "action": "stop",
    }
    ledger.append("run", run, at="2026-01-01T00:00:00+00:00")
    ledger.append("run", run, at="2026-01-02T00:00:00+00:00")
    ledger.append("step", step, at="2026-01-02T00:01:00+00:00")
    ledger.append("gate", gate, at="2026-01-02T00:02:00+00:00")
    ledger.append("failure", {"run_id": "r1", "error": "GateError", "exit_code": 4}, at="2026-01-02T00:03:00+00:00")
    ledger.append("run", {**run, "run_id": "r2"}, at="2026-01-03T00:00:00+00:00")
    manifest = {"run_id": "r2", "tables": {}, "files": [], "fingerprints": {}, "counts": {"subjects": 0}}
    found = openlineage.events(Account(tuple(ledger.records()), "000001", manifest, "x"))
    for one in found:
        event(one)
    runs = [(one["eventType"], one["eventTime"][:10]) for one in found if one["job"]["name"] == "p"]
    assert runs == [
        ("START", "2026-01-01"),
        ("ABORT", "2026-01-02"),
        ("START", "2026-01-02"),
        ("FAIL", "2026-01-02"),
        ("START", "2026-01-03"),
    ]
    failed = next(one for one in found if one["job"]["name"] == "p" and one["eventType"] == "FAIL")
    assert failed["run"]["facets"]["errorMessage"]["message"] == "GateError, exit code 4"
    assert failed["run"]["facets"]["mayo_lossLedger"]["dropped"] == {"read/bad_json": 1}
    assert (
        next(one for one in found if one["job"]["name"] == "p.gates" and one["eventType"] in ENDS)["eventType"]
        == "FAIL"
    )


# ── transport ─────────────────────────────────────────────────────────────────────────────────────


class Server(ThreadingHTTPServer):
    answers: list[int]
    got: list[tuple[str, dict[str, str], bytes]]


@pytest.fixture
def server() -> Iterator[Server]:
    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            here = self.server
            assert isinstance(here, Server)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            here.got.append((self.path, dict(self.headers), body))
            code = here.answers.pop(0) if here.answers else 201
            self.send_response(code)
            if code == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    made = Server(("127.0.0.1", 0), Answer)
    made.answers, made.got = [], []
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/api/v1/lineage"


def test_events_arrive_as_they_are(
    server: Server, events: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(transport.KEY, "token")
    assert transport.send(events, address(server)) == len(events)
    assert [json.loads(body) for _, _, body in server.got] == events
    assert {path for path, _, _ in server.got} == {"/api/v1/lineage"}
    assert all(headers["Authorization"] == "Bearer token" for _, headers, _ in server.got)


def test_a_server_that_stumbles_is_asked_again(server: Server) -> None:
    server.answers = [503, 429, 201]
    waited: list[float] = []
    assert transport.send([{"a": 1}], address(server), sleep=waited.append) == 1
    assert len(server.got) == 3
    assert waited == [0.5, 1.0]


@pytest.mark.parametrize(("answer", "requests"), [(400, 1), (302, 1), (500, 4)])
def test_a_refusal_is_an_error_and_a_redirect_is_not_followed(server: Server, answer: int, requests: int) -> None:
    server.answers = [answer] * requests
    with pytest.raises(SourceError, match=f"answered {answer} at event 1"):
        transport.send([{"a": 1}], address(server), sleep=lambda seconds: None)
    assert [path for path, _, _ in server.got] == ["/api/v1/lineage"] * requests


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(SourceError, match="was not reached"):
        transport.send([{"a": 1}], "http://127.0.0.1:1/x", tries=2, sleep=lambda seconds: None)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "localhost:5000", "http://", "http://u:p@h/x", "http://h:port/"])
def test_what_is_no_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        transport.send([{"a": 1}], url)
    assert "u:p" not in str(caught.value)


def test_the_command_sends_only_where_it_is_told(server: Server, story: Any, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from mayo_data.cli.commands import app

    command = ["export", "openlineage", str(story.store), "--namespace", "site"]
    done = CliRunner().invoke(app, [*command, "--url", address(server)])
    assert done.stdout == f"{len(server.got)} events sent\n"
    assert server.got
    assert {json.loads(body)["job"]["namespace"] for _, _, body in server.got} == {"site"}
    before = len(server.got)
    assert CliRunner().invoke(app, [*command, "--out", str(tmp_path / "x")]).exit_code == 0
    both = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "x"), "--url", address(server)])
    assert isinstance(both.exception, ConfigError)
    assert len(server.got) == before


def test_one_run_can_be_asked_for(story: Any) -> None:
    (attempt,) = story.account.attempts()
    found = openlineage.events(story.account, run_id=attempt.body["run_id"])
    assert {one["job"]["name"].partition(".")[0] for one in found} == {"fhir"}
    assert openlineage.events(story.account, run_id="none") == []


def test_lines_are_json_lines(events: list[dict[str, Any]]) -> None:
    assert [json.loads(one) for one in writing.lines(events).splitlines()] == events
