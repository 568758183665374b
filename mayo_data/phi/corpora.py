"""Reads labelled text in the forms in which such corpora come: JSON lines, inline marks, i2b2 XML, brat, Presidio.

Everything read here is PHI zone. Errors name the file and the line, never the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args
from xml.etree import ElementTree as ET

import orjson

from mayo_data import assets
from mayo_data.errors import SourceError

Format = Literal["jsonl", "inline", "i2b2", "brat", "presidio"]
FORMATS: tuple[str, ...] = get_args(Format)
_MARK = re.compile(r"\[\[(?P<category>[A-Z][A-Z0-9_]*):(?P<text>[^\[\]\n]*)\]\]")
_BRAT = re.compile(r"(?P<id>T\d+)\t(?P<label>\S+) (?P<where>\d+ \d+(?:;\d+ \d+)*)\t")
_BARE_YEAR = re.compile(r"\D{0,3}(?:18|19|20)\d\d\D{0,3}")
_AGE = re.compile(r"\d+")


class Gold(NamedTuple):
    """A marked piece of a document.

    Attributes:
        start: Offset of its first character.
        end: Offset after its last.
        category: PHI category, or the corpus's own label where we have none for it.
    """

    start: int
    end: int
    category: str


class Document(NamedTuple):
    """One labelled text.

    Attributes:
        name: Id or file name; PHI zone.
        text: The text.
        spans: What must be found, and what may be (see `Evaluation`).
        known: What the record says of the subject, where the corpus has that.
    """

    name: str
    text: str
    spans: list[Gold]
    known: dict[str, Any] | None = None


@cache
def _labels() -> dict[str, str]:
    """A corpus's label, in capitals, to our category."""
    table = assets.toml("schemas", "phi", "corpus_labels.toml")
    labels = {label: category for category, names in table.items() for label in names}
    return {**labels, **{name: name for name in assets.toml("schemas", "phi", "categories.toml")}}


def category(label: str, text: str) -> str:
    """Return our category of a corpus's label; the label itself where we have none.

    A date that is a bare year is a YEAR, an age below 90 an AGE: the corpora do not tell them apart.

    Args:
        label: The label, in any case.
        text: The text it marks.

    >>> category("DOCTOR", "Doe"), category("DATE", "2019"), category("AGE", "54"), category("TITLE", "Mr.")
    ('STAFF', 'YEAR', 'AGE', 'TITLE')
    """
    found = _labels().get(label.upper(), label.upper())
    if found == "DATE" and _BARE_YEAR.fullmatch(text):
        return "YEAR"
    if found == "AGE90" and (number := _AGE.search(text)) is not None and int(number.group()[:4]) < 90:
        return "AGE"
    return found


def read(path: Path, form: str) -> Iterator[Document]:
    """Yield the documents of a corpus, in the order of their file names.

    Args:
        path: File or folder.
        form: `jsonl`: `{"id", "text", "spans": [{"start", "end", "category"}]}` a line. `inline`: text files with
            `[[CATEGORY:text]]`, after an optional header that ends with a line `---`. `i2b2`: the XML of the 2006
            to 2014 tasks. `brat`: `NAME.txt` beside `NAME.ann`. `presidio`: JSON list or lines of
            `{"full_text", "spans": [{"entity_type", "start_position", "end_position"}]}`.

    Raises:
        SourceError: No such file, or one cannot be read as that form.
    """
    endings = {"jsonl": (".jsonl", ".jsonl.gz"), "inline": (".txt",), "i2b2": (".xml",), "brat": (".txt",)}.get(
        form, (".json", ".jsonl")
    )
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and file.name.endswith(endings))
    else:
        files = [path] if path.exists() else []
    if not files:
        raise SourceError(f"no {form} files in the corpus", hint=f"they end with {' or '.join(endings)}")
    reader = {"jsonl": _lines, "inline": _inline, "i2b2": _i2b2, "brat": _brat, "presidio": _presidio}[form]
    for number, file in enumerate(files, 1):
        try:
            yield from reader(file)
        except (KeyError, TypeError, ValueError, AttributeError, ET.ParseError) as error:
            raise SourceError(
                f"file {number} of {len(files)} is not of the form {form} ({type(error).__name__})",
                hint="see mayo-data evaluate --help for the forms",
            ) from None


