"""The SQL against a slow and obvious evaluator of the same subset, on invented resources and views.

The evaluator knows collections as lists and nothing of SQL or types; what the two agree on is hardly an accident.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mayo_data as md
from mayo_data.views.syntax import Binary, Call, Index, Literal, Member, Node, Special, parse

LITERALS = {"string": str, "integer": int, "boolean": lambda text: text == "true"}


def value(node: Node | None, focus: list[Any]) -> list[Any]:
    """Evaluate an expression over a collection."""
    match node:
        case None | Special("$this"):
            return focus
        case Literal(kind, text):
            return [LITERALS[kind](text)]
        case Member(of, name):
            return [child for item in value(of, focus) for child in children(item, name)]
        case Index(of, Literal(_, at)):
            return value(of, focus)[int(at) : int(at) + 1]
        case Call(of, "where", (criterion,)):
            return [item for item in value(of, focus) if truth(value(criterion, [item])) is True]
        case Call(of, "exists", (criterion,)):
            return [any(truth(value(criterion, [item])) is True for item in value(of, focus))]
        case Call(of, "exists", ()):
            return [bool(value(of, focus))]
        case Call(of, "empty", ()):
            return [not value(of, focus)]
        case Call(of, "first", ()):
            return value(of, focus)[:1]
        case Call(of, "count", ()):
            return [len(value(of, focus))]
        case Call(of, "join", (Literal(_, between),)):
            return [between.join(value(of, focus))]
        case Call(of, "not", ()):
            found = truth(value(of, focus))
            return [] if found is None else [not found]
        case Binary("=", left, right):
            a, b = value(left, focus), value(right, focus)
            return [a == b] if a and b else []
        case Binary("and", left, right):
            return logic(truth(value(left, focus)), truth(value(right, focus)), False)
        case Binary("or", left, right):
            return logic(truth(value(left, focus)), truth(value(right, focus)), True)
    raise AssertionError(node)


def children(item: Any, name: str) -> list[Any]:
    found = item.get(name) if isinstance(item, dict) else None
    return [one for one in (found if isinstance(found, list) else [found]) if one is not None]


def truth(found: list[Any]) -> bool | None:
    return None if not found else found[0] if isinstance(found[0], bool) else True


def logic(a: bool | None, b: bool | None, wins: bool) -> list[bool]:
    if wins in (a, b):
        return [wins]
    return [] if None in (a, b) else [not wins]


def table(selects: list[dict[str, Any]], item: Any) -> list[dict[str, Any]]:
    """Evaluate selects that stand side by side: all their rows meet."""
    rows: list[dict[str, Any]] = [{}]
    for select in selects:
        rows = [{**row, **more} for row in rows for more in select_rows(select, item)]
    return rows


def select_rows(select: dict[str, Any], item: Any) -> Iterator[dict[str, Any]]:
    items = [item]
    if "repeat" in select:
        items = list(descend(select["repeat"], item))
    elif path := select.get("forEach") or select.get("forEachOrNull"):
        items = value(parse(path), [item])
        if not items and "forEachOrNull" in select:
            items = [None]
    for one in items:
        focus = [] if one is None else [one]
        row = {}
        for column in select.get("column", []):
            found = value(parse(column["path"]), focus)
            assert column.get("collection") or len(found) < 2
            row[column["name"]] = found if column.get("collection") else (found or [None])[0]
        union = select.get("unionAll")
        branches = [more for branch in union for more in table([branch], one)] if union else [{}]
        for below in table(select.get("select", []), one):
            for more in branches:
                yield {**row, **below, **more}


def descend(paths: list[str], item: Any) -> Iterator[Any]:
    for path in paths:
        for one in value(parse(path), [item]):
            yield one
            yield from descend(paths, one)


# ── what is tried ─────────────────────────────────────────────────────────────────────────────────

words = st.sampled_from(["a", "b", "c"])
period = st.fixed_dictionaries({}, optional={"start": st.just("2020"), "end": st.just("2021")})
human = st.fixed_dictionaries(
    {}, optional={"use": words, "family": words, "given": st.lists(words, min_size=1, max_size=3), "period": period}
)
telecom = st.fixed_dictionaries({}, optional={"system": words, "value": words})
contact = st.fixed_dictionaries(
    {}, optional={"name": human, "telecom": st.lists(telecom, min_size=1, max_size=2), "gender": words}
)
patient = st.fixed_dictionaries(
    {"resourceType": st.just("Patient"), "id": words},
    optional={
        "active": st.booleans(),
        "gender": words,
        "name": st.lists(human, min_size=1, max_size=3),
        "telecom": st.lists(telecom, min_size=1, max_size=3),
        "contact": st.lists(contact, min_size=1, max_size=3),
        "unheard": st.one_of(words, st.lists(words, min_size=1, max_size=3)),  # no element of FHIR
    },
)
conditions = st.recursive(
    st.sampled_from(
        [
            "family = 'a'", "use = family", "given = 'b'", "given.first() = 'b'", "period.exists()", "given.empty()",
            "given.where($this = 'a').exists()", "true", "given.exists($this = 'c')", "(family = 'a').not()",
            "given[1] = 'a'", "nothing = 'a'", "given.count() = 2",
        ]
    ),
    lambda inner: st.builds(lambda a, op, b: f"({a} {op} {b})", inner, st.sampled_from(["and", "or"]), inner),
    max_leaves=4,
)  # fmt: skip
names = st.one_of(
    st.sampled_from(["name", "contact.name", "name.first()", "name[1]", "contact[0].name"]),
    st.builds(lambda where: f"name.where({where})", conditions),
    st.builds(lambda where: f"contact.name.where({where}).first()", conditions),
)
many = st.one_of(
    st.builds(lambda name, leaf: f"{name}.{leaf}", names, st.sampled_from(["given", "family", "period.start"])),
    st.sampled_from(
        ["unheard", "contact.telecom.value", "contact.telecom[1].system", "telecom.where(system='a').value"]
    ),
)
single = st.one_of(
    st.sampled_from(["id", "gender", "active", "unheard[0]", "active = true", "gender = id", "name = contact.name"]),
    many.map(lambda path: f"{path}.first()"),
    many.map(lambda path: f"{path}.count()"),
    many.map(lambda path: f"{path}.join('-')"),
    many.map(lambda path: f"{path}.exists()"),
    st.builds(lambda name, where: f"{name}.exists({where})", names, conditions),
    st.builds(lambda a, b: f"{a} = {b}", many, many),
)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(patient, min_size=1, max_size=4), st.lists(single, max_size=3), st.lists(many, min_size=1, max_size=2))
def test_columns(tmp_path: Path, patients: list[Any], singles: list[str], collections: list[str]) -> None:
    columns: list[dict[str, Any]] = [{"name": f"s{i}", "path": path} for i, path in enumerate(singles)]
    columns += [{"name": f"m{i}", "path": path, "collection": True} for i, path in enumerate(collections)]
    agree([{"column": columns}], patients, tmp_path)


def leaf(number: int, *paths: str) -> list[dict[str, Any]]:
    return [{"name": f"c{number}{i}", "path": path} for i, path in enumerate(paths)]


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(patient, min_size=1, max_size=4), st.data())
def test_rows(tmp_path: Path, patients: list[Any], data: st.DataObject) -> None:
    loop = st.sampled_from(["forEach", "forEachOrNull"])
    selects: list[dict[str, Any]] = [{"column": leaf(0, "id", "gender")}]
    for number in range(1, data.draw(st.integers(1, 3)) + 1):
        select: dict[str, Any] = {
            data.draw(loop): data.draw(names),
            "column": leaf(number, "family", "given.join(',')"),
        }
        if data.draw(st.booleans()):
            select["select"] = [{data.draw(loop): "given", "column": leaf(number * 10, "$this")}]
        if data.draw(st.booleans()):
            branch = {
                data.draw(loop): data.draw(st.sampled_from(["given", "family"])),
                "column": leaf(number * 100, "$this"),
            }
            select["unionAll"] = [branch, {"column": leaf(number * 100, "use")}]
        selects.append(select)
    agree(selects, patients, tmp_path)


item = st.recursive(
    st.fixed_dictionaries({"linkId": words}),
    lambda inner: st.fixed_dictionaries(
        {"linkId": words},
        optional={
            "item": st.lists(inner, min_size=1, max_size=3),
            "answer": st.lists(st.fixed_dictionaries({"item": st.lists(inner, min_size=1, max_size=2)}), min_size=1, max_size=2),
        },
    ),
    max_leaves=8,
)  # fmt: skip


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(item, max_size=3),
    st.sampled_from([["item"], ["item", "answer.item"], ["answer.item", "item"], ["item[0]"]]),
)
def test_repeat(tmp_path: Path, items: list[Any], paths: list[str]) -> None:
    response = {"resourceType": "QuestionnaireResponse", "id": "q", **({"item": items} if items else {})}
    select = {"repeat": paths, "column": leaf(1, "linkId", "item.count()", "answer.item.count()")}
    agree([{"column": leaf(0, "id")}, select], [response], tmp_path)


def agree(selects: list[dict[str, Any]], resources: list[Any], folder: Path) -> None:
    file = folder / "r.ndjson"
    file.write_text("".join(json.dumps(one) + "\n" for one in resources))
    body = {"resource": resources[0]["resourceType"], "select": selects}
    found = md.view(body, file).arrow().to_pylist()
    assert found == [row for one in resources for row in table(selects, one)]
