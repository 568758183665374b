"""What must hold of the stage on any input: nothing lost, nothing raised, batches without meaning."""

from __future__ import annotations

import datetime as dt
import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mayo_data import assets, events, schema, stage
from mayo_data.errors import ConfigError
from mayo_data.events import mapping, times
from mayo_data.events.normalize import Normalize

BODIES = [path.read_bytes() for path in sorted((Path(__file__).parent / "cases").glob("*/in.json"))]
SHARED = Path(__file__).resolve().parents[2].parent / "shared"
JUNK: list[Any] = [
    None, True, -1, 10**17, 10**30, 1.5, 1e308, "", "x", "2019-13-45", "Encounter/ffffffffffffffff", "\u0000",
    [], {}, [[]], [[["a"]]], [{}], [None], {"coding": [None]}, {"coding": {"code": 5}}, {"value": "abc"},
    {"start": 1},
    {"reference": [1]}, {"data": "%%"}, {"repeat": {"boundsPeriod": {"repeat": {}}}}, {"low": [], "high": 3},
]  # fmt: skip
RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_is_a_stage_that_travels() -> None:
    original = Normalize(scrub_ref=4)
    assert isinstance(original, stage.Stage)
    copy = pickle.loads(pickle.dumps(original))
    assert copy == original
    assert copy.fingerprint == original.fingerprint != Normalize(scrub_ref=5).fingerprint


def test_batching_has_no_meaning(scrubbed: Any, staged: Any) -> None:
    whole = scrubbed(BODIES * 60)
    expected = staged(whole)
    for size in (1, 7, 1000):
        assert staged(*(whole.slice(start, size) for start in range(0, len(whole), size))) == expected


def test_a_large_resource_is_not_torn(scrubbed: Any) -> None:
    body = {
        "resourceType": "Observation",
        "component": [{"code": {"text": str(i)}, "valueInteger": i} for i in range(20_000)],
    }
    batches = list(Normalize()(iter([scrubbed([body, BODIES[0], body])])))
    assert [len(batch) for batch in batches] == [20_000, len(batches[1])]
    last = batches[1].to_pydict()
    assert last["source_item"][-1] == 19_999
    assert last["source_row"][0] == 2


def test_every_resource_is_accounted_for(scrubbed: Any, staged: Any) -> None:
    rows = staged(scrubbed(BODIES))
    assert {row["source_row"] for row in rows} == set(range(1, len(BODIES) + 1))
    for number, group in Counter(row["source_row"] for row in rows if "fate" not in row).items():
        items = [row["source_item"] for row in rows if row["source_row"] == number]
        assert items == list(range(group))
    assert all(row["subject_id"] == 7 and row["resource_key"] >= 100 for row in rows)
    assert all(row["scrub_ref"] == 3 for row in rows if "fate" not in row)


def test_dead_rows_and_tallies_are_passed_on(scrubbed: Any, staged: Any) -> None:
    dead = scrubbed(
        [b"{broken", b'{"resourceType": "Patient"}', BODIES[0]],
        resource_type=[None, "Patient", json.loads(BODIES[0])["resourceType"]],
        fate=["scrub/bad_json", "scrub/missing_id", None],
        fate_path=[None, "Patient.id", None],
    )
    counts = stage.tally(schema.table("scrubbed"), Counter({"phi/DATE": 2}))
    rows = staged(dead, counts)
    assert rows[0] == {
        "subject_id": 7, "source_table": 1, "source_row": 1, "resource_key": 100,
        "body": b"{broken", "fate": "scrub/bad_json",
    }  # fmt: skip
    assert (rows[1]["fate"], rows[1]["fate_path"]) == ("scrub/missing_id", "Patient.id")
    assert "fate" not in rows[2]
    assert "body" not in rows[2]
    assert (rows[-1]["fate"], rows[-1]["body"]) == ("tally", b'{"phi/DATE":2}')


def test_decisions_stand_on_the_first_event_alone(scrubbed: Any, staged: Any) -> None:
    decision = {
        "path": "Patient.text", "start": 0, "end": 4, "category": "PATIENT",
        "recognizer": "known", "score": 1.0, "action": "surrogate",
    }  # fmt: skip
    patient = {"resourceType": "Patient", "gender": "male", "birthDate": "1970"}
    rows = staged(scrubbed([patient, patient], decisions=[[decision], None]))
    assert [row.get("decisions") for row in rows] == [[decision], None, None, None]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b'"text"', b"{", b"\xff\xfe", b'{"code": "\\ud800"}',
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"status": "final", "valueQuantity": {"value": ' + b"9" * 400 + b"}}",
    ],
    ids=["empty", "null", "list", "string", "cut", "not utf-8", "lone surrogate", "deep", "long number"],
)  # fmt: skip
def test_hostile_bodies_never_raise(body: bytes, scrubbed: Any, staged: Any) -> None:
    rows = staged(scrubbed([body], resource_type=["Observation"]))
    assert [row["source_row"] for row in rows] == [1]


