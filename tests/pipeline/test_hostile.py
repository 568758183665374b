"""Bad input gets a clear error and loses nothing: good rows commit, bad rows lie in the quarantine with file, line, reason."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hospital import (
    KEY,
    LOINC,
    balanced,
    cli,
    codes_of,
    command_line,
    events,
    export,
    go,
    key_file,
    lines,
    note,
    observation,
    patient,
    peak,
    pipeline_file,
    quarantined,
    reasons,
)

from mayo_data.errors import GateError, LeakError, SourceError, StoreError
from mayo_data.pipeline import RunReport

P, O1, O2 = patient(), observation("o1"), observation("o2")
CREATININE = "OBSERVATION//LOINC//2160-0"


def without(body: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in names}


def with_raw(name: str, raw: str) -> bytes:
    """An observation in which one element is this very JSON."""
    return json.dumps({**without(observation("x"), name), name: "@"}).replace('"@"', raw).encode()


BAD: dict[str, tuple[bytes | dict[str, Any], str]] = {
    "truncated": (lines(O2)[:-40], "bad_json"),
    "empty object": (b"{}", "missing_type"),
    "invalid utf-8": (lines(O2).rstrip().replace(b"Creatinine", b"Creat\xffnine"), "bad_utf8"),
    "invalid utf-8 in what is dropped": (lines({**O2, "zzz": "@"}).rstrip().replace(b"@", b"\xc3\x28"), "bad_utf8"),
    "utf-16": ('{"resourceType":"Observation"}'.encode("utf-16"), "bad_utf8"),
    "list": (b"[1,2]", "not_an_object"),
    "string": (b'"Observation"', "not_an_object"),
    "number": (b"5", "not_an_object"),
    "null": (b"null", "not_an_object"),
    "not a number": (b"NaN", "bad_json"),
    "not a number inside": (with_raw("valueInteger", "NaN"), "bad_json"),
    "infinity": (with_raw("valueInteger", "-Infinity"), "bad_json"),
    "python": (b"{'resourceType': 'Observation'}", "bad_json"),
    "two values": (b"{} {}", "bad_json"),
    "nul bytes": (b"\0\0\0\0", "bad_json"),
    "nul in a string": (b'{"a":"\0"}', "bad_json"),
    "lone surrogate": (with_raw("valueString", '"\\ud800"'), "bad_json"),
    "no type": (without(O2, "resourceType"), "missing_type"),
    "type is a number": ({**O2, "resourceType": 5}, "missing_type"),
    "unknown type": ({**O2, "resourceType": "Obsrvation"}, "unknown_type"),
    "no id": (without(O2, "id"), "missing_id"),
    "id is empty": ({**O2, "id": ""}, "missing_id"),
    "id is a number": ({**O2, "id": 5}, "missing_id"),
    "patient without id": (without(P, "id"), "missing_id"),
    "no subject": (without(O2, "subject"), "missing_subject"),
    "subject is null": ({**O2, "subject": None}, "missing_subject"),
    "subject is a string": ({**O2, "subject": "Patient/p1"}, "missing_subject"),
    "subject is a list": ({**O2, "subject": [{"reference": "Patient/p1"}]}, "missing_subject"),
    "reference is a list": ({**O2, "subject": {"reference": ["Patient/p1"]}}, "missing_subject"),
    "reference to itself": ({**O2, "subject": {"reference": "#p"}}, "missing_subject"),
    "reference to nobody": ({**O2, "subject": {"reference": "Patient/nobody"}}, "unknown_subject"),
    "identifier of nobody": ({**O2, "subject": {"identifier": {"value": "77"}}}, "unknown_subject"),
    "code is a string": ({**O2, "code": "x"}, "wrong_shape"),
    "code is a number": ({**O2, "code": 5}, "wrong_shape"),
    "coding is an object": ({**O2, "code": {"coding": {"system": LOINC, "code": "2160-0"}}}, "wrong_shape"),
    "coding of strings": ({**O2, "code": {"coding": ["2160-0"]}}, "wrong_shape"),
    "code of a coding is a list": ({**O2, "code": {"coding": [{"system": LOINC, "code": ["2160-0"]}]}}, "wrong_shape"),
    "system is an object": ({**O2, "code": {"coding": [{"system": {}, "code": "2160-0"}]}}, "wrong_shape"),
    "display is a number": ({**O2, "code": {"coding": [{"system": LOINC, "code": "2160-0", "display": 5}]}}, "wrong_shape"),
    "text is a list": ({**O2, "code": {"text": ["a"]}}, "wrong_shape"),
    "value is a string": ({**O2, "valueQuantity": {"value": "5"}}, "wrong_shape"),
    "value is true": ({**O2, "valueQuantity": {"value": True}}, "wrong_shape"),
    "quantity is a number": ({**O2, "valueQuantity": 5}, "wrong_shape"),
    "unit is a list": ({**O2, "valueQuantity": {"value": 5, "unit": ["mg"]}}, "wrong_shape"),
    "component of a string": ({**O2, "component": ["x"]}, "wrong_shape"),
    "lists of lists": ({**O2, "component": [[{}]]}, "wrong_shape"),
    "note is a string": ({**O2, "note": "x"}, "wrong_shape"),
    "status is an object": ({**O2, "status": {}}, "wrong_shape"),
    "meta is a string": ({**O2, "meta": "x"}, "wrong_shape"),
    "extension is a string": ({**P, "id": "p7", "extension": "x"}, "wrong_shape"),
    "inner extension is a number": (
        {**P, "id": "p8", "extension": [{"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race", "extension": 5}]},
        "wrong_shape",
    ),
    "birth date is a number": ({**P, "id": "p5", "birthDate": 5}, "wrong_shape"),
    "birth date is words": ({**P, "id": "p6", "birthDate": "long ago"}, "bad_date"),
    "birth date is nearly digits": ({**P, "id": "p9", "birthDate": "19²0-01-01"}, "bad_date"),
    "date is an object": ({**O2, "effectiveDateTime": {"value": "2020-01-01"}}, "wrong_shape"),
    "date is American": ({**O2, "effectiveDateTime": "05/06/2020"}, "bad_date"),
    "date is impossible": ({**O2, "effectiveDateTime": "2020-02-30"}, "bad_date"),
    "date is in an unread period": ({**O2, "effectivePeriod": {"start": "x"}}, "bad_date"),
    "modifierExtension": ({**O2, "modifierExtension": [{"url": "urn:not"}]}, "modifier_extension"),
    "modifierExtension within": ({**O2, "component": [{"modifierExtension": [{"url": "urn:not"}]}]}, "modifier_extension"),
    "nested objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "bad_json"),
    "nested in a resource": (with_raw("note", '[{"text":' * 10_000 + '"x"' + "}]" * 10_000), "bad_json"),
    "nested lists": (b"[" * 10_000 + b"]" * 10_000, "not_an_object"),
}  # fmt: skip


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunReport]:
    """One run over every bad row, each between two good ones."""
    folder = tmp_path_factory.mktemp("bad")
    rows: list[bytes | dict[str, Any]] = [P]
    for number, (row, _) in enumerate(BAD.values()):
        rows += [row, observation(f"good{number}")]
    export(folder / "in", {"a.ndjson": rows})
    report = go(folder / "in", folder / "store", validate="off")  # the scrub stands alone
    return folder / "store", report


def test_every_bad_row_is_set_aside_and_every_good_one_committed(bad: tuple[Path, RunReport]) -> None:
    store, report = bad
    balanced(report)
    assert codes_of(store).count(CREATININE) == len(BAD)
    assert report.steps[0].rows_in == 1 + 2 * len(BAD)
    assert len(quarantined(store)) == sum(report.steps[1].dropped.values()) == len(BAD)


@pytest.mark.parametrize(("number", "name"), list(enumerate(BAD)))
def test_a_bad_row_has_its_reason(bad: tuple[Path, RunReport], number: int, name: str) -> None:
    [row] = [row for row in quarantined(bad[0]) if row["line"] == 2 + 2 * number]
    wanted = BAD[name][1]
    if name == "nested lists":
        assert row["reason"] in ("not_an_object", "bad_json")
    else:
        assert (row["file"], row["arrow"], row["reason"]) == ("a.ndjson", "scrub", wanted)
    if wanted in ("wrong_shape", "bad_date", "modifier_extension"):
        assert row["path"].split(".")[0] in ("Observation", "Patient")
    if wanted not in ("bad_utf8",):
        body = BAD[name][0]
        assert row["body"] == (body if isinstance(body, bytes) else lines(body).rstrip()).decode()[: 1 << 20]


FINE: dict[str, bytes | dict[str, Any]] = {
    "null elements": {**observation("x"), "status": None, "note": None, "component": None},
    "null in lists": {**observation("x"), "component": [None], "note": [None]},
    "status in a list": {**observation("x"), "status": ["final"]},
    "keys twice": lines(observation("x")).rstrip()[:-1] + b',"id":"y","status":"amended"}',
    "huge number": with_raw("valueQuantity", '{"value": 1e999999}'),
    "tiny number": with_raw("valueQuantity", '{"value": 1e-999999}'),
    "long number": with_raw("valueQuantity", '{"value": ' + "9" * 5000 + "}"),
    "number beyond all": with_raw("valueQuantity", '{"value": 1e99999999999999999999}'),
    "nul escaped": {**observation("x"), "valueString": "a\0b", "valueQuantity": None},
    "carriage return": lines(observation("x")).rstrip() + b"\r",
    "spaces around": b"  " + lines(observation("x")).rstrip() + b"\t",
    "type last": {**without(observation("x"), "resourceType"), "resourceType": "Observation"},
    "type escaped": lines(observation("x")).rstrip().replace(b'"Observation"', b'"\\u004fbservation"'),
    "contained is a string": {**observation("x"), "contained": "x"},
    "contained of numbers": {**observation("x"), "contained": [5, {"id": 5}]},
    "encounter is words": {**observation("x"), "encounter": {"display": "x"}},
    "comparator is an object": {**observation("x"), "valueQuantity": {"value": 5, "comparator": {}}},
    "extension elsewhere": {**observation("x"), "extension": "x", "_status": 5},
    "a long display": {
        **observation("x"),
        "code": {"coding": [{"system": LOINC, "code": "2160-0", "display": "x " * 9000}]},
    },
    "charset that is none": note("x", "text", "text/plain; charset=undefined"),
    "attachment that is no base64": note("x", "text") | {"content": [{"attachment": {"data": "%%%"}}]},
    "attachment that is a number": note("x", "text") | {"content": [{"attachment": {"data": 5, "contentType": 7}}]},
    "markup left open": note("x", "<!--" * 50_000, "text/html"),
}


@pytest.fixture(scope="module")
def fine(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunReport]:
    folder = tmp_path_factory.mktemp("fine")
    rows: list[bytes | dict[str, Any]] = [P]
    for number, row in enumerate(FINE.values()):
        raw = row if isinstance(row, bytes) else json.dumps(row).encode()
        rows.append(raw.replace(b'"id": "x"', b'"id":"x"').replace(b'"id":"x"', b'"id":"x%d"' % number))
    export(folder / "in", {"a.ndjson": rows})
    return folder / "store", go(folder / "in", folder / "store", validate="off")


@pytest.mark.parametrize(("number", "name"), list(enumerate(FINE)))
def test_an_odd_row_is_used_all_the_same(fine: tuple[Path, RunReport], number: int, name: str) -> None:
    store, report = fine
    balanced(report)
    assert [row["reason"] for row in quarantined(store) if row["line"] == number + 2] == []
    found = [row for row in events(store) if row["source_row"] == number + 2]
    assert found
    if name.endswith((" number", " beyond all")):
        assert all(row["numeric_value"] in (None, 0.0) for row in found if row["code"] == CREATININE)


def test_identifiers_of_any_shape_do_not_stop_a_run(tmp_path: Path) -> None:
    odd = [
        "(",
        ".*",
        "[a-",
        "\\",
        "%s",
        "a" * 100_000,
        "\u202e",
        "\0",
        "😀",
        " ",
        "and",
        "Final",
        "mg",
        "2160-0",
        "x" * 3,
    ]
    rows = [
        patient(f"p{number}", name=[{"family": text, "given": [text, text], "text": text}], identifier=[{"value": text}],
                telecom=[{"value": text}], address=[{"line": [text], "city": text, "postalCode": text}])
        for number, text in enumerate(odd)
    ]  # fmt: skip
    rows += [
        observation(f"o{number}", f"p{number}", note=[{"text": f"seen by {text[:50]} today"}])
        for number, text in enumerate(odd)
    ]
    report = go(export(tmp_path / "in", {"a.ndjson": rows}), tmp_path / "store")
    balanced(report)
    assert report.subjects == len(odd)


# ── files ─────────────────────────────────────────────────────────────────────────────────────────


def run_over(tmp_path: Path, files: dict[str, Any], **more: Any) -> tuple[Path, RunReport]:
    report = go(export(tmp_path / "in", files), tmp_path / "store", **more)
    balanced(report)
    return tmp_path / "store", report


def test_blank_lines_are_no_rows_and_keep_their_numbers(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + lines(P, b"", b"\r", b"    ", O1).replace(b"\n", b"\r\n") + b"{bad}"
    store, report = run_over(tmp_path, {"a.ndjson": content})
    assert report.steps[0].rows_in == 3
    assert reasons(store) == [("a.ndjson", 6, "scrub/bad_json")]
    assert codes_of(store).count(CREATININE) == 1


@pytest.mark.parametrize(
    "name", ["1.Observation.ndjson", "Observation.1.ndjson", "OBS.NDJSON", "deep/er/x.jsonl", "x.json"]
)
def test_names_of_files_do_not_matter(tmp_path: Path, name: str) -> None:
    store, _ = run_over(tmp_path, {"Patient.ndjson": [P], name: [O1, b"{bad", O2]})
    assert codes_of(store).count(CREATININE) == 2
    assert reasons(store) == [(Path(name).name, 2, "scrub/bad_json")]


def test_a_file_name_can_be_any_bytes(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with open(os.fsencode(tmp_path / "in") + b"/M\xfcller.ndjson", "wb") as file:
        file.write(lines(P, O1, b"{bad"))
    store, _ = run_over(tmp_path, {})
    assert reasons(store) == [("M\\xfcller.ndjson", 3, "scrub/bad_json")]


def packed(compression: str, *rows: Any) -> bytes:
    return gzip.compress(lines(*rows)) if compression == "gz" else zstandard.ZstdCompressor().compress(lines(*rows))


MANY = [observation(f"m{number}-{hashlib.sha256(b'%d' % number).hexdigest()[:60]}") for number in range(4000)]


@pytest.mark.parametrize("compression", ["gz", "zst"])
@pytest.mark.parametrize("damage", ["truncated", "middle", "tail"])
def test_a_broken_archive_gives_what_it_can(tmp_path: Path, compression: str, damage: str) -> None:
    whole = packed(compression, *MANY)
    half = len(whole) // 2
    broken = {
        "truncated": whole[:half],
        "middle": whole[:half] + b"\xff" * 40 + whole[half + 40 :],
        "tail": whole + b"and then some",
    }[damage]
    name = f"a.ndjson.{compression}"
    store, report = run_over(tmp_path, {name: broken, "p.ndjson": [P]})
    ended = [row for row in quarantined(store) if row["reason"] == "corrupt_file"]
    assert [(row["file"], row["arrow"]) for row in ended] == [(name, "read")]
    got = codes_of(store).count(CREATININE)
    if damage == "tail":
        assert (got, ended[0]["line"]) == (4000, 4001)
    elif compression == "gz":
        assert 1000 < got < 4000
    [verdict] = [verdict for verdict in report.verdicts if verdict.check == "files_whole"]
    assert not verdict.passed
    with pytest.raises(SourceError, match="1 damaged files"):
        go(tmp_path / "in", tmp_path / "strict", strict=True)


def test_bundles_whole_and_broken(tmp_path: Path) -> None:
    entries = [
        {"fullUrl": "urn:uuid:p1", "resource": without(P, "id")},
        {"resource": O1},
        {"request": {}},
        5,
        {"resource": "x"},
    ]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    files = {
        "a.json": json.dumps(bundle, indent=2).encode(),
        "b.json": json.dumps({**bundle, "entry": [{"resource": O2}]}, indent=2).encode()[:-30],
        "c.json.gz": gzip.compress(json.dumps({**bundle, "entry": [{"resource": observation("o3")}]}).encode()),
    }
    store, _ = run_over(tmp_path, files)
    assert codes_of(store).count(CREATININE) == 2
    assert sorted(reasons(store)) == [
        ("a.json", 3, "scrub/missing_type"), ("a.json", 4, "scrub/not_an_object"), ("a.json", 5, "scrub/missing_type"),
        ("b.json", 1, "read/corrupt_file"),
    ]  # fmt: skip


def test_a_patient_is_found_by_every_kind_of_reference(tmp_path: Path) -> None:
    references = [
        {"reference": "Patient/p1"}, {"reference": "https://e.org/fhir/Patient/p1"}, {"reference": "urn:uuid:p1"},
        {"reference": "http://e.org/Patient/p1/_history/7"}, {"identifier": {"system": "urn:mrn", "value": "M-7788"}},
        {"reference": "Patient?identifier=urn:mrn|M-7788"}, {"reference": "Patient/p1", "display": "somebody", "type": "Patient"},
    ]  # fmt: skip
    rows = [observation(f"o{number}", subject=reference) for number, reference in enumerate(references)]
    store, report = run_over(
        tmp_path, {"a.ndjson": [*rows, patient(identifier=[{"system": "urn:mrn", "value": "M-7788"}])]}
    )
    assert reasons(store) == []
    assert report.subjects == 1
    assert codes_of(store).count(CREATININE) == len(references)


def test_the_newest_version_wins_and_duplicates_count_once(tmp_path: Path) -> None:
    def version(updated: str | None, value: int) -> dict[str, Any]:
        return observation(
            "o1", valueInteger=value, valueQuantity=None, **({"meta": {"lastUpdated": updated}} if updated else {})
        )

    rows = [
        P, version("2020-01-02T00:00:00Z", 1), version("2020-01-03T00:00:00+02:00", 2), version("2020-01-03T00:00:00+01:00", 3),
        version(None, 4), version("2020-01-02T23:00:00Z", 5), O2, O2, P,
    ]  # fmt: skip
    store, report = run_over(tmp_path, {"a.ndjson": rows[:5], "b.ndjson": rows[5:]})
    # Line 4 is the newest; b.ndjson's first line is the same instant, and comes later.
    assert [row["value_text"] for row in events(store) if row["code"] == CREATININE] == ["3", "1"]
    assert report.steps[-1].dropped == {"superseded": 6}


def test_the_same_id_of_two_patients_is_two_resources(tmp_path: Path) -> None:
    rows = [patient(f"p{n}") for n in range(3)] + [observation("same", f"p{n}") for n in range(3)]
    counts = []
    for shards in (1, 3, 8):
        export(tmp_path / "in", {"a.ndjson": rows})
        go(tmp_path / "in", tmp_path / f"store{shards}", store={"shards": shards})
        counts.append(codes_of(tmp_path / f"store{shards}").count(CREATININE))
    assert counts == [3, 3, 3]


def test_what_the_source_withdrew_does_not_come_back(tmp_path: Path) -> None:
    def version(ident: str, day: int | None, **more: Any) -> dict[str, Any]:
        return observation(ident, **({"meta": {"lastUpdated": f"2020-01-{day:02d}T00:00:00Z"}} if day else {}), **more)

    withdrawn = {"status": "entered-in-error"}
    rows = [
        P, version("o1", 1), version("o1", 2, **withdrawn),  # withdrawn: gone
        version("o2", 2, **withdrawn), version("o2", 3), version("o2", 1),  # and recorded anew: the newest counts
        version("o3", None, **withdrawn), version("o3", None), version("o4", 1, **withdrawn),
    ]  # fmt: skip
    store, report = run_over(tmp_path, {"a.ndjson": rows})
    assert [row["source_row"] for row in events(store) if row["code"] == CREATININE] == [5]
    assert report.steps[3].dropped == {"entered_in_error": 4}
    assert report.steps[5].dropped == {"superseded": 3}


def test_a_second_run_of_the_same_process_knows_its_patients(tmp_path: Path) -> None:
    go(export(tmp_path / "one", {"a.ndjson": [P, O1]}), tmp_path / "store")
    export(tmp_path / "two", {"a.ndjson": [patient("p2"), observation("o2", "p2"), observation("o3", "p1")]})
    report = go(tmp_path / "two", tmp_path / "store")
    assert report.steps[1].dropped == report.steps[2].dropped == {}
    assert report.subjects == 2  # the delta has no Patient p1, but the vault knows it


@pytest.mark.parametrize("name", ["a b", "100%", "x#y", "Müller", "it's", "[1]", "a*b"])
def test_the_store_may_lie_anywhere(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    export(folder / "in", {"a.ndjson": [P, O1]})
    go(folder / "in", folder / "store")
    assert codes_of(folder / "store").count(CREATININE) == 1


@pytest.mark.parametrize("first", ["2160-0", "Quimbleford"])
def test_the_audit_reads_every_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    """What the scrub overlooks, the audit finds: in the code, and in the codings beside it."""
    from mayo_data.phi.actions import Actions

    monkeypatch.setattr(Actions, "_names_subject", lambda self, text: False)
    prefix = "http://terminology.hl7.org/CodeSystem/site"
    codings = [
        {"system": LOINC if first[0].isdigit() else prefix, "code": first},
        {"system": prefix, "code": "Ottoline"},
    ]
    export(tmp_path / "in", {"a.ndjson": [P, observation("o1", code={"coding": codings})]})
    with pytest.raises(LeakError, match=r"event 0\.2\.0 \((code|parent_codes), PATIENT\)"):
        go(tmp_path / "in", tmp_path / "store")
    assert not list((tmp_path / "store").glob("snapshots/*"))


# ── a line of 200 MB ──────────────────────────────────────────────────────────────────────────────

SIZE = 200 << 20


def long_line(path: Path, compression: str) -> Path:
    """A folder with a good row, a line of 200 MB, and a good row."""
    path.mkdir()
    before, after = lines(P, O1) + b'{"resourceType":"Observation","id":"', b'"}\n' + lines(O2)
    block = b"x" * (1 << 20)
    opened: Callable[[Path], Any] = {
        "": lambda name: name.open("wb"),
        "gz": lambda name: gzip.open(name, "wb", compresslevel=1),
        "zst": lambda name: zstandard.open(name, "wb"),
    }[compression]
    with opened(path / f"a.ndjson{'.' + compression if compression else ''}") as file:
        file.write(before)
        for _ in range(SIZE >> 20):
            file.write(block)
        file.write(after)
    return path


@pytest.mark.parametrize("compression", ["", "gz", "zst"])
def test_a_line_of_200_mb_needs_no_memory(tmp_path: Path, compression: str) -> None:
    source = long_line(tmp_path / "in", compression)
    words = ("run", pipeline_file(tmp_path / "night.toml"), "--input", source, "--store", tmp_path / "store", "--workers", "1",
             "--key-file", key_file(tmp_path), "--log", "quiet")  # fmt: skip
    most = peak(tmp_path, *words, timeout=120)
    store = tmp_path / "store"
    assert [(line, reason) for _, line, reason in reasons(store)] == [(3, "read/line_too_long")]
    assert codes_of(store).count(CREATININE) == 2
    assert most < 600 << 10  # KiB


@pytest.mark.slow
def test_a_limit_of_memory_is_kept(tmp_path: Path) -> None:
    """Much text under a hard limit on the address space: nothing is held that need not be."""
    rows = [observation(f"o{number}", note=[{"text": f"row {number}"}]) for number in range(6_000)]
    export(tmp_path / "in", {"p.ndjson": [P], "a.ndjson": rows})
    words = ("run", pipeline_file(tmp_path / "night.toml"), "--input", tmp_path / "in", "--store", tmp_path / "store", "--workers",
             "1", "--key-file", key_file(tmp_path), "--log", "quiet")  # fmt: skip

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))

    done = subprocess.run(
        command_line(*words), capture_output=True, text=True, timeout=120, check=False, preexec_fn=limited
    )
    assert done.returncode == 0, done.stderr


# ── exit codes ────────────────────────────────────────────────────────────────────────────────────


def test_strict_stops_at_a_bad_row_and_commits_nothing(tmp_path: Path) -> None:
    export(tmp_path / "in", {"a.ndjson": [P, O1, b"{bad"]})
    with pytest.raises(SourceError, match="1 rows went to the quarantine") as caught:
        go(tmp_path / "in", tmp_path / "store", strict=True)
    assert "{bad" not in str(caught.value)
    assert reasons(tmp_path / "store") == [("a.ndjson", 3, "scrub/bad_json")]
    assert not (tmp_path / "store" / "snapshots").exists()
    report = go(tmp_path / "in", tmp_path / "store")  # and without it, the same run goes on
    balanced(report)
    assert reasons(tmp_path / "store") == [("a.ndjson", 3, "scrub/bad_json")]


def test_a_dropped_row_is_no_bad_row(tmp_path: Path) -> None:
    appointment = {
        "resourceType": "Appointment",
        "id": "a",
        "status": "booked",
        "participant": [{"status": "accepted"}],
    }
    rows = [P, O1, {"resourceType": "Practitioner", "id": "d"}, appointment]
    report = go(export(tmp_path / "in", {"a.ndjson": rows}), tmp_path / "store", strict=True)
    assert report.steps[2].dropped == {"not_about_a_patient": 1, "type_not_in_policy": 1}


@pytest.mark.parametrize("content", [b"", b"\n\n", b"   \n"])
def test_files_without_a_row_are_said(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SourceError, match="rows_found"):
        go(export(tmp_path / "in", {"a.ndjson": content, "b.ndjson.gz": gzip.compress(content)}), tmp_path / "store")


def test_gates_stop_a_run(tmp_path: Path) -> None:
    export(tmp_path / "none", {"a.ndjson": [b"{bad"]})
    with pytest.raises(GateError, match="G2 events_found"):
        go(tmp_path / "none", tmp_path / "store")
    export(tmp_path / "many", {"a.ndjson": [P, *[b"{bad"] * 1200]})
    with pytest.raises(GateError, match="G1 quarantined_share: 1200 of 1201"):
        go(tmp_path / "many", tmp_path / "store")
    assert not list((tmp_path / "store.phi" / "work").iterdir())
    with pytest.raises(StoreError, match="no snapshot"):
        events(tmp_path / "store")


EXIT: list[tuple[int, dict[str, Any], tuple[str, ...], str, str]] = [
    (0, {}, (), "", ""),
    (
        1,
        {},
        (),
        "import mayo_data.timeline.build as t\ndef build(s, *more): return s.nothing\nt.build = build",
        "bug: AttributeError at",
    ),
    (2, {"phi": {"policy": "none"}}, (), "", "ConfigError: no policy"),
    (2, {"gates": {"latest_year": "x"}}, (), "", "ConfigError: pipeline file, gates.latest_year"),
    (2, {"nonsense": {"a": 1}}, (), "", "ConfigError: pipeline file"),
    (2, {}, ("--workers", "many"), "", "--workers"),
    (2, {}, ("--key-file", "/nowhere"), "", "KeyMissingError: the key file cannot be read"),
    (3, {}, ("nowhere",), "", "SourceError: the input does not exist"),
    (3, {}, ("--strict",), "", "SourceError: 1 rows went to the quarantine"),
    (4, {"gates": {"latest_year": 1900}}, (), "", "GateError: gate stopped the run: G2 time_implausible"),
    (
        5,
        {},
        (),
        "from mayo_data.phi.text import Scrubbed, TextScrubber\nTextScrubber.rewritten = lambda self, text, known, **how: Scrubbed(text, [], [])",
        "LeakError",
    ),
]


@pytest.mark.parametrize(
    ("code", "sections", "options", "before", "said"), EXIT, ids=[f"{case[0]}-{n}" for n, case in enumerate(EXIT)]
)
def test_each_cause_has_its_exit_code(
    tmp_path: Path, code: int, sections: dict[str, Any], options: tuple[str, ...], before: str, said: str
) -> None:
    export(tmp_path / "in", {"a.ndjson": [P, O1, note("n1", "Ottoline Quimbleford is well."), b"{bad"]})
    store = tmp_path / "store"
    source = tmp_path / ("nowhere" if options == ("nowhere",) else "in")
    done = cli(
        "run", pipeline_file(tmp_path / "night.toml", **sections), "--input", source, "--store", store, "--key-file",
        key_file(tmp_path, KEY), "--workers", "1", *(word for word in options if word != "nowhere"), before=before,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stderr
    assert "Quimbleford" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert len(list(store.glob("snapshots/*"))) == (1 if code == 0 else 0)
    assert not list(store.glob("staging/*")) or code == 1


def test_a_folder_without_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    done = cli(
        "run",
        pipeline_file(tmp_path / "n.toml"),
        "--input",
        tmp_path / "in",
        "--store",
        tmp_path / "s",
        "--key-file",
        key_file(tmp_path),
    )
    assert (done.returncode, "holds no FHIR file" in done.stderr) == (3, True)
    assert not (tmp_path / "s").exists()


def test_the_phi_zone_must_lie_outside_the_store(tmp_path: Path) -> None:
    export(tmp_path / "in", {"a.ndjson": [P]})
    done = cli(
        "run", pipeline_file(tmp_path / "n.toml"), "--input", tmp_path / "in", "--store", tmp_path / "s", "--key-file",
        key_file(tmp_path), "--phi-zone", tmp_path / "s" / "phi",
    )  # fmt: skip
    assert (done.returncode, "must not lie inside" in done.stderr) == (2, True)


def test_another_key_is_another_store(tmp_path: Path) -> None:
    export(tmp_path / "in", {"a.ndjson": [P]})
    go(tmp_path / "in", tmp_path / "s")
    done = cli(
        "run", pipeline_file(tmp_path / "n.toml"), "--input", tmp_path / "in", "--store", tmp_path / "s", "--key-file",
        key_file(tmp_path, bytes(32)),
    )  # fmt: skip
    assert (done.returncode, "another generation" in done.stderr) == (3, True)
