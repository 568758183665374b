"""The quick look finds whatever the search element by element finds."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mayo_data.keys import Secret
from mayo_data.phi.identifiers import Record
from mayo_data.phi.vault import Vault
from mayo_data.pipeline.leaks_in_fhir import Auditor
from mayo_data.types import Identifier

SECRET = Secret(bytes(range(32)))
SUBJECT = SECRET.subject_id("Patient/1")
KNOWN = (
    Identifier("PATIENT", "full", "Ilse Zqxwilliams"), Identifier("PATIENT", "given", "Will"),
    Identifier("PATIENT", "family", "Long"), Identifier("SSN", "value", "078-05-1120"),
    Identifier("MRN", "value", "0048812"), Identifier("EMAIL", "value", "ilse@example.org"),
    Identifier("CITY", "value", "Marblehead"), Identifier("DATE", "birth", "1970-02-28"),
)  # fmt: skip


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vault") / "vault.sqlite"
    made = Vault(path, SECRET)
    made.add([Record("patient", "Patient/1", identifiers=KNOWN)])
    made.index(SECRET)
    made.close()
    return path


@pytest.fixture(scope="module")
def auditor(vault: Path) -> Iterator[Auditor]:
    made = Auditor(vault, SECRET, frozenset())
    yield made
    made.close()


def written(resource: object) -> bytes:
    return msgspec.json.encode(resource)


@pytest.mark.parametrize(
    ("resource", "found"),
    [
        ({"note": [{"text": "Ilse is well"}]}, [(".note.text", "PATIENT")]),
        ({"note": [{"text": "all well"}]}, []),
        ({"note": [{"text": "Will Long was here"}]}, [(".note.text", "PATIENT")]),
        ({"note": [{"text": "will long for more"}]}, [(".note.text", "PATIENT")]),
        ({"note": [{"text": "we will see"}]}, []),
        ({"text": {"div": '<div class="a">Zqxwilliams</div>'}}, [(".text.div", "PATIENT")]),
        ({"valueString": "078051120"}, []),  # a number alone, as the search element by element has it
        ({"valueString": "no. 078 05 1120"}, [(".valueString", "SSN")]),
        ({"valueInteger": 78051120}, []),
        ({"valueInteger": 48812}, []),
        ({"valueInteger": 4881200}, []),
        ({"code": {"coding": [{"system": "urn:a", "code": "x-48812"}]}}, []),  # a code may have somebody's digits
        ({"code": {"coding": [{"system": "urn:a", "code": "zqxwilliams"}]}}, [(".code.coding.code", "PATIENT")]),
        ({"subject": {"reference": "Patient/Marblehead"}}, []),  # a reference is under its pseudonym
        ({"subject": {"display": "Marblehead"}}, [(".subject.display", "CITY")]),
        ({"a": "write to ILSE@example.org"}, [(".a", "EMAIL"), (".a", "PATIENT")]),
        ({"a": "born 2/28/1970"}, [(".a", "DATE")]),
        ({"a": "seen 2/28/1970"}, []),
        ({"unit": "{Marblehead}"}, [(".unit", "CITY")]),
        ({"a": "cut {", "b": "Marblehead"}, [(".b", "CITY")]),
        ({"a": ["cut {", "and {", "Marblehead"]}, [(".a", "CITY")]),
        ({"a": ["Marblehead {", "and {"]}, [(".a", "CITY")]),
        ({"contentType": "text/plain", "data": base64.b64encode(b"to Marblehead").decode()}, [(".data", "CITY")]),
    ],
)  # fmt: skip
def test_leaks(auditor: Auditor, resource: dict[str, object], found: list[tuple[str, str]]) -> None:
    body = written({"resourceType": "Basic", **resource, "id": "0123456789abcdef"})
    for _ in range(2):  # what was learned from the first changes nothing
        assert sorted(auditor.leaks(SUBJECT, body)) == found


WORDS = st.sampled_from(
    ["Ilse", "Zqxwilliams", "Will", "Long", "078-05-1120", "0048812", "48812", "Marblehead", "ilse@example.org", "born",
     "2/28/1970", "1970-02-28", "{", "}", '{"', '"', "\\", ",", ":", "[", "well", "2019-03-01", "x", "é"]
)  # fmt: skip
TEXTS = st.lists(WORDS, max_size=4).map(" ".join) | st.lists(WORDS, max_size=3).map("".join)
NAMES = st.sampled_from(
    ["text", "code", "display", "value", "reference", "system", "id", "data", "contentType", "unit"]
)
VALUES = st.recursive(
    TEXTS | st.integers(-(10**9), 10**9) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_the_quick_look_misses_nothing(auditor: Auditor, vault: Path, resource: dict[str, object]) -> None:
    if "contentType" in json.dumps(resource):  # what stands as data beside it must be base64
        resource = json.loads(json.dumps(resource).replace('"data"', '"note"'))
    body = written(resource)
    slow = Auditor(vault, SECRET, frozenset())
    slow._open = lambda keys, fine, body: [body]  # type: ignore[method-assign]
    try:
        assert auditor.leaks(SUBJECT, body) == slow.leaks(SUBJECT, body)
    finally:
        slow.close()
