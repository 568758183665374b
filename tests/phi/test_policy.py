from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mayo_data import events
from mayo_data.errors import ConfigError
from mayo_data.keys import Secret
from mayo_data.phi import policy
from mayo_data.phi.elements import CHOICES

ISSUE = [
    "Patient",
    "Encounter",
    "Condition",
    "Observation",
    "MedicationRequest",
    "MedicationAdministration",
    "MedicationStatement",
    "MedicationDispense",
    "Procedure",
    "Immunization",
    "AllergyIntolerance",
    "DiagnosticReport",
    "DocumentReference",
    "CarePlan",
    "Goal",
    "ImagingStudy",
    "Specimen",
    "ServiceRequest",
    "Device",
    "FamilyMemberHistory",
    "QuestionnaireResponse",
    "Claim",
    "ExplanationOfBenefit",
]

# Read by the mapping, and not in the policy on purpose: what cannot be scrubbed, or only repeats what is kept.
NOT_KEPT = {("QuestionnaireResponse", "item.answer.valueUri"), ("QuestionnaireResponse", "item.answer.valueAttachment")}


def keeps(tree: dict[str, Any], datatypes: dict[str, Any], path: list[str]) -> bool:
    """Whether a policy keeps what lies at a path."""
    name, rest = path[0], path[1:]
    action = tree.get(name)
    if action is None:
        stem = next((key[:-3] for key in tree if key.endswith("[x]") and name.startswith(key[:-3])), None)
        action = CHOICES.get(name[len(stem) :]) if stem is not None else None
    if action is None or (isinstance(action, str) and action.startswith("drop")):
        return False
    if isinstance(action, dict):
        return not rest or keeps(action, datatypes, rest)
    return not rest or action not in datatypes or keeps(datatypes[action], datatypes, rest)


@pytest.mark.parametrize("name", policy.PRESETS)
def test_every_preset_keeps_all_that_the_mapping_reads(name: str) -> None:
    found = policy.load(name)
    datatypes = found.elements["datatypes"]
    paths = events.paths()
    assert set(ISSUE) <= set(paths)
    assert set(ISSUE) <= set(found.elements)
    missing = []
    for kind, wanted in paths.items():
        for path in wanted:
            if path.endswith("[x]") or (kind, path) in NOT_KEPT:
                continue
            kept = keeps(found.elements[kind], datatypes, path.split("."))
            if not kept and not (found.elements[kind].get("item") == "items" and path.startswith("item")):
                missing.append(f"{kind}.{path}")
    # A choice that the policy does not admit at all (a Money, an Attachment as a value) may be read for other sources.
    types = {path for path in missing if any(path.endswith(end) for end in ("Money", "Uri", "Attachment", "Code"))}
    assert sorted(set(missing) - types) == []


def test_the_legal_basis_is_said_honestly() -> None:
    assert "NOT Safe Harbor" in policy.load("expert_determination").legal
    harbor = policy.load("safe_harbor")
    assert "164.514(b)(2)" in harbor.legal
    assert (harbor.dates, harbor.ids, harbor.zip_method, harbor.top_age) == ("year", "random", "zip3", 89)
    assert policy.load("limited_data_set").top_age == 0
    assert len(policy.SMALL_ZIP3) == 17


def write(folder: Path, text: str, name: str = "site.toml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_a_site_overrides_single_lines(tmp_path: Path) -> None:
    own = write(
        tmp_path,
        'extends = "expert_determination"\nname = "site"\n[dates]\nmax_days = 30\n[codes]\nadmit = ["urn:a"]\n'
        '[elements.Patient]\ngender = "drop PATIENT"\n[elements.Patient.address]\nstate = "drop CITY"\n',
    )
    found, base = policy.load(own, admit=("urn:b", "urn:a")), policy.load("expert_determination")
    assert (found.name, found.max_days, found.admit) == ("site", 30, ("urn:a", "urn:b"))
    assert found.elements["Patient"]["gender"] == "drop PATIENT"
    assert found.elements["Patient"]["address"]["state"] == "drop CITY"
    assert found.elements["Patient"]["address"]["postalCode"] == "zip3"
    assert found.elements["Observation"] == base.elements["Observation"]
    assert base.elements["Patient"]["gender"] == "code"  # the preset itself is as it was
    assert found.fingerprint != base.fingerprint
    assert policy.load(own).fingerprint != found.fingerprint  # what is admitted is part of the policy


def test_a_policy_may_extend_another_of_the_site(tmp_path: Path) -> None:
    first = write(tmp_path, 'extends = "safe_harbor"\n[ages]\ntop = 79\n', "first.toml")
    found = policy.load(write(tmp_path, f'extends = "{first}"\n[zip]\nmethod = "keep"\n'))
    assert (found.top_age, found.zip_method, found.dates) == (79, "keep", "year")


@pytest.mark.parametrize(
    "text",
    [
        "", "name = 'x'", "extends = 'nobody'", "not toml", 'extends = "safe_harbor"\n[dates]\nmethod = "guess"',
        'extends = "safe_harbor"\n[ids]\nmethod = "none"', 'extends = "safe_harbor"\n[zip]\nmethod = "zip5"',
        'extends = "safe_harbor"\n[text]\nreplace = "blank"', 'extends = "safe_harbor"\n[ages]\ntop = "old"',
        'extends = "safe_harbor"\nextras = 1', 'extends = "safe_harbor"\n[dates]\nmax_dais = 3',
        'extends = "safe_harbor"\n[elements.Patient]\ngender = "keep"', 'extends = "safe_harbor"\n[elements.Patient]\nname = 5',
        'extends = "safe_harbor"\n[elements.Patient]\nname = "drap"', 'extends = "safe_harbor"\n[elements.Patient]\nname = "drop NAMES"',
        'extends = "safe_harbor"\n[elements.Patiant]\nname = "label"', 'extends = "safe_harbor"\ndates = 5',
        'extends = "safe_harbor"\nextends = "safe_harbor"', 'extends = 5', 'extends = "safe_harbor"\n[codes]\nadmit = "urn:a"',
    ],
)  # fmt: skip
def test_a_line_that_makes_no_sense_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        policy.load(write(tmp_path, text))


def test_a_policy_that_extends_itself_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(f'extends = "{path}"\n')
    with pytest.raises(ConfigError):
        policy.load(str(path))


def test_no_policy_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no policy"):
        policy.load("hipaa")


def test_the_shipped_elements_are_sound() -> None:
    for name in policy.PRESETS:
        elements = policy.load(name).elements
        policy._check_elements(elements, elements)


def test_every_preset_compiles(tmp_path: Path) -> None:
    from mayo_data.phi.structured import Scrub, detector
    from mayo_data.phi.vault import Vault

    secret = Secret(bytes(32))
    Vault(tmp_path / "vault.sqlite", secret).close()
    prints = {
        detector(Scrub(policy.load(name), secret, secret, tmp_path / "vault.sqlite", "2024-01-01"))
        for name in policy.PRESETS
    }
    assert len(prints) >= 2
