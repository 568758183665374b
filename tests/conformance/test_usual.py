"""What the first look accepts, the full structs and `fhir.resources` accept too."""

from __future__ import annotations

import json
import random

import msgspec
import mutants
import pytest
from fhir.resources.R4B import get_fhir_model_class

from mayo_data.conformance.acceptor import Acceptor
from mayo_data.conformance.usual import Usual

COVERAGE = {
    "resourceType": "Coverage", "status": "active", "beneficiary": {"reference": "#p"}, "payor": [{"display": "x"}],
}  # fmt: skip


def written(resource: object) -> bytes:
    return json.dumps(resource).encode()


def is_right(line: bytes, kind: str) -> bool:
    try:
        get_fhir_model_class(kind).model_validate_json(line)
    except Exception:
        return False
    return True


def taught(kind: str, *lines: bytes) -> Usual:
    usual = Usual(kind, list)
    for _ in range(256):
        for line in lines:
            usual.learn(line)
    return usual


@pytest.mark.parametrize("kind", ["Observation", "Patient", "Claim", "Coverage", "Questionnaire", "MedicationRequest"])
def test_nothing_wrong_is_usual(kind: str) -> None:
    dice = random.Random(kind)
    bases = [mutants.resource(kind, dice) for _ in range(12)]
    inside: list[msgspec.Raw] = []
    usual = Usual(kind, inside.extend)
    for base in bases * 40:
        usual.learn(written(base))
    accepted = 0
    for base in bases:
        for _ in range(60):
            inside.clear()
            line = written(mutants.mutant(base, dice))
            if usual.accepts(line) and not inside:
                accepted += 1
                assert is_right(line, kind) or not Acceptor().accepts(line), line
                assert is_right(line, kind), line
    assert accepted


def test_an_element_not_met_before_is_not_usual() -> None:
    usual = taught("Patient", b'{"resourceType":"Patient","gender":"female"}')
    assert usual.accepts(b'{"gender":"male","resourceType":"Patient"}')
    for more in (
        b'"birthDate":"1970-01-01"',
        b'"_gender":{"id":"a"}',
        b'"gender":null',
        b'"fhir_comments":"x"',
        b'"x":1',
    ):
        assert not usual.accepts(b'{"resourceType":"Patient",' + more + b"}")


def test_what_is_required_stays_required() -> None:
    usual = taught("Coverage", written(COVERAGE))
    assert usual.accepts(written(COVERAGE))
    for name in COVERAGE:
        assert not usual.accepts(written({key: value for key, value in COVERAGE.items() if key != name}))


def test_a_resource_that_is_only_named_first_teaches_nothing() -> None:
    line = b'{"contained":[{"resourceType":"Coverage"}],"resourceType":"Basic","code":{"text":"a"},"status":"active"}'
    usual = taught("Coverage", line)
    assert not usual.accepts(b'{"resourceType":"Coverage","status":"active"}')


def test_one_of_a_choice() -> None:
    base = {"resourceType": "Observation", "status": "final", "code": {"text": "a"}}
    usual = taught("Observation", written({**base, "valueString": "a"}), written({**base, "valueInteger": 1}))
    assert usual.accepts(written({**base, "valueInteger": 2}))
    assert usual.accepts(written(base))
    assert not usual.accepts(written({**base, "valueInteger": 2, "valueString": "b"}))


def test_a_list_without_an_object_teaches_nothing_of_its_type() -> None:
    usual = taught("Claim", b'{"resourceType":"Claim","status":"active","item":[]}')
    assert not usual.accepts(b'{"resourceType":"Claim","status":"active","item":[{}]}')


def test_depth_is_looked_at_where_types_nest() -> None:
    nested = {"resourceType": "Patient", "extension": [{"url": "a", "extension": [{"url": "b", "valueString": "c"}]}]}
    flat = {"resourceType": "Patient", "extension": [{"url": "a", "valueString": "c"}]}
    assert taught("Patient", written(nested)).nests
    assert not taught("Patient", written(flat)).nests
