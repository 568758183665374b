"""Faults as they happen at hospitals, each a small change to a clean export of few patients, and who must find it."""

from __future__ import annotations

import base64
import copy
import gzip
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Export = dict[str, list[Any]]  # file stem to resources; bytes are lines as they are
TYPES = ("Patient", "Encounter", "Condition", "Observation", "Procedure", "Immunization", "MedicationRequest")
UCUM, LOINC, SNOMED = "http://unitsofmeasure.org", "http://loinc.org", "http://snomed.info/sct"
WRONG_IN_SYNTHEA = frozenset(["2885-2", "10834-0"])  # total protein in g/L marked g/dL, globulin the other way round
_NUMBER = itertools.count()


@dataclass(frozen=True)
class Fault:
    """One planted fault.

    Attributes:
        plant: Changes an export.
        gate: Gate that must find it.
        check: Its check.
        action: stop, quarantine or warn.
        base: Which export is changed: `small`, or `wide` (many patients, few resources).
        history: Whether a clean run comes before it into the same store.
        gates: Limits of the run.
        says: Part of what the verdict says.
    """

    plant: Callable[[Export], None]
    gate: str
    check: str
    action: str = "warn"
    base: str = "small"
    history: bool = False
    gates: dict[str, Any] = field(default_factory=dict)
    says: str = ""


# ── clean exports ─────────────────────────────────────────────────────────────────────────────────


def _read(folder: Path, kind: str) -> Iterator[Json]:
    with gzip.open(folder / f"{kind}.ndjson.gz", "rb") as file:
        for line in file:
            yield json.loads(line)


def of(resource: Json) -> str:
    """The patient that a resource is about."""
    subject = resource.get("subject") or resource.get("patient") or {}
    return str(subject.get("reference", "")).rpartition("/")[2]


def small(folder: Path, most: int = 8) -> Export:
    """Everything clinical of a few adults, one of them dead."""
    adults = [one for one in _read(folder, "Patient") if "1950" < one["birthDate"] < "1985"]
    chosen = [one for one in adults if "deceasedDateTime" in one][:1]
    for sex in ("female", "male"):
        chosen += [one for one in adults if one["gender"] == sex and "deceasedDateTime" not in one][: most // 2]
    ids = {one["id"] for one in chosen}
    export: Export = {kind: [one for one in _read(folder, kind) if of(one) in ids] for kind in TYPES[1:]}
    dead = {chosen[0]["id"]: chosen[0]["deceasedDateTime"]}
    export = {kind: [one for one in rows if not _late(one, dead.get(of(one)))] for kind, rows in export.items()}
    export["Observation"] = [one for one in export["Observation"] if code_of(one) not in WRONG_IN_SYNTHEA]
    return {"Patient": chosen, **export}


def _late(resource: Json, death: str | None) -> bool:
    """What Synthea goes on to prescribe after death."""
    when = str(resource.get("effectiveDateTime") or resource.get("authoredOn") or resource.get("recordedDate") or "")
    return death is not None and when > death


def wide(folder: Path, most: int = 36) -> Export:
    """Many adults, with their weights, and a result each month of two years and each day of two months."""
    people = [
        one for one in _read(folder, "Patient") if "1950" < one["birthDate"] < "1995" and "deceasedDateTime" not in one
    ]
    ids = {one["id"] for one in people[:most]}
    weights = [one for one in _read(folder, "Observation") if of(one) in ids and code_of(one) == "29463-7"]
    weights = [one for one in weights if one["effectiveDateTime"] > "2014"]
    visits = {one["encounter"]["reference"].rpartition("/")[2] for one in weights}
    feed = []
    for who in sorted(ids):
        template = next((one for one in weights if of(one) == who), weights[0])
        for month in range(24):
            when = f"{2018 + month // 12}-{month % 12 + 1:02d}-1{month % 9}T10:00:00Z"
            feed.append(_result(template, who, "718-7", 13.5, "g/dL", when))
    return {
        "Patient": people[:most],
        "Encounter": [one for one in _read(folder, "Encounter") if one["id"] in visits],
        "Observation": weights + feed,
    }


def code_of(resource: Json) -> str:
    """The first code of a resource."""
    return str(resource["code"]["coding"][0]["code"])


def write(export: Export, folder: Path) -> Path:
    """Write an export as ndjson, one file a type."""
    folder.mkdir(parents=True)
    for kind, rows in export.items():
        lines = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in rows]
        (folder / f"{kind}.ndjson").write_bytes(b"".join(line + b"\n" for line in lines))
    return folder


