"""What a caller knows of a person is always searched for, however it is called."""

from __future__ import annotations

import pytest

from mayo_data.errors import ConfigError
from mayo_data.phi.detector import Detector
from mayo_data.phi.record import identifiers, known_from


def found(text: str, record: dict[str, object]) -> list[str]:
    return [text[span.start : span.end] for span in Detector(model=None).detect([text], record)[0]]


@pytest.mark.parametrize("key", ["name", "Name", "patient_name", "PATIENT", "patient", "names", "full name"])
def test_a_name_under_any_key(key: str) -> None:
    assert found("zorblat quixin reports pain", {key: ["Zorblat Quixin"]}) == ["zorblat quixin"]


@pytest.mark.parametrize("day", ["1950-03-04", "03/04/1950", "3/4/50", "March 4, 1950", "4 Mar 1950", "19500304"])
@pytest.mark.parametrize("text", ["born 3-4-50", "DOB 4 March 1950", "dob 19500304", "b 03041950"])
def test_a_birth_date_in_any_form_is_found_in_any_other(day: str, text: str) -> None:
    assert found(text, {"dob": day}) == [text.split(" ", 1)[1]]


def test_a_key_that_nobody_knows_is_searched_for_too() -> None:
    assert found("code qx-77-19-b here", {"wristband": "QX7719B"}) == ["qx-77-19-b"]


def test_a_nested_record_and_a_fhir_patient() -> None:
    nested = {
        "patient": {"given": "Zorblat", "family": "Quixin"},
        "address": {"line": "12 Elmo Way", "city": "Norfell"},
    }
    text = "Quixin of 12 Elmo Way, Norfell"
    assert found(text, nested) == ["Quixin", "12 Elmo Way", "Norfell"]
    fhir = {"resourceType": "Patient", "id": "1", "name": [{"family": "Quixin", "given": ["Zorblat"]}]}
    assert found("Quixin, Zorblat", fhir) == ["Quixin, Zorblat"]


def test_numbers_may_be_numbers() -> None:
    assert found("mrn 4471123", {"mrn": 4471123}) == ["4471123"]


def test_what_cannot_be_read_is_an_error_without_the_value() -> None:
    with pytest.raises(ConfigError) as caught:
        identifiers({"name": 3.5})
    assert "3.5" not in str(caught.value)


def test_lengths_must_agree() -> None:
    with pytest.raises(ConfigError):
        Detector(model=None).detect(["a", "b"], [None])
    with pytest.raises(ConfigError):
        Detector(model=None).detect(["a", "b"], subjects=[1])


def test_a_record_that_many_texts_share_is_compiled_once() -> None:
    record = {"name": "Jane Doe"}
    first, second = known_from([record, record], 2)
    assert first is second
