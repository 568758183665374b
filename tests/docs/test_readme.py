"""The README is true: every block of code runs, every table is made from its source, every name is there.

UPDATE_DOCS=1 writes the generated tables anew.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main

from mayo_data import assets, config, errors, schema
from mayo_data.model import plan
from mayo_data.phi import policy

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
UPDATE = "UPDATE_DOCS" in os.environ


class Block(NamedTuple):
    language: str
    code: str
    line: int  # of the README


def blocks() -> list[Block]:
    return [Block(match[1], match[2], TEXT.count("\n", 0, match.start(2)) + 1) for match in FENCE.finditer(TEXT)]


@pytest.mark.slow
def test_every_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One test, because the blocks build on each other as they do for a reader."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MAYO_DATA_KEY", raising=False)
    namespace: dict[str, Any] = {"__name__": "readme"}
    found = blocks()
    for block in found:  # files first: prose may show a file after the command that reads it
        if block.language == "toml":
            name = block.code.split("\n", 1)[0].removeprefix("# ")
            assert re.fullmatch(r"\w+\.toml", name), f"README.md:{block.line}: name the file in the first line"
            (tmp_path / name).write_text(block.code, encoding="utf-8")
    for block in found:
        match block.language:
            case "bash":
                run_bash(block)
            case "python":
                tree = ast.increment_lineno(ast.parse(block.code, README.name), block.line - 1)
                exec(compile(tree, str(README), "exec"), namespace)
            case "toml":
                body = tomllib.loads(block.code)
                name = block.code.split("\n", 1)[0].removeprefix("# ")
                load = plan.load if "task" in body else config.load
                _ = policy.load(name) if "extends" in body else load(Path(name))
            case other:
                assert other == "text", f"README.md:{block.line}: a block is bash, python, toml or text"


def run_bash(block: Block) -> None:
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.code], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"README.md:{block.line}: exit code {done.returncode}\n{done.stderr}"


def test_there_is_something_to_run() -> None:
    languages = [block.language for block in blocks()]
    assert languages.count("python") >= 5
    assert languages.count("bash") >= 3
    assert languages.count("toml") >= 2
    assert languages.count("text") <= 3


# ── generated tables ──────────────────────────────────────────────────────────────────────────────


def events_table() -> str:
    lines = ["| column | type | may be null | what |", "|---|---|---|---|"]
    for field in schema.table("events"):
        null = "yes" if field.nullable else ""
        lines.append(f"| `{field.name}` | {field.type} | {null} | {schema.doc(field)} |")
    return "\n".join(lines)


def policies_table() -> str:
    lines = [
        "| policy | dates | ages over | ZIP | PHI in text | ids | legal basis |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in policy.PRESETS:
        one = policy.load(name)
        dates = {"shift": f"moved, up to {one.max_days} days", "year": "year only", "keep": "kept"}[one.dates]
        ages = f"{one.top_age} are one group" if one.top_age else "not grouped"
        area = {"zip3": "3 digits, or 000", "keep": "kept"}[one.zip_method]
        text = {"surrogate": "invented values", "tag": "tags"}[one.replace]
        ids = {"keyed": "keyed", "random": "random, per run"}[one.ids]
        lines.append(f"| `{name}` | {dates} | {ages} | {area} | {text} | {ids} | {one.legal} |")
    return "\n".join(lines)


def views_table() -> str:
    from mayo_data.store import analyst

    return "\n".join(
        ["| view | a row |", "|---|---|", *(f"| `{name}` | {doc} |" for name, doc in analyst.views().items())]
    )


def macros_table() -> str:
    from mayo_data.store import analyst

    lines = [f"| `{macro.call}` | {macro.gives} | {macro.doc} |" for macro in analyst.macros()]
    return "\n".join(["| macro | is a | what |", "|---|---|---|", *lines])


TABLES = [("events", events_table), ("policies", policies_table), ("views", views_table), ("macros", macros_table)]


@pytest.mark.parametrize(("name", "make"), TABLES)
def test_a_table_is_the_one_in_the_schemas(name: str, make: Any) -> None:
    text = README.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {name}: [^\n]*-->\n)(.*?)(<!-- /{name} -->)", re.DOTALL)
    found = pattern.search(text)
    assert found, f"README.md has no place for the table of {name}"
    table = make() + "\n"
    if UPDATE:
        README.write_text(text[: found.start(2)] + table + text[found.end(2) :], encoding="utf-8")
    else:
        assert found[2] == table, "UPDATE_DOCS=1 writes it anew"


def test_the_policies_say_what_they_are() -> None:
    assert policy.PRESETS[0] == config.PipelineConfig(name="x").phi.policy, "the README calls it the default"
    assert "NOT Safe Harbor" in TEXT
    assert "still PHI" in TEXT


@pytest.mark.parametrize("name", policy.PRESETS)
def test_every_preset_commits(name: str, synthetic_export: Path, tmp_path: Path) -> None:
    """The README offers three; each must get past the leak audit on notes that are full of PHI."""
    from mayo_data import keys
    from mayo_data.pipeline import run

    pipeline = config.PipelineConfig(name=name, phi=config.PhiConfig(policy=name))
    secret = keys.generate(tmp_path / "site.key")
    report = run(pipeline, synthetic_export / "fhir", tmp_path / "store", secret, workers=1)
    assert report.snapshot is not None
    assert all(verdict.passed for verdict in report.verdicts if verdict.action == "stop")


# ── names ─────────────────────────────────────────────────────────────────────────────────────────


def commands() -> Iterator[tuple[str, Any]]:
    """Yield every command of the command line: its words, and what click knows of it."""
    from mayo_data.cli.commands import app

    def below(words: str, command: Any) -> Iterator[tuple[str, Any]]:
        for name, inner in getattr(command, "commands", {}).items():
            yield from below(f"{words} {name}", inner)
        if not hasattr(command, "commands"):
            yield words, command

    yield from below("mayo-data", typer.main.get_command(app))


def test_every_command_is_in_the_readme() -> None:
    listed = re.findall(r"^\| `(mayo-data [a-z -]+)` \|", TEXT, re.MULTILINE)
    assert sorted(listed) == sorted(name for name, _ in commands())


def test_every_command_and_option_is_explained_in_its_help() -> None:
    for name, command in commands():
        assert command.help, name
        for option in command.params:
            if option.name not in ("patients", "seed", "workers") or name != "mayo-data demo":
                assert getattr(option, "help", None), f"{name} {option.name}"


def test_every_option_in_the_documents_exists() -> None:
    known = {word for _, command in commands() for option in command.params for word in option.opts}
    for path in (README, ROOT / "CONTRIBUTING.md"):
        text = path.read_text(encoding="utf-8")
        spans = [block[2] for block in FENCE.finditer(text)] + re.findall(r"`([^`\n]+)`", text)
        for span in spans:
            for line in span.splitlines():
                if line.startswith(("mayo-data ", "--")):
                    assert set(re.findall(r"(?<![\w-])--[a-z-]+", line)) <= known, f"{path.name}: {line}"


def test_every_target_in_the_documents_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for path in (README, ROOT / "CONTRIBUTING.md"):
        named = set(re.findall(r"(?:`|^)make ([a-z-]+)", path.read_text(encoding="utf-8"), re.MULTILINE))
        assert named, path.name
        assert named <= targets, path.name


def test_every_exit_code_is_in_the_readme() -> None:
    from mayo_data import cli

    classes = [found for found in vars(errors).values() if isinstance(found, type)]
    codes = {found.exit_code for found in classes if issubclass(found, errors.MayoDataError)}
    listed = re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)
    assert sorted(map(int, listed)) == sorted({0, cli.BUG, cli.INTERRUPTED, *codes})


def test_every_view_is_in_the_readme(synthetic_store: Path) -> None:
    import mayo_data as md

    with md.connect(synthetic_store) as db:
        views = {row[0] for row in db.sql("show tables").fetchall()}
    section = TEXT.partition("| view | a row |")[2].partition("<!-- /views -->")[0]
    assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == views


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_link_and_path_leads_somewhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    tops = "mayo_data|schemas|pipelines|tests|notebooks|benchmarks"
    paths = re.findall(rf"`((?:{tops})/[\w./-]+)`", text)
    assert [found for found in [*links, *paths] if not (ROOT / found).exists()] == []


def test_the_documents_are_wrapped_for_reading() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1):
            assert len(line) <= 120 or line.startswith("|"), f"{name}:{number}"


def test_the_schemas_named_in_the_documents_hold_what_they_say() -> None:
    kinds = assets.toml("schemas", "fhir", "kinds.toml")
    assert {"CONDITION", "OBSERVATION", "IMMUNIZATION"} <= set(kinds["kind"])
    assert {"_NOT_DONE", "_REFUTED"} <= set(kinds["suffix"])
