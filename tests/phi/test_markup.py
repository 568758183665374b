from __future__ import annotations

import base64
import re
import time
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayo_data.keys import Secret
from mayo_data.phi.attachments import document_of, packed, text_of
from mayo_data.phi.markup import parse, write
from mayo_data.phi.text import Decision, Gazetteer, Known, Scrubbed, TextScrubber, TextSettings
from mayo_data.types import Identifier

KNOWN = Known([Identifier("PATIENT", "family", "Quimbleford"), Identifier("PATIENT", "given", "Ottoline")], 1, 5)
SCRUBBER = TextScrubber(TextSettings(replace="tag"), Secret(bytes(32)), Gazetteer([]))


def kept(document: str) -> str:
    found = parse(document)
    return write(found, Scrubbed(found.text, [], []))


def scrubbed(document: str) -> str:
    found = parse(document)
    return write(found, SCRUBBER.rewritten(found.text, KNOWN))


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        ("plain < 3 & more", "plain &lt; 3 &amp; more"),
        ("<p>a<p>b", "<p>a</p><p>b</p>"),
        ("<p>a</b></p></div>", "<p>a\n</p>\n"),
        ("<B>a<I>b</B>c</I>", "<b>a<i>b</i></b>c"),
        ("a<br>b<BR />c<hr/>", "a\n<br/>b\n<br/>c<hr/>"),
        ("<table><tr><td colspan=2 class='Jane'>a<td rowspan='3'>b</table>", '<table><tr><td colspan="2">a</td><td rowspan="3">b</td></tr></table>'),
        ("<td colspan='999'>a</td>", "<td>a</td>"),
        ("<p onclick=\"x('<b>')\">a</p>", "<p>a\n</p>"),
        ("<p title='it is \"Jane > Doe\"'>a", "<p>a</p>"),
        ("<p title='Jane>a", "<p>a</p>"),
        ("<a href='mailto:jane@x.org'>mail</a><img alt='Jane' src='x'>", "mail"),
        ("<o:p>a</o:p><p-jane>b</p-jane><font color=red>c</font>", "abc"),
        ("<title>t</title><script>x</script><style>y</style><!-- z -->", "t"),
        ("&lt;script&gt;alert(1)&lt;/script&gt;", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("a&#0;b&#11;c\x0bd\ud800e\ufffe", "a\ufffdbcde"),
    ],
)  # fmt: skip
def test_what_is_written_is_plain_formatting(document: str, wanted: str) -> None:
    assert kept(document) == wanted


def test_a_name_across_tags_is_found_and_the_tags_stay() -> None:
    document = "<p>Seen: <b>Otto</b>line <i>Quimble</i>ford, <u>well</u>.</p><ul><li>BP <b>128/76</b></ul>"
    found = scrubbed(document)
    assert found == "<p>Seen: <b>[PATIENT]</b><i></i>, <u>well</u>.\n</p><ul><li>BP <b>128/76</b></li></ul>"
    ET.fromstring(f"<div>{found}</div>")


TAGS = st.sampled_from(
    ["<p>", "</p>", "<b>", "</b>", "<td colspan=2>", "<li>", "</ul>", "<ul>", "<br>", "<!--", "-->", "<script>", "</script>", "<",
     ">", "&lt;", "&#65;", "&", "Ottoline", "Quimbleford ", " well ", "<p title='Quimbleford'>", "<x:y>", "<div", "\n", "\x00"]
)  # fmt: skip


@given(st.lists(st.one_of(TAGS, st.text(max_size=5)), max_size=40))
def test_any_document_becomes_well_formed_and_says_what_the_text_says(pieces: list[str]) -> None:
    document = "".join(pieces)
    body = scrubbed(document)
    tree = ET.fromstring(f"<div>{body}</div>")
    words = "".join(tree.itertext())
    assert all(set(node.attrib) <= {"colspan", "rowspan"} for node in tree.iter())
    # The words, and nothing else of the document, are those that the plain text has: line ends apart, which XML reads as one.
    clean = SCRUBBER.scrub(parse(document).text, KNOWN)[0]
    legal = (
        "".join(char for char in clean if char >= " " or char in "\t\n\r").replace("\ufffe", "").replace("\uffff", "")
    )
    assert words == re.sub("\r\n?", "\n", legal)
    again = parse(body)
    assert (
        write(again, Scrubbed(again.text, [], [])).replace("\n", "") == body.replace("\n", "").replace("\r", "")
        or "\r" in body
    )


@given(st.lists(st.tuples(st.integers(0, 4), st.text("xyz", max_size=4)), max_size=6), st.data())
def test_tags_move_with_the_words_beside_them(spans: list[tuple[int, str]], data: st.DataObject) -> None:
    """Where words are replaced, each tag stays between the same words that were kept."""
    text, out = "", ""
    decisions, moves = [], []
    for at, (size, new) in enumerate(spans):
        text += f"{at:03d}"
        out += f"{at:03d}"
        if size:
            decisions.append(Decision(len(text), len(text) + size, "PATIENT", "x", 1.0, "tag"))
            moves.append((len(out), len(new), len(text)))
            text += "-" * size
            out += new
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    found = parse(text)._replace(tags=[(place, "", "br", "") for place in places])
    pieces = write(found, Scrubbed(out, decisions, moves)).split("<br/>")
    assert "".join(pieces) == out
    for place, before in zip(places, ["".join(pieces[: n + 1]) for n in range(len(places))], strict=True):
        numbers = re.findall(r"\d{3}", text[:place])
        assert re.findall(r"\d{3}", before)[: len(numbers)] == numbers
        assert len(re.findall(r"\d", before)) == len(re.findall(r"\d", text[:place]))


@pytest.mark.parametrize(
    "piece", ["<p>", "<b>", "</b>", "<td><", "<li", "&#", '<a "', "<a '<a \"", "<b>x</i>", "<div>a"]
)
def test_hostile_markup_takes_no_time(piece: str) -> None:
    began = time.process_time()
    kept(piece * (200_000 // len(piece)))
    assert time.process_time() - began < 4  # quadratic would be minutes


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [("text/html; charset=utf-8", "text/html"), ("TEXT/HTML", "text/html"), ("application/xhtml+xml", "application/xhtml+xml"),
     ("text/plain", None), ("text/rtf", None), ("application/xml", None), ("application/pdf", None)],
)  # fmt: skip
def test_what_is_a_document(kind: str, wanted: Any) -> None:
    data = base64.b64encode(b"<p>a</p>").decode()
    found = document_of(kind, data)
    assert (found and found[0]) == wanted
    assert found is None or text_of(kind, data) == found[1].text


def test_packed_is_opened_again() -> None:
    made = packed("text/html", "<p>Grüße</p>")
    assert text_of(made["contentType"], made["data"]) == "Grüße\n"
