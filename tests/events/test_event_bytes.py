"""What is read from bytes is what is read from the decoded element; memories are bounded."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayo_data.errors import ConfigError
from mayo_data.events import elements, rows, times, values

TIMES = st.sampled_from(["2019", "2019-03", "2019-03-05T10:11:12.5+02:00", "2019-02-30", "", "x", None, 3, []])
NUMBERS = st.one_of(
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["1.10", "many", None, True, {}, []]),
)
WORDS = st.sampled_from(["<", "mg/dL", "http://unitsofmeasure.org", "", None, 5, {"value": 1}])
REFERENCES = st.sampled_from(
    ["Encounter/00000000000000ff", "Encounter/ffffffffffffffff", "Encounter/00000000000000FF", "x", None]
)


def written(value: Any, spaced: bool) -> bytes:
    return json.dumps(value, separators=None if spaced else (",", ":")).encode()


@given(start=TIMES, end=TIMES, single=st.booleans(), spaced=st.booleans())
def test_times_from_bytes(start: Any, end: Any, single: bool, spaced: bool) -> None:
    raw = written(start if single else {"start": start, "end": end}, spaced)
    assert times.read(raw) == times.period(elements.whole(raw))


@given(
    value=NUMBERS,
    others=st.dictionaries(st.sampled_from(["comparator", "unit", "system", "code", "currency"]), WORDS),
    last=st.booleans(),
    spaced=st.booleans(),
)
def test_quantities_from_bytes(value: Any, others: dict[str, Any], last: bool, spaced: bool) -> None:
    element = {**others, "value": value} if last else {"value": value, **others}
    raw = written(element, spaced)
    assert values.read_quantity(raw) == values.quantity(elements.whole(raw))
    for one in (raw, b"[" + raw + b"," + raw + b"]", written(value, spaced)):
        assert values.read_guess(one) == values.every(values.guess)(elements.whole(one))


@given(named=st.lists(REFERENCES, max_size=3), bare=st.booleans(), spaced=st.booleans())
def test_encounters_from_bytes(named: list[Any], bare: bool, spaced: bool) -> None:
    found = [{"reference": one} for one in named]
    raw = written(found[0] if bare and found else found, spaced)
    assert rows.read_encounters(raw) == rows.encounter_ids(elements.whole(raw))


def test_a_memory_is_bounded() -> None:
    memory = elements.Memory(len)
    for number in range(100_000):
        assert memory[b"%d" % number] == len(str(number))
    assert len(memory) < 100_000
    assert memory[b"x" * 100_000] == 100_000
    assert b"x" * 100_000 not in memory


@pytest.mark.parametrize("keys", [[".", "code"], ["a b"], [""]])
def test_a_shape_refuses_what_is_no_key(keys: list[str]) -> None:
    with pytest.raises(ConfigError):
        elements.Shape(keys)
