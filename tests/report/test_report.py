"""The report: what it says is what the ledger and the store say, in every form, and the same bytes each time."""

from __future__ import annotations

import hashlib
import html.parser
import io
import itertools
import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from hostile_words import HOSTILE
from hypothesis import given
from hypothesis import strategies as st

import mayo_data as md
from mayo_data.errors import ConfigError, StoreError
from mayo_data.lineage import anchors
from mayo_data.lineage.ledger import Ledger, verify
from mayo_data.phi import policy as policies
from mayo_data.report import content
from mayo_data.report.facts import gather, known_policy
from mayo_data.report.html import Html, tag, text
from mayo_data.report.markdown import markdown
from mayo_data.report.page import page
from mayo_data.report.parts import Share, Table
from mayo_data.store.layout import Store

VOID = {"meta", "link", "br", "hr"}


@pytest.fixture(scope="module")
def facts(told_store: Path):
    return gather(told_store, population=100_000)


class Reader(html.parser.HTMLParser):
    """Reads a page as a browser does, and minds elements that are not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, name, attributes) -> None:
        self.tags.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name) -> None:
        assert self.open.pop() == name

    def handle_data(self, data) -> None:
        self.words.append(data)

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag_name, attributes in self.tags if tag_name == name]


def test_the_facts_are_those_of_the_ledger_and_the_store(told_store: Path, facts) -> None:
    ledger = Ledger(Store.open(told_store).ledger)
    run = next(ledger.records("run"))["body"]
    assert facts["run"]["run_id"] == run["run_id"]
    assert facts["policy"]["fingerprint"] == run["policy_fingerprint"]
    assert facts["policy"]["settings"]["dates"] == "shift"
    steps = [record["body"] for record in ledger.records("step")]
    assert [(one["name"], one["rows_in"], one["rows_out"]) for one in facts["loss"]] == [
        (one["name"], one["rows_in"], one["rows_out"]) for one in steps
    ]
    for one in facts["loss"]:
        assert one["rows_in"] == one["rows_out"] + sum(gone["rows"] for gone in one["dropped"])
    assert len(facts["gates"]) == len(list(ledger.records("gate")))
    assert [one["gate"] for one in facts["gates"]] == sorted(one["gate"] for one in facts["gates"])
    assert [one["sha256"] for one in facts["inputs"]] == [one["sha256"] for one in run["inputs"]]
    assert facts["ledger"]["head"] == ledger.head()
    assert facts["ledger"]["problems"] == []
    with md.connect(told_store) as db:
        decisions, events = db.sql("select (select count(*) from decision), (select count(*) from event)").fetchall()[0]
    assert (facts["phi"]["decisions"], facts["snapshot"]["events"]) == (decisions, events)
    assert sum(facts["phi"]["by_category"].values()) == sum(facts["phi"]["by_recognizer"].values()) == decisions
    assert facts["risk"]["risk"] == md.risk(told_store, population=100_000)["risk"]
    assert facts["coverage"] == md.coverage(told_store)
    assert facts["audit"]["leaks"] == 1
    assert (len(facts["lineage"]["reads"]), facts["lineage"]["contexts"], facts["lineage"]["inferences"]) == (3, 1, 1)


def test_every_form_holds_every_section_and_every_gate(facts) -> None:
    written, marked = page(facts), markdown(facts)
    for section in content.sections(facts):
        assert f'id="{section.key}"' in written
        assert f"## {section.title}" in marked
        for block in section.blocks:
            if isinstance(block, Table):
                assert text(block.caption) in written
    for one in facts["gates"]:
        assert one["check"].replace("_", " ") in written
        assert one["check"].replace("_", " ") in marked


def test_the_page_stands_for_itself(facts) -> None:
    found = Reader(page(facts))
    assert found.open == []
    assert found.all("script") == found.all("img") == found.all("iframe") == found.all("base") == []
    assert [link["href"] for link in found.all("link")] == ["data:,"]
    assert all(str(link["href"]).startswith("#") for link in found.all("a"))
    style = "".join(found.words)
    assert "@import" not in style
    assert "url(" not in style
    assert not [key for _, attributes in found.tags for key in attributes if key.startswith("on")]
    assert any("default-src 'none'" in str(one.get("content")) for one in found.all("meta"))


def test_headings_tables_and_pictures_are_named_for_a_screen_reader(facts) -> None:
    found = Reader(page(facts))
    levels = [int(name[1]) for name, _ in found.tags if re.fullmatch(r"h[1-6]", name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert len(found.all("main")) == len(found.all("header")) == len(found.all("footer")) == 1
    assert all(head.get("scope") in ("col", "row") for head in found.all("th"))
    assert len(found.all("caption")) == len(found.all("table"))
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    drawings = found.all("svg")
    assert len(drawings) == 4  # two pictures, each for a wide and for a narrow page
    for drawing in drawings:
        assert drawing["role"] == "img"
        assert set(str(drawing["aria-labelledby"]).split()) <= set(ids)
    assert found.tags[0][1]["lang"] == "en"


def test_hostile_words_are_words(facts) -> None:
    written = page(facts)
    assert "<script" not in written
    assert "<img" not in written
    assert "\x00" not in written
    assert "\u202e" not in written
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in written
    marked = markdown(facts)
    assert "<script" not in marked
    assert "<img" not in marked
    for line in marked.splitlines():
        if "alert(1)" in line and line.startswith("|"):
            assert "](javascript:1)" not in line.replace(r"\]", "")
    assert HOSTILE not in marked


@given(st.text(alphabet=st.characters(codec=None)))
def test_any_text_stays_text(words: str) -> None:
    found = Reader("<p>" + tag("b", words, title=words) + "</p>")
    assert [name for name, _ in found.tags] == ["p", "b"]
    assert list(found.tags[1][1]) == ["title"]
    tag("b", words).encode("utf-8")


def test_markup_is_not_escaped_twice() -> None:
    assert tag("p", tag("b", "&"), None, hidden=False) == "<p><b>&amp;</b></p>"
    assert isinstance(text("x"), Html)


def test_the_same_store_gives_the_same_bytes(told_store: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        md.write_report(
            told_store, html=tmp_path / f"{name}.html", json=tmp_path / f"{name}.json",
            markdown=tmp_path / f"{name}.md", evidence=tmp_path / f"{name}.zip",
        )  # fmt: skip
    for ending in ("html", "json", "md", "zip"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes(), ending
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{name}.{ending}" for name in "ab" for ending in ("html", "json", "md", "zip")
    ]


def test_the_pack_lists_its_parts(told_store: Path, tmp_path: Path) -> None:
    facts = md.write_report(told_store, evidence=tmp_path / "pack.zip", html=tmp_path / "page.html")
    with zipfile.ZipFile(io.BytesIO((tmp_path / "pack.zip").read_bytes())) as pack:
        assert pack.testzip() is None
        manifest = json.loads(pack.read("manifest.json"))
        assert {one["path"] for one in manifest["parts"]} == set(pack.namelist()) - {"manifest.json"}
        for one in manifest["parts"]:
            body = pack.read(one["path"])
            assert (len(body), hashlib.sha256(body).hexdigest()) == (one["bytes"], one["sha256"])
        assert json.loads(pack.read("report.json")) == json.loads(json.dumps(facts))
        assert pack.read("report.html") == (tmp_path / "page.html").read_bytes()
        assert facts["ledger"]["head"] in pack.read("signature.md").decode()
        (tmp_path / "anchor.json").write_bytes(pack.read("ledger/anchor.json"))
        assert json.loads(pack.read("policy.json"))["text"]["dates"] == "shift"
        assert b"164.514(b)(1)" in pack.read("methods.md")
        records = [json.loads(line) for line in pack.read("ledger/records.jsonl").splitlines()]
    digests, problems = anchors.check([tmp_path / "anchor.json"])
    assert problems == []
    assert verify(Store.open(told_store).ledger, anchors=digests) == []
    assert {"run", "step", "gate", "snapshot", "audit"} <= {record["kind"] for record in records}


def test_a_policy_that_is_not_the_one_is_refused(told_store: Path) -> None:
    with pytest.raises(ConfigError, match="fingerprints differ"):
        gather(told_store, policy="safe_harbor")


def test_the_policy_of_a_site_is_told_where_it_is_given(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text('extends = "expert_determination"\nname = "site"\n[dates]\nmax_days = 180\n')
    made = policies.load(str(site), model="fast")
    said = {"name": "site", "fingerprint": made.fingerprint}
    assert known_policy(said, None) is None
    assert known_policy(said, str(site)) == made


def test_a_damaged_ledger_is_said_at_the_head(told_store: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(told_store, tmp_path / "store")
    ledger = Store.open(tmp_path / "store").ledger
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join([lines[0], lines[1].replace(b'"rows_in":', b'"rows_in":1'), *lines[2:]]))
    found = gather(tmp_path / "store")
    assert found["ledger"]["problems"]
    assert content.attention(found)[0].tone == "bad"
    assert "tampered" in page(found)


def test_no_store_and_no_place_are_errors(told_store: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        gather(tmp_path / "nothing")
    with pytest.raises(StoreError):
        gather(told_store, snapshot="000009")
    with pytest.raises(ConfigError, match="cannot be written"):
        md.write_report(told_store, html=tmp_path / "no" / "page.html")


def test_no_path_and_no_word_of_the_export_is_in_the_report(told_store: Path, synthetic_export: Path, facts) -> None:
    written = json.dumps(facts) + page(facts)
    names = set()
    for line in (synthetic_export / "fhir" / "Patient.ndjson").read_text().splitlines():
        for name in json.loads(line).get("name", ()):
            if len(name.get("family", "")) > 5:
                names.add(name["family"])
    assert names
    assert not [name for name in names if name in written]
    assert str(told_store.parent) not in written


def test_a_group_without_any_time_is_told_too(facts) -> None:
    import copy

    timeless = copy.deepcopy(facts)
    row = {"name": "x", "subjects": 20, "events": 40, "notes": 0, "years": None}
    for groups in (timeless["coverage"]["dimensions"]["sex"], [timeless["coverage"]["whole"]]):
        groups[0] |= row | {"missing": dict.fromkeys(groups[0]["missing"], 0)}
    assert ">x<" in page(timeless)
    assert "| x | 20 |" in markdown(timeless)


def test_a_share_of_nothing_is_nothing() -> None:
    assert Share(0, 0).value == 0
    assert Share(None, 5).value is None


def test_who_left_is_not_counted_and_that_somebody_left_is_said(synthetic_run: Path, tmp_path: Path) -> None:
    for name in ("store", "store.phi"):
        shutil.copytree(synthetic_run / name, tmp_path / name)
    store = tmp_path / "store"
    before = gather(store)
    assert not before["snapshot"]["subjects_left"]
    md.erase(store, md.open(store).subjects()[0], "asked to be forgotten", key_file=synthetic_run / "site.key")
    after = gather(store)
    left = before["snapshot"]["subjects"] - 1
    with md.connect(store) as db:
        events = db.execute("SELECT count(*) FROM event").fetchall()[0][0]
    assert (after["snapshot"]["subjects"], after["snapshot"]["events"]) == (left, events)
    assert events < before["snapshot"]["events"]
    assert any("erased" in mark.text for mark in content.attention(after))
    nobody = {**after, "snapshot": {**after["snapshot"], "subjects": 0}}
    assert content.attention(nobody)[0].tone == "bad"


def test_a_sample_without_a_leak_has_no_empty_table(facts) -> None:
    clean = {**facts, "audit": {**facts["audit"], "categories": {}, "leaks_per_1000_notes": 0.0}}
    captions = [getattr(block, "caption", "") for one in content.sections(clean) for block in one.blocks]
    assert "Leaks by category" not in captions
    assert ("Leaks in 1,000 notes", "0.0") in [figure[:2] for figure in content.headline(clean)]
