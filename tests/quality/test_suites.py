"""Suites of expectations: what is shipped, what is refused, and that our SQL judges as Great Expectations does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayo_data.errors import ConfigError
from mayo_data.quality import expectations, suites
from mayo_data.quality.suites import About, Expectation, Suite

TABLES = {
    "good": "SELECT i AS a, i - 1 AS b, i % 3 AS c, 'u' || i AS s, i / 4 AS f FROM range(1, 41) AS t(i)",
    "bad": (
        "SELECT CASE WHEN i % 5 = 0 THEN NULL ELSE i * 10 END AS a, CASE WHEN i % 7 = 0 THEN NULL ELSE 200 - i END AS b,"
        " CASE WHEN i % 4 = 0 THEN NULL ELSE i % 9 END AS c, CASE WHEN i % 6 = 0 THEN NULL ELSE 'u' || (i % 11) END AS s,"
        " CASE WHEN i % 8 = 0 THEN NULL ELSE -i / 3 END AS f FROM range(1, 41) AS t(i)"
    ),
    "twins": "SELECT i % 3 AS a, i % 2 AS b, i % 2 AS c, 'u' || i % 2 AS s, 1.5 AS f FROM range(12) AS t(i)",
    "none": "SELECT i AS a, i AS b, i AS c, 'u' || i AS s, i / 4 AS f FROM range(0) AS t(i)",
    "nulls": (
        "SELECT CAST(NULL AS BIGINT) AS a, CAST(NULL AS BIGINT) AS b, CAST(NULL AS BIGINT) AS c,"
        " CAST(NULL AS VARCHAR) AS s, CAST(NULL AS DOUBLE) AS f FROM range(5)"
    ),
}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("expect_column_values_to_not_be_null", {"column": "a"}),
    ("expect_column_values_to_not_be_null", {"column": "s", "mostly": 0.85}),
    ("expect_column_values_to_be_between", {"column": "a", "min_value": 1, "max_value": 40}),
    ("expect_column_values_to_be_between", {"column": "a", "min_value": 1, "strict_min": True}),
    ("expect_column_values_to_be_between", {"column": "f", "max_value": 10, "strict_max": True, "mostly": 0.9}),
    ("expect_column_values_to_be_between", {"column": "b", "max_value": 190, "mostly": 0.5}),
    ("expect_column_values_to_be_in_set", {"column": "c", "value_set": [0, 1, 2]}),
    ("expect_column_values_to_be_in_set", {"column": "s", "value_set": ["u1", "u2"], "mostly": 0.05}),
    ("expect_column_values_to_be_unique", {"column": "a"}),
    ("expect_column_values_to_be_unique", {"column": "s"}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["a", "c"], "ignore_row_if": "any_value_is_missing"}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["c", "s"], "ignore_row_if": "any_value_is_missing"}),
    (
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "a", "column_B": "b", "ignore_row_if": "either_value_is_missing"},
    ),
    (
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "a", "column_B": "a", "or_equal": True, "ignore_row_if": "either_value_is_missing"},
    ),
    ("unexpected_rows_expectation", {"unexpected_rows_query": "SELECT * FROM {batch} WHERE regexp_matches(s, '^u9')"}),
    ("unexpected_rows_expectation", {"unexpected_rows_query": "SELECT * FROM {batch} WHERE a < 0"}),
    ("expect_table_row_count_to_be_between", {"min_value": 1}),
    ("expect_table_row_count_to_be_between", {"max_value": 39}),
    ("expect_column_to_exist", {"column": "a"}),
    ("expect_column_to_exist", {"column": "missing"}),
    ("expect_column_max_to_be_between", {"column": "a", "max_value": 40}),
    ("expect_column_min_to_be_between", {"column": "f", "min_value": 0}),
    ("expect_column_mean_to_be_between", {"column": "a", "min_value": 10, "max_value": 30}),
    ("expect_column_sum_to_be_between", {"column": "b", "max_value": 1000}),
    ("expect_column_median_to_be_between", {"column": "f", "min_value": 0, "max_value": 10, "strict_max": True}),
]


def about(table: str, check: str = "one", action: str = "warn") -> About:
    return msgspec.convert(
        {"table": table, "check": check, "action": action, "category": "Conformance"}, About
    )  # fmt: skip


def every() -> list[Suite]:
    listed = [
        Expectation(kind, kwargs, about(table, f"n{number}_{table}"))
        for table in TABLES
        for number, (kind, kwargs) in enumerate(CASES)
    ]
    empty = msgspec.convert({"name": "all", "meta": {"gate": "G2"}, "expectations": []}, Suite)
    return [msgspec.structs.replace(empty, expectations=listed)]


def database(folder: Path) -> Path:
    path = folder / "quality.duckdb"
    with duckdb.connect(str(path)) as made:
        for name, query in TABLES.items():
            made.execute(f"CREATE TABLE {name} AS {query}")
    return path


def ours(path: Path, listed: list[Suite]) -> dict[tuple[str, str], bool]:
    found: dict[tuple[str, str], bool] = {}
    with duckdb.connect(str(path), read_only=True) as made:
        for suite in listed:
            for one in suite.expectations:
                query = expectations.compiled(one)
                bad, rows = made.execute(query.counts).fetchall()[0]
                found[suite.gate, one.meta.check] = query.holds(bad, rows)
    return found


def test_our_sql_judges_as_great_expectations_does(tmp_path: Path) -> None:
    pytest.importorskip("duckdb_engine", reason="the extra quality is not installed")
    from mayo_data.quality import great

    path, listed = database(tmp_path), every()
    mine = ours(path, listed)  # first: the other keeps its connection
    said, page = great.judged(path, listed, None, tmp_path)
    assert page is None
    assert {name: held for name, held in said.items() if mine[name] != held} == {}
    assert said.keys() == mine.keys()
    kinds = {kind for kind, _ in CASES}
    assert kinds == set(expectations._TYPES), "a type that nothing compares"
    for kind in kinds:  # each is seen to hold and to fail
        numbers = [number for number, (name, _) in enumerate(CASES) if name == kind]
        verdicts = {mine["G2", f"n{number}_{table}"] for number in numbers for table in TABLES}
        assert verdicts == {True, False}, kind


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.floats(0, 1))
def test_mostly_is_the_share_that_must_hold(bad: int, rows: int, mostly: float) -> None:
    held = expectations.Compiled("", mostly=mostly).holds(min(bad, rows), rows)
    assert held == (1 - min(bad, rows) / rows >= mostly) or abs(1 - min(bad, rows) / rows - mostly) < 1e-9


def test_every_shipped_expectation_compiles_and_says_what_must_hold() -> None:
    listed = suites.load()
    assert [suite.gate for suite in listed] == ["G0", "G1", "G2", "G3", "G4"]
    known = {*suites.tables(), "events", "resources", "sources", "splits", "homes", "steps", "masked"}
    for suite in listed:
        for one in suite.expectations:
            assert expectations.compiled(one).counts.startswith("SELECT")
            assert one.meta.says.endswith(".")
            assert one.meta.table in known
    looked_at = {one.meta.table for suite in listed for one in suite.expectations}
    made_of = " ".join(sql for sql, _ in suites.tables().values())
    assert [name for name in suites.tables() if name not in looked_at and name not in made_of] == []


def test_limits_of_results_make_sense() -> None:
    rows = suites.ranges()
    assert len({row["name"] for row in rows}) >= 60
    for row in rows:
        assert row["low"] < row["high"], row
        if row["typical_low"] is not None:
            assert row["low"] <= row["typical_low"] < row["typical_high"] <= row["high"], row
    keys = [(row["code"], row["unit"], row["age_low"]) for row in rows]
    assert len(keys) == len(set(keys)), "two limits for one result"


def test_no_code_belongs_to_both_sexes() -> None:
    listed = {(row["vocabulary"], row["start"]): row["sex"] for row in suites.sexed()}
    assert len(listed) == len(suites.sexed())


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        ("expect_column_values_to_match_regex", {"column": "s", "regex": "x"}),
        ("expect_column_values_to_be_between", {"column": "a", "min_value": 1, "row_condition": "b > 1"}),
        ("expect_column_values_to_be_between", {"column": "a"}),
        ("expect_column_values_to_be_between", {"column": "a", "max_value": [1]}),
        ("expect_column_values_to_be_in_set", {"column": "a"}),
        ("expect_column_values_to_not_be_null", {"column": "a", "mostly": 2}),
        ("expect_compound_columns_to_be_unique", {"column_list": ["a"], "ignore_row_if": "never"}),
        ("unexpected_rows_expectation", {"unexpected_rows_query": "DROP TABLE events"}),
        ("unexpected_rows_expectation", {"unexpected_rows_query": "SELECT * FROM {batch} WHERE a; DROP TABLE b"}),
    ],
)
def test_what_cannot_be_run_is_refused(kind: str, kwargs: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        expectations.compiled(Expectation(kind, kwargs, about("good")))


def test_a_column_name_is_no_sql(tmp_path: Path) -> None:
    odd = Expectation("expect_column_values_to_not_be_null", {"column": 'a" IS NULL) FROM good; --'}, about("good"))
    with duckdb.connect(str(database(tmp_path))) as made, pytest.raises(duckdb.BinderException):
        made.execute(expectations.compiled(odd).counts)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{", "is none"),
        ({"name": "site", "meta": {"gate": "G9"}, "expectations": []}, "is none"),
        (
            {"name": "site", "meta": {"gate": "G2"}, "expectations": [{"type": "x", "kwargs": {}, "meta": {}}]},
            "is none",
        ),
        (None, "cannot be read"),
    ],
)
def test_a_site_suite_that_is_none_is_refused(tmp_path: Path, body: Any, said: str) -> None:
    path = tmp_path / "site.json"
    if body is not None:
        path.write_text(body if isinstance(body, str) else json.dumps(body))
    with pytest.raises(ConfigError, match=said):
        suites.load([path])


def test_two_checks_of_one_name_and_a_skip_of_none_are_refused(tmp_path: Path) -> None:
    body = {"name": "site", "meta": {"gate": "G2"}, "expectations": [
        {"type": "expect_column_to_exist", "kwargs": {"column": "code"},
         "meta": {"table": "events", "check": "code_present", "action": "warn", "category": "Conformance"}}]}  # fmt: skip
    path = tmp_path / "site.json"
    path.write_text(json.dumps(body))
    with pytest.raises(ConfigError, match="G2 code_present"):
        suites.load([path])
    with pytest.raises(ConfigError, match="nonsense"):
        suites.load([], ["nonsense"])
    assert not [
        one for suite in suites.load([], ["file_twice"]) for one in suite.expectations if one.meta.check == "file_twice"
    ]


@pytest.mark.parametrize(
    "condition",
    ["true), max(a) FROM good --", "(true", "true) OR (true", "true /* ", "a = 'x", "a = $$x$$", "a = ')') OR (1=1"],
)
def test_a_condition_stays_one(condition: str) -> None:
    query = {"unexpected_rows_query": f"SELECT * FROM {{batch}} WHERE {condition}"}
    with pytest.raises(ConfigError):
        expectations.compiled(Expectation("unexpected_rows_expectation", query, about("good")))


def test_a_condition_may_quote_what_it_likes() -> None:
    condition = """"odd ) column" = 'it''s -- ( so' AND (a > 1 OR b IN (1, 2))"""
    query = {"unexpected_rows_query": f"SELECT * FROM {{batch}} WHERE {condition}"}
    made = expectations.compiled(Expectation("unexpected_rows_expectation", query, about("good")))
    assert made.bad == condition
