"""Rows: loops, unions, siblings, repeat, types of columns, and what a definition must be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mayo_data as md
from mayo_data.views import sql
from mayo_data.views.compile import DEEPEST, compile_view


def rows(folder: Path, body: dict[str, Any], *resources: Any) -> list[tuple[Any, ...]]:
    file = folder / "r.ndjson"
    file.write_text("".join(json.dumps(one) + "\n" for one in resources))
    return md.view(body, file).preview(10_000)


def columns(**paths: str) -> list[dict[str, str]]:
    return [{"name": name, "path": path} for name, path in paths.items()]


def test_rows_keep_the_order_of_the_resource(tmp_path: Path) -> None:
    patient = {
        "resourceType": "Patient",
        "id": "p",
        "name": [{"family": "b", "given": ["2", "1"]}, {"family": "a"}, {"family": "c", "given": ["3"]}],
    }
    body = {
        "resource": "Patient",
        "select": [
            {"column": columns(id="id")},
            {
                "forEach": "name",
                "column": columns(n="%rowIndex", family="family"),
                "select": [{"forEachOrNull": "given", "column": columns(g="%rowIndex", given="$this")}],
            },
        ],
    }
    assert rows(tmp_path, body, patient, {"resourceType": "Patient", "id": "q"}) == [
        ("p", 0, "b", 0, "2"),
        ("p", 0, "b", 1, "1"),
        ("p", 1, "a", 0, None),
        ("p", 2, "c", 0, "3"),
    ]


def test_siblings_meet_and_unions_follow(tmp_path: Path) -> None:
    patient = {"resourceType": "Patient", "name": [{"family": "a"}, {"family": "b"}], "telecom": [{"value": "1"}]}
    body = {
        "resource": "Patient",
        "select": [
            {"forEach": "name", "column": columns(f="family")},
            {
                "unionAll": [
                    {"forEach": "telecom", "column": columns(v="value")},
                    {"column": columns(v="'none'")},
                ]
            },
            {"forEachOrNull": "photo", "column": columns(url="url")},
        ],
    }
    assert rows(tmp_path, body, patient) == [
        ("a", "1", None),
        ("a", "none", None),
        ("b", "1", None),
        ("b", "none", None),
    ]


def tree(depth: int, width: int, name: str = "1") -> dict[str, Any]:
    below = [tree(depth - 1, width, f"{name}.{i}") for i in range(1, width + 1)] if depth else []
    return {"linkId": name, **({"item": below} if below else {})}


def names(item: dict[str, Any]) -> list[str]:
    return [item["linkId"], *(name for one in item.get("item", []) for name in names(one))]


@pytest.mark.parametrize(("depth", "width"), [(0, 1), (1, 4), (4, 3), (60, 1)])
def test_repeat_walks_the_tree_parents_first(depth: int, width: int, tmp_path: Path) -> None:
    top = tree(depth, width)
    resource = {"resourceType": "QuestionnaireResponse", "id": "q", "item": [top, {"linkId": '"item":[]'}]}
    body = {
        "resource": "QuestionnaireResponse",
        "select": [{"repeat": ["item", "answer.item"], "column": columns(n="%rowIndex", link="linkId")}],
    }
    expected = [*names(top), '"item":[]']
    assert rows(tmp_path, body, resource) == list(enumerate(expected))


def test_repeat_within_a_loop(tmp_path: Path) -> None:
    system = {
        "resourceType": "CodeSystem",
        "concept": [{"code": "a", "concept": [{"code": "a1", "concept": [{"code": "a11"}]}]}, {"code": "b"}],
    }
    body = {
        "resource": "CodeSystem",
        "select": [
            {"forEach": "concept", "column": columns(top="code"), "select": [{"repeat": ["concept"], "column": columns(c="code")}]},
        ],
    }  # fmt: skip
    assert rows(tmp_path, body, system) == [("a", "a1"), ("a", "a11")]
    pairs = {
        "resource": "CodeSystem",
        "select": [
            {"repeat": ["concept"], "column": columns(p="code"), "select": [{"forEach": "concept", "column": columns(c="code")}]},
        ],
    }  # fmt: skip
    assert rows(tmp_path, pairs, system) == [("a", "a1"), ("a1", "a11")]


@pytest.mark.parametrize("path", ["$this", "where(true)", "'x'", "first()", "%resource"])
def test_repeat_must_lead_down(path: str) -> None:
    body = {"resource": "QuestionnaireResponse", "select": [{"repeat": [path], "column": columns(x="linkId")}]}
    with pytest.raises(md.ConfigError, match=r"^select\[0\].repeat\[0\]: repeat must lead"):
        compile_view(body)


@pytest.mark.parametrize(
    ("column", "kind", "value"),
    [
        ({"path": "active"}, "BOOLEAN", True),
        ({"path": "multipleBirth.ofType(integer)"}, "BIGINT", 2),
        ({"path": "multipleBirth.ofType(integer)", "type": "decimal"}, "DIGITS", "2"),
        ({"path": "multipleBirth.ofType(integer)", "type": "string"}, "VARCHAR", "2"),
        ({"path": "birthDate"}, "VARCHAR", "1970-01-02"),
        ({"path": "birthDate", "type": "http://hl7.org/fhir/StructureDefinition/date"}, "VARCHAR", "1970-01-02"),
        ({"path": "id", "type": "http://hl7.org/fhirpath/System.String"}, "VARCHAR", "p"),
        ({"path": "active", "collection": True}, "BOOLEAN[]", [True]),
        ({"path": "name.given", "collection": True}, "VARCHAR[]", ["a"]),
        ({"path": "name.first()", "type": "HumanName"}, "JSON", '{"given":["a"]}'),
        ({"path": "unknown"}, "VARCHAR", None),
        ({"path": "unknown", "type": "integer"}, "BIGINT", None),
    ],
)
def test_a_column_has_the_type_of_its_path(column: dict[str, Any], kind: str, value: Any, tmp_path: Path) -> None:
    patient = {
        "resourceType": "Patient", "id": "p", "active": True, "birthDate": "1970-01-02", "multipleBirthInteger": 2,
        "name": [{"given": ["a"]}],
    }  # fmt: skip
    body = {"resource": "Patient", "select": [{"column": [{"name": "x", **column}]}]}
    assert [field.sql for field in compile_view(body, written=True).fields] == [kind]
    assert rows(tmp_path, body, patient) == [(value,)]


@pytest.mark.parametrize(
    ("ansi", "text"),
    [
        ("DATE", "2020-01-02"),
        ("timestamp", "2020-01-02 01:04:05"),
        ("CHARACTER VARYING", "2020-01-02T03:04:05+02:00"),
    ],
)
def test_a_tag_names_the_sql_type(ansi: str, text: str, tmp_path: Path) -> None:
    column = {"name": "x", "path": "effective.ofType(dateTime)", "tag": [{"name": "ansi/type", "value": ansi}]}
    body = {"resource": "Observation", "select": [{"column": [column]}]}
    found = rows(tmp_path, body, {"resourceType": "Observation", "effectiveDateTime": "2020-01-02T03:04:05+02:00"})
    assert str(found[0][0]) == text


def test_a_value_that_does_not_fit_its_tag_stops_the_query_and_is_not_told(tmp_path: Path) -> None:
    column = {"name": "x", "path": "birthDate", "tag": [{"name": "ansi/type", "value": "DATE"}]}
    body = {"resource": "Patient", "select": [{"column": [column]}]}
    with pytest.raises(md.ConfigError, match="does not fit") as caught:
        rows(tmp_path, body, {"resourceType": "Patient", "birthDate": "1970-13"})
    assert "1970" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_condition_is_a_boolean(tmp_path: Path) -> None:
    body = {"resource": "Patient", "select": [{"column": columns(id="id")}]}
    patients = [{"resourceType": "Patient", "id": str(i), "flag": flag} for i, flag in enumerate([True, False, None])]
    assert rows(tmp_path, {**body, "where": [{"path": "flag"}]}, *patients) == [("0",)]
    with pytest.raises(md.ConfigError, match=r"^where\[0\].path: this is no boolean"):
        rows(tmp_path, {**body, "where": [{"path": "flag"}]}, {"resourceType": "Patient", "flag": "yes"})
    with pytest.raises(md.ConfigError, match=r"^where\[1\].path: a condition must be"):
        compile_view({**body, "where": [{"path": "true"}, {"path": "birthDate"}]})


GOOD: dict[str, Any] = {"resource": "Patient", "select": [{"column": [{"name": "x", "path": "id"}]}]}


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"resource": None}, "resource"),
        ({"resource": "patient"}, "resource"),
        ({"resource": "Patient'; --"}, "resource"),
        ({"resourceType": "Patient"}, "resourceType"),
        ({"name": "1x"}, "name"),
        ({"wheres": []}, "wheres"),
        ({"where": [{"paht": "true"}]}, "where[0].paht"),
        ({"where": {"path": "true"}}, "where"),
        ({"select": None}, "select"),
        ({"select": []}, "select"),
        ({"select": [{}]}, "select[0]"),
        ({"select": ["x"]}, "select[0]"),
        ({"select": [{"foreach": "name"}]}, "select[0].foreach"),
        ({"select": [{"forEach": "name"}]}, "select[0]"),
        ({"select": [{"forEach": "name", "forEachOrNull": "name", "column": []}]}, "select[0]"),
        ({"select": [{"forEach": "name", "repeat": ["name"], "column": []}]}, "select[0]"),
        ({"select": [{"column": [{"name": "x"}]}]}, "select[0].column[0].path"),
        ({"select": [{"column": [{"path": "id"}]}]}, "select[0].column[0].name"),
        ({"select": [{"column": [{"name": '"', "path": "id"}]}]}, "select[0].column[0].name"),
        ({"select": [{"column": [{"name": "x", "path": 1}]}]}, "select[0].column[0].path"),
        ({"select": [{"column": [{"name": "x", "path": "id", "collection": 1}]}]}, "select[0].column[0].collection"),
        ({"select": [{"column": [{"name": "x", "path": "id", "type": "a b"}]}]}, "select[0].column[0].type"),
        ({"select": [{"column": [{"name": "x", "path": "id", "type": "integer"}]}]}, "select[0].column[0].path"),
        (
            {"select": [{"column": [{"name": "x", "path": "id", "tag": [{"name": "ansi/type", "value": "INT); --"}]}]}]},
            "select[0].column[0].tag[0].value",
        ),
        ({"select": [GOOD["select"][0], {"column": [{"name": "X", "path": "id"}]}]}, "select[1].column[0].name"),
        (
            {"select": [{"unionAll": [{"column": columns(a="id")}, {"column": columns(b="id")}]}]},
            "select[0].unionAll[1]",
        ),
        (
            {"select": [{"unionAll": [{"column": columns(a="id")}, {"column": columns(a="active")}]}]},
            "select[0].unionAll[1]",
        ),
        ({"select": [{"select": [{"select": [{"column": columns(a="id.")}]}]}]}, "select[0].select[0].select[0].column[0].path"),
        ({"constant": [{"name": "c"}]}, "constant[0]"),
        ({"constant": [{"name": "c", "valueString": "a", "valueCode": "b"}]}, "constant[0]"),
        ({"constant": [{"name": "c", "valueQuantity": {}}]}, "constant[0].valueQuantity"),
        ({"constant": [{"name": "c", "valueInteger": True}]}, "constant[0].valueInteger"),
        ({"constant": [{"name": "c", "valueDate": "1.1.20"}]}, "constant[0].valueDate"),
        ({"constant": [{"name": "c", "valueDecimal": float("nan")}]}, "constant[0].valueDecimal"),
        ({"constant": [{"name": "rowIndex", "valueInteger": 1}]}, "constant[0].name"),
        ({"constant": [{"name": "c", "valueInteger": 1}, {"name": "c", "valueInteger": 1}]}, "constant[1].name"),
    ],
)  # fmt: skip
def test_a_wrong_definition_is_told_with_its_place(change: dict[str, Any], place: str) -> None:
    compile_view(GOOD)
    with pytest.raises(md.ConfigError) as caught:
        compile_view({**GOOD, **change})
    assert str(caught.value).partition(": ")[0] == place
    assert caught.value.hint


# ── hostile views ─────────────────────────────────────────────────────────────────────────────────


def nested(depth: int, key: str) -> dict[str, Any]:
    select: dict[str, Any] = {"column": columns(x="id")}
    for _ in range(depth):
        select = {key: [select]}
    return {"resource": "Patient", "select": [select]}


def cyclic(key: str) -> dict[str, Any]:
    select: dict[str, Any] = {"column": columns(x="id")}
    select[key] = [select, select]
    return {"resource": "Patient", "select": [select]}


def column(path: str) -> dict[str, Any]:
    return {"resource": "Patient", "select": [{"column": columns(x=path)}]}


@pytest.mark.parametrize(
    "body",
    [
        nested(500, "select"),
        nested(500, "unionAll"),
        cyclic("select"),
        cyclic("unionAll"),
        {"resource": "Patient", "select": [{"forEach": "name", "column": columns(**{f"x{i}": "family"})} for i in range(40)]},
        {"resource": "Patient", "select": [{"column": columns(**{f"x{i}": "id" for i in range(5000)})}]},
        column("(" * 5000 + "id" + ")" * 5000),
        column("name.where(" * 35 + "true" + ")" * 35 + ".exists()"),
        column("a." * 3000 + "b"),
        column("+".join("1" * 3000)),
        column("-" * 3000 + "1"),
        column("'" + "x" * 20_000 + "'"),
        column("not(" * 3000),
        column("[" * 3000),
    ],
)  # fmt: skip
def test_a_hostile_view_is_refused_before_it_costs_anything(body: dict[str, Any]) -> None:
    with pytest.raises(md.ConfigError):
        compile_view(body)


def test_a_long_list_of_codes_is_no_attack(tmp_path: Path) -> None:
    path = " or ".join(f"gender = 'g{i}'" for i in range(150))
    assert rows(tmp_path, column(path), {"resourceType": "Patient", "gender": "g149"}) == [(True,)]


@pytest.mark.parametrize("text", ["'", "''", "\\", "'; DROP TABLE t; --", '"', "\u0001", "\n", "$1", "{}", "%s", "é😀"])
def test_text_of_a_view_stays_text(text: str, tmp_path: Path) -> None:
    written = "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    patient = {"resourceType": "Patient", "id": "p", "extension": [{"url": text, "valueString": "found"}]}
    body = {
        "resource": "Patient",
        "constant": [{"name": "c", "valueString": text}],
        "where": [{"path": f"{written} = %c"}],
        "select": [{"column": columns(a=written, b="%c", c=f"extension({written}).value.ofType(string)")}],
    }
    file = tmp_path / "r.ndjson"
    file.write_text(json.dumps(patient))
    assert md.view(body, file).arrow().to_pylist() == [{"a": text, "b": text, "c": "found"}]


@pytest.mark.parametrize("name", ["`a'b`", "`a b`", "`$`", "`a\\`b`", "`[*]`", '`"`', "`a.b`"])
def test_a_name_that_no_element_has_is_refused(name: str) -> None:
    for path in (name, f"name.{name}", f"name.where({name} = 1).family", f"{name}.ofType(string)"):
        with pytest.raises(md.ConfigError, match=r"no name of an element|cannot be read"):
            compile_view(column(path))


def test_the_depth_of_lambdas_is_counted_and_bounded() -> None:
    assert sql.nesting("f(a, lambda x: g('lambda (', [lambda y: y]), lambda z: z)") == 2
    path = "name.where(extension.where(" * 3 + "true" + ").exists())" * 3 + ".exists()"
    assert 6 <= sql.nesting(compile_view(column(path.replace("name", "extension"))).sql("x")) <= DEEPEST
