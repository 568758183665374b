"""Which element of which source becomes which column of an event: read from the mappings in `schemas/`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from typing import Any, NamedTuple

from mayo_data import assets

_VALUE = ("numeric_value", "text_value", "value_text", "unit")
# Patient and QuestionnaireResponse are written in code: mayo_data/events/{subject,answers}.py
_WRITTEN: dict[str, dict[str, tuple[str, ...]]] = {
    "Patient": {
        "subject_id": ("id",),
        "time": ("birthDate", "deceasedDateTime"),
        "time_precision": ("birthDate", "deceasedDateTime"),
        "utc_offset": ("deceasedDateTime",),
        "available_time": ("birthDate", "deceasedDateTime"),
        "code": (
            "gender", "deceasedDateTime", "deceasedBoolean", "birthDate", "maritalStatus", "communication.language",
            "address.postalCode", "address.state", "extension",
        ),
        "text_value": ("extension",),
    },
    "QuestionnaireResponse": {
        "subject_id": ("subject",),
        "time": ("authored",),
        "time_precision": ("authored",),
        "utc_offset": ("authored",),
        "available_time": ("authored", "meta.lastUpdated"),
        "code": ("item.linkId", "questionnaire"),
        "status": ("status",),
        "encounter_id": ("encounter",),
        **dict.fromkeys(_VALUE, ("item.answer.value[x]",)),
    },
}  # fmt: skip


class Origin(NamedTuple):
    """One element of a source that a column of `events` is made of.

    Attributes:
        source: FHIR resource type, or OMOP table.
        element: Path of the element, or column of the table.

    >>> Origin("Observation", "issued").element
    'issued'
    """

    source: str
    element: str


def is_omop(source: str) -> bool:
    """Return whether a source is an OMOP table; resource types begin with a capital.

    >>> is_omop("drug_exposure"), is_omop("Observation")
    (True, False)
    """
    return not source[:1].isupper()


def known() -> tuple[str, ...]:
    """Return the resource types that become events."""
    return tuple(sorted({*assets.toml("schemas", "fhir", "events.toml"), *_WRITTEN}))


def lineage(sources: Collection[str]) -> dict[str, list[Origin]]:
    """Return, for each column of `events`, the elements that it is made of.

    Args:
        sources: FHIR resource types and OMOP tables; what is in no mapping gives nothing.

    >>> lineage(["Condition"])["end_time"]
    [Origin(source='Condition', element='abatementDateTime'), Origin(source='Condition', element='abatementPeriod')]
    """
    columns: dict[str, list[Origin]] = {}
    for source in sorted(set(sources)):
        for column, element in dict.fromkeys(_omop(source) if is_omop(source) else _fhir(source)):
            columns.setdefault(column, []).append(Origin(source, element))
    return {column: sorted(origins) for column, origins in sorted(columns.items())}


def filters(sources: Collection[str]) -> list[Origin]:
    """Return the elements that decide whether a resource gives any event at all: entered in error.

    >>> filters(["Condition"])
    [Origin(source='Condition', element='clinicalStatus'), Origin(source='Condition', element='verificationStatus')]
    """
    spec = assets.toml("schemas", "fhir", "events.toml")
    found = set()
    for source in set(sources) & set(spec):
        paths = [*spec[source].get("status", ["status"]), *spec[source].get("withdrawn", [])]
        found |= {Origin(source, path) for path in paths}
    return sorted(found)


def elements(source: str) -> list[str]:
    """Return every element of a source that is read, in order.

    >>> elements("Device")
    ['deviceName.name', 'meta.lastUpdated', 'note.text', 'patient', 'status', 'type']
    """
    pairs = _omop(source) if is_omop(source) else _fhir(source)
    return sorted({element for _, element in pairs} | {one.element for one in filters([source])})


@cache
def _fhir(source: str) -> tuple[tuple[str, str], ...]:
    if source in _WRITTEN:
        return tuple((column, path) for column, paths in _WRITTEN[source].items() for path in paths)
    spec = assets.toml("schemas", "fhir", "events.toml").get(source)
    if spec is None:
        return ()
    rules = assets.toml("schemas", "phi", "elements.toml").get(source, {})
    subjects = [("subject_id", name) for name, action in rules.items() if action == "subject"]
    root = {"status": ["status"], "encounter": ["encounter"], **spec}
    return (*subjects, *_group(root, "", ""), ("available_time", "meta.lastUpdated"))


def _group(spec: dict[str, Any], at: str, above: str) -> Iterator[tuple[str, str]]:
    """Yield column and path of a group of events.toml; `at` is the path of its element, `above` that of the outer."""

    def paths(key: str) -> Iterator[str]:
        for path in spec.get(key, []):
            yield (above or at) if path == "^" else at if path == "." else _join(at, path)

    for path in paths("code"):
        yield "code", path
    for path in paths("time"):
        yield from ((column, path) for column in ("time", "time_precision", "utc_offset"))
    for path in paths("end"):
        yield "end_time", path
    for path in paths("available"):
        yield "available_time", path
    for path in paths("value"):
        yield from ((column, path) for column in _VALUE)
    for key in ("absent", "text"):
        yield from (("text_value", path) for path in paths(key))
    for path in paths("status"):
        yield "status", path
    for path in paths("encounter"):
        yield "encounter_id", path
    yield from (("code", _join(at, rule["path"])) for rule in spec.get("negated", []))
    yield from (("code", _join(at, path)) for path in spec.get("codes", {}).values())
    for path in spec.get("values", {}).values():
        yield from ((column, _join(at, path)) for column in _VALUE)
    for below in spec.get("each", []):
        yield from _group(below, _join(at, below["path"]), at)


def _join(at: str, path: str) -> str:
    return f"{at}.{path}" if at else path


@cache
def _omop(table: str) -> tuple[tuple[str, str], ...]:
    spec = assets.toml("schemas", "omop", "events.toml").get(table)
    fields = assets.toml("schemas", "omop", "cdm.toml").get(table, {}).get("fields", {})
    if spec is None:
        return ()
    pairs = [("subject_id", "person_id"), ("encounter_id", "visit_occurrence_id"), *_columns(spec)]
    for below in spec.get("each", []):
        pairs += _columns(below)
    if table == "person":
        parts = ("birth_datetime", "year_of_birth", "month_of_birth", "day_of_birth")
        pairs += [(column, part) for part in parts for column in ("time", "time_precision")]
    if spec.get("encounter") is False:
        pairs = [pair for pair in pairs if pair[0] != "encounter_id"]
    return tuple(pair for pair in dict.fromkeys(pairs) if pair[1] in fields)


def _columns(spec: dict[str, Any]) -> list[tuple[str, str]]:
    """Column pairs of a group of events.toml; a caller keeps those that the table has."""

    def concept(name: str, *parts: str) -> list[str]:
        return [f"{name}_{part}" for part in (parts or ("concept_id", "source_concept_id", "source_value"))]

    pairs: list[tuple[str, str]] = []
    if "concept" in spec:
        pairs += [("code", column) for column in concept(spec["concept"])]
    for key in ("source", "type"):
        if key in spec:
            pairs.append(("code", spec[key]))
    if str(spec.get("code", "")).startswith("@"):
        pairs.append(("code", spec["code"][1:]))
    known = "end" if spec.get("available") == "end" else "time"
    for key, columns in (("time", ("time", "time_precision")), ("end", ("end_time",))):
        if key in spec:
            wanted = (*columns, "available_time") if key == known else columns
            pairs += [(column, moment) for moment in concept(spec[key], "datetime", "date") for column in wanted]
    if "number" in spec:
        pairs += [("numeric_value", spec["number"]), ("value_text", spec["number"])]
    for key in ("unit", "answer", "operator"):
        if key in spec:
            pairs += [("unit" if key == "unit" else "text_value", column) for column in concept(spec[key])]
    pairs += [("text_value", column) for column in spec.get("text", [])]
    if "status" in spec:
        pairs += [("status", column) for column in concept(spec["status"])]
    if "negated" in spec:
        pairs.append(("code", spec["negated"]["column"]))
    return pairs
