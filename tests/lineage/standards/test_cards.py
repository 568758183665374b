"""Cards: complete against their standards, filled from records alone, blank where nothing is known, harmless."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mayo_data.dataset import standards
from mayo_data.errors import ConfigError
from mayo_data.lineage.standards import cards
from mayo_data.lineage.standards.account import Account
from mayo_data.lineage.standards.writing import line, markdown

# Names of the elements of https://mc.chai.org/v0.2/schema.xsd that hold text.
CHAI = [
    "ModelName",
    "ModelDeveloper",
    "DeveloperContact",
    "ReleaseStage",
    "ReleaseDate",
    "ReleaseVersion",
    "GlobalAvailability",
    "EHRCompatibility",
    "RegulatoryApproval",
    "Summary",
    "Keywords",
    "IntendedUseAndWorkflow",
    "PrimaryIntendedUsers",
    "HowToUse",
    "TargetedPatientPopulation",
    "CautionedOutOfScopeSettings",
    "KnownRisksAndLimitations",
    "KnownBiasesOrEthicalConsiderations",
    "ClinicalRiskLevel",
    "OutcomesAndOutputs",
    "ModelType",
    "FoundationModels",
    "InputDataSource",
    "OutputAndInputDataTypes",
    "DevelopmentDataCharacterization",
    "BiasMitigationApproaches",
    "OngoingMaintenance",
    "Security",
    "Transparency",
    "FundingSource",
    "ThirdPartyInformation",
    "StakeholdersConsulted",
    "EvaluationReferences",
    "ClinicalTrial",
    "PeerReviewedPublications",
    "ReimbursementStatus",
    "PatientConsentOrDisclosure",
    "Bibliography",
]
METRICS = [
    "MetricGoal",
    "Results",
    "Interpretation",
    "TestType",
    "TestingDataDescription",
    "ValidationProcessAndJustification",
]
GOALS = ("UsefulnessUsabilityEfficacy", "FairnessEquity", "SafetyReliability")


@pytest.fixture(scope="module")
def made(story: Any) -> dict[str, Any]:
    training = story.account.model(story.training)
    return {name: cards.card(name, story.account, training) for name in cards.NAMES}


def items(card: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for section in card["sections"] for item in section["items"]]


def test_hti1_has_its_31_source_attributes(made: dict[str, Any]) -> None:
    """45 CFR 170.315(b)(11)(iv)(B)(1) to (9)."""
    assert [len(section["items"]) for section in made["hti1"]["sections"]] == [4, 4, 2, 4, 2, 4, 5, 4, 2]
    cites = [item["cite"] for item in items(made["hti1"])]
    assert len(set(cites)) == 31
    assert all(re.fullmatch(r"\(B\)\([1-9]\)\((i|ii|iii|iv|v)\)", cite) for cite in cites)


def test_article_10_has_its_paragraphs(made: dict[str, Any]) -> None:
    cites = [item["cite"] for item in items(made["ai_act"])]
    assert [cite for cite in cites if cite.startswith("Article 10(2)")] == [f"Article 10(2)({x})" for x in "abcdefgh"]
    assert {"Article 10(4)", "Article 10(5)"} <= set(cites)
    assert any(cite.startswith("Article 10(3)") for cite in cites)


def test_chai_has_the_elements_of_its_schema(made: dict[str, Any]) -> None:
    wanted = [*CHAI, *(f"{goal}.{metric}" for goal in GOALS for metric in METRICS)]
    assert sorted(item["id"] for item in items(made["chai"])) == sorted(wanted)


def test_the_datasheet_has_all_parts(made: dict[str, Any]) -> None:
    sizes = [len(section["items"]) for section in made["datasheet"]["sections"]]
    assert sizes == [4, 16, 12, 4, 6, 7, 8]  # the 57 questions


@pytest.mark.parametrize("name", cards.NAMES)
def test_every_item_is_filled_with_a_source_or_marked(made: dict[str, Any], name: str) -> None:
    card = made[name]
    assert len({item["id"] for item in items(card)}) == len(items(card))
    for item in items(card):
        assert item["state"] in ("filled", "partly", "blank")
        assert (item["answer"] is None) == (item["state"] == "blank") == (item["sources"] == [])
    assert sum(card["counts"].values()) == len(items(card))
    text = cards.text([card])
    assert text.count("☐") == card["counts"]["partly"] + card["counts"]["blank"]
    assert text.count("\n#### ") == len(items(card))


def test_what_the_ledger_knows_is_in_the_card(made: dict[str, Any], story: Any) -> None:
    found = {item["id"]: item for item in items(made["chai"])}
    assert story.models[0] in found["ReleaseVersion"]["answer"]
    assert found["ReleaseVersion"]["state"] == "filled"
    assert "auroc 0.81" in found["UsefulnessUsabilityEfficacy.Results"]["answer"]
    assert "female 0.8" in found["FairnessEquity.Results"]["answer"]
    assert "readmission" in found["DevelopmentDataCharacterization"]["answer"]
    assert "1 subjects that the training read have withdrawn" in found["KnownRisksAndLimitations"]["answer"]
    assert "1 inferences" in found["OngoingMaintenance"]["answer"]
    assert found["ModelDeveloper"]["state"] == "blank"


def test_what_no_record_says_is_blank() -> None:
    """With a bare manifest and no ledger, nothing is said of runs, people or models."""
    manifest = {
        "run_id": "r", "created_at": "2026-01-01T00:00:00+00:00", "code_version": "1", "policy": "p",
        "policy_fingerprint": "f", "key_id": "k", "logical_digest": "d", "fingerprints": {}, "previous": None,
        "counts": {"subjects": 3}, "tables": {"events": {"rows": 5, "files": 1}, "codes": {"rows": 2, "files": 1}},
    }  # fmt: skip
    card = cards.card("datasheet", Account((), "000001", manifest, "x"))
    found = {item["id"]: item for item in items(card)}
    for name in ("collection.acquired", "composition.subpopulations", "uses.sofar", "composition.label"):
        assert found[name]["state"] == "blank", name
    assert "5 events of 3 subjects" in found["composition.count"]["answer"]


def test_small_groups_are_withheld(story: Any) -> None:
    told = story.account.covered
    assert told.groups["sex"]
    for groups in told.groups.values():
        assert all(count is None or count >= told.smallest for count in groups.values())
    text = standards.export(story.store, "datasheet")
    assert "withheld" in text


# ── hostile names ─────────────────────────────────────────────────────────────────────────────────


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.headings = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.headings += tag in ("h1", "h2", "h3", "h4")


def test_a_hostile_name_is_text(story: Any) -> None:
    text = standards.export(story.store, "model-card")
    assert "script" in text, "the name is there"
    tags = Tags()
    tags.feed(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text))
    assert tags.seen == {"h1", "h2", "h3", "h4", "p", "ul", "li", "em", "strong", "code"}
    made = [cards.card(name, story.account, story.account.model(story.training)) for name in ("chai", "hti1")]
    assert tags.headings == 3 + sum(len(one["sections"]) + len(items(one)) for one in made)
    assert not re.search("[\x00\u202e]", text)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
@example("<img src=x onerror=alert(1)>")
@example("[a](javascript:x)")
@example("1. a")
@example("+ a")
@example("--- \n===")
@example("&lt;b&gt;")
@example("a\\\nb  \nc")
@example("_a_ __b__ *c* ~~d~~ `e`")
@example("    code")
@example("https://evil.example www.evil.example a@b.example")
def test_any_text_is_only_text_in_markdown(text: str) -> None:
    wanted = line(text, 2000)
    rendered = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown(text))
    inner = re.fullmatch(r"(?:<p>(.*)</p>\n)?", rendered, re.DOTALL)
    assert inner, rendered
    assert html.unescape(inner[1] or "") == wanted


# ── the ways to ask ───────────────────────────────────────────────────────────────────────────────


def test_a_card_of_a_model_needs_a_model(synthetic_store: Path) -> None:
    with pytest.raises(ConfigError, match="no training"):
        standards.export(synthetic_store, "model-card")


def test_a_training_that_is_not_there(story: Any) -> None:
    with pytest.raises(ConfigError, match="no such training"):
        standards.export(story.store, "model-card", training="T-0")


def test_there_is_no_such_form_or_card(story: Any) -> None:
    with pytest.raises(ConfigError, match="no form"):
        standards.export(story.store, "pdf")
    with pytest.raises(ConfigError, match="no card"):
        cards.card("pdf", story.account)


@pytest.mark.parametrize("form", ["datasheet", "ai-act", "model-card"])
def test_json_and_markdown_say_the_same(story: Any, form: str) -> None:
    body = json.loads(standards.export(story.store, form, as_json=True))
    text = standards.export(story.store, form)
    assert cards.text(body if isinstance(body, list) else [body]) == text


@pytest.mark.parametrize("form", standards.FORMS)
def test_the_same_ledger_gives_the_same_bytes(story: Any, form: str) -> None:
    assert standards.export(story.store, form) == standards.export(story.store, form)