def test_a_questionnaire_may_be_as_deep_as_it_likes(scrubbed: Any, staged: Any) -> None:
    depth = 150
    body = b'{"item":[' * depth + b'{"linkId":"1","answer":[{"valueInteger":1}]}' + b"]}" * depth
    rows = staged(scrubbed([body], resource_type=["QuestionnaireResponse"]))
    assert [row["numeric_value"] for row in rows] == [1.0]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    body = json.loads(draw(st.sampled_from(BODIES)))
    chance = draw(st.sampled_from([0.02, 0.1, 0.3]))
    random = draw(st.randoms(use_true_random=False))

    def change(value: Any) -> Any:
        if random.random() < chance:
            return random.choice(JUNK)
        if isinstance(value, dict):
            return {key: change(below) for key, below in value.items() if random.random() >= chance}
        return [change(below) for below in value] if isinstance(value, list) else value

    return {key: change(value) if key != "resourceType" else value for key, value in body.items()}


@given(resources=st.lists(mutated(), min_size=1, max_size=8))
@RELAXED
def test_no_shape_raises_and_none_is_lost(resources: list[Any], scrubbed: Any, staged: Any) -> None:
    rows = staged(scrubbed(resources))
    assert {row["source_row"] for row in rows} == set(range(1, len(resources) + 1))
    for row in rows:
        assert ("code" in row) != ("fate" in row)


@given(
    moment=st.datetimes(min_value=dt.datetime(1, 1, 2), max_value=dt.datetime(9999, 12, 30)),
    offset=st.none() | st.integers(-14 * 60, 14 * 60),
    fraction=st.booleans(),
)
def test_times_agree_with_the_standard_library(moment: dt.datetime, offset: int | None, fraction: bool) -> None:
    zone = dt.UTC if offset is None else dt.timezone(dt.timedelta(minutes=offset))
    aware = (moment if fraction else moment.replace(microsecond=0)).replace(tzinfo=zone)
    micros = (aware - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    text = aware.isoformat()
    assert times.parse(text) == (micros, "second", offset or 0)
    day = aware.date().isoformat()
    assert times.parse(day) == (
        dt.date.fromisoformat(day).toordinal() * 86_400_000_000 - 719163 * 86_400_000_000,
        "day",
        None,
    )


@pytest.mark.parametrize(
    "text",
    ["", "0000", "19", "2019-00", "2019-3-5", "2019-02-29", "2019-03-05T24:00:00Z", "2019-03-05T10",
     "2019-03-05 10:00:00", "2019-03-05T10:00:00+15:00", "2019-03-05T10:00:00Zx", "２０１９-03-05",
     "yesterday at noon", "2019-03-05T"],
)  # fmt: skip
def test_what_is_no_time_is_none(text: str) -> None:
    assert times.parse(text) is None


@given(st.text(max_size=40))
def test_no_text_breaks_the_clock(text: str) -> None:
    times.parse(text)


def test_a_mapping_with_a_misspelt_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "toml", lambda *_: {"Condition": {"kind": "CONDITION", "codde": ["code"]}})
    with pytest.raises(ConfigError, match="Condition: unknown key codde"):
        mapping.nodes("misspelt")


def test_paths_name_what_is_read() -> None:
    found = events.paths()
    assert len(found) == 23
    assert {"item.adjudication.amount", "item.encounter", "payment.date"} <= found["ExplanationOfBenefit"]
    assert {"hospitalization.dischargeDisposition", "location.period", "id"} <= found["Encounter"]
    assert {"onsetDateTime", "onsetAge", "verificationStatus"} <= found["Condition"]
    assert not any("[x]" in path or path.endswith(".") or "^" in path for paths in found.values() for path in paths)


def test_us_core_examples_become_events(scrubbed: Any, staged: Any) -> None:
    folder = SHARED / "suites" / "us_core_examples"
    if not folder.is_dir():
        pytest.skip("../shared/suites/us_core_examples is absent")
    resources = [json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))]
    mapped = [resource for resource in resources if resource["resourceType"] in events.paths()]
    rows = staged(scrubbed(mapped))
    assert len(mapped) > 100
    assert {row["source_row"] for row in rows} == set(range(1, len(mapped) + 1))
    assert [row["fate"] for row in rows if "fate" in row] == []