def _result(template: Json, who: str, loinc: str, value: float, unit: str, when: str) -> Json:
    return {
        "resourceType": "Observation", "id": f"planted-{next(_NUMBER)}", "status": "final",
        "code": {"coding": [{"system": LOINC, "code": loinc, "display": "planted"}]},
        "subject": {"reference": f"Patient/{who}"}, "effectiveDateTime": when,
        "valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit},
    }  # fmt: skip


# ── faults ────────────────────────────────────────────────────────────────────────────────────────


def _alive(export: Export, sex: str = "") -> Json:
    return next(
        one for one in export["Patient"] if "deceasedDateTime" not in one and one["gender"].startswith(sex)
    )  # fmt: skip


def result(loinc: str, value: float, unit: str) -> Callable[[Export], None]:
    """One result more, of an adult who is alive."""

    def plant(export: Export) -> None:
        who = _alive(export)["id"]
        when = max(one["effectiveDateTime"] for one in export["Observation"] if of(one) == who)
        export["Observation"].append(_result({}, who, loinc, value, unit, when))

    return plant


def each(kind: str, change: Callable[[Json], Any]) -> Callable[[Export], None]:
    """Change every resource of a type; None takes it away."""

    def plant(export: Export) -> None:
        export[kind] = [new for one in export[kind] if (new := change(copy.deepcopy(one))) is not None]

    return plant


def coded(kind: str, code: str, sex: str = "", system: str = SNOMED) -> Callable[[Export], None]:
    """Give the last resource of a type, of a subject of that sex, another code."""

    def plant(export: Export) -> None:
        who = {one["id"] for one in export["Patient"] if one["gender"].startswith(sex)}
        one = next(one for one in reversed(export[kind]) if of(one) in who)
        one["code"]["coding"] = [{"system": system, "code": code, "display": "planted"}]

    return plant


def pounds_once(export: Export) -> None:
    """One of a subject's weights is in pounds and says kg: the last, where the subject has many alike."""
    best = None
    for who in {of(one) for one in export["Observation"]}:
        own = [one for one in export["Observation"] if of(one) == who and code_of(one) == "29463-7"]
        values = sorted(one["valueQuantity"]["value"] for one in own[-6:])
        if len(own) >= 6 and values[-1] < 1.15 * values[0]:
            del own[:-6]
            best = own
    assert best, "nobody has weights enough"
    keep = {id(one) for one in best}
    who = of(best[0])
    export["Observation"] = [
        one for one in export["Observation"] if of(one) != who or code_of(one) != "29463-7" or id(one) in keep
    ]
    best[-1]["valueQuantity"]["value"] *= 2.2046


def _pounds(one: Json) -> Json:
    if code_of(one) == "29463-7":
        one["valueQuantity"]["value"] = round(one["valueQuantity"]["value"] * 2.2046, 1)
    return one


def _times(factor: float) -> Callable[[Json], Json]:
    def change(one: Json) -> Json:
        if "valueQuantity" in one:
            one["valueQuantity"]["value"] *= factor
        return one

    return change


def _without_unit(one: Json) -> Json:
    for name in ("unit", "code", "system"):
        one.get("valueQuantity", {}).pop(name, None)
    return one


def _worded(one: Json) -> Json:
    if one.pop("valueQuantity", None):
        one["valueString"] = "see report"
    return one


