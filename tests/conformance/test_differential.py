"""The acceptor never accepts what `fhir.resources` rejects, and both together give the library's verdict."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import mutants
import pytest
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import given, settings
from hypothesis import strategies as st

from mayo_data.conformance import shapes
from mayo_data.conformance.acceptor import Acceptor
from mayo_data.conformance.primitives import TYPES
from mayo_data.conformance.validate import fault

ACCEPTOR = Acceptor()
BASES, MUTANTS = 5, 8  # a type: 145 types make 5,800 mutants
BYTES = [
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"null", b"0", b"-", b".", b"e5", b"E400", b"NaN", b"\xff", b"\xc2\xa0",
    b"\\u00a0", b"\\ud800", b"\\udc00", b"\\u0000", b"\n", b"\x00", b'"id":"x",', b'"id":5,', b'"extension":[],', b'"x":1,',
    b'"status":null,', b'"valueString":null,', b"\xed\xa0\x80",
]  # fmt: skip


def library(line: bytes, kind: str) -> bool:
    try:
        get_fhir_model_class(kind).model_validate_json(line)
    except Exception:
        return False
    return True


def written(resource: Any, dice: random.Random) -> bytes:
    return json.dumps(resource, ensure_ascii=dice.random() < 0.5).encode()


@pytest.mark.parametrize("kind", sorted(shapes.judged()))
def test_mutants_get_the_same_verdict(kind: str) -> None:
    dice = random.Random(kind)
    seen: Counter[bool] = Counter()
    for _ in range(BASES):
        whole = mutants.resource(kind, dice)
        line = written(whole, dice)
        assert library(line, kind)
        assert ACCEPTOR.accepts(line), "what is right in the plain way is right at once"
        for _ in range(MUTANTS):
            line = written(mutants.mutant(whole, dice), dice)
            right = library(line, kind)
            seen[right] += 1
            assert right or not ACCEPTOR.accepts(line), line
            assert (fault(line) is None) == right, line
    assert min(seen[True], seen[False]) >= 2, "the mutants are of both kinds"


@pytest.mark.parametrize("kind", ["Patient", "Observation", "Encounter", "Questionnaire", "Bundle"])
def test_damaged_bytes_get_the_same_verdict(kind: str) -> None:
    dice = random.Random(kind)
    for _ in range(300):
        line = bytearray(written(mutants.resource(kind, dice), dice))
        head = line.index(b",") + 1 if b"," in line else len(line)
        place = dice.randrange(head, len(line) + 1)
        if dice.random() < 0.5:
            del line[place : place + dice.choice((1, 1, 4))]
        else:
            line[place:place] = dice.choice(BYTES)
        assert library(bytes(line), kind) or not ACCEPTOR.accepts(bytes(line)), bytes(line)


def parameter(name: str, value: Any, *, ascii_only: bool = True) -> bytes:
    """One value of a primitive type, in a resource that has them all."""
    key = f"value{name[0].upper()}{name[1:]}"
    body = {"resourceType": "Parameters", "parameter": [{"name": "a", key: value}]}
    if name == "xhtml":
        body = {"resourceType": "Basic", "code": {}, "text": {"status": "generated", "div": value}}
    return json.dumps(body, ensure_ascii=ascii_only).encode()


@pytest.mark.parametrize("name", sorted(TYPES))
@pytest.mark.parametrize("ascii_only", [True, False])
def test_every_value_of_every_primitive_type(name: str, ascii_only: bool) -> None:
    for value in [*mutants.NASTY, *mutants.JUNK, *mutants.SOUND[name]]:
        line = parameter(name, value, ascii_only=ascii_only)
        right = library(line, "Basic" if name == "xhtml" else "Parameters")
        assert right or not ACCEPTOR.accepts(line), value
        assert (fault(line) is None) == right, value
    assert all(ACCEPTOR.accepts(parameter(name, value)) for value in mutants.SOUND[name])


TEXTS = st.one_of(
    st.text(alphabet="0123456789-T:Z+. ", max_size=32),
    st.text(alphabet=" \t\n\x0b\x0c\x1c\x85\xa0\u2003\u3000a", max_size=4),
    st.text(alphabet="AZaz09+/=-_ \n", max_size=12),
    st.datetimes().map(lambda at: at.isoformat() + "Z"),
    st.dates().map(str),
    st.text(max_size=12),
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(set(TYPES) - {"xhtml"})),
    st.one_of(TEXTS, st.integers(), st.floats(allow_nan=False)),
    st.booleans(),
)
def test_any_value_of_any_primitive_type(name: str, value: object, ascii_only: bool) -> None:
    try:
        line = parameter(name, value, ascii_only=ascii_only)
    except UnicodeEncodeError:  # a lone surrogate has no bytes
        return
    assert library(line, "Parameters") or not ACCEPTOR.accepts(line)
