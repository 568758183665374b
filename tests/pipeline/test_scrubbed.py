"""FHIR in, de-identified FHIR out: layout, validity, references, consistency with the store, nothing on a leak."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from mayo_data import keys
from mayo_data.conformance.validate import fault
from mayo_data.errors import ConfigError, LeakError
from mayo_data.pipeline import run_file, scrubbed

Json = dict[str, Any]


def resources(folder: Path) -> Iterator[tuple[str, Json]]:
    for path in sorted(folder.rglob("*")):
        if path.name in ("manifest.json", "loss.json") or not path.is_file():
            continue
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if path.suffix == ".json":
            body = json.loads(text)
            for one in [entry["resource"] for entry in body["entry"]] if body["resourceType"] == "Bundle" else [body]:
                yield path.name, one
            continue
        for line in text.splitlines():
            yield path.name, json.loads(line)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


@pytest.fixture(scope="module")
def out(synthetic_export: Path, synthetic_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("scrubbed") / "out"
    scrubbed.scrub(synthetic_export / "fhir", target, key_file=synthetic_run / "site.key", workers=1)
    return target


def test_the_layout_is_that_of_the_input(synthetic_export: Path, out: Path) -> None:
    source = {path.name for path in (synthetic_export / "fhir").iterdir() if "ndjson" in path.name}
    assert {path.name for path in out.iterdir()} == source | {"manifest.json", "loss.json"}
    before = Counter((name, one["resourceType"]) for name, one in resources(synthetic_export / "fhir"))
    assert Counter((name, one["resourceType"]) for name, one in resources(out)) == before
    listed = json.loads((out / "manifest.json").read_bytes())["output"]
    assert sum(line["count"] for line in listed) == sum(before.values())


def test_all_of_it_is_valid_by_fhir_resources(out: Path) -> None:
    from fhir.resources.R4B import get_fhir_model_class

    seen: Counter[str] = Counter()
    for _, one in resources(out):
        assert fault(json.dumps(one).encode()) is None
        seen[one["resourceType"]] += 1
        if seen[one["resourceType"]] <= 5:
            get_fhir_model_class(one["resourceType"]).model_validate(one)


def test_references_lead_where_they_led(synthetic_export: Path, out: Path) -> None:
    def unresolved(folder: Path) -> tuple[int, int]:
        found = [one for _, one in resources(folder)]
        there = {f"{one['resourceType']}/{one['id']}" for one in found}
        named = [ref for one in found for ref in references(one) if not ref.startswith("#")]
        return len(named), sum(ref not in there for ref in named)

    (kept, lost), (named, none) = unresolved(out), unresolved(synthetic_export / "fhir")
    patients = sum(one["resourceType"] == "Patient" for _, one in resources(out))
    assert lost == none == 0
    assert kept == named - patients  # the assigner of an identifier goes with its number


def test_pseudonyms_are_those_of_the_store(synthetic_store: Path, out: Path) -> None:
    import mayo_data as md

    with md.connect(synthetic_store) as db:
        subjects = {str(row[0]) for row in db.sql("select subject_id from subject").fetchall()}
        keyed = {
            f"{row[0]:016x}"
            for row in db.sql("select resource_key from resource where resource_type = 'Encounter'").fetchall()
        }
    patients = {one["id"] for _, one in resources(out) if one["resourceType"] == "Patient"}
    encounters = {one["id"] for _, one in resources(out) if one["resourceType"] == "Encounter"}
    assert patients == subjects
    assert keyed <= encounters


def test_nothing_of_the_patients_names_and_numbers_is_left(synthetic_export: Path, out: Path) -> None:
    said = " ".join(json.dumps(one) for _, one in resources(out))
    for _, one in resources(synthetic_export / "fhir"):
        if one["resourceType"] in ("Patient", "Practitioner"):
            assert f'"{one["id"]}"' not in said
            for identifier in one.get("identifier", ()):
                assert f'"{identifier["value"]}"' not in said
                assert f'"{identifier["system"]}"' not in said or "terminology" in identifier["system"]


def test_the_loss_report_balances(out: Path) -> None:
    loss = json.loads((out / "loss.json").read_bytes())
    for step in loss["steps"]:
        assert step["rows_in"] == step["rows_out"] + sum(step["dropped"].values())
    assert loss["notes"]["elements/unnamed"] > 0
    assert loss["phi"]["STAFF/pseudonymise"] > 0


def write(path: Path, *rows: Json) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


PATIENT: Json = {
    "resourceType": "Patient", "id": "p1", "name": [{"family": "Quimbleford", "given": ["Ottoline"]}],
    "birthDate": "1971-03-04", "telecom": [{"system": "phone", "value": "555-0142"}],
}  # fmt: skip


def go(tmp_path: Path, *rows: Json, name: str = "x.ndjson", **more: Any) -> Path:
    if not (tmp_path / "in").exists():
        write(tmp_path / "in" / name, *rows)
    if not (tmp_path / "site.key").exists():
        keys.generate(tmp_path / "site.key")
    scrubbed.scrub(tmp_path / "in", tmp_path / "out", key_file=tmp_path / "site.key", workers=1, **more)
    return tmp_path / "out"


def test_file_names_do_not_leak(tmp_path: Path) -> None:
    for name in ("Quimbleford_Ottoline.ndjson", "sub/Patient.ndjson", "Patient.ndjson", "Quimbleford.json"):
        write(tmp_path / "in" / name, PATIENT)
    out = go(tmp_path)
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*.*json"))
    assert not any("uimble" in name for name in names)
    assert "Patient.ndjson" in names
    assert len(names) == 6
    assert b"uimble" not in b"".join(path.read_bytes() for path in out.rglob("*.*") if path.is_file())


def test_digits_dates_and_zones_keep_their_precision(tmp_path: Path) -> None:
    body = (
        '{"resourceType":"Observation","id":"o","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/p1"},'
        '"effectiveDateTime":"2020-02","issued":"2020-03-01T10:00:00.120+05:30","valueQuantity":{"value":1.10}}'
    )
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "Observation.ndjson").write_text(json.dumps(PATIENT) + "\n" + body + "\n")
    text = (go(tmp_path) / "Observation.ndjson").read_text()
    assert '"value":1.10' in text
    assert re.search(r'"effectiveDateTime":"\d{4}-\d\d"', text)
    assert re.search(r'"issued":"\d{4}-\d\d-\d\dT10:00:00.120\+05:30"', text)


def test_a_number_of_the_patient_is_masked_and_the_run_goes_on(tmp_path: Path) -> None:
    rows = [
        {"resourceType": "Observation", "id": f"o{n}", "status": "final", "code": {"text": "x"},
         "subject": {"reference": "Patient/p1"}, "valueInteger": value}
        for n, value in enumerate((5550142, 7))
    ]  # fmt: skip
    out = go(tmp_path, PATIENT, *rows)
    values = [one.get("valueInteger") for _, one in resources(out) if one["resourceType"] == "Observation"]
    assert sorted(values, key=str) == [7, None]
    report = run_file("fhir.toml", tmp_path / "in", tmp_path / "store", key_file=tmp_path / "site.key", workers=1)
    assert report.phi["PHONE/drop"] >= 1


def test_an_observation_finds_its_subject_through_the_encounter(tmp_path: Path) -> None:
    encounter = {
        "resourceType": "Encounter",
        "id": "e",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": "Patient/p1"},
    }
    lone = {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}, "encounter": {"reference": "Encounter/e"},
            "note": [{"text": "Quimbleford was well"}]}  # fmt: skip
    out = go(tmp_path, lone, encounter, PATIENT)
    found = {one["resourceType"]: one for _, one in resources(out)}
    assert found["Observation"]["encounter"]["reference"] == f"Encounter/{found['Encounter']['id']}"
    assert "Quimbleford" not in json.dumps(found)
    assert "was well" in found["Observation"]["note"][0]["text"]


def test_two_patients_who_are_one_person_become_one_subject(tmp_path: Path) -> None:
    number = {"system": "http://hospital/mrn", "value": "M-100200300"}
    other = {**PATIENT, "id": "p2", "name": [{"family": "Vantongeren"}]}
    third = {"resourceType": "Patient", "id": "p3", "link": [{"other": {"reference": "Patient/p1"}, "type": "refer"}]}
    facts = [
        {
            "resourceType": "Condition",
            "id": f"c{n}",
            "subject": {"reference": f"Patient/p{n}"},
            "note": [{"text": "Ms. Vantongeren is well"}],
        }
        for n in (1, 2, 3)
    ]
    (tmp_path / "join.toml").write_text('name = "join"\n[phi]\njoin = ["http://hospital/mrn"]\n')
    rows = ({**PATIENT, "identifier": [number]}, {**other, "identifier": [number]}, third, *facts)
    out = go(tmp_path, *rows, pipeline=tmp_path / "join.toml")
    found = [one for _, one in resources(out)]
    patients = [one for one in found if one["resourceType"] == "Patient"]
    assert len({one["subject"]["reference"] for one in found if one["resourceType"] == "Condition"}) == 1
    assert len({one["id"] for one in patients}) == 3
    [first] = [one["id"] for one in patients if "link" not in one]
    assert [one["link"][0]["other"]["reference"] for one in patients if "link" in one] == [f"Patient/{first}"] * 2
    assert "Vantongeren" not in json.dumps(found)


def test_a_group_and_its_members(tmp_path: Path) -> None:
    group = {"resourceType": "Group", "id": "g", "type": "person", "actual": True, "name": "Quimbleford family",
             "member": [{"entity": {"reference": "Patient/p1", "display": "Ottoline"}}]}  # fmt: skip
    about = {
        "resourceType": "Observation",
        "id": "o",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "Group/g"},
    }
    found = {one["resourceType"]: one for _, one in resources(go(tmp_path, group, about, PATIENT))}
    assert found["Group"]["member"][0]["entity"] == {"reference": f"Patient/{found['Patient']['id']}"}
    assert found["Observation"]["subject"]["reference"] == f"Group/{found['Group']['id']}"
    assert "uimbleford" not in json.dumps(found)


def test_a_leak_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mayo_data.phi.actions import Actions

    monkeypatch.setattr(Actions, "text", lambda self, path: lambda value: value)
    condition = {
        "resourceType": "Condition",
        "id": "c",
        "subject": {"reference": "Patient/p1"},
        "note": [{"text": "Ottoline Quimbleford"}],
    }
    with pytest.raises(LeakError) as caught:
        go(tmp_path, PATIENT, condition)
    assert "uimbleford" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.phi", "site.key"]


def test_an_output_that_is_there_is_not_touched(tmp_path: Path) -> None:
    write(tmp_path / "out" / "mine.txt", {})
    with pytest.raises(ConfigError):
        go(tmp_path, PATIENT)
    assert os.listdir(tmp_path / "out") == ["mine.txt"]


def test_a_binary_is_scrubbed_as_text_of_its_patient(tmp_path: Path) -> None:
    def data(text: bytes) -> str:
        return base64.b64encode(text).decode()

    document = {"resourceType": "DocumentReference", "id": "d", "status": "current", "subject": {"reference": "Patient/p1"},
                "content": [{"attachment": {"contentType": "text/plain", "url": f"https://ehr.example.org/Binary/{n}"}} for n in (1, 2)]}  # fmt: skip
    html = data(b"<html><body><p>Quimbleford came for a check</p></body></html>")
    binaries = [{"resourceType": "Binary", "id": "1", "contentType": "text/html", "data": html},
                {"resourceType": "Binary", "id": "2", "contentType": "application/pdf", "data": data(b"%PDF Quimbleford")}]  # fmt: skip
    found = [one for _, one in resources(go(tmp_path, PATIENT, document, *binaries))]
    text, pdf = sorted((one for one in found if one["resourceType"] == "Binary"), key=lambda one: "data" not in one)
    assert "came for a check" in base64.b64decode(text["data"]).decode()
    assert b"Quimbleford" not in base64.b64decode(text["data"])
    assert "data" not in pdf
    urls = [
        part["attachment"]["url"]
        for one in found
        if one["resourceType"] == "DocumentReference"
        for part in one["content"]
    ]
    assert urls == [f"Binary/{text['id']}", f"Binary/{pdf['id']}"]


def test_who_is_only_contained_is_known(tmp_path: Path) -> None:
    contained = [
        {"resourceType": "Practitioner", "id": "d", "name": [{"given": ["Berenike"], "family": "Vantongeren"}]},
        {
            "resourceType": "RelatedPerson",
            "id": "r",
            "patient": {"reference": "Patient/p1"},
            "name": [{"given": ["Ptolemy"], "family": "Xanthopolous"}],
        },
        {"resourceType": "Organization", "id": "o", "name": "Zyzzyva Valley Clinic"},
    ]
    text = "Ptolemy came along; reviewed with Berenike Vantongeren at Zyzzyva Valley Clinic. Xanthopolous agrees. Foley placed."
    condition = {
        "resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/p1"}, "note": [{"text": text}],
    }  # fmt: skip
    holder = {**condition, "id": "h", "contained": contained, "asserter": {"reference": "#d"}}
    out = go(tmp_path, PATIENT, condition, holder)
    found = [one for _, one in resources(out) if one["resourceType"] == "Condition"]
    said = json.dumps(found)
    for word in ("Ptolemy", "Xanthopolous", "Berenike", "Vantongeren", "Zyzzyva"):
        assert word not in said
    assert "Foley placed" in said
    [holding] = [one for one in found if "contained" in one]
    inner = {one["resourceType"]: one for one in holding["contained"]}
    assert holding["asserter"]["reference"] == "#" + inner["Practitioner"]["id"]


def content(kind: str, text: str | bytes) -> Json:
    raw = text.encode() if isinstance(text, str) else text
    digest = base64.b64encode(hashlib.sha1(raw, usedforsecurity=False).digest()).decode()
    data = base64.b64encode(raw).decode()
    return {"attachment": {"contentType": kind, "data": data, "size": len(raw), "hash": digest}}


PAGE = """<html><head><title>Visit of Quimbleford</title><style>p {}</style><script>var n = "Quimbleford"</script></head>
<body class="Quimbleford"><!-- Quimbleford --><h1>Visit</h1><p onclick="f('Quimbleford')">Seen: <b>Otto</b>line Quimbleford.</p>
<table><tr><td colspan="2">BP</td><td>128/76</td></tr></table><a href="mailto:q@example.org">mail</a><img src="q.png"></body></html>"""


def test_html_comes_back_as_html_and_rtf_as_text(tmp_path: Path) -> None:
    kinds = [("text/html; charset=utf-8", PAGE), ("application/xhtml+xml", PAGE), ("text/rtf", r"{\rtf1{\info Quimbleford}BP \b 128/76\b0\par Quimbleford}"),
             ("text/plain", "BP 128/76, Quimbleford"), ("application/pdf", b"%PDF Quimbleford"), ("image/png", b"Quimbleford")]  # fmt: skip
    document = {"resourceType": "DocumentReference", "id": "d", "status": "current", "subject": {"reference": "Patient/p1"},
                "content": [content(*one) for one in kinds]}  # fmt: skip
    out = go(tmp_path, PATIENT, document)
    [found] = [one for _, one in resources(out) if one["resourceType"] == "DocumentReference"]
    made = [part["attachment"] for part in found["content"] if "contentType" in part["attachment"]]
    assert [one["contentType"].partition(";")[0] for one in made] == [
        "text/html",
        "application/xhtml+xml",
        "text/plain",
        "text/plain",
    ]
    for one in made:
        raw = base64.b64decode(one["data"])
        assert one["size"] == len(raw)
        assert one["hash"] == base64.b64encode(hashlib.sha1(raw, usedforsecurity=False).digest()).decode()
        assert b"Quimbleford" not in raw
        assert b"Ottoline" not in raw
        assert b"128/76" in raw
    html, xhtml = (base64.b64decode(one["data"]).decode() for one in made[:2])
    assert html.startswith("<!DOCTYPE html>")
    for text in (html.removeprefix("<!DOCTYPE html>\n"), xhtml):
        tree = ET.fromstring(text)
        assert {node.tag.rpartition("}")[2] for node in tree.iter()} == {
            "html",
            "body",
            "h1",
            "p",
            "b",
            "table",
            "tr",
            "td",
        }
        assert [node.attrib for node in tree.iter() if node.attrib] == [{"colspan": "2"}]
    loss = json.loads((out / "loss.json").read_bytes())
    assert loss["notes"]["attachments/dropped"] == 2
    assert b"Quimbleford" not in b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())


def test_a_narrative_keeps_its_form(tmp_path: Path) -> None:
    div = (
        '<div xmlns="http://www.w3.org/1999/xhtml" id="q"><p class="x"><b>Ottoline</b> Quimbleford &lt; 3 &amp; well</p>'
        '<table><tr><td>BP</td><td>128/76</td></tr></table><a href="#x">see</a></div>'
    )
    observation = {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"},
                   "subject": {"reference": "Patient/p1"}, "text": {"status": "generated", "div": div}}  # fmt: skip
    nobody = {"resourceType": "Basic", "id": "b", "code": {"text": "x"}, "text": {"status": "generated", "div": div}}
    found = {one["resourceType"]: one for _, one in resources(go(tmp_path, PATIENT, observation, nobody))}
    assert "text" not in found["Basic"]
    made = found["Observation"]["text"]["div"]
    tree = ET.fromstring(made)
    assert tree.tag == "{http://www.w3.org/1999/xhtml}div"
    assert [node.tag.rpartition("}")[2] for node in tree.iter()] == ["div", "p", "b", "table", "tr", "td", "td"]
    words = " ".join("".join(tree.itertext()).split())
    assert re.fullmatch(r"\S+ \S+ < 3 & well BP128/76 see", words)
    assert "Ottoline" not in words
    assert "Quimbleford" not in words


def test_the_audit_reads_across_tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mayo_data.phi.text import Scrubbed, TextScrubber

    monkeypatch.setattr(TextScrubber, "rewritten", lambda self, text, known, **how: Scrubbed(text, [], []))
    document = {"resourceType": "DocumentReference", "id": "d", "status": "current", "subject": {"reference": "Patient/p1"},
                "content": [content("text/html", "<p>Otto<b>line Quimble</b>ford</p>")]}  # fmt: skip
    with pytest.raises(LeakError, match=r"attachment\.data, PATIENT"):
        go(tmp_path, PATIENT, document)


# ── order ─────────────────────────────────────────────────────────────────────────────────────────


def people(count: int) -> list[Json]:
    return [{"resourceType": "Patient", "id": f"p{n}", "birthDate": f"{1950 + n}"} for n in range(count)]


@pytest.mark.parametrize("split_mib", [32, 1])
def test_the_place_of_a_line_is_that_of_its_keyed_id(
    tmp_path: Path, split_mib: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrubbed, "_OPEN", 2)  # so that parts are joined in turns
    rows = [{"resourceType": "Observation", "id": f"o{n}", "status": "final", "code": {"text": "x" * 9000},
             "subject": {"reference": f"Patient/p{n % 9}"}, "valueInteger": n} for n in range(600)]  # fmt: skip
    (tmp_path / "split.toml").write_text(f'name = "s"\n[source]\nsplit_mib = {split_mib}\n')
    out = go(tmp_path, *people(9), *rows, pipeline=tmp_path / "split.toml")
    ids = [one["id"] for _, one in resources(out) if one["resourceType"] == "Observation"]
    assert len(ids) == 600
    assert ids == sorted(ids)
    values = [one["valueInteger"] for _, one in resources(out) if one["resourceType"] == "Observation"]
    assert sorted(values) == list(range(600))
    upwards = sum(one < other for one, other in pairwise(values))
    assert 240 < upwards < 360  # a shuffled row goes up half of the time
    assert not list((tmp_path / "out.phi" / "work").iterdir())


def test_versions_of_a_resource_stay_in_their_order(tmp_path: Path) -> None:
    """What is read later is newer where nothing else says so: that must hold in the copy, too."""
    rows = [{"resourceType": "Observation", "id": f"o{n % 3}", "status": "final", "code": {"text": "x"},
             "subject": {"reference": "Patient/p1"}, "valueInteger": n} for n in range(30)]  # fmt: skip
    out = go(tmp_path, PATIENT, *rows)
    said: dict[str, list[int]] = {}
    for _, one in resources(out):
        if one["resourceType"] == "Observation":
            said.setdefault(one["id"], []).append(one["valueInteger"])
    assert sorted(said.values()) == [list(range(first, 30, 3)) for first in range(3)]


def test_the_number_of_a_document_tells_nothing_of_its_name(tmp_path: Path) -> None:
    """Files that are one a patient, called by their names: their order must not be that of the names."""
    for number, one in enumerate(people(40)):
        bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one}]}
        write(tmp_path / "in" / f"{number:02d}_Quimbleford.json", bundle)
    out = go(tmp_path)
    years = [int(one["birthDate"][:4]) for name, one in sorted(resources(out), key=lambda pair: pair[0])]
    assert len(years) == 40
    upwards = sum(one < other for one, other in pairwise(years))
    assert 8 < upwards < 32
    report = run_file("fhir.toml", tmp_path / "in", tmp_path / "store", key_file=tmp_path / "site.key", workers=1)
    named = (tmp_path / "store.phi" / "quarantine" / report.run_id / "sources.tsv").read_text().splitlines()[1:]
    numbers = [int(line.split("\t")[0]) for line in sorted(named, key=lambda line: line.split("\t")[2])]
    assert sorted(numbers) == list(range(40))
    assert numbers != sorted(numbers)
    (tmp_path / "in").rename(tmp_path / "moved")  # where it lies, and who works, does not matter
    again = run_file("fhir.toml", tmp_path / "moved", tmp_path / "two", key_file=tmp_path / "site.key", workers=2)
    assert again.logical_digest == report.logical_digest