def _without(name: str) -> Callable[[Json], Json]:
    def change(one: Json) -> Json:
        one.pop(name, None)
        return one

    return change


def early(export: Export) -> None:
    """A diagnosis a century before birth."""
    one = next(one for one in export["Condition"] if of(one) == _alive(export)["id"])
    for name in ("onsetDateTime", "recordedDate"):
        one[name] = "1901-05-06"


def all_early(export: Export) -> None:
    """All births are those of babies: a wrong column."""
    for one in export["Patient"]:
        one["birthDate"] = "2020-06-01"
        one.pop("deceasedDateTime", None)


def late(export: Export) -> None:
    """A result three years after death."""
    dead = next(one for one in export["Patient"] if "deceasedDateTime" in one)
    when = f"{int(dead['deceasedDateTime'][:4]) + 3}{dead['deceasedDateTime'][4:10]}"
    export["Observation"].append(_result({}, dead["id"], "718-7", 13.0, "g/dL", f"{when}T10:00:00Z"))


def again(kinds: tuple[str, ...]) -> Callable[[Export], None]:
    """The whole feed once more, in other files and under new ids."""

    def plant(export: Export) -> None:
        for kind in kinds:
            export[f"{kind}.2"] = [{**one, "id": f"again-{one['id']}"[:64]} for one in export[kind]]

    return plant


def twice(export: Export) -> None:
    """The same resources once more, in other files, in another order."""
    for kind in list(export):
        export[f"{kind}.2"] = list(reversed(export[kind]))


def same_file(export: Export) -> None:
    """The very same file under two names."""
    export["Condition.copy"] = list(export["Condition"])


def lost(*kinds: str) -> Callable[[Export], None]:
    """Files that did not come."""

    def plant(export: Export) -> None:
        for kind in kinds:
            del export[kind]

    return plant


