"""Labelled text comes in many forms; each gives the same documents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mayo_data.errors import SourceError
from mayo_data.phi.corpora import Document, Gold, category, inline, read

TEXT = "Seen by Dr. Doe on 3/4/2021 (54 y)."
WANTED = [Gold(12, 15, "STAFF"), Gold(19, 27, "DATE"), Gold(29, 31, "AGE")]


def inline_file(folder: Path) -> None:
    (folder / "a.txt").write_text("author: x\n---\nSeen by Dr. [[STAFF:Doe]] on [[DATE:3/4/2021]] ([[AGE90:54]] y).")


def jsonl_file(folder: Path) -> None:
    spans = [{"start": 12, "end": 15, "label": "doctor"}, {"start": 19, "end": 27, "category": "DATE"}]
    spans.append({"start": 29, "end": 31, "type": "AGE"})
    (folder / "a.jsonl").write_text(json.dumps({"id": "a", "text": TEXT, "spans": spans}) + "\n\n")


def i2b2_file(folder: Path) -> None:
    (folder / "a.xml").write_text(
        f'<?xml version="1.0" ?><deIdi2b2><TEXT><![CDATA[{TEXT}]]></TEXT><TAGS>'
        '<NAME id="P0" start="12" end="15" text="Doe" TYPE="DOCTOR" comment="" />'
        '<DATE id="P1" start="19" end="27" text="3/4/2021" TYPE="DATE" comment="" />'
        '<AGE id="P2" start="29" end="31" text="54" TYPE="AGE" comment="" /></TAGS></deIdi2b2>'
    )


def brat_file(folder: Path) -> None:
    (folder / "a.txt").write_text(TEXT)
    (folder / "a.ann").write_text(
        "T1\tDoctor 12 15\tDoe\nT2\tDate 19 27\t3/4/2021\nT3\tAge 29 31\t54\n#1\tNote T1\tx\n"
    )


def presidio_file(folder: Path) -> None:
    spans = [
        {"entity_type": kind, "start_position": start, "end_position": end, "entity_value": TEXT[start:end]}
        for kind, start, end in (("STAFF", 12, 15), ("DATE_TIME", 19, 27), ("AGE", 29, 31))
    ]
    (folder / "a.json").write_text(json.dumps([{"full_text": TEXT, "spans": spans}]))


@pytest.mark.parametrize("form", ["inline", "jsonl", "i2b2", "brat", "presidio"])
def test_every_form_gives_the_same_document(tmp_path: Path, form: str) -> None:
    globals()[f"{form}_file"](tmp_path)
    (document,) = read(tmp_path, form)
    assert (document.text, document.spans) == (TEXT, WANTED)


@pytest.mark.parametrize("form", ["inline", "jsonl", "i2b2", "brat", "presidio"])
def test_an_empty_folder_is_an_error_that_names_the_endings(tmp_path: Path, form: str) -> None:
    with pytest.raises(SourceError) as caught:
        list(read(tmp_path, form))
    assert "." in caught.value.hint


@pytest.mark.parametrize(
    ("form", "name", "content"),
    [
        ("jsonl", "a.jsonl", '{"text": "secret name", "spans": [{"start": 3, "end": 99}]}'),
        ("jsonl", "a.jsonl", '{"text": 7}'),
        ("jsonl", "a.jsonl", "secret name"),
        ("i2b2", "a.xml", "<a>secret name"),
        ("brat", "a.txt", b"secret name \xff"),
        ("presidio", "a.json", '[{"full_text": "secret name", "spans": [{"entity_type": "X"}]}]'),
    ],
)
def test_a_broken_file_is_an_error_without_its_text(tmp_path: Path, form: str, name: str, content: str | bytes) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SourceError) as caught:
        list(read(tmp_path, form))
    assert "secret" not in f"{caught.value} {caught.value.hint}"


def test_an_xml_bomb_is_refused(tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    (tmp_path / "a.xml").write_text(f'<!DOCTYPE x [<!ENTITY a0 "ha">{entities}]><x><TEXT>&a11;</TEXT></x>')
    with pytest.raises(SourceError):
        list(read(tmp_path, "i2b2"))


def test_a_rule_in_a_note_is_no_end_of_a_header(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("seen by [[STAFF:Doe]]\n---\nrest")
    (document,) = read(tmp_path, "inline")
    assert document == Document("a", "seen by Doe\n---\nrest", [Gold(8, 11, "STAFF")])


def test_a_bare_year_is_no_date_and_a_young_age_none_either() -> None:
    assert [category("DATE", text) for text in ("2019", "'19", "in 2019", "March 2019")] == [
        "YEAR",
        "DATE",
        "YEAR",
        "DATE",
    ]
    assert [category("AGE", text) for text in ("89", "90", "101 y", "nonagenarian")] == [
        "AGE",
        "AGE90",
        "AGE90",
        "AGE90",
    ]


def test_marks_may_hold_colons_and_nothing() -> None:
    assert inline("a", "at [[TIME:10:30]] [[URL:https://x.org/a]]").text == "at 10:30 https://x.org/a"
    assert inline("a", "[[STAFF:]] x").spans == [Gold(0, 0, "STAFF")]
