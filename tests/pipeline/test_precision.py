"""Digits, dates and offsets keep their precision: from the line that is read to FHIR out, to the event, to Parquet."""

from __future__ import annotations

import json
import re
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hospital import KEY, events, go, key_file, lines, patient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mayo_data.keys import Secret
from mayo_data.pipeline import scrub

SUBJECT = Secret(KEY).subject_id("Patient/p1")
OFFSET = timedelta(days=Secret(KEY).offset_days(SUBJECT))
FLOAT32 = 3.4028234663852886e38

DECIMALS = st.one_of(
    st.sampled_from(
        ["1.10", "1E3", "1e3", "1.0E+2", "1e-7", "-0.00", "0", "-0", "0.0", "100", "7.000", "1" * 30, "0." + "123456789" * 4,
         "-9999999999999999999999.9999999999", "1.7976931348623157e308", "1e999", "5e-324"]
    ),
    st.from_regex(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?([eE][+-]?[0-9]{1,2})?", fullmatch=True),
)  # fmt: skip


@st.composite
def moments(draw: st.DrawFn, zoned: bool) -> str:
    """A FHIR dateTime of any precision; one that names no offset is no valid FHIR, and exports have it."""
    day = draw(st.dates(date(1900, 1, 1), date(2100, 1, 1))).isoformat()
    cut = draw(st.sampled_from([4, 7, 10, 0, 0, 0]))
    if cut:
        return day[:cut]
    clock = draw(st.times()).isoformat()[:8]
    digits = draw(st.integers(0, 9))
    fraction = "." + draw(st.from_regex(f"[0-9]{{{digits}}}", fullmatch=True)) if digits else ""
    hours, minutes = draw(st.integers(-13, 13)), draw(st.sampled_from(["00", "30", "45"]))
    zones = ["Z", "+00:00", "-00:00", "+14:00", f"{hours:+03d}:{minutes}"] + ([] if zoned else [""])
    return f"{day}T{clock}{fraction}{draw(st.sampled_from(zones))}"


def row(number: int, value: str, when: str) -> bytes:
    """An Observation whose numbers and dates are these very characters."""
    return (
        f'{{"resourceType":"Observation","id":"o{number}","status":"final","code":{{"text":"x"}},'
        f'"subject":{{"reference":"Patient/p1"}},"effectiveDateTime":"{when}",'
        f'"valueQuantity":{{"value":{value},"unit":"mg"}},"referenceRange":[{{"low":{{"value":{value}}}}}],'
        f'"component":[{{"code":{{"text":"y"}},"valueRange":{{"low":{{"value":{value}}}}}}}]}}'
    ).encode()


def moved(text: str, policy: str) -> str:
    """What a policy makes of a date, by a calendar."""
    if policy == "limited_data_set":
        return text
    if policy == "safe_harbor":
        return text[:4]
    first = date.fromisoformat((text[:10] + "-01-01")[:10])
    return (first + OFFSET).isoformat()[: min(len(text), 10)] + text[10:]


def instant(text: str) -> tuple[datetime, str, int | None]:
    """First instant, precision, and minutes east of UTC."""
    if len(text) <= 10:
        first = datetime.fromisoformat((text + "-01-01")[:10])
        return first, {4: "year", 7: "month", 10: "day"}[len(text)], None
    found = re.fullmatch(r"(.{19})(?:\.(\d+))?(Z|[+-]..:..)?", text)
    assert found is not None
    micros = int((found[2] or "0")[:6].ljust(6, "0"))
    zone = found[3]
    east = None if zone is None else 0 if zone == "Z" else int(zone[:3]) * 60 + int(zone[0] + zone[4:])
    there = datetime.fromisoformat(found[1]) + timedelta(microseconds=micros, minutes=-(east or 0))
    return there, "second", east


@pytest.mark.parametrize(
    ("policy", "validate"),
    [
        ("expert_determination", "all"),
        ("expert_determination", "off"),
        ("safe_harbor", "off"),
        ("limited_data_set", "off"),
    ],
)
@settings(
    max_examples=1, deadline=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck],
)  # fmt: skip
@given(data=st.data())
def test_precision_is_kept(
    tmp_path_factory: pytest.TempPathFactory, policy: str, validate: Any, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("precision")
    said = data.draw(st.lists(st.tuples(DECIMALS, moments(validate == "all")), min_size=150, max_size=150))
    (folder / "in").mkdir()
    body = [row(number, value, when) for number, (value, when) in enumerate(said)]
    (folder / "in" / "Observation.ndjson").write_bytes(lines(patient(), *body))

    report = scrub(
        folder / "in", folder / "out", key_file=key_file(folder), policy=policy, validate=validate, workers=1
    )
    assert sum(report.resources.values()) == len(said) + 1
    out = []
    for line in (folder / "out" / "Observation.ndjson").read_bytes().splitlines():  # in an order of the key
        one = json.loads(line, parse_float=str, parse_int=str)
        if one["resourceType"] == "Observation":
            value = one["valueQuantity"]["value"]
            assert one["referenceRange"][0]["low"]["value"] == value
            assert one["component"][0]["valueRange"]["low"]["value"] == value
            out.append((value, one["effectiveDateTime"]))
    assert sorted(out) == sorted((value, moved(when, policy)) for value, when in said)

    go(folder / "in", folder / "store", phi={"policy": policy}, validate=validate)
    found = {event["source_row"]: event for event in events(folder / "store") if event["source_item"] == 0}
    for number, (value, when) in enumerate(said):
        event = found[number + 2]
        assert event["value_text"] == value
        if abs(float(value)) <= FLOAT32:
            assert event["numeric_value"] == pytest.approx(float(value), rel=1e-6, abs=1e-37)
        else:
            assert event["numeric_value"] is None
        time, precision, east = instant(moved(when, policy))
        assert (event["time"], event["time_precision"], event["utc_offset"]) == (time, precision, east)