def _content(file: Path) -> bytes:
    data = file.read_bytes()
    if file.name.endswith(".gz"):
        import gzip

        data = gzip.decompress(data)
    return data


def _entry(entry: dict[str, Any], fallback: str) -> Document:
    text = entry["full_text"] if "full_text" in entry else entry["text"]
    if not isinstance(text, str):
        raise TypeError("the text is no string")
    spans = []
    for span in entry.get("spans") or entry.get("entities") or ():
        start = int(span["start_position"] if "start_position" in span else span["start"])
        end = int(span["end_position"] if "end_position" in span else span["end"])
        label = span.get("category") or span.get("entity_type") or span.get("type") or span.get("label") or "PHI"
        spans.append(Gold(start, end, category(str(label), text[start:end])))
    return Document(str(entry.get("id", fallback)), text, _checked(spans, text), entry.get("known"))


def _lines(file: Path) -> Iterator[Document]:
    for number, line in enumerate(_content(file).splitlines(), 1):
        if line.strip():
            yield _entry(orjson.loads(line), f"{file.name}:{number}")


def _presidio(file: Path) -> Iterator[Document]:
    data = _content(file)
    if data.lstrip()[:1] == b"[":
        for number, entry in enumerate(orjson.loads(data), 1):
            yield _entry(entry, f"{file.name}:{number}")
    else:
        yield from _lines(file)


def _inline(file: Path) -> Iterator[Document]:
    raw = _content(file).decode("utf-8")
    head, line, body = raw.partition("\n---\n")
    # A header is lines of `key: value`; a rule inside a note is not the end of one.
    if line and all(":" in row or not row.strip() for row in head.splitlines()) and "[[" not in head:
        raw = body
    elif raw.startswith("---\n"):
        raw = raw[4:]
    yield inline(file.stem, raw)


def inline(name: str, raw: str) -> Document:
    """Return a text with inline marks as a document.

    Args:
        name: Its name.
        raw: The text with `[[CATEGORY:text]]`.

    >>> inline("a", "Seen by Dr. [[STAFF:Doe]].")
    Document(name='a', text='Seen by Dr. Doe.', spans=[Gold(start=12, end=15, category='STAFF')], known=None)
    """
    parts: list[str] = []
    spans: list[Gold] = []
    at = size = 0
    for mark in _MARK.finditer(raw):
        before, inner = raw[at : mark.start()], mark["text"]
        parts += (before, inner)
        size += len(before)
        spans.append(Gold(size, size + len(inner), category(mark["category"], inner)))
        size += len(inner)
        at = mark.end()
    parts.append(raw[at:])
    return Document(name, "".join(parts), spans)


def _i2b2(file: Path) -> Iterator[Document]:
    root = ET.fromstring(_content(file))  # noqa: S314 - expat refuses entity bombs
    text = root.findtext("TEXT") or ""
    tags = root.find("TAGS")
    spans = []
    for tag in tags if tags is not None else ():
        start, end = int(tag.attrib["start"]), int(tag.attrib["end"])
        spans.append(Gold(start, end, category(tag.attrib.get("TYPE") or tag.tag, text[start:end])))
    yield Document(file.stem, text, _checked(spans, text))


def _brat(file: Path) -> Iterator[Document]:
    text = _content(file).decode("utf-8")
    spans = []
    notes = file.with_suffix(".ann")
    for line in notes.read_text("utf-8").splitlines() if notes.exists() else ():
        mark = _BRAT.match(line)
        if mark is None:
            continue
        for piece in mark["where"].split(";"):
            start, end = map(int, piece.split())
            spans.append(Gold(start, end, category(mark["label"], text[start:end])))
    yield Document(file.stem, text, _checked(spans, text))


def _checked(spans: list[Gold], text: str) -> list[Gold]:
    for span in spans:
        if not 0 <= span.start <= span.end <= len(text):
            raise ValueError("a span lies outside its text")
    return sorted(spans)
