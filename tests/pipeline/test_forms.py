"""Every form of an export gives the same timelines; what the source deleted, says or forgot is accounted for."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard
from hospital import (
    Json,
    balanced,
    cli,
    codes_of,
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

from mayo_data.errors import ConfigError, SourceError
from mayo_data.pipeline import RunReport
from mayo_data.store.layout import Store

P, O1, O2 = patient(), observation("o1"), observation("o2")
CREATININE = "OBSERVATION//LOINC//2160-0"


def plain_run(folder: Path) -> tuple[str | Path, ...]:
    """The command line of a run from `in` to `s`."""
    return (
        "run", pipeline_file(folder / "n.toml"), "--input", folder / "in", "--store", folder / "s",
        "--key-file", key_file(folder),
    )  # fmt: skip


def run_over(tmp_path: Path, files: dict[str, Any], **more: Any) -> RunReport:
    report = go(export(tmp_path / "in", files), tmp_path / "store", **more)
    balanced(report)
    return report


def step(report: RunReport, name: str) -> dict[str, int]:
    [found] = [one for one in report.steps if one.name == name]
    return found.dropped


def at(resource: Json, day: int) -> Json:
    return {**resource, "meta": {"lastUpdated": f"2020-01-{day:02d}T00:00:00Z"}}


def deletion(*urls: str, day: int | None = None) -> Json:
    meta = {"meta": {"lastUpdated": f"2020-01-{day:02d}T00:00:00Z"}} if day else {}
    entries = [{"request": {"method": "DELETE", "url": url}} for url in urls]
    return {"resourceType": "Bundle", **meta, "type": "transaction", "entry": entries}


def manifest(output: dict[str, int | None], **more: Any) -> bytes:
    body = {
        "transactionTime": "2024-01-01T00:00:00Z",
        "request": "https://e.org/$export",
        "requiresAccessToken": True,
        "output": [
            {"type": name.partition(".")[0], "url": f"https://e.org/bulk/{name}"}
            | ({"count": n} if n is not None else {})
            for name, n in output.items()
        ],
        "deleted": [],
        "error": [],
        **more,
    }
    return orjson.dumps(body)


# ── one digest, whatever the form ─────────────────────────────────────────────────────────────────

PEOPLE = [
    [patient(f"p{n}"), *(observation(f"o{n}-{row}", f"p{n}") for row in range(7)), note(f"n{n}", "Mrs. Quimbleford is well.", of=f"p{n}")]
    for n in range(4)
]  # fmt: skip


def bundle(rows: list[Json], kind: str = "collection", *, urns: bool = False) -> Json:
    """A Bundle; with `urns`, its resources have no ids of their own, as a transaction that creates them."""
    if not urns:
        return {
            "resourceType": "Bundle",
            "type": kind,
            "entry": [{"fullUrl": f"https://e.org/x/{row['id']}", "resource": row} for row in rows],
        }
    text = orjson.dumps(rows).decode()
    for row in rows:
        text = text.replace(f'"{row["resourceType"]}/{row["id"]}"', f'"urn:uuid:{row["id"]}"')
    entries = [
        {"fullUrl": f"urn:uuid:{row['id']}", "resource": {key: value for key, value in row.items() if key != "id"},
         "request": {"method": "POST", "url": row["resourceType"]}}
        for row in json.loads(text)
    ]  # fmt: skip
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


ALL = [row for rows in PEOPLE for row in rows]
FORMS: dict[str, dict[str, Any]] = {
    "one file a type": {"Patient.ndjson": [rows[0] for rows in PEOPLE], "b.ndjson": [row for rows in PEOPLE for row in rows[1:]]},
    "many files a type": {f"{n}.Observation.ndjson": [row] for n, row in enumerate(ALL)},
    "gz": {"a.ndjson.gz": gzip.compress(lines(*ALL))},
    "zst": {"a.ndjson.zst": zstandard.ZstdCompressor().compress(lines(*ALL))},
    "collection": {"a.json": orjson.dumps(bundle(ALL))},
    "searchset, in pages": {
        f"page{n}.json": json.dumps({**bundle(rows, "searchset"), "link": [{"relation": "next", "url": "x"}]}, indent=2).encode()
        for n, rows in enumerate(PEOPLE)
    },
    "one transaction a patient": {f"p{n}.json": json.dumps(bundle(rows, "transaction", urns=True), indent=2).encode() for n, rows in enumerate(PEOPLE)},
    "one transaction a patient, packed": {
        f"p{n}.json.gz": gzip.compress(json.dumps(bundle(rows, "transaction", urns=True)).encode()) for n, rows in enumerate(PEOPLE)
    },
    "bundles in lines": {"a.ndjson": [bundle(rows) for rows in PEOPLE]},
    "single resources": {f"{n}/{row['id']}.json": json.dumps(row, indent=4).encode() for n, row in enumerate(ALL)},
    "mixed": {
        "a.ndjson": PEOPLE[0], "b.json": orjson.dumps(bundle(PEOPLE[1])), "c/d.ndjson.gz": gzip.compress(lines(*PEOPLE[2])),
        "e.ndjson": [bundle(PEOPLE[3])], "f.csv": b"x",
    },
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_events(tmp_path: Path, form: str) -> None:
    report = run_over(tmp_path, FORMS[form])
    names = ("subject_id", "time", "code", "numeric_value", "text_value")
    found = sorted(tuple(str(row[name]) for name in names) for row in events(tmp_path / "store"))
    go(export(tmp_path / "plain", {"a.ndjson": ALL}), tmp_path / "wanted")
    assert found == sorted(tuple(str(row[name]) for name in names) for row in events(tmp_path / "wanted"))
    assert quarantined(tmp_path / "store") == []
    assert report.unread == ({"csv": 1} if form == "mixed" else {})


@pytest.mark.parametrize("name", ["a.json", "a.ndjson.gz"])
def test_one_large_file_is_work_for_all(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mayo_data.sources import blocks

    many = [P, *(observation(f"o{n}") for n in range(2000))]
    content = orjson.dumps(bundle(many)) if name == "a.json" else gzip.compress(lines(*many))
    whole = run_over(tmp_path / "one", {name: content})
    monkeypatch.setattr(blocks, "BLOCK", 20_000)
    heard: list[dict[str, Any]] = []
    from hospital import KEY, pipeline

    from mayo_data.keys import Secret
    from mayo_data.pipeline import run

    config = pipeline(source={"split_mib": 1})
    import msgspec

    config = msgspec.structs.replace(config, source=msgspec.structs.replace(config.source, split_mib=0.01))  # type: ignore[arg-type]
    source = export(tmp_path / "in", {name: content})
    report = run(
        config,
        source,
        tmp_path / "store",
        Secret(KEY),
        workers=1,
        watcher=lambda event, **more: heard.append({"event": event, **more}),
    )
    assert sum(one["event"] == "map" for one in heard) > 4
    assert report.logical_digest == whole.logical_digest


# ── deletions ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shards", [1, 5])
def test_a_deleted_bundle_deletes(tmp_path: Path, shards: int) -> None:
    people = [P, patient("p2"), patient("p3")]
    rows = [observation(f"{of}-{n}", of) for of in ("p1", "p2", "p3") for n in range(3)]
    report = run_over(
        tmp_path,
        {"Patient.ndjson": people, "Observation.ndjson": rows, "deleted.ndjson": [deletion("Observation/p1-1", "Patient/p3"), deletion("https://e.org/Observation/p2-2")],
         "manifest.json": manifest({"Patient.ndjson": 3, "Observation.ndjson": 9}, deleted=[{"type": "Bundle", "url": "https://e.org/deleted.ndjson", "count": 2}])},
        store={"shards": shards},
    )  # fmt: skip
    assert codes_of(tmp_path / "store").count(CREATININE) == 4
    assert report.subjects == 2  # of a Patient who was deleted, nothing is left
    assert step(report, "read") == {"deletion": 3}
    assert step(report, "build") == {"deleted": 6}
    assert all(verdict.passed for verdict in report.verdicts)
    assert quarantined(tmp_path / "store") == []


def test_what_is_newer_than_its_deletion_stays(tmp_path: Path) -> None:
    rows = [
        at(P, 1), at(observation("old"), 2), at(observation("new"), 9), at(observation("twice"), 2), at(observation("twice"), 9),
        at(observation("same"), 5), observation("undated"), at(patient("p2"), 9), at(observation("theirs", "p2"), 2),
    ]  # fmt: skip
    ends = deletion(
        *(f"Observation/{name}" for name in ("old", "new", "twice", "same", "undated", "nobody")), "Patient/p2", day=5
    )
    report = run_over(tmp_path, {"a.ndjson": rows, "deleted.ndjson": [ends]})
    kept = [row["source_row"] for row in events(tmp_path / "store") if row["code"] == CREATININE]
    assert sorted(kept) == [3, 5, 9]  # new; the newer of twice; that of p2, who was recorded anew
    assert step(report, "build") == {"deleted": 4}


def test_a_deletion_without_a_time_ends_every_version(tmp_path: Path) -> None:
    rows = [P, at(O1, 2), at(O1, 9), O2]
    report = run_over(tmp_path, {"a.ndjson": rows, "d.json": json.dumps(deletion("Observation/o1"), indent=2).encode()})
    assert [row["source_row"] for row in events(tmp_path / "store") if row["code"] == CREATININE] == [4]
    assert step(report, "build") == {"deleted": 2}


def test_deletions_survive_a_kill(tmp_path: Path) -> None:
    export(tmp_path / "in", {"a.ndjson": [P, O1, O2], "d.ndjson": [deletion("Observation/o1")]})
    words = ("run", pipeline_file(tmp_path / "n.toml"), "--input", tmp_path / "in", "--store", tmp_path / "store", "--workers", "1",
             "--key-file", key_file(tmp_path), "--log", "quiet")  # fmt: skip
    before = "import os, mayo_data.pipeline.driver as d\ndef die(task): os._exit(9)\nd.build_shard = die"
    assert cli(*words, before=before).returncode == 9
    assert cli(*words).returncode == 0
    assert codes_of(tmp_path / "store").count(CREATININE) == 1


# ── what a server says of its export ──────────────────────────────────────────────────────────────


def test_what_went_wrong_at_the_server_is_counted_and_kept(tmp_path: Path) -> None:
    said = [
        {
            "resourceType": "OperationOutcome",
            "issue": [{"severity": severity, "code": "exception", "diagnostics": "Quimbleford"}],
        }
        for severity in ("error", "information", "warning")
    ]
    files = {"a.ndjson": [P, O1], "err.ndjson": said,
             "manifest.json": manifest({"a.ndjson": None}, error=[{"type": "OperationOutcome", "url": "https://e.org/err.ndjson"}])}  # fmt: skip
    report = run_over(tmp_path, files)
    assert step(report, "read") == {"export_error": 1, "export_note": 2}
    assert reasons(tmp_path / "store") == [("err.ndjson", 1, "read/export_error")]


def test_a_file_that_was_cut_at_the_end_of_a_line_is_found_out(tmp_path: Path) -> None:
    files = {
        "Patient.ndjson": [P],
        "Observation.ndjson": [O1, O2],
        "manifest.json": manifest({"Patient.ndjson": 1, "Observation.ndjson": 3}),
    }
    report = run_over(tmp_path, files)
    [verdict] = [verdict for verdict in report.verdicts if verdict.check == "manifest_counts"]
    assert (verdict.passed, verdict.action, verdict.observed[:10]) == (False, "quarantine", "1 of 2 fil")
    with pytest.raises(SourceError, match="1 of 2 files hold another number"):
        go(tmp_path / "in", tmp_path / "strict", strict=True)


@pytest.mark.parametrize("url", ["../other/x.ndjson", "/etc/passwd", "file:///etc/passwd"])
def test_a_manifest_that_leads_elsewhere_stops_the_run(tmp_path: Path, url: str) -> None:
    export(tmp_path / "in", {"a.ndjson": [P, O1], "manifest.json": orjson.dumps({"output": [{"url": url}]})})
    export(tmp_path / "other", {"x.ndjson": [O2]})
    done = cli(*plain_run(tmp_path))
    assert (done.returncode, "names a place outside its folder" in done.stderr) == (3, True)
    assert not (tmp_path / "s").exists()


# ── files that are not read, places that are refused ──────────────────────────────────────────────


@pytest.mark.slow
def test_files_that_are_not_read_are_said(tmp_path: Path) -> None:
    export(tmp_path / "in", {"a.ndjson": [P, O1], "Quimbleford.csv": b"x", "b.xml": b"<a/>", "c.Quimbleford": b"x"})
    done = cli(*plain_run(tmp_path), "--log", "auto")
    assert "Files not read: 3 (csv 1, other 1, xml 1)" in done.stdout
    assert "Quimbleford" not in done.stdout + done.stderr
    [listed] = (tmp_path / "s.phi").rglob("not_read.tsv")
    assert listed.read_text().splitlines() == ["file", "Quimbleford.csv", "b.xml", "c.Quimbleford"]
    assert (
        '"unread":{"csv":1' in cli(*plain_run(tmp_path), "--log", "json").stdout
    )  # and again where there is nothing to do


@pytest.mark.parametrize(
    ("source", "store", "zone", "said"),
    [
        ("in", "in/store", None, "the store must not lie inside the input"),
        ("in", "in", None, "the store must not lie inside the input"),
        ("in", "store", "in/zone", "the PHI zone must not lie inside the input"),
        ("in", "way/store", None, "the store must not lie inside the input"),  # by a link
        ("store/in", "store", None, "the input must not lie inside the store"),
    ],
)
def test_the_zones_lie_apart(tmp_path: Path, source: str, store: str, zone: str | None, said: str) -> None:
    export(tmp_path / source, {"a.ndjson": [P, O1]})
    (tmp_path / "in").mkdir(exist_ok=True)
    (tmp_path / "way").symlink_to(tmp_path / "in")
    from hospital import KEY, pipeline

    from mayo_data.keys import Secret
    from mayo_data.pipeline import run

    before = sorted(os.listdir(tmp_path / source))
    with pytest.raises(ConfigError, match=said):
        run(pipeline(), tmp_path / source, tmp_path / store, Secret(KEY), phi_zone=tmp_path / zone if zone else None)
    assert sorted(os.listdir(tmp_path / source)) == before


def test_the_input_may_lie_in_the_phi_zone(tmp_path: Path) -> None:
    from hospital import KEY, pipeline

    from mayo_data.keys import Secret
    from mayo_data.pipeline import run

    export(tmp_path / "zone" / "in", {"a.ndjson": [P, O1]})
    for _ in range(2):
        run(
            pipeline(), tmp_path / "zone" / "in", tmp_path / "store", Secret(KEY), phi_zone=tmp_path / "zone", workers=1
        )
    assert Store.open(tmp_path / "store").snapshots() == ["000001"]


# ── harm ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "unit",
    [b"\n", b"x", b"{" + b" " * 4000 + b"}\n", b"[" * 4000, b'{"entry":['],
    ids=["blank", "line", "rows", "lists", "deep"],
)
@pytest.mark.parametrize("name", ["b.ndjson.gz", "b.json.gz"])
def test_a_zip_bomb_goes_off_unheard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: bytes, name: str) -> None:
    from mayo_data.sources import blocks

    monkeypatch.setattr(blocks, "_HARMLESS", 8 << 20)
    bomb = gzip.compress(unit * ((64 << 20) // len(unit)))
    report = run_over(tmp_path, {"a.ndjson": [P, O1], name: bomb}, gates={"stop_quarantined": 1.0})
    assert codes_of(tmp_path / "store").count(CREATININE) == 1
    assert set(step(report, "read")) <= {"zip_bomb", "line_too_long", "corrupt_file", "not_a_bundle"}
    assert "zip_bomb" in step(report, "read") or name == "b.json.gz" or unit == b'{"entry":['
    assert sum(path.stat().st_size for path in (tmp_path / "store.phi").rglob("*")) < 1 << 30


def test_a_loop_of_references_ends(tmp_path: Path) -> None:
    rows = [
        patient("p1", link=[{"other": {"reference": "Patient/p2"}, "type": "seealso"}]),
        patient("p2", link=[{"other": {"reference": "Patient/p1"}, "type": "seealso"}]),
        observation("o1", hasMember=[{"reference": "Observation/o2"}, {"reference": "Observation/o1"}]),
        observation("o2", hasMember=[{"reference": "Observation/o1"}]),
        observation("o3", contained=[{"resourceType": "Observation", "id": "c", "status": "final", "code": O1["code"], "hasMember": [{"reference": "#c"}, {"reference": "#"}]}], hasMember=[{"reference": "#c"}]),
        {"resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"code": "AMB"}, "subject": {"reference": "Patient/p1"}, "partOf": {"reference": "Encounter/e2"}},
        {"resourceType": "Encounter", "id": "e2", "status": "finished", "class": {"code": "AMB"}, "subject": {"reference": "Patient/p1"}, "partOf": {"reference": "Encounter/e1"}},
    ]  # fmt: skip
    run_over(tmp_path, {"a.ndjson": rows})
    assert codes_of(tmp_path / "store").count(CREATININE) == 3
    loop = {"resourceType": "Bundle", "type": "collection", "entry": [
        {"fullUrl": "urn:uuid:a", "resource": {**rows[2], "id": "b", "hasMember": [{"reference": "urn:uuid:b"}]}},
        {"fullUrl": "urn:uuid:b", "resource": {**rows[2], "id": "a", "hasMember": [{"reference": "urn:uuid:a"}]}},
    ]}  # fmt: skip
    export(tmp_path / "in", {"loop.json": orjson.dumps(loop)})
    go(tmp_path / "in", tmp_path / "again")
    assert codes_of(tmp_path / "again").count(CREATININE) == 5


def peak_over(folder: Path, name: str, content: bytes, shards: int) -> int:
    """Peak memory of a run over a file, KiB; of a large export, the shards are many and not large."""
    export(folder / "in", {name: content})
    words = ("run", pipeline_file(folder / "n.toml", source={"split_mib": 2}, store={"shards": shards}), "--input", folder / "in", "--store", folder / "store",
             "--workers", "1", "--key-file", key_file(folder), "--log", "quiet")  # fmt: skip
    return peak(folder, *words)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.ndjson", "a.ndjson.gz", "a.json", "bundles.ndjson"])
def test_ten_times_as_much_needs_no_more_memory(tmp_path: Path, name: str) -> None:
    def content(people: int) -> bytes:
        groups = [
            [
                patient(f"p{n}"),
                *(observation(f"o{n}-{row}", f"p{n}", note=[{"text": f"seen on row {row}"}]) for row in range(60)),
            ]
            for n in range(people)
        ]
        if name == "bundles.ndjson":
            return lines(*(bundle(group) for group in groups))
        if name == "a.json":
            return orjson.dumps(bundle([row for group in groups for row in group]))
        text = lines(*(row for group in groups for row in group))
        return gzip.compress(text, 1) if name.endswith(".gz") else text

    (tmp_path / "one").mkdir()
    (tmp_path / "ten").mkdir()
    few, many = peak_over(tmp_path / "one", name, content(130), 4), peak_over(tmp_path / "ten", name, content(1300), 40)
    assert many < few * 1.25, f"{few >> 10} MiB became {many >> 10} MiB"
