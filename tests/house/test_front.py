"""The front door: names, documentation, and how little it costs to come in."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import mayo_data as md

PACKAGE = Path(md.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("pandas", "pyarrow", "duckdb", "presidio_analyzer", "spacy", "great_expectations", "pyspark", "fhir")


def short(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_every_public_name_is_there() -> None:
    for name in md.__all__:
        assert getattr(md, name) is not None, name
    assert set(md.__all__) <= set(dir(md))


def test_a_wrong_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = md.nothing


def test_what_a_type_checker_sees_is_what_is_loaded() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen: dict[str, tuple[str, str]] = {}
    plain: dict[str, tuple[str, str]] = {}  # imported, and no export until it is assigned
    for line in block.body:
        if isinstance(line, ast.Assign):  # run = run_file
            assert isinstance(line.targets[0], ast.Name)
            seen[line.targets[0].id] = plain[ast.unparse(line.value)]
            continue
        assert isinstance(line, ast.ImportFrom)
        for alias in line.names:
            # PEP 484: `import X as X` is an export of a typed package, `import X as Y` is not
            (seen if alias.asname == alias.name else plain)[alias.asname or alias.name] = (
                str(line.module),
                alias.name,
            )

    def origin(module: str, name: str) -> object:
        return getattr(importlib.import_module(module), name)

    assert set(seen) == set(md._FRONT), "write `import X as X`, or import it and assign: Y = X"
    for name, (module, attribute) in md._FRONT.items():
        assert origin(*seen[name]) is origin(module, attribute), name


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_what_is_public_is_documented(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    command_line = path.parent.name == "cli"
    bare = [] if ast.get_docstring(tree) else ["the module"]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            text = ast.get_docstring(node)
            if text is None:
                bare.append(node.name)
            elif not command_line:
                first = text.split("\n\n")[0]
                assert first.endswith((".", "?", ":", "`")), f"{node.name}: the first sentence has no end"
    assert not bare, f"{short(path)}: no docstring on {', '.join(bare)}"


@pytest.mark.parametrize("name", sorted(md._FRONT))
def test_the_front_is_documented_to_the_last_method(name: str) -> None:
    found = getattr(md, name)
    bare = [] if found.__doc__ else [name]
    for key, member in vars(found).items() if isinstance(found, type) else ():
        part = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if not key.startswith("_") and callable(part) and not part.__doc__:
            bare.append(f"{name}.{key}")
    assert not bare


def loaded(statement: str) -> tuple[set[str], float]:
    """Run a statement in a fresh interpreter; return the top modules it loaded and the seconds it took."""
    code = (
        f"import sys, time; t = time.perf_counter(); {statement}; t = time.perf_counter() - t\n"
        "import json; print(json.dumps([sorted({name.split('.')[0] for name in sys.modules}), t]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules, seconds = json.loads(done.stdout)
    return set(modules), seconds


def test_the_package_costs_nothing_to_import() -> None:
    modules, seconds = loaded("import mayo_data")
    assert modules.isdisjoint(HEAVY)
    assert {"msgspec", "orjson", "typer", "rich", "numpy", "cryptography"}.isdisjoint(modules)
    assert seconds < 1, "even on a busy machine"


@pytest.mark.parametrize(
    ("statement", "refused"),
    [
        ("import mayo_data.pipeline", {"duckdb", "pandas"}),
        ("import mayo_data.cli.commands", {"duckdb", "pandas"}),
        ("import mayo_data.phi.structured, mayo_data.phi.text", {"duckdb", "pandas"}),
        ("import mayo_data.dataset", {"duckdb"}),  # pyarrow.dataset itself loads pandas
        ("import mayo_data.synth", {"pyarrow", "pandas", "duckdb"}),
        ("import mayo_data as md; md.connect; md.open; md.GateError; md.PhiPolicy", {"duckdb"}),
    ],
)
def test_engines_are_loaded_only_when_they_work(statement: str, refused: set[str]) -> None:
    modules, _ = loaded(statement)
    never = {"presidio_analyzer", "spacy", "great_expectations", "pyspark", "fhir", "matplotlib"}
    assert modules.isdisjoint(refused | never), sorted(modules & (refused | never))