def half(kind: str) -> Callable[[Export], None]:
    """A file that was cut at the end of a line."""

    def plant(export: Export) -> None:
        export[kind] = export[kind][: len(export[kind]) // 3]

    return plant


def fewer(export: Export) -> None:
    """Half of the patients did not come."""
    gone = {one["id"] for one in export["Patient"][3:]}
    for kind in export:
        export[kind] = [one for one in export[kind] if of(one) not in gone and one["id"] not in gone]


def local_codes(one: Json) -> Json:
    """A code system of the site's own."""
    one["code"]["coding"] = [{"system": "http://ehr.example.org/codes", "code": f"X{code_of(one)}"}]
    return one


def other_codes(one: Json) -> Json:
    """Another mix of codes."""
    one["code"]["coding"][0]["code"] = "404684003"
    return one


def number_as_unit(export: Export) -> None:
    """Value and unit have changed places, in part of the feed."""
    for one in [one for one in export["Observation"] if "valueQuantity" in one][:20]:
        one["valueQuantity"] = {"value": one["valueQuantity"]["value"], "unit": "12"}


def broken_lines(export: Export) -> None:
    """Lines that break off."""
    rows = export["Observation"]
    export["Observation"] = [json.dumps(one).encode()[:80] if place % 9 == 0 else one for place, one in enumerate(rows)]


def not_utf8(export: Export) -> None:
    """Lines in another encoding."""
    rows = export["Condition"]
    export["Condition"] = [
        json.dumps(one).encode().replace(b'"Condition"', b'"Condition", "x": "\xe9"') for one in rows
    ]


def shifted(one: Json) -> Json:
    """Elements one column further: what was a code is an object's neighbour."""
    one["status"], one["effectiveDateTime"] = one.get("effectiveDateTime"), one.get("status")
    return one


def no_month(export: Export) -> None:
    """A month that was not exported."""
    export["Observation"] = [
        one for one in export["Observation"]
        if not (one["id"].startswith("planted") and one["effectiveDateTime"].startswith("2018-12"))
    ]  # fmt: skip


def no_day(export: Export) -> None:
    """A feed of every day, of which one was not exported."""
    for who in [one["id"] for one in export["Patient"]]:
        for day in range(15 * 7):
            if day != 52:
                month, rest = divmod(day, 28)
                when = f"2019-{month + 1:02d}-{rest + 1:02d}"
                export["Observation"].append(_result({}, who, "718-7", 13.5, "g/dL", f"{when}T10:00:00Z"))


FAULTS: dict[str, Fault] = {
    "potassium_14": Fault(result("6298-4", 14, "mmol/L"), "G2", "value_impossible", says="potassium"),
    "height_in_inches_marked_cm": Fault(result("8302-2", 66, "cm"), "G2", "value_impossible", says="height"),
    "temperature_f_marked_c": Fault(result("8310-5", 98.6, "Cel"), "G2", "value_impossible", says="temperature"),
    "temperature_c_marked_f": Fault(result("8310-5", 37.1, "[degF]"), "G2", "value_impossible", says="temperature"),
    "a1c_ifcc_marked_percent": Fault(result("4548-4", 48, "%"), "G2", "value_impossible", says="A1c"),
    "glucose_mmol_marked_mg": Fault(result("2339-0", 5.4, "mg/dL"), "G2", "value_impossible", says="glucose"),
    "glucose_mg_marked_mmol": Fault(result("2339-0", 105, "mmol/L"), "G2", "value_impossible", says="glucose"),
    "creatinine_umol_marked_mg": Fault(result("2160-0", 88, "mg/dL"), "G2", "value_impossible", says="creatinine"),
    "haemoglobin_g_per_l_marked_g_per_dl": Fault(result("718-7", 138, "g/dL"), "G2", "value_impossible", says="haemoglobin"),
    "sodium_without_decimal_point": Fault(result("2947-0", 1402, "mmol/L"), "G2", "value_impossible", says="sodium"),
    "saturation_over_100": Fault(result("2708-6", 980, "%"), "G2", "value_impossible", says="oxygen saturation"),
    "ph_without_decimal_point": Fault(result("2744-1", 74, "[pH]"), "G2", "value_impossible", says="pH"),
    "negative_heart_rate": Fault(result("8867-4", -60, "/min"), "G2", "value_impossible", says="heart rate"),
    "most_values_a_thousandfold": Fault(each("Observation", _times(1000)), "G2", "values_impossible", "stop"),
    "unit_of_another_quantity": Fault(result("29463-7", 80, "cm"), "G2", "unit_known"),
    "units_missing": Fault(each("Observation", _without_unit), "G2", "unit_present"),
    "numbers_became_words": Fault(each("Observation", _worded), "G2", "number_present"),
    "weight_in_pounds_once": Fault(pounds_once, "G2", "unit_swapped", "quarantine", says="weight"),
    "all_weights_in_pounds": Fault(each("Observation", _pounds), "G2", "median_unusual", base="wide", says="weight"),
    "diagnosis_before_birth": Fault(early, "G2", "before_birth"),
    "all_births_wrong": Fault(all_early, "G2", "many_before_birth", "stop"),
    "result_after_death": Fault(late, "G2", "after_death"),
    "pregnancy_of_a_man": Fault(coded("Condition", "72892002", "male"), "G2", "sex_implausible", "quarantine"),
    "prostate_cancer_of_a_woman": Fault(coded("Condition", "399068003", "female"), "G2", "sex_implausible", "quarantine"),
    "icd10_pregnancy_of_a_man": Fault(
        coded("Condition", "O80", "male", "http://hl7.org/fhir/sid/icd-10-cm"), "G2", "sex_implausible", "quarantine"
    ),
    "results_again_under_new_ids": Fault(again(("Observation",)), "G2", "results_repeated"),
    "site_codes": Fault(each("Condition", local_codes), "G2", "codes_unmapped", says="CONDITION"),
    "free_text_in_a_code": Fault(coded("Condition", "patient feels unwell"), "G1", "codes_well_formed"),
    "value_in_the_unit": Fault(number_as_unit, "G2", "unit_is_number"),
    "month_missing": Fault(no_month, "G2", "month_missing", base="wide"),
    "day_missing": Fault(no_day, "G2", "day_missing", base="wide"),
    "file_sent_twice": Fault(same_file, "G0", "file_twice"),
    "feed_doubled": Fault(twice, "G0", "feed_doubled"),
    "encounter_file_lost": Fault(lost("Encounter"), "G1", "encounters_known"),
    "patient_file_lost": Fault(lost("Patient"), "G1", "quarantined_share", "stop"),
    "broken_lines": Fault(broken_lines, "G1", "reasons_rare", says="bad_json"),
    "another_encoding": Fault(not_utf8, "G1", "reasons_rare", says="bad_utf8"),
    "shifted_columns": Fault(each("Observation", shifted), "G1", "quarantined_share", "stop"),
    "birth_dates_missing": Fault(each("Patient", _without("birthDate")), "G4", "birth_known"),
    "sexes_missing": Fault(each("Patient", _without("gender")), "G4", "sex_known"),
    "observation_file_lost": Fault(lost("Observation"), "G1", "type_lost", "stop", history=True, gates={"history_rows": 50}),
    "observation_file_cut": Fault(half("Observation"), "G1", "type_shrunk", history=True, gates={"history_rows": 50}),
    "observations_doubled": Fault(
        again(("Observation",)), "G1", "type_doubled", history=True, gates={"history_rows": 50}
    ),
    "everything_doubled": Fault(
        again(TYPES[1:]), "G4", "events_doubled", history=True, gates={"history_rows": 50}
    ),
    "patients_lost": Fault(fewer, "G4", "subjects_lost", history=True, gates={"history_rows": 50}),
    "other_codes": Fault(each("Condition", other_codes), "G4", "code_mix_moved", history=True, gates={"history_rows": 50}),
    "words_for_numbers": Fault(
        each("Observation", _worded), "G2", "value_type_moved", history=True, gates={"history_rows": 50}
    ),
}  # fmt: skip


# ── PHI where it does not belong: token, how, and the count that must say that it was taken away ──


def _in_note(text: str) -> Callable[[Export], None]:
    def plant(export: Export) -> None:
        who = _alive(export)["id"]
        data = base64.b64encode(text.format(**_said(export)).encode()).decode()
        export["DocumentReference"] = [{
            "resourceType": "DocumentReference", "id": "planted-note", "status": "current",
            "type": {"coding": [{"system": LOINC, "code": "11506-3", "display": "Progress note"}]},
            "subject": {"reference": f"Patient/{who}"}, "date": "2019-05-06T07:08:09Z",
            "content": [{"attachment": {"contentType": "text/plain", "data": data}}],
        }]  # fmt: skip

    return plant


def _said(export: Export) -> dict[str, str]:
    """What the record says of a patient who is alive."""
    one = _alive(export)
    name = one["name"][0]
    return {"given": name["given"][0], "family": name["family"], "mrn": MRN, "born": one["birthDate"]}


def _known(export: Export) -> None:
    """The identifiers that are planted elsewhere stand in the record, as they do in life."""
    one = _alive(export)
    one["name"] = [{"use": "official", "family": FAMILY, "given": [GIVEN]}]
    one["identifier"] = [{"type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
                          "system": "http://hospital.example.org/mrn", "value": MRN}]  # fmt: skip
    one["telecom"] = [{"system": "phone", "value": PHONE}, {"system": "email", "value": MAIL}]
    one["address"] = [{"line": [STREET], "city": "Quabbinfield", "state": "MA", "postalCode": "01301"}]


GIVEN, FAMILY, MRN, PHONE = "Zebedia", "Quillfeather", "8827364511", "617-555-0187"
MAIL, STREET = "zq.quill@mail.example", "4417 Larkspurton Lane"


def _own(kind: str, change: Callable[[Json], Any]) -> Callable[[Export], None]:
    def plant(export: Export) -> None:
        who = _alive(export)["id"]
        change(next(one for one in reversed(export[kind]) if of(one) == who))

    return plant


def _extension(url: str, **value: Any) -> Callable[[Json], None]:
    def change(one: Json) -> None:
        one.setdefault("extension", []).append({"url": url, **value})

    return change


PHI: dict[str, tuple[Callable[[Export], None], str]] = {
    "name_in_a_display": (
        _own("Condition", lambda one: one["code"]["coding"][0].update(display=f"Fracture of {GIVEN} {FAMILY}")), FAMILY
    ),
    "name_in_a_text": (_own("Condition", lambda one: one["code"].update(text=f"Known to {FAMILY}")), FAMILY),
    "name_in_a_string_value": (
        _own("Observation", lambda one: (one.pop("valueQuantity", None), one.update(valueString=f"per {GIVEN} {FAMILY}"))),
        FAMILY,
    ),
    "name_in_a_unit": (
        _own("Observation", lambda one: (one.pop("valueCodeableConcept", None),
                                         one.update(valueQuantity={"value": 1, "unit": FAMILY}))), FAMILY,
    ),
    "mrn_in_a_note": (_in_note(f"Chart {MRN} reviewed. Stable."), MRN),
    "name_in_a_note": (_in_note(f"{GIVEN} {FAMILY} was seen today. Stable."), FAMILY),
    "mail_in_a_note": (_in_note(f"Write to {MAIL} please."), MAIL),
    "phone_in_an_extension": (
        _own("Condition", _extension("http://ehr.example.org/callback", valueString=PHONE)), PHONE
    ),
    "address_in_an_annotation": (
        _own("Condition", lambda one: one.update(note=[{"text": f"Lives at {STREET}."}])), "Larkspurton"
    ),
    "name_in_a_narrative": (
        _own("Condition", lambda one: one.update(
            text={"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{GIVEN} <b>{FAMILY}</b></div>'})),
        FAMILY,
    ),
    "name_in_a_contained_resource": (
        _own("Condition", lambda one: one.update(
            contained=[{"resourceType": "RelatedPerson", "id": "r1", "name": [{"family": FAMILY}],
                        "patient": {"reference": "#p"}}])), FAMILY,
    ),
    "mrn_in_a_site_code": (
        _own("Condition", lambda one: one["code"].update(coding=[{"system": "http://ehr.example.org/c", "code": MRN}])), MRN
    ),
}  # fmt: skip


def with_phi(name: str) -> Callable[[Export], None]:
    """Plant PHI, and put its owner into the record."""

    def plant(export: Export) -> None:
        _known(export)
        PHI[name][0](export)

    return plant


def known_only(export: Export) -> None:
    """The record alone, to compare the counts with."""
    _known(export)


# ── tables ────────────────────────────────────────────────────────────────────────────────────────


def cdm(folder: Path, most: int = 40) -> dict[str, list[str]]:
    """The first persons of an OMOP export, with their conditions: lines of CSV, header first."""
    people = gzip.decompress((folder / "person.csv.gz").read_bytes()).decode().splitlines()[: most + 1]
    ids = {line.split(",")[0] for line in people[1:]}
    head, *rows = gzip.decompress((folder / "condition_occurrence.csv.gz").read_bytes()).decode().splitlines()
    return {"person": people, "condition_occurrence": [head, *(row for row in rows if row.split(",")[1] in ids)]}


def write_cdm(tables: dict[str, list[str]], folder: Path, every: int) -> None:
    """Write tables; of the conditions, one in `every` rows gets a cell too many."""
    folder.mkdir(parents=True)
    for name, (head, *rows) in tables.items():
        if every and name != "person":
            rows = [row.replace(",", ",,", 1) if place % every == 0 else row for place, row in enumerate(rows)]
        (folder / f"{name}.csv").write_text("\n".join([head, *rows]) + "\n")
