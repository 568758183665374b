"""What is fuzzed: each target takes a dice, makes hostile input of good input, and checks what must hold for any.

A target raises nothing but what its room promises. `python -m tests.fuzz NAME --minutes 10` runs one for long.
"""

from __future__ import annotations

import base64
import random
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import orjson

from mayo_data.errors import ConfigError, SourceError
from mayo_data.lineage.ledger import Ledger, verify
from mayo_data.omop import load
from mayo_data.phi import policy
from mayo_data.phi.attachments import document_of, text_of
from mayo_data.phi.markup import write
from mayo_data.phi.spans import families, merge
from mayo_data.phi.text import Scrubbed
from mayo_data.sources import fhir, omop
from mayo_data.types import PhiSpan

Target = Callable[[random.Random, Path], None]

PIECES = [
    b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\n", b"\r\n", b"\x00", b"\xff", b"\xc3\x28", b"null", b"1e999", b"-0",
    b"\\u0000", b"\\ud800", b"\xef\xbb\xbf", b"true", b"[" * 300, b'{"a":' * 300, b" " * 500, "É\u202e\u200b".encode(), b"''",
]  # fmt: skip


def mutated(dice: random.Random, data: bytes, pieces: list[bytes], most: int = 6) -> bytes:
    """Change some places of some bytes: put in, take out, turn, repeat, cut."""
    made = bytearray(data)
    for _ in range(dice.randint(0, most)):
        at, size = dice.randint(0, len(made)), dice.randint(0, 24)
        match dice.randint(0, 5):
            case 0:
                made[at:at] = dice.choice(pieces)
            case 1:
                del made[at : at + size]
            case 2 if made:
                made[min(at, len(made) - 1)] ^= 1 << dice.randint(0, 7)
            case 3:
                made[at:at] = made[at : at + size] * dice.randint(1, 20)
            case 4:
                other = dice.randint(0, len(made))
                made[at : at + size] = made[other : other + size]
            case _ if dice.random() < 0.2:
                del made[at:]
    return bytes(made)


# ── FHIR reader ───────────────────────────────────────────────────────────────────────────────────

_PATIENT = {"resourceType": "Patient", "id": "p1", "name": [{"family": "Quimbleford", "given": ["Ottoline"]}]}
_NOTE = {
    "resourceType": "DocumentReference", "id": "n1", "subject": {"reference": "Patient/p1"},
    "content": [{"attachment": {"contentType": "text/plain", "data": "T0s="}}],
}  # fmt: skip
_BUNDLE = {
    "resourceType": "Bundle",
    "type": "collection",
    "entry": [{"fullUrl": "urn:uuid:1", "resource": _PATIENT}, {"resource": _NOTE}],
}


def fhir_reader(dice: random.Random, folder: Path) -> None:
    """Every line of a file comes out once, whole or with its fate; the survey and the reader agree."""
    lines = dice.random() < 0.6
    good = (
        b"\n".join(orjson.dumps(one) for one in (_PATIENT, _NOTE, _PATIENT)) + b"\n" if lines else orjson.dumps(_BUNDLE)
    )
    path = folder / ("a.ndjson" if lines else "a.json")
    path.write_bytes(mutated(dice, good, PIECES))
    longest = dice.choice([64, 400, 1 << 20])
    try:
        export = fhir.discover(folder)
    except SourceError:
        return
    for file in export.files:
        found = fhir.survey(file, lambda resource: None, longest=longest, split_bytes=dice.choice([50, 1 << 20]))
        rows = []
        for split in found.splits:
            for batch in fhir.read(split, longest=longest):
                bodies, fates = batch.column("body").to_pylist(), batch.column("fate").to_pylist()
                assert all(body is not None or ending is not None for body, ending in zip(bodies, fates, strict=True))
                rows += batch.column("source_row").to_pylist()
        assert len(rows) == len(set(rows)) or not lines
    path.unlink()


# ── decoders of attachments ───────────────────────────────────────────────────────────────────────

_HTML = "<html><body><p class='x'>Ms. <b>Roe</b> &amp; &#x41;<br/><table><tr><td colspan=\"2\">1</td></tr></table><!-- c --><script>x</script></p>"
_RTF = r"{\rtf1\ansi{\fonttbl{\f0 Arial;}}{\*\generator x;}\pard Ms. \b Roe\b0 \'e9 \u233?\par{\info{\author X}}\{3\}}"
_MARKS = [
    b"<", b">", b"</", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"&", b"&#", b"&#x110000;", b"&#55296;", b"{", b"}", b"\\", b"{\\*", b"\\'",
    b"\\u99999", b"\\u-1", b"<script>", b"<style>", b"<td " * 30, b"<p>" * 400, b"{" * 400, b"\\b" * 300, b"\x00", b"\xff\xfe", b"=", b"'",
]  # fmt: skip


def decoders(dice: random.Random, folder: Path) -> None:
    """Any bytes that call themselves RTF, HTML or text become text, and a document can be written again."""
    kind, good = dice.choice(
        [("text/html", _HTML), ("application/xhtml+xml", _HTML), ("text/rtf", _RTF), ("text/plain", _RTF), ("", _HTML)]
    )
    charset = dice.choice(
        [
            "",
            "; charset=utf-8",
            "; charset=latin-1",
            "; charset=utf-16",
            "; charset=hex",
            "; charset=idna",
            "; charset=utf-7",
            "; charset=\x00",
        ]
    )
    data = base64.b64encode(mutated(dice, good.encode(), _MARKS, 12)).decode()
    if dice.random() < 0.1:
        data = data[: dice.randint(0, len(data))] + dice.choice(["!", "\n", "=", "é"])
    text_of(kind + charset, data)
    found = document_of(kind + charset, data)
    if found is not None:
        markup = found[1]
        places = [tag[0] for tag in markup.tags]
        assert places == sorted(places)
        assert all(0 <= place <= len(markup.text) for place in places)
        again = document_of(
            "text/html",
            base64.b64encode(write(markup, Scrubbed(markup.text, [], [])).encode("utf-8", "replace")).decode(),
        )
        assert again is not None


