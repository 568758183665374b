"""Microsoft's anonymizer configurations: its own pairs of input and target, and the policies made of them."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from mayo_data.errors import ConfigError
from mayo_data.keys import Secret
from mayo_data.phi import microsoft, policy, rules
from mayo_data.types import Json

SECRET = Secret(bytes(32))
CASES = tomllib.loads((Path(__file__).parent / "cases" / "ms_fhir_anonymizer.toml").read_text())


@pytest.fixture(scope="module")
def suite(shared: Path) -> Path:
    path = shared / "suites" / "ms_fhir_anonymizer"
    if not path.is_dir():
        pytest.skip("../shared/suites/ms_fhir_anonymizer is not here")
    return path


def read(path: Path) -> Json:
    found: Json = json.loads(path.read_text(encoding="utf-8-sig"))
    return found


def comparable(value: Any) -> Any:
    """Without what differs everywhere: security labels, the digits of a hash, the day of a date."""
    if isinstance(value, dict):
        out = {name: comparable(inner) for name, inner in value.items()}
        if "resourceType" in out and isinstance(out.get("meta"), dict):
            out["meta"].pop("security", None)
            if not out["meta"]:
                del out["meta"]
        return out
    if isinstance(value, list):
        return [comparable(inner) for inner in value]
    if isinstance(value, str):
        value = re.sub(r"^(.*/|#|urn:uuid:)?[0-9a-f]{64}$", r"\1<hash>", value)
        return re.sub(r"^\d{4}-\d\d(-\d\d(T.*)?)?$", "<date>", value)
    return value


def outcome(suite: Path, target: Path, folder: Path) -> tuple[Any, Any, str]:
    name = str(target.relative_to(folder)).removesuffix("-target.json")
    source = folder / f"{CASES['source'].get(name, name)}.json"
    config = suite / "configuration-sample.json"
    if "/" not in name:
        config = suite / "FunctionalTests_Configurations" / f"{CASES['configuration'].get(name, 'common-config')}.json"
    found, _ = microsoft.read(config.read_text(encoding="utf-8"))
    made = rules.applier([{k: v for k, v in rule.items() if k != "encrypted"} for rule in found], SECRET, alone=True)
    return comparable(made(read(source), 41)), comparable(read(target)), name


def test_its_pairs_come_out_alike_but_for_what_is_explained(suite: Path) -> None:
    folder = suite / "FunctionalTests_TestResources"
    targets = sorted(folder.rglob("*-target.json"))
    assert len(targets) > 25
    different = set()
    for target in targets:
        ours, theirs, name = outcome(suite, target, folder)
        if ours != theirs:
            different.add(name)
    assert different == set(CASES["differs"])


def test_its_configurations_become_policies_or_are_refused(suite: Path, tmp_path: Path) -> None:
    refused = set()
    taken = 0
    for path in sorted(suite.rglob("*onfig*.json")):
        if "Resources" in str(path):
            continue
        try:
            text, _ = microsoft.translated(path.read_text(encoding="utf-8"))
        except ConfigError:
            refused.add(path.stem)
            continue
        (tmp_path / "own.toml").write_text(text)
        assert policy.load(str(tmp_path / "own.toml")).name == "imported"
        taken += 1
    assert refused == set(CASES["refused"]["configurations"])
    assert taken >= 9


def config(*listed: Json, **parameters: Any) -> str:
    return json.dumps({"fhirPathRules": list(listed), "parameters": parameters})


def applied(resource: Json, *listed: Json, **parameters: Any) -> Json:
    found, _ = microsoft.read(config(*listed, **parameters))
    return rules.applier(found, SECRET, alone=True)(resource, 10)


def test_the_first_rule_that_reaches_a_place_has_it() -> None:
    name = {"family": "Doe", "use": "official"}
    keep = {"path": "nodesByType('HumanName').use", "method": "keep"}
    redact = {"path": "nodesByType('HumanName')", "method": "redact"}
    assert applied({"resourceType": "Patient", "name": [dict(name)]}, keep, redact)["name"] == [{"use": "official"}]
    assert "name" not in applied({"resourceType": "Patient", "name": [dict(name)]}, redact, keep)


def test_ages_zips_and_numbers() -> None:
    redact = {"path": "nodesByType('Age')", "method": "redact"}
    history = {"resourceType": "FamilyMemberHistory", "deceasedAge": {"value": 95}, "ageAge": {"value": 40}}
    assert applied(history, redact, enablePartialAgesForRedact=True) == {
        "resourceType": "FamilyMemberHistory",
        "ageAge": {"value": 40},
    }
    address = {"path": "nodesByType('Address')", "method": "redact"}
    for given, kept in (("12345", "12300"), ("03601", "00000"), ("12345-6789", "12300")):
        found = applied(
            {"resourceType": "Patient", "address": [{"postalCode": given, "city": "x"}]},
            address,
            enablePartialZipCodesForRedact=True,
        )
        assert found["address"] == [{"postalCode": kept}]
    perturb = {"path": "Observation.value as Quantity", "method": "perturb", "span": 2, "roundTo": 1}
    found = applied({"resourceType": "Observation", "valueQuantity": {"value": 50, "unit": "kg"}}, perturb)
    assert 49 <= found["valueQuantity"]["value"] <= 51
    assert found["valueQuantity"]["unit"] == "kg"


def test_an_imported_policy_never_keeps_more_than_the_one_it_extends(tmp_path: Path) -> None:
    text, notes = microsoft.translated(
        config({"path": "Patient.name", "method": "keep"}, {"path": "Patient.gender", "method": "redact"})
    )
    (tmp_path / "own.toml").write_text(text)
    found, base = policy.load(str(tmp_path / "own.toml")), policy.load("expert_determination")
    assert found.elements == base.elements
    assert len(found.rules) == 2
    assert any("allow-list" in note for note in notes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"fhirPathRules": []}',
        '{"fhirPathRules": [5]}',
        '{"fhirPathRules": [{"path": "Patient.name((", "method": "redact"}]}',
    ],
)
def test_what_is_no_configuration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        microsoft.translated(text)
