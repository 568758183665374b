"""What the product must never do, what it may depend on, and what its job image may hold."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "mayo_data").rglob("*.py"))
MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "yaml",
    "xmlrpc",
    "telnetlib",
    "ftplib",
}
CALLS = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
ATTRIBUTES = {
    ("os", "system"),
    ("os", "popen"),
    ("tempfile", "mktemp"),
    ("subprocess", "getoutput"),
    ("np", "fromfile"),
}
LICENCES = re.compile(
    r"\b(mit|bsd|apache|isc|psf|python software foundation|mozilla public license 2|mpl-2\.0|zlib|unlicense|hpnd)\b",
    re.I,
)


def forbidden(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """What a module does that no module may do: line and name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from ((node.lineno, name) for name in names if name.split(".")[0] in MODULES)
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in CALLS:
                yield node.lineno, node.func.id
            if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
                name = (node.func.value.id, node.func.attr)
                if name in ATTRIBUTES:
                    yield node.lineno, ".".join(name)
                if name == ("torch", "load") and not any(one.arg == "weights_only" for one in node.keywords):
                    yield node.lineno, "torch.load"
            for word in node.keywords:
                if word.arg in ("shell", "allow_pickle") and not (
                    isinstance(word.value, ast.Constant) and word.value.value is False
                ):
                    yield node.lineno, word.arg


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_evaluated_or_unpickled(path: Path) -> None:
    assert list(forbidden(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    "text",
    ["import pickle", "from yaml import load", "eval('1')", "import os\nos.system('x')", "subprocess.run('x', shell=True)",
     "np.load('x', allow_pickle=True)", "torch.load('x')"],
)  # fmt: skip
def test_the_rule_finds_what_it_forbids(text: str) -> None:
    assert list(forbidden(ast.parse(text)))


@pytest.mark.slow
def test_no_expression_is_held_up_by_a_hostile_text() -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("evil.py"))],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["expressions"] > 200
    assert said["slow"] == []


def test_the_search_for_such_expressions_finds_one() -> None:
    import evil

    evil.found[("(?:a|aa)+$", re.UNICODE.value)] = "here"
    evil.found[("[0-9]{1,9}", re.UNICODE.value)] = "there"
    try:
        assert [one["where"] for one in evil.slow()] == ["here"]
    finally:
        evil.found.clear()


# ── dependencies ──────────────────────────────────────────────────────────────────────────────────


def runtime() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(line) for line in project["dependencies"]]


@pytest.mark.parametrize("needed", runtime(), ids=lambda needed: needed.name)
def test_a_dependency_has_a_lower_bound_and_a_permissive_licence(needed: Requirement) -> None:
    assert any(one.operator in (">=", "~=", "==") for one in needed.specifier), (
        "say which version is the oldest that works"
    )
    assert needed.url is None
    assert needed.specifier.contains(metadata.version(needed.name), prereleases=True)
    about = metadata.metadata(needed.name)
    said = [about.get("License-Expression"), about.get("License"), *(about.get_all("Classifier") or [])]
    named = " ".join(one[:200] for one in said if one and ("License" in one or not one.count("::")))
    assert LICENCES.search(named), f"no permissive licence is named: {named[:80]}"


def locked() -> dict[str, tuple[str, list[str]]]:
    """The lock: name to version and digests."""
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, version, *digests = re.fullmatch(
                r"([a-z0-9-]+)==(\S+)((?:\s+--hash=sha256:[0-9a-f]{64})+)\s*", line
            ).groups()  # type: ignore[union-attr]
            found[name] = (version, digests[0].split())
    return found


def test_the_lock_pins_every_dependency_by_hash() -> None:
    lock = locked()
    assert len(lock) > 40
    for needed in runtime():
        version, digests = lock[re.sub(r"[-_.]+", "-", needed.name.lower())]
        assert needed.specifier.contains(version), f"{needed.name}: make lock"
        assert digests
    assert "://" not in (ROOT / "requirements.lock").read_text()


# ── the image ─────────────────────────────────────────────────────────────────────────────────────


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def test_the_image_is_small_unprivileged_and_holds_no_secret() -> None:
    found = instructions()
    known = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in found} <= known  # no ADD, ARG, EXPOSE
    stages = [value for name, value in found if name == "FROM"]
    assert len(stages) == 2
    assert all(stage.startswith("python:3.11-slim") for stage in stages)
    last = found[max(index for index, (name, _) in enumerate(found) if name == "FROM") :]
    users = [value for name, value in last if name == "USER"]
    assert users
    assert all(re.fullmatch(r"[1-9]\d*:[1-9]\d*", user) for user in users)
    assert not [value for name, value in last if name == "RUN" and "pip" in value]
    installs = " ".join(value for name, value in found if name == "RUN" and "-r requirements.lock" in value)
    assert "--require-hashes" in installs
    assert json.loads(dict(last)["ENTRYPOINT"]) == ["mayo-data"]
    assert not re.search(r"(?i)(secret|password|token|_key)\s*=", "\n".join(value for _, value in found))


def test_only_what_is_named_is_sent_to_the_builder() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        word
        for name, value in instructions()
        if name == "COPY" and "--from" not in value
        for word in value.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / name).exists() for name in allowed)


def test_a_parser_of_dockerfiles_agrees() -> None:
    parser = pytest.importorskip("dockerfile_parse", reason="dockerfile-parse is not installed")
    parsed = parser.DockerfileParser(path=str(ROOT / "Dockerfile"))
    assert parsed.is_multistage
    assert [one["instruction"] for one in parsed.structure if one["instruction"] != "COMMENT"] == [
        name for name, _ in instructions()
    ]