# ── policy compiler ───────────────────────────────────────────────────────────────────────────────

_POLICY = b"""\
extends = "expert_determination"
name = "site"
[text]
replace = "tag"
[dates]
method = "shift"
max_days = 30
[ages]
top = 89
[codes]
admit = ["http://a.example/*"]
[Patient]
gender = "keep"
birthDate = "date"
[Observation]
valueString = "drop"
"""
_WORDS = [
    b"=", b'"', b"[", b"]", b"{}", b"\n", b"keep", b"drop", b"'''", b"1979-01-01", b"nan", b"-1", b"99999999999999999999", b"[[x]]", b'"safe_harbor"',
    b"extends", b"resource", b"[Patient.name]\nfamily = 'text'\n", b"[rules]\n", b"name", b"\xff", b'"site.toml"', b"true", b'"../x"', b"[elements]\n",
]  # fmt: skip


def policies(dice: random.Random, folder: Path) -> None:
    """A policy file compiles to a policy, or is refused with a sentence."""
    path = folder / "site.toml"
    path.write_bytes(mutated(dice, _POLICY, _WORDS))
    try:
        found = policy.load(str(path))
    except ConfigError:
        return
    assert found.fingerprint
    assert found.fingerprint == policy.load(str(path)).fingerprint


# ── the detector's merge ──────────────────────────────────────────────────────────────────────────


def merging(dice: random.Random, folder: Path) -> None:
    """Whatever was found: sorted, apart, inside the text, and nothing that was covered is left open."""
    words = ["Ms.", "Roe", "é", "4/5/2021", "-", " ", "\n", "O'Hara", "\u200b", "555-0100", "'", "A", "😀", ".", "_"]
    text = "".join(dice.choice([*words, " "]) for _ in range(dice.randint(0, 30)))
    kinds = sorted(families())
    spans = []
    for _ in range(dice.randint(0, 12)):
        start = dice.randint(-2, len(text) + 2)
        spans.append(
            PhiSpan(start, start + dice.randint(-1, 12), dice.choice(kinds), "fuzz", dice.choice([0.1, 0.5, 0.5, 1.0]))
        )
    found = merge(spans, text)
    ends = [0, *(one.end for one in found)]
    assert all(one.start >= end and one.start < one.end <= len(text) for one, end in zip(found, ends, strict=False)), (
        text,
        spans,
    )
    covered = {at for one in found for at in range(one.start, one.end)}
    for one in spans:
        left = [text[at] for at in range(max(0, one.start), min(one.end, len(text))) if at not in covered]
        assert not any(char.isalnum() for char in left), (text, spans)
    assert merge(found, text) == found, (text, spans)


# ── the ledger's reader ───────────────────────────────────────────────────────────────────────────


@cache
def _chain() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.jsonl")
        for number in range(6):
            ledger.append("step", {"run_id": "r", "rows": number, "dropped": {"a": 1}})
        return ledger.path.read_bytes()


def ledger_reader(dice: random.Random, folder: Path) -> None:
    """A chain that was changed anywhere is found out; reading it raises nothing unforeseen."""
    path = folder / "ledger.jsonl"
    made = mutated(dice, _chain(), [*PIECES, *_chain().splitlines(keepends=True)])
    path.write_bytes(made)
    (folder / "ledger.jsonl.head").unlink(missing_ok=True)
    last = orjson.loads(_chain().splitlines()[-1])
    (folder / "ledger.jsonl.head").write_bytes(orjson.dumps({"digest": last["digest"], "seq": last["seq"]}) + b"\n")
    assert bool(verify(path)) == (made != _chain())


# ── OMOP tables ───────────────────────────────────────────────────────────────────────────────────

_CSV = b'person_id,gender_concept_id,year_of_birth,person_source_value\n1,8507,1970,"a, b"\n2,8532,1980,c\n3,,1990,"d""e"\n'
_CELLS = [b",", b'"', b"\n", b"\r", b"\r\n", b";", b"\t", b"|", b"\x00", b"\xff", b"\xef\xbb\xbf", b'""', b"'", b"\\N", b"x" * 3000, b",,,,", b"person_id"]  # fmt: skip


def omop_csv(dice: random.Random, folder: Path) -> None:
    """A header has columns that all differ, and DuckDB reads or rejects every row; nothing else happens."""
    import duckdb

    path = folder / "person.csv"
    path.write_bytes(mutated(dice, _CSV, _CELLS))
    try:
        names, delimiter = omop.header(path)
    except SourceError:
        return
    assert len({name.strip().casefold() for name in names}) == len(names)
    assert len(delimiter) == 1
    with duckdb.connect() as db:
        try:
            rows = db.execute(f"SELECT * FROM {load.csv(path, names, delimiter, quoted=True)}").fetchall()
        except (duckdb.InvalidInputException, duckdb.IOException, duckdb.ConversionException):
            return
    assert all(len(row) == len(names) for row in rows)


TARGETS: dict[str, Target] = {
    "fhir": fhir_reader,
    "decoders": decoders,
    "policy": policies,
    "merge": merging,
    "ledger": ledger_reader,
    "omop": omop_csv,
}


def once(name: str, seed: int, folder: Path) -> None:
    """Run a target once: the same seed gives the same input."""
    TARGETS[name](random.Random(seed), folder)
