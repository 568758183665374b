"""No value that a policy drops is in the output: a random token in every element of every resource type."""

from __future__ import annotations

import base64
import json
import random
import re
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mayo_data import assets, schema
from mayo_data.keys import Secret
from mayo_data.phi import policy
from mayo_data.phi.elements import elements
from mayo_data.phi.identifiers import from_fhir
from mayo_data.phi.structured import Scrub
from mayo_data.phi.vault import Vault
from mayo_data.stage import TALLY

SECRET = Secret(bytes(range(32)))
PATIENT = {"resourceType": "Patient", "id": "p1", "birthDate": "1971-03-04"}
TYPES = assets.toml("schemas", "fhir", "resource_types.toml")["types"]
# Whose words are scrubbed, not dropped: what no detector can know for PHI may stay there.
WORDS = {
    "markdown",
    "text",
    "data",
    "div",
    "display",
    "unit",
    *assets.toml("schemas", "phi", "by_type.toml")["text"]["names"],
}
WORDS |= {"title", "linkId", "name", "manufacturer", "modelNumber", "occurrenceString", "onsetString", "printed"}
TOKEN = re.compile(r"[zk][qj]x[a-z]{9}")


class Pen:
    """Fills every element of a FHIR type with a token, and remembers where each of them stands."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.where: dict[str, str] = {}

    def token(self, path: str) -> str:
        word = self.dice.choice("zk") + self.dice.choice("qj") + "x" + "".join(self.dice.choices("bcdfghjklmnp", k=9))
        self.where[word] = path
        return word

    def primitive(self, kind: str, path: str) -> Any:
        match kind:
            case "boolean":
                return True
            case "date":
                return "2020-03-04"
            case "dateTime" | "instant":
                return "2020-03-04T05:06:07Z"
            case "time":
                return "05:06:07"
            case "decimal":
                return 7.5
            case "integer" | "positiveInt" | "unsignedInt":
                return 7
            case "xhtml":
                return f'<div xmlns="http://www.w3.org/1999/xhtml"><p title="{self.token(path + "@title")}">{self.token(path)}</p></div>'
            case "base64Binary":
                return base64.b64encode(self.token(path).encode()).decode()
            case "uri" | "url" | "canonical":
                return f"http://{self.token(path)}.example.org/{self.token(path)}"
            case "oid" | "uuid":
                return f"urn:{kind}:{self.token(path)}"
            case _:
                return self.token(path)

    def fill(self, kind: str, path: str, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        chosen: set[str] = set()
        listed = list(elements(kind).items())
        self.dice.shuffle(listed)
        for name, element in listed:
            if name in ("modifierExtension", "implicitRules", "contained", "resourceType"):
                continue
            if element.choice in chosen or (depth <= 0 and not element.primitive):
                continue
            if element.choice:
                chosen.add(element.choice)
            at = f"{path}.{name}"
            if element.type == "Resource":
                continue
            if element.type == "Extension":
                value: Any = {"url": self.primitive("uri", at + ".url"), "valueString": self.token(at + ".printed-not")}
            elif element.primitive:
                value = self.primitive(element.type, at)
                made["_" + name] = {
                    "extension": [{"url": self.token(at + "._url"), "valueString": self.token(at + "._")}]
                }
                if element.repeats:
                    made["_" + name] = [made["_" + name]]
            else:
                value = self.fill(element.type, at, depth - 1)
            made[name] = [value] if element.repeats else value
        return made

    def resource(self, kind: str, *, contained: bool = True) -> dict[str, Any]:
        made = {"resourceType": kind, **self.fill(kind, kind, 3), "id": self.token(kind + ".id").replace("x", "-")}
        self.where[made["id"]] = kind + ".id"
        for name in ("subject", "patient", "beneficiary", "individual", "for"):
            element = elements(kind).get(name)
            if element is not None and element.type == "Reference":
                mine = {"reference": "Patient/p1", "display": self.token(f"{kind}.{name}.display-of-reference")}
                made[name] = [mine] if element.repeats else mine
        if contained and "contained" in elements(kind):
            made["contained"] = [
                self.resource(inner, contained=False)
                for inner in ("Patient", "Practitioner", "Observation", "Organization")
            ]
        return made


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for name, inner in value.items() for text in (name, *texts(inner))]
    if isinstance(value, list):
        return [text for inner in value for text in texts(inner)]
    if not isinstance(value, str):
        return [str(value)]
    try:
        return [value, base64.b64decode(value, validate=True).decode("utf-8", "replace")]
    except ValueError:
        return [value]


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vault") / "vault.sqlite"
    opened = Vault(path, SECRET)
    opened.add(from_fhir(PATIENT))
    opened.close()
    return path


def scrubbed(vault: Path, name: str, whole: bool, bodies: list[Any]) -> list[dict[str, Any]]:
    stage = Scrub(policy.load(name), SECRET, SECRET, vault, "2024-01-01", whole=whole)
    rows = [{"source_table": 0, "source_row": n, "body": orjson.dumps(body)} for n, body in enumerate(bodies, 1)]
    [batch] = stage(iter([pa.RecordBatch.from_pylist(rows, schema=schema.table("raw"))]))
    return [row for row in batch.to_pylist() if row["fate"] != TALLY]


def may_stay(path: str) -> bool:
    last = path.rpartition(".")[2]
    if path.endswith((".reference.display", "of-reference")) or "@" in path or "_" in last:
        return False
    return last in WORDS or last.endswith("String")


@pytest.mark.parametrize(
    ("name", "whole"), [("expert_determination", True), ("safe_harbor", True), ("expert_determination", False)]
)
@settings(
    max_examples=1, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32))
def test_a_token_in_a_dropped_element_is_gone(vault: Path, name: str, whole: bool, seed: int) -> None:
    pen = Pen(seed)
    bodies = [pen.resource(kind) for kind in TYPES if elements(kind) and kind != "Bundle"]
    leaked: dict[str, str] = {}
    alive = 0
    for row in scrubbed(vault, name, whole, bodies):
        if row["fate"] is not None:
            continue
        alive += 1
        said = " ".join(texts(json.loads(row["body"])))
        for token in TOKEN.findall(said) + [ident for ident in pen.where if "-" in ident and ident in said]:
            path = pen.where.get(token, "?")
            if not may_stay(path) and not is_markdown(path):
                leaked[token] = path
    assert leaked == {}
    assert alive > (100 if whole else 20)


def is_markdown(path: str) -> bool:
    """Whether the last element of a path is markdown: a text, scrubbed."""
    kind, *names = path.split(".")
    for name in names[:-1]:
        element = elements(kind).get(name)
        if element is None:
            return False
        kind = element.type
    element = elements(kind).get(names[-1]) if names else None
    return element is not None and element.type == "markdown"


def test_every_type_of_r4_is_covered() -> None:
    from mayo_data.phi.elements import explained

    found = policy.load("expert_determination")
    for kind in TYPES:
        if elements(kind):
            lines = list(explained(found.elements, kind))
            assert lines[0].path.startswith(kind)
            assert {line.path.split(".")[1] for line in lines} >= set(elements(kind)) - {"resourceType"}, kind
