from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayo_data.phi.attachments import text_of


def packed(content: str | bytes) -> str:
    return base64.b64encode(content.encode() if isinstance(content, str) else content).decode()


@pytest.mark.parametrize(
    ("kind", "content", "wanted"),
    [
        ("text/plain", "Grüße", "Grüße"),
        ("text/plain; charset=utf-8", "Grüße", "Grüße"),
        ('text/plain;charset="iso-8859-1"', "Grüße".encode("latin-1"), "Grüße"),
        ("text/plain; charset=UTF-16", "Grüße".encode("utf-16"), "Grüße"),
        ("text/plain; charset=us-ascii", "Grüße", "Grüße"),  # says ASCII, is UTF-8
        ("text/plain", "Grüße".encode("cp1252"), "Grüße"),
        ("text/plain", b"\xef\xbb\xbfhello", None),
        ("", "hello", "hello"),
        ("TEXT/HTML", "<p>Jane<br/>Doe &amp; <b>son</b></p>", "Jane\nDoe & son\n"),
        ("text/html", "a<!-- Jane <b> -->b<script>x</script >c<STYLE type='a'>y</style>d", "abcd"),
        ("text/html", "a<!-- Jane", "a Jane"),
        ("text/html", "a<script>Jane", "aJane"),
        ("text/html", "&#74;ane &#x44;oe", "Jane Doe"),
        ("text/html", "3 < 4 > 2", "3  2"),
        ("application/xhtml+xml", "<div>a</div>", "a\n"),
        ("text/rtf", r"{\rtf1\ansi{\fonttbl{\f0 Arial;}}\f0 Jane\par Doe\'e9 \{x\}}", "Jane\nDoeé {x}"),
        ("text/plain", r"{\rtf1 Jane}", "Jane"),
        ("application/rtf", r"{\rtf1{\info{\author Zed}}{\*\company Acme}Jane \u233?}", "Jane é"),
    ],
)
def test_text_comes_out(kind: str, content: str | bytes, wanted: str | None) -> None:
    found = text_of(kind, packed(content))
    if wanted is None:
        assert found is not None
        assert found.removeprefix("\ufeff") == "hello"
    else:
        assert found == wanted


@pytest.mark.parametrize(
    "kind", ["application/pdf", "image/png", "application/octet-stream", "application/json", "audio/basic"]
)
def test_what_is_no_text_gives_none(kind: str) -> None:
    assert text_of(kind, packed("Jane")) is None


@pytest.mark.parametrize("data", ["%%%", "ä", "abc", "YQ=", "SmFuZQ-_"])
def test_what_is_no_base64_gives_none(data: str) -> None:
    assert text_of("text/plain", data) is None


def test_base64_in_lines_is_base64() -> None:
    data = packed("Jane Doe " * 20)
    assert text_of("text/plain", "\n ".join([data[:40], data[40:]])) == "Jane Doe " * 20


@pytest.mark.parametrize(
    "charset", ["undefined", "idna", "punycode", "hex", "base64", "rot13", "utf-7", "x" * 40, "..", "unicode_escape"]
)
def test_no_charset_of_the_sender_breaks_anything(charset: str) -> None:
    assert isinstance(text_of(f"text/plain; charset={charset}", packed(b"\xff\xfe Jane \xe9")), str)


@given(st.binary(max_size=200), st.sampled_from(["text/plain", "text/html", "text/rtf", "text/plain; charset=utf-16"]))
def test_any_bytes_become_text(raw: bytes, kind: str) -> None:
    assert isinstance(text_of(kind, packed(raw)), str)


@pytest.mark.parametrize(
    ("kind", "piece"),
    [("text/html", piece) for piece in ("<!--", "<script ", "<script>", "<style>", "<", "<br", "&#", "<a ", "-->")]
    + [("text/rtf", piece) for piece in ("{\\*", "{\\*\\a", "{\\info{a}", "{a}", "\\u1", "\\'4", "{")],
)
def test_hostile_markup_takes_no_time(kind: str, piece: str) -> None:
    content = ("{\\rtf" if kind == "text/rtf" else "") + piece * (400_000 // len(piece))
    began = time.process_time()
    text_of(kind, packed(content))
    assert time.process_time() - began < 2  # quadratic would be minutes
