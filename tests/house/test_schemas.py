"""schemas/ is the single truth: it loads, code uses all of it and nothing else, and MEDS agrees."""

from __future__ import annotations

import ast
import inspect
import json
import os
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pyarrow as pa
import pytest
from meds import schema as meds

import mayo_data
from mayo_data import assets, config, schema
from mayo_data.model import plan

TABLES = sorted(path.stem for path in assets.path("schemas", "tables").iterdir())
REASONS = {(arrow, reason) for arrow, group in assets.toml("schemas", "reasons.toml").items() for reason in group}
SOURCES = [ast.parse(path.read_text(encoding="utf-8")) for path in Path(mayo_data.__file__).parent.rglob("*.py")]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_loads_and_every_field_is_documented(name: str) -> None:
    table = schema.table(name)
    assert assets.toml("schemas", "tables", f"{name}.toml")["name"] == name
    assert table.metadata[b"doc"].endswith(b".")
    assert len(set(table.names)) == len(table.names)
    for field in table:
        doc = schema.doc(field)
        assert doc.endswith((".", "...")), f"{name}.{field.name}: {doc!r}"


def test_every_reason_says_what_to_do() -> None:
    for arrow, group in assets.toml("schemas", "reasons.toml").items():
        for reason, body in group.items():
            assert set(body) == {"quarantine", "hint"}, (arrow, reason)
            assert isinstance(body["quarantine"], bool)
            assert len(body["hint"]) > 15


def test_every_listed_reason_is_used() -> None:
    words = {
        part
        for tree in SOURCES
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for part in (node.value, node.value.rpartition("/")[2])
    }
    # superseded is a count of build, not the fate of a row: it is a key there
    assert {reason for _, reason in REASONS} - words == set()


def test_every_used_reason_is_listed() -> None:
    used: set[tuple[str, str]] = set()
    for tree in SOURCES:
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called == "Reject":
                used |= {("scrub", reason) for reason in literals(node.args[0])}
            elif called == "fate":
                arrows = {"validate", "scrub", "read", "normalize", "build"} & literals(node.args[0])
                used |= {(arrow, reason) for arrow in arrows for reason in literals(node.args[1])}
    assert len(used) > 12, "the search itself is broken"
    assert used <= REASONS


def literals(node: ast.expr) -> set[str]:
    """Return the strings that an expression can be, where it says so: a string, or a choice of two."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.IfExp):
        return literals(node.body) | literals(node.orelse)
    return set()


def tidy(part: Any) -> Any:
    """Return a JSON Schema without the indentation that Python before 3.13 leaves in a docstring."""
    if isinstance(part, dict):
        return {key: inspect.cleandoc(value) if key == "description" else tidy(value) for key, value in part.items()}
    return [tidy(value) for value in part] if isinstance(part, list | tuple) else part


@pytest.mark.parametrize(("name", "source"), [("pipeline", config), ("train", plan)])
def test_the_schema_of_a_file_is_the_one_the_code_reads(name: str, source: Any) -> None:
    """UPDATE_DOCS=1 writes the file anew."""
    path = assets.path("schemas", "tables").parent / f"{name}.schema.json"
    made = tidy(source.json_schema())
    if os.environ.get("UPDATE_DOCS"):
        path.write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8")) == made


def test_the_shipped_pipelines_follow_their_schema() -> None:
    shipped = json.loads(assets.path("schemas", "pipeline.schema.json").read_text(encoding="utf-8"))
    files = sorted(path for path in assets.path("pipelines").glob("*.toml") if path.name != "train.toml")
    assert files
    for path in files:
        body = assets.toml("pipelines", path.name)
        jsonschema.Draft202012Validator(shipped).validate(body)
        assert msgspec.convert(body, config.PipelineConfig) == config.load(path)
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 40


def test_the_shipped_training_follows_its_schema() -> None:
    shipped = json.loads(assets.path("schemas", "train.schema.json").read_text(encoding="utf-8"))
    path, body = assets.path("pipelines", "train.toml"), assets.toml("pipelines", "train.toml")
    jsonschema.Draft202012Validator(shipped).validate(body)
    assert msgspec.convert(body, plan.TrainPlan) == plan.load(path)
    assert assets.path("schemas", "tasks", f"{body['task']}.toml").is_file()
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40


@pytest.mark.parametrize(
    ("body", "where"),
    [({"nam": "x"}, "nam"), ({"name": 3}, "name"), ({"name": "x", "store": {"shards": -1}}, "shards")],
)
def test_the_schema_refuses_what_the_code_refuses(body: dict[str, Any], where: str) -> None:
    shipped = json.loads(assets.path("schemas", "pipeline.schema.json").read_text(encoding="utf-8"))
    assert list(jsonschema.Draft202012Validator(shipped).iter_errors(body)), where
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(body, config.PipelineConfig)


@pytest.mark.parametrize(
    ("name", "standard"),
    [
        ("events", meds.DataSchema),
        ("codes", meds.CodeMetadataSchema),
        ("subject_splits", meds.SubjectSplitSchema),
    ],
)
def test_a_table_is_a_table_of_meds(name: str, standard: Any) -> None:
    ours = schema.table(name)
    for field in standard.schema():
        assert ours.field(field.name).type == field.type, field.name
    standard.validate(pa.Table.from_pylist([], schema=ours))


def test_codes_and_splits_go_by_the_names_of_meds() -> None:
    written = assets.toml("schemas", "fhir", "kinds.toml")["written"]
    assert {meds.birth_code, meds.death_code} <= set(written)
    splits = {meds.train_split, meds.tuning_split, meds.held_out_split}
    assert set(config.PipelineConfig(name="x").store.splits) == splits
