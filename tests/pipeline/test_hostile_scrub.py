"""A hostile export is as harmless to `scrub` as to `run`: bad rows are set aside, nothing hangs, nothing gets out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hospital import export, key_file, lines, observation, patient, quarantined
from test_hostile import BAD, FINE

from mayo_data.conformance.validate import fault
from mayo_data.errors import SourceError
from mayo_data.pipeline import ScrubReport, scrub

P = patient()
PARSED = {"bad_json", "bad_utf8", "not_an_object", "missing_type", "unknown_type", "missing_id", "modifier_extension"}


def go(folder: Path, files: dict[str, Any], **more: Any) -> tuple[ScrubReport, list[bytes]]:
    """Scrub; return the report, which balances, and all lines that were written."""
    export(folder / "in", files)
    report = scrub(folder / "in", folder / "out", key_file=key_file(folder), workers=1, **more)
    assert all(step.balanced for step in report.steps)
    assert all(before.rows_out == after.rows_in for before, after in zip(report.steps, report.steps[1:], strict=False))
    written = [line for path in (folder / "out").rglob("*.ndjson") for line in path.read_bytes().splitlines()]
    assert len(written) == report.steps[-1].rows_out == sum(report.resources.values())
    return report, written


@pytest.mark.parametrize("validate", ["off", "all"])
def test_every_bad_row_is_set_aside_and_every_good_one_written(tmp_path: Path, validate: Any) -> None:
    rows: list[Any] = [P]
    for number, (row, _) in enumerate(BAD.values()):
        rows += [row, observation(f"good{number}")]
    report, written = go(tmp_path, {"Observation.ndjson": rows}, validate=validate)
    assert report.steps[0].rows_in == len(rows)
    aside = {row["line"]: row for row in quarantined(tmp_path / "out")}
    assert not [line for line in aside if line % 2], "a good row is set aside"
    assert len(aside) == len(rows) - len(written)
    for number, (name, (_, reason)) in enumerate(BAD.items()):
        if reason in PARSED and validate == "off" and name != "nested lists":
            assert aside[2 + 2 * number]["reason"] == reason, name
    if validate == "all":
        assert [wrong for line in written if (wrong := fault(line)) is not None] == []
    for line in written:
        orjson.loads(line)


def test_odd_rows_are_written_and_can_be_read(tmp_path: Path) -> None:
    rows: list[Any] = [P]
    for number, row in enumerate(FINE.values()):
        raw = row if isinstance(row, bytes) else json.dumps(row).encode()
        rows.append(raw.replace(b'"id": "x"', b'"id":"x"').replace(b'"id":"x"', b'"id":"x%d"' % number))
    _, written = go(tmp_path, {"Observation.ndjson": rows}, validate="off")
    for line in written:
        json.loads(line, parse_constant=pytest.fail, parse_float=str, parse_int=str)
    assert len(written) + len(quarantined(tmp_path / "out")) == len(rows)


def test_of_a_doubled_key_nothing_gets_out(tmp_path: Path) -> None:
    first = b'"note":[{"text":"Zebulon Quagmire"}],"performer":[{"display":"Zebulon Quagmire"}],"status":"Zebulon"'
    raw = lines(observation("o", note=[{"text": "well"}])).rstrip()
    doubled = [b"{" + first + b"," + raw[1:], raw[:-1] + b"," + first.replace(b"Zebulon Quagmire", b"well") + b"}"]
    name = b'{"resourceType":"Patient","id":"p1","name":[{"family":"Quimbleford"}],"name":[{"family":"Zebulon"}]}'
    _, written = go(tmp_path, {"Observation.ndjson": [name, *doubled]}, validate="off")
    assert len(written) == 3
    assert b"Zebulon" not in b"".join(written)
    assert b"Quimbleford" not in b"".join(written)


def nested(depth: int, kind: str) -> dict[str, Any]:
    """A resource that nests in itself."""
    if kind == "contained":
        return {**observation("c"), "contained": [nested(depth - 1, kind)] if depth else []}
    inner: Any = {"linkId": "1", "text": "x"} if kind == "item" else {"url": "urn:x", "valueString": "x"}
    for _ in range(depth):
        inner = {"linkId": "1", "item": [inner]} if kind == "item" else {"url": "urn:x", "extension": [inner]}
    if kind == "item":
        return {
            "resourceType": "QuestionnaireResponse",
            "id": "q",
            "status": "completed",
            "subject": {"reference": "Patient/p1"},
            "item": [inner],
        }
    return {**observation("e"), "extension": [inner]}


@pytest.mark.parametrize("kind", ["contained", "item", "extension"])
@pytest.mark.parametrize("depth", [20, 90, 400])
def test_what_nests_in_itself_ends(tmp_path: Path, kind: str, depth: int) -> None:
    (tmp_path / "open.toml").write_text(
        'extends = "expert_determination"\nname = "open"\n[extensions]\nadmit = ["urn:x"]\n'
    )
    _, written = go(
        tmp_path,
        {"a.ndjson": [P, json.dumps(nested(depth, kind)).encode(), observation("o")]},
        policy=str(tmp_path / "open.toml"),
    )
    assert len(written) + len(quarantined(tmp_path / "out")) == 3
    assert len(written) >= 2
    assert all(fault(line) is None for line in written)


def test_a_zip_bomb_goes_off_unheard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mayo_data.sources import blocks

    monkeypatch.setattr(blocks, "_HARMLESS", 8 << 20)
    bomb = gzip.compress((b"{" + b" " * 4000 + b"}\n") * 8000)
    (tmp_path / "n.toml").write_text('name = "n"\n[gates]\nstop_quarantined = 1.0\n')
    report, written = go(
        tmp_path, {"a.ndjson": [P, observation("o")], "b.ndjson.gz": bomb}, pipeline=tmp_path / "n.toml"
    )
    assert report.steps[0].dropped == {"zip_bomb": 1}
    assert len(written) == 2


@pytest.mark.parametrize("harm", ["manifest", "link"])
def test_an_export_that_leads_elsewhere_stops(tmp_path: Path, harm: str) -> None:
    export(tmp_path / "other", {"x.ndjson": [observation("secret")]})
    export(tmp_path / "in", {"a.ndjson": [P]})
    if harm == "manifest":
        export(tmp_path / "in", {"manifest.json": orjson.dumps({"output": [{"url": "../other/x.ndjson"}]})})
    else:
        (tmp_path / "in" / "x.ndjson").symlink_to(tmp_path / "other" / "x.ndjson")
    with pytest.raises(SourceError) as caught:
        scrub(tmp_path / "in", tmp_path / "out", key_file=key_file(tmp_path), workers=1)
    assert "x.ndjson" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_loop_of_references_ends_and_still_is_one(tmp_path: Path) -> None:
    rows = [
        patient("p1", link=[{"other": {"reference": "Patient/p2"}, "type": "seealso"}]),
        patient("p2", link=[{"other": {"reference": "Patient/p1"}, "type": "seealso"}]),
        observation("o1", hasMember=[{"reference": "Observation/o2"}, {"reference": "Observation/o1"}]),
        observation("o2", of="p2", hasMember=[{"reference": "Observation/o1"}], contained=[
            {**observation("c"), "hasMember": [{"reference": "#c"}, {"reference": "#"}]}]),
    ]  # fmt: skip
    _, written = go(tmp_path, {"a.ndjson": rows})
    found = sorted(
        map(orjson.loads, written), key=lambda body: ("subject" in body, "link" in body, "contained" in body)
    )
    one, two, first, second = found
    assert first["subject"] == second["subject"] == {"reference": f"Patient/{one['id']}"}
    assert two["link"] == [{"other": {"reference": f"Patient/{one['id']}"}, "type": "refer"}]
    assert [ref["reference"] for ref in first["hasMember"]] == [
        f"Observation/{second['id']}",
        f"Observation/{first['id']}",
    ]
    inner = second["contained"][0]
    assert [ref["reference"] for ref in inner["hasMember"]] == ["#" + inner["id"], "#"]
