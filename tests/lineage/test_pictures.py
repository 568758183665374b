"""The picture of a trace: sound HTML and Graphviz text, complete in itself, whatever the ids and names hold."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served import Served

import mayo_data as md
from mayo_data.lineage import diagram, page
from mayo_data.types import Json

VOID = {"meta", "br", "hr", "img", "link"}


class Balance(HTMLParser):
    """Counts what is open, and collects what is shown and what is fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.fetched += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag in ("script", "link", "iframe", "object"):
            self.fetched.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(text: str) -> Balance:
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert parser.fetched == []
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ET.fromstring(svg)
    return parser


def answers(served: Served) -> list[Json]:
    prediction = md.trace(served.store, served.prediction)
    names = [served.read, served.context, str(served.subject), prediction["lines"][0]["event_id"]]
    traces = [prediction, *(md.trace(served.store, name) for name in names)]
    return [
        *traces,
        md.impact(served.store, subject=served.subject),
        md.impact(served.store, policy="expert_determination"),
    ]


def test_every_answer_has_a_picture(served: Served) -> None:
    for found in answers(served):
        shown = " ".join(read(page.html(found)).text)
        for layer in diagram.layers(found):
            for box in layer:
                assert box.title in shown
        assert "@import" not in page.html(found)
        assert sum(box.main for layer in diagram.layers(found) for box in layer) == 1
        assert diagram.dot(found).count("->") == len(list(diagram.edges(diagram.layers(found))))


def test_graphviz_reads_it(served: Served) -> None:
    if shutil.which("dot") is None:
        pytest.skip("Graphviz is not installed")
    for found in answers(served):
        subprocess.run(["dot", "-Tsvg"], input=diagram.dot(found), text=True, check=True, capture_output=True)


@settings(max_examples=60, deadline=None)
@given(name=st.text(max_size=60), code=st.text(max_size=60))
def test_no_name_breaks_the_picture(name: str, code: str) -> None:
    found: Json = {
        "kind": "event", "event_id": "1.2.3", "snapshot": "000001", "source": None, "resource": None, "mapping": None,
        "event": {"code": code, "time": None, "subject_id": 1}, "decisions": [],
        "scrub": {"policy": name, "policy_fingerprint": "ab"},
    }  # fmt: skip
    text = page.html(found)
    read(text)
    assert "<script" not in text.lower()
    lines = diagram.dot(found).splitlines()
    assert all(re.fullmatch(r'.*label="(?:[^"\\]|\\.)*".*', line) for line in lines if "label=" in line)


def test_the_command_writes_both(served: Served, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from mayo_data.cli.commands import app

    arguments = ["trace", served.prediction, "--store", str(served.store)]
    written = ["--html", str(tmp_path / "t.html"), "--dot", str(tmp_path / "t.dot")]
    done = CliRunner().invoke(app, [*arguments, *written])
    assert done.exit_code == 0, done.output
    read((tmp_path / "t.html").read_text())
    assert (tmp_path / "t.dot").read_text().startswith("digraph")
    for more in ([], ["--json"]):
        done = CliRunner().invoke(app, [*arguments, *more])
        assert done.exit_code == 0
        assert served.training in done.output
    done = CliRunner().invoke(app, ["impact", str(served.store), "--subject", str(served.subject)])
    assert "1 reads, 1 models, 1 predictions on these events, 1 by these models" in done.output
