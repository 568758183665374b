"""Hostile lines are harmless, and what only R4 has is right."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mayo_data.conformance import shapes
from mayo_data.conformance.acceptor import Acceptor
from mayo_data.conformance.validate import fault

ACCEPTOR = Acceptor()
META = {"versionId": "1", "lastUpdated": "2020-01-01T00:00:00Z"}


def line(kind: str = "Patient", **more: Any) -> bytes:
    return json.dumps({"resourceType": kind, **more}).encode()


def nested(levels: int) -> bytes:
    return (
        b'{"resourceType":"Patient","extension":' + b'[{"url":"x","extension":' * levels + b"[]" + b"}]" * levels + b"}"
    )


def raw(value: str) -> bytes:
    return b'{"resourceType":"Patient","extension":[{"url":"u","valueDecimal":%s}]}' % value.encode()


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        (nested(10_000), "?: RecursionError"),
        (nested(100), "Patient: json_invalid"),
        (nested(90), None),
        (
            b'{"resourceType":"Patient","birthDate":"2020-01-01","birthDate":5}',
            "Patient.birthDate: date_from_datetime_inexact",
        ),
        (b'{"resourceType":"Patient","birthDate":5,"birthDate":"2020-01-01"}', None),
        (b'{"resourceType":"Patient","resourceType":"Basic"}', "Basic.code: missing"),
        (raw("1" + "0" * 400), None),
        (raw("1e400"), "Patient.extension[0].valueDecimal: value_error"),
        (raw("NaN"), None),  # no JSON: the scrub says so
        (raw("-Infinity"), None),
        (raw("1" + "0" * 5000), "Patient: json_invalid"),
        (line(contained=[{"resourceType": "Jane Doe"}]), "Patient: KeyError"),
        (line(contained=[{"resourceType": ["Jane Doe"]}]), "Patient: TypeError"),
        (line(**{"Jane Doe": 1}), "Patient.?: extra_forbidden"),
        (line(name=[{"given": [1] * 200_000}]), "Patient: too_many_parts"),
        (b'\xff{"resourceType":"Patient"}', None),
        (b"[]", None),
        (b"", None),
    ],
    ids=range(18),
)
def test_a_hostile_line(body: bytes, wrong: str | None) -> None:
    assert fault(body) == wrong
    if wrong is not None:
        assert not ACCEPTOR.accepts(body)


def test_resources_within_resources_are_judged_too() -> None:
    bad, good = {"resourceType": "Patient", "gender": 5}, {"resourceType": "Patient", "gender": "female"}
    for kind, body in (("Patient", {"contained": ["@"]}), ("Bundle", {"type": "batch", "entry": [{"resource": "@"}]})):
        for one, right in ((good, True), (bad, False), ({"resourceType": "Patient", "contained": [bad]}, False)):
            whole = line(kind, **body).replace(b'"@"', json.dumps(one).encode())
            assert ACCEPTOR.accepts(whole) is right
            assert (fault(whole) is None) is right
    assert not ACCEPTOR.accepts(line(contained=[line().decode()]))


def test_a_refused_line_leaves_nothing_behind() -> None:
    acceptor = Acceptor()
    assert not acceptor.accepts(line(contained=[{"resourceType": "Patient", "gender": 5}], birthDate=5))
    assert acceptor.accepts(line())


def test_what_only_r4_has_is_right() -> None:
    extension = [{"url": "u", "valueMeta": META}]
    assert ACCEPTOR.accepts(line(extension=extension))
    slow = line(
        extension=extension, birthDate="2020-01-01", active="true"
    )  # refused by the acceptor for another reason
    assert not ACCEPTOR.accepts(slow)
    assert fault(slow) is None
    for kind in shapes.unjudged():
        assert ACCEPTOR.accepts(line(kind, anything=1))
        assert ACCEPTOR.accepts(line(contained=[{"resourceType": kind}]))
        assert fault(line(contained=[{"resourceType": kind}], active="true")) is None


@pytest.mark.parametrize(
    "extension",
    [
        {"url": "u", "valueMeta": {"lastUpdated": "yesterday"}}, {"url": "u", "valueMeta": META, "valueString": "x"},
        {"url": "u", "valueMeta": META, "valueBoolean": True}, {"url": "u", "valueMeta": 5}, {"valueMeta": META},
    ],
)  # fmt: skip
def test_what_only_r4_has_is_judged(extension: dict[str, Any]) -> None:
    assert fault(line(extension=[extension])) is not None
    assert fault(line(valueMeta=META)) == "Patient.valueMeta: extra_forbidden"
