"""What a FHIRPath expression means: elements, types, functions, operators, empty collections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import mayo_data as md

PATIENT = {
    "resourceType": "Patient",
    "id": "p",
    "active": True,
    "birthDate": "1970-06",
    "_birthDate": {"extension": [{"url": "u", "valueDateTime": "1970-06-01T10:00:00Z"}]},
    "name": [
        {"given": ["a", None, "b"], "_given": [None, {"extension": [{"url": "g", "valueString": "G"}]}, None], "family": "F"},
        {"family": "H"},
    ],
    "deceasedDateTime": "2020-01-01",
    "multipleBirthInteger": 2,
    "contained": [{"resourceType": "Organization", "id": "o", "name": "Org"}],
    "managingOrganization": {"reference": "urn:uuid:abc", "type": "Organization"},
    "generalPractitioner": [
        {"reference": "http://s/fhir/Practitioner/7/_history/2"},
        {"reference": "#c"},
        {"reference": "Practitioner?identifier=1|2"},
        {"reference": "Organization/9"},
        {"display": "nobody"},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value"),
    [
        # elements
        ("Patient.name.first().family", "F"),
        ("`name`[0].family // a comment", "F"),
        ("name[-1].family", None),
        ("name[2].family", None),
        ("name[99999999999999999].family", None),
        ("name[%rowIndex].family", "F"),
        ("name.where($index = 1).family", "H"),
        ("name.count()", 2),
        ("name.given[1]", "b"),  # null holds the place of an extension, and is no value
        ("name.given.extension('g').value.ofType(string)", "G"),
        ("birthDate.extension('u').value.ofType(dateTime)", "1970-06-01T10:00:00Z"),
        ("extension('none').exists()", False),
        ("%resource.id", "p"),
        ("nothing.below", None),
        # choices
        ("deceased", "2020-01-01"),
        ("deceased.exists()", True),
        ("deceased.ofType(boolean)", None),
        ("deceased.ofType(FHIR.dateTime)", "2020-01-01"),
        ("multipleBirth.ofType(Integer)", 2),
        ("contained.ofType(Organization).name", "Org"),
        ("contained.ofType(Patient).exists()", False),
        ("contained.name", "Org"),
        # references
        ("managingOrganization.getReferenceKey()", "abc"),
        ("managingOrganization.getReferenceKey(Organization)", "abc"),
        ("managingOrganization.getReferenceKey(Patient)", None),
        ("generalPractitioner.getReferenceKey(Practitioner)", "7"),
        ("generalPractitioner.getReferenceKey('Organization')", "9"),
        ("getResourceKey() = 'p'", True),
        # logic, also with nothing
        ("active and name.exists()", True),
        ("active xor true", False),
        ("active implies false", False),
        ("name[7].family = 'x' or true", True),
        ("name[7].family = 'x' and false", False),
        ("name[7].family = 'x' and true", None),
        ("(name[7].family = 'x').not()", None),
        ("name[7].family = 'x' implies true", True),
        ("name[0].exists() and birthDate", True),  # a single value that is no boolean counts as true
        # comparison
        ("name.given = 'a'", False),
        ("name.family = name.family", True),
        ("name.family = name.given", False),
        ("name.family != name[0].family", True),
        ("active = 'true'", False),
        ("name = name", True),
        ("multipleBirth.ofType(integer) = 2.0", True),
        ("'b' > 'a'", True),
        ("birthDate > @1970", None),
        ("birthDate > @1970-05", True),
        ("birthDate < '1970-07'", True),
        ("birthDate >= @1970-06-01", None),
        ("birthDate = @1970-06", True),
        ("@2020-01-01T00:00:00Z = @2020-01-01T01:00:00+01:00", True),
        ("@2020-01-01T00:00:00+14:00 < @2020-01-01T00:00:00-12:00", True),
        ("@T10:00:00 < @T10:00:00.5", True),
        ("@T10:00:00 = @T10:00:00.000", True),
        ("@2020 != @2021-01", True),
        # numbers
        ("1.10 + 2", "3.1"),
        ("1.5 * 2.25", "3.375"),
        ("2 * 3", 6),
        ("2 / 3", "0.66666667"),
        ("10 / 4", "2.5"),
        ("1 / 0", None),
        ("7 div 2", 3),
        ("-7 mod 4", -3),
        ("1.5 mod 1", "0.5"),
        ("-1.5 + 1", "-0.5"),
        ("0.1 + 0.2 = 0.3", True),
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("multipleBirth.ofType(integer) + name[7].count()", 2),
        ("multipleBirth.ofType(integer).lowBoundary()", "1.5"),
        # texts
        (r"'\u0041\'\\'", "A'\\"),
        ("'a' & name[7].family & 'b'", "ab"),
        ("'a' + name[7].family", None),
        ("name.given.join('\\n')", "a\nb"),
        ("name.foo.join()", ""),
        # boundaries
        ("birthDate.lowBoundary()", "1970-06-01"),
        ("birthDate.highBoundary()", "1970-06-30"),
        ("deceased.ofType(dateTime).highBoundary()", "2020-01-01T23:59:59.999-12:00"),
        ("name.first().period.lowBoundary()", None),
    ],
)  # fmt: skip
def test_a_path_has_a_value(path: str, value: Any, evaluate: Callable[..., list[Any]]) -> None:
    assert evaluate(PATIENT, path) == [value]


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("name.given", ["a", "b"]),
        ("name.nothing", []),
        ("id", ["p"]),
        ("generalPractitioner.getReferenceKey()", ["7", "9"]),
        ("name.family.where($this = 'H')", ["H"]),
        ("name.exists()", [True]),
        ("name[7].family = 'x'", []),
    ],
)
def test_a_collection_has_values(path: str, values: list[Any], evaluate: Callable[..., list[Any]]) -> None:
    assert evaluate(PATIENT, path, collection=True) == [values]


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("1.0", "0.95", "1.05"), ("1.10", "1.095", "1.105"), ("-3", "-3.5", "-2.5"), ("0.000", "-0.0005", "0.0005"),
        ("1e2", "50", "150"), ("1.5e1", "14.5", "15.5"), ("2E-3", "0.0015", "0.0025"),
    ],
)  # fmt: skip
def test_bounds_depend_on_the_digits(text: str, low: str, high: str, evaluate: Callable[..., list[Any]]) -> None:
    line = f'{{"resourceType":"Observation","valueQuantity":{{"value":{text}}}}}\n'
    assert evaluate(line, "value.ofType(Quantity).value.lowBoundary()") == [low]
    assert evaluate(line, "value.ofType(Quantity).value.highBoundary()") == [high]


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2012", "2012-01-01T00:00:00.000+14:00", "2012-12-31T23:59:59.999-12:00"),
        ("2012-02", "2012-02-01T00:00:00.000+14:00", "2012-02-29T23:59:59.999-12:00"),
        ("2012-02-03T04:05:06+02:00", "2012-02-03T04:05:06.000+02:00", "2012-02-03T04:05:06.999+02:00"),
        ("2012-02-03T04:05:06.7Z", "2012-02-03T04:05:06.700Z", "2012-02-03T04:05:06.799Z"),
        ("2012-02-03T04:05:06", "2012-02-03T04:05:06.000+14:00", "2012-02-03T04:05:06.999-12:00"),
    ],
)
def test_bounds_of_a_time(text: str, low: str, high: str, evaluate: Callable[..., list[Any]]) -> None:
    period = {"resourceType": "Encounter", "period": {"start": text, "end": text}}
    assert evaluate(period, "period.start.lowBoundary()") == [low]
    assert evaluate(period, "period.end.highBoundary()") == [high]
    assert evaluate(period, "period.lowBoundary()") == [low]
    assert evaluate(period, "period.highBoundary()") == [high]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("name.family.foo", "string has no element foo"),
        ("name", "HumanName, which is no single value"),
        ("name.all(true)", "the function all is not supported"),
        ("name | contact", r"the operator \| is not supported"),
        ("active is boolean", "the operator is is not supported"),
        ("{}", "the empty collection"),
        ("active > 1", "cannot be compared by >"),
        ("id.getResourceKey()", "a function of the resource"),
        ("name.getReferenceKey()", "a function of references"),
        ("subject.getReferenceKey(string)", "a function of references"),
        ("$index", "has no meaning here"),
        ("$total", "not supported"),
        ("%nope", "%nope is not defined"),
        ("name..family", "character 6"),
        ("name.", "at its end"),
        ("name family", "character 6.*one word too many"),
        ("(name", r"at its end: \) is missing"),
        ("'open", "character 1 of the expression"),
        (r"'\q'", "unknown escape"),
        (r"'\ud800'", "half a character"),
        ("where()", "another number of arguments"),
        ("value.ofType(Foo)", "no type Foo"),
        ("name.family.ofType(1)", "takes the name of a type"),
        ("'a'.first()", "a computed value has no elements"),
        ("1 + 'a'", "computes with numbers"),
        ("-'a'", "only a number has a negative"),
        ("name.first().lowBoundary()", "only numbers, dates, times and periods"),
        ("99999999999999999999", "too large"),
        ("0.1234567890123456789", "too long"),
        ("@2020-1", "this is no date"),
        ("name['a']", "an index is a whole number"),
        ("name.given.join(1)", "takes a text"),
        ("extension(id)", "takes the URL"),
    ],
)
def test_a_wrong_path_is_told_with_its_place(path: str, says: str, evaluate: Callable[..., list[Any]]) -> None:
    with pytest.raises(md.ConfigError, match=says) as caught:
        evaluate(PATIENT, path)
    assert str(caught.value).startswith("select[0].column[0].path: ")
    assert caught.value.hint


def test_several_values_where_one_is_expected_stop_the_query(evaluate: Callable[..., list[Any]]) -> None:
    for path in ("name.family", "name.family.not()", "name.family + 'x'", "name.where(true).family"):
        with pytest.raises(md.ConfigError, match=r"^select\[0\].column\[0\]: one value was expected") as caught:
            evaluate(PATIENT, path)
        assert "F" not in str(caught.value).split()


def test_a_path_that_fhir_does_not_know_is_noted() -> None:
    body = {"resource": "Patient", "select": [{"column": [{"name": "x", "path": "name.famly"}]}]}
    from mayo_data.views.compile import compile_view

    assert compile_view(body).notes == ("select[0].column[0]: HumanName has no element famly in FHIR R4",)


def test_elements_of_another_fhir_version_are_looked_for_in_the_data(evaluate: Callable[..., list[Any]]) -> None:
    r5 = {"resourceType": "Encounter", "class": [{"coding": [{"code": "AMB"}]}], "actualPeriod": {"start": "2020"}}
    assert evaluate(r5, "actualPeriod.start") == ["2020"]
    body = {"resource": "Encounter", "fhirVersion": ["5.0.0"]}
    from mayo_data.views.compile import compile_view

    made = compile_view({**body, "select": [{"column": [{"name": "x", "path": "class.coding.code"}]}]})
    assert made.notes == ()
    assert "json_type" in made.sql("SELECT 1")


@pytest.mark.parametrize("kind", ["String", "Code", "Uri", "Id", "Date", "Boolean", "Integer", "Decimal", "Time"])
def test_a_constant_is_its_value(kind: str, evaluate: Callable[..., list[Any]]) -> None:
    given = {"Date": "2020-02", "Boolean": False, "Integer": -3, "Decimal": 1.25, "Time": "07:08:09"}.get(kind, "it's")
    expected = "1.25" if kind == "Decimal" else given
    assert evaluate(PATIENT, "%c", constant=[{"name": "c", f"value{kind}": given}]) == [expected]
