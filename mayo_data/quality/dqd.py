"""The checks of OHDSI's Data Quality Dashboard as DuckDB SQL. Pure: rules in, SQL text out; nothing runs here.

A rule is a row of the Dashboard's own threshold files (`OMOP_CDMv5.4_Field_Level.csv`, ...), whatever a site has
changed in it, or one made from `schemas/omop/cdm.toml` where no files are given. Each query yields two numbers: rows
that violate, rows that could. Semantics are those of DataQualityDashboard 2.6; the SQL is our own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from functools import cache
from typing import Any, NamedTuple

from mayo_data import assets

Rule = Mapping[str, str]

_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_DAY = re.compile(r"'(\d{4})-?(\d\d)-?(\d\d)'")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_IDS = re.compile(r"\d+(\s*,\s*\d+)*")
_DATED = "CAST({} AS TIMESTAMP)"
_BORN = (  # a month of 13 is a finding of its own, and no birthday
    "coalesce(p.birth_datetime, try_cast(printf('%04d-%02d-%02d', CAST(p.year_of_birth AS BIGINT), CAST(coalesce("
    "p.month_of_birth, 1) AS BIGINT), CAST(coalesce(p.day_of_birth, 1) AS BIGINT)) AS TIMESTAMP))"
)
_SEXES = {"Male": 8507, "Female": 8532}


class Check(NamedTuple):
    """One check of one table, field or concept.

    Attributes:
        name: The Dashboard's name of it.
        level: `table`, `field` or `concept`.
        category: `Conformance`, `Completeness` or `Plausibility`.
        context: `Verification` or `Validation`.
        table: Table, in lower case.
        field: Field, in lower case; empty at table level.
        concept: Concept number; empty but at concept level.
        threshold: Percent of rows that may violate it.
        sql: Yields violations and the rows they are counted among; empty where the answer needs no query.
        needs: Tables that the query reads beside its own.
    """

    name: str
    level: str
    category: str
    context: str
    table: str
    field: str
    concept: str
    threshold: float
    sql: str
    needs: tuple[str, ...] = ()


def checks(tables: Iterable[Rule], fields: Iterable[Rule], concepts: Iterable[Rule]) -> Iterator[Check]:
    """Yield the checks that rules ask for.

    Args:
        tables: Rules of the table level.
        fields: Rules of the field level.
        concepts: Rules of the concept level.

    >>> rule = {"cdmTableName": "PERSON", "cdmFieldName": "person_id", "isRequired": "Yes", "isRequiredThreshold": "0"}
    >>> [check.name for check in checks([], [rule], [])]
    ['cdmField', 'isRequired']
    """
    for rule in tables:
        yield from _of(rule, "table", "")
    for rule in fields:
        yield from _of(rule, "field", _lower(rule, "cdmFieldName"))
    for rule in concepts:
        yield from _of(rule, "concept", _lower(rule, "cdmFieldName"))


def _lower(rule: Rule, column: str) -> str:
    name = (rule.get(column) or "").strip().lower()
    return name if _NAME.fullmatch(name) else ""


def _of(rule: Rule, level: str, field: str) -> Iterator[Check]:
    table = _lower(rule, "cdmTableName")
    if not table or (level != "table" and not field):
        return
    for name, (its_level, category, context) in _listed().items():
        if its_level != level:
            continue
        made = ("", ()) if name in ("cdmTable", "cdmField") else _SQL[name](rule, table, f'"{field}"')
        if made is None:
            continue
        concept = (rule.get("conceptId") or "").strip() if level == "concept" else ""
        threshold = (rule.get(f"{name}Threshold") or "").strip()
        limit = float(threshold) if _NUMBER.fullmatch(threshold) else 0.0
        yield Check(name, level, category, context, table, field, concept, limit, *made)


@cache
def _listed() -> dict[str, tuple[str, str, str]]:
    found = assets.toml("schemas", "omop", "dqd.toml")["checks"]
    return {name: (level, category, context) for name, (level, category, context) in found.items()}


# ── the queries ───────────────────────────────────────────────────────────────────────────────────

_Made = tuple[str, tuple[str, ...]] | None


def _yes(rule: Rule, name: str) -> bool:
    return (rule.get(name) or "").strip().lower() == "yes"


def _counts(bad: str, source: str, among: str = "") -> str:
    among = f" FILTER ({among})" if among else ""
    return f"SELECT count(*) FILTER ({bad}), count(*){among} FROM {source}"


def _persons(rule: Rule, table: str, _: str) -> _Made:
    if not _yes(rule, "measurePersonCompleteness"):
        return None
    return _counts(f"person_id NOT IN (SELECT person_id FROM {table} WHERE person_id IS NOT NULL)", "person"), (
        "person",
    )


def _eras(rule: Rule, table: str, _: str) -> _Made:
    if not _yes(rule, "measureConditionEraCompleteness"):
        return None
    whole = "(SELECT DISTINCT person_id FROM condition_occurrence)"
    bad = "person_id NOT IN (SELECT person_id FROM condition_era WHERE person_id IS NOT NULL)"
    return _counts(bad, whole), ("condition_occurrence",)


def _overlap(rule: Rule, table: str, _: str) -> _Made:
    if not _yes(rule, "measureObservationPeriodOverlap"):
        return None
    start, end = "observation_period_start_date", "observation_period_end_date"
    return (
        "SELECT count(DISTINCT person_id) FILTER (touches), count(DISTINCT person_id) FROM (SELECT person_id,"
        f" {start} <= max({end}) OVER (PARTITION BY person_id ORDER BY {start}, observation_period_id ROWS BETWEEN"
        f" UNBOUNDED PRECEDING AND 1 PRECEDING) + INTERVAL 1 DAY AS touches FROM {table})"
    ), ()


def _required(rule: Rule, table: str, field: str) -> _Made:
    return (_counts(f"{field} IS NULL", table), ()) if _yes(rule, "isRequired") else None


def _datatype(rule: Rule, table: str, field: str) -> _Made:
    if (rule.get("cdmDatatype") or "").strip().lower() != "integer":
        return None
    wrong = field.replace('"', "") + "_is_wrong"
    return f"SELECT count(*) FILTER ({wrong}), count(*) FILTER ({wrong} OR {field} IS NOT NULL) FROM {table}", ()


def _key(rule: Rule, table: str, field: str) -> _Made:
    if not _yes(rule, "isPrimaryKey"):
        return None
    twins = f"(SELECT count(*) AS n FROM {table} GROUP BY {field})"
    return f"SELECT coalesce(sum(n) FILTER (n > 1), 0), coalesce(sum(n), 0) FROM {twins}", ()


def _foreign(rule: Rule, table: str, field: str) -> _Made:
    target, key = _lower(rule, "fkTableName"), _lower(rule, "fkFieldName")
    if not _yes(rule, "isForeignKey") or not target or not key:
        return None
    bad = f"{field} IS NOT NULL AND {field} NOT IN (SELECT {key} FROM {target} WHERE {key} IS NOT NULL)"
    if target == "concept":
        bad += f" AND {field} <> 0"  # "No matching concept" is a row of every vocabulary, downloaded or not
    return _counts(bad, table), (target,)


def _concept(bad: str, table: str, field: str) -> _Made:
    return _counts(bad, f"{table} AS t LEFT JOIN concept AS c ON c.concept_id = t.{field}"), ("concept",)


def _domain(rule: Rule, table: str, field: str) -> _Made:
    domains = (rule.get("fkDomain") or "").strip()
    if not _yes(rule, "isForeignKey") or not domains:
        return None
    allowed = ", ".join(f"'{one.strip()}'" for one in domains.replace("'", "").split(","))
    return _concept(f"c.concept_id <> 0 AND c.domain_id NOT IN ({allowed})", table, field)


def _class(rule: Rule, table: str, field: str) -> _Made:
    kind = (rule.get("fkClass") or "").strip().replace("'", "")
    if not _yes(rule, "isForeignKey") or not kind:
        return None
    return _concept(f"c.concept_id <> 0 AND c.concept_class_id <> '{kind}'", table, field)


def _standard(rule: Rule, table: str, field: str) -> _Made:
    if not _yes(rule, "isStandardValidConcept"):
        return None
    bad = "c.concept_id <> 0 AND (c.standard_concept IS DISTINCT FROM 'S' OR nullif(c.invalid_reason, '') IS NOT NULL)"
    return _concept(bad, table, field)


def _values(rule: Rule, table: str, field: str) -> _Made:
    return (_counts(f"{field} IS NULL", table), ()) if _yes(rule, "measureValueCompleteness") else None


def _zeros(name: str) -> Callable[[Rule, str, str], _Made]:
    def made(rule: Rule, table: str, field: str) -> _Made:
        return (_counts(f"{field} = 0", table), ()) if _yes(rule, name) else None

    return made


def _sources(rule: Rule, table: str, field: str) -> _Made:
    standard = _lower(rule, "standardConceptFieldName")
    if not _yes(rule, "sourceValueCompleteness") or not standard:
        return None
    whole = f"(SELECT {field}, bool_or({standard} = 0) AS unmapped FROM {table} GROUP BY {field})"
    return _counts("unmapped", whole), (f"{table}.{standard}",)


def _bound(name: str, sign: str) -> Callable[[Rule, str, str], _Made]:
    def made(rule: Rule, table: str, field: str) -> _Made:
        limit = _limit((rule.get(name) or "").strip())
        return (_counts(f"{field} {sign} {limit}", table, f"{field} IS NOT NULL"), ()) if limit else None

    return made


def _limit(written: str) -> str:
    """Return a limit of the threshold files as DuckDB SQL; they are written for SQL Server.

    >>> _limit("'19500101'"), _limit("YEAR(GETDATE())+1"), _limit("0; DROP")
    ("TIMESTAMP '1950-01-01'", 'year(today()) + 1', '')
    """
    compact = written.replace(" ", "").upper()
    if _NUMBER.fullmatch(compact):
        return compact
    day = _DAY.fullmatch(compact)
    if day is not None:
        return f"TIMESTAMP '{date(int(day[1]), int(day[2]), int(day[3])).isoformat()}'"
    fixed = {
        "DATEADD(DD,1,GETDATE())": "CAST(today() + INTERVAL 1 DAY AS TIMESTAMP)",
        "GETDATE()": "CAST(today() AS TIMESTAMP)",
        "YEAR(GETDATE())+1": "year(today()) + 1",
        "YEAR(GETDATE())": "year(today())",
    }
    return fixed.get(compact, "")


def _after(rule: Rule, table: str, field: str) -> _Made:
    other, start = _lower(rule, "plausibleTemporalAfterTableName"), _lower(rule, "plausibleTemporalAfterFieldName")
    if not _yes(rule, "plausibleTemporalAfter") or not other or not start:
        return None
    if other == table:
        return _counts(f"{start} > {field}", table), (f"{table}.{start}",)
    late = f"o.{start} > t.{field}" if start != "birth_datetime" else f"{_BORN.replace('p.', 'o.')} > t.{field}"
    return _counts(late, f"{table} AS t JOIN {other} AS o USING (person_id)"), (other, "person")


def _life(days: int, name: str) -> Callable[[Rule, str, str], _Made]:
    def made(rule: Rule, table: str, field: str) -> _Made:
        if not _yes(rule, name):
            return None
        bad = f"{_DATED.format('t.' + field)} > d.death_date + INTERVAL {days} DAY"
        joined = f"{table} AS t JOIN (SELECT person_id, min(death_date) AS death_date FROM death GROUP BY ALL) AS d"
        return _counts(bad, f"{joined} USING (person_id)", f"t.{field} IS NOT NULL"), ("death",)

    return made


def _visits(rule: Rule, table: str, field: str) -> _Made:
    if not _yes(rule, "withinVisitDates"):
        return None
    bad = f"t.{field} < v.visit_start_date - INTERVAL 7 DAY OR t.{field} > v.visit_end_date + INTERVAL 7 DAY"
    return _counts(bad, f"{table} AS t JOIN visit_occurrence AS v USING (visit_occurrence_id)"), ("visit_occurrence",)


def _born(rule: Rule, table: str, field: str) -> _Made:
    if not _yes(rule, "plausibleAfterBirth"):
        return None
    bad = f"CAST(t.{field} AS DATE) < CAST({_BORN} AS DATE)"
    return _counts(bad, f"{table} AS t JOIN person AS p USING (person_id)", f"t.{field} IS NOT NULL"), ("person",)


def _ends(rule: Rule, table: str, field: str) -> _Made:
    end = _lower(rule, "plausibleStartBeforeEndFieldName")
    if not _yes(rule, "plausibleStartBeforeEnd") or not end:
        return None
    return _counts(f"{field} > {end}", table, f"{field} IS NOT NULL AND {end} IS NOT NULL"), (f"{table}.{end}",)


def _gender(name: str, which: str) -> Callable[[Rule, str, str], _Made]:
    def made(rule: Rule, table: str, field: str) -> _Made:
        sex, concept = _SEXES.get((rule.get(name) or "").strip()), (rule.get("conceptId") or "").strip()
        if sex is None or not _NUMBER.fullmatch(concept):
            return None
        source = f"(SELECT * FROM {table} WHERE {which.format(field=field, concept=concept)}) AS t"
        needs = ("person", "concept_ancestor") if "ancestor" in which else ("person",)
        return _counts(f"p.gender_concept_id <> {sex}", f"{source} JOIN person AS p USING (person_id)"), needs

    return made


def _units(rule: Rule, table: str, field: str) -> _Made:
    units, concept = (rule.get("plausibleUnitConceptIds") or "").strip(), (rule.get("conceptId") or "").strip()
    if not (rule.get("plausibleUnitConceptIdsThreshold") or "").strip() or not _NUMBER.fullmatch(concept):
        return None
    bad = f"unit_concept_id NOT IN ({units})" if _IDS.fullmatch(units) else "unit_concept_id IS NOT NULL"
    whole = f"{field} = {concept} AND value_as_number IS NOT NULL AND unit_source_value IS NOT NULL"
    return _counts(bad, f"(SELECT * FROM {table} WHERE {whole})"), ()


_DESCENDANTS = "{field} IN (SELECT descendant_concept_id FROM concept_ancestor WHERE ancestor_concept_id = {concept})"
_SQL: dict[str, Callable[[Rule, str, str], _Made]] = {
    "measurePersonCompleteness": _persons,
    "measureConditionEraCompleteness": _eras,
    "measureObservationPeriodOverlap": _overlap,
    "isRequired": _required,
    "cdmDatatype": _datatype,
    "isPrimaryKey": _key,
    "isForeignKey": _foreign,
    "fkDomain": _domain,
    "fkClass": _class,
    "isStandardValidConcept": _standard,
    "measureValueCompleteness": _values,
    "standardConceptRecordCompleteness": _zeros("standardConceptRecordCompleteness"),
    "sourceConceptRecordCompleteness": _zeros("sourceConceptRecordCompleteness"),
    "sourceValueCompleteness": _sources,
    "plausibleValueLow": _bound("plausibleValueLow", "<"),
    "plausibleValueHigh": _bound("plausibleValueHigh", ">"),
    "plausibleTemporalAfter": _after,
    "plausibleDuringLife": _life(60, "plausibleDuringLife"),
    "withinVisitDates": _visits,
    "plausibleAfterBirth": _born,
    "plausibleBeforeDeath": _life(60, "plausibleBeforeDeath"),
    "plausibleStartBeforeEnd": _ends,
    "plausibleGender": _gender("plausibleGender", "{field} = {concept}"),
    "plausibleGenderUseDescendants": _gender("plausibleGenderUseDescendants", _DESCENDANTS),
    "plausibleUnitConceptIds": _units,
}


# ── rules of our own, where a site gives none ─────────────────────────────────────────────────────


def own_rules(version: str) -> tuple[list[Rule], list[Rule]]:
    """Return table and field rules made from `schemas/omop/cdm.toml` and the limits of `schemas/omop/dqd.toml`.

    Args:
        version: `5.3` or `5.4`.

    >>> tables, fields = own_rules("5.4")
    >>> next(rule["isForeignKey"] for rule in fields if rule["cdmFieldName"] == "provider_id")
    'Yes'
    """
    known = assets.toml("schemas", "omop", "dqd.toml")
    tables: list[Rule] = []
    fields: list[Rule] = []
    for table, body in assets.toml("schemas", "omop", "cdm.toml").items():
        if body["of"] == "vocabulary":
            continue
        person = "Yes" if "person_id" in body["fields"] and table != "person" else "No"
        tables.append({
            "cdmTableName": table,
            "measurePersonCompleteness": person,
            "measurePersonCompletenessThreshold": str(known["limits"]["measurePersonCompleteness"]),
            "measureObservationPeriodOverlap": "Yes" if table == "observation_period" else "No",
        })  # fmt: skip
        old = {new: name for name, new in body.get("renamed", {}).items()} if version == "5.3" else {}
        for name, written in body["fields"].items():
            rule = _own(table, old.get(name, name), written, version, known, list(body["fields"]))
            if rule is not None:
                fields.append(rule)
    return tables, fields


def _own(table: str, name: str, written: str, version: str, known: Any, names: list[str]) -> Rule | None:
    spec = written.partition(" : ")[0]
    head, _, only = spec.rpartition(" 5.")
    if head and only != version[2:]:
        return None
    kind, required = (head or spec).rstrip("!"), (head or spec).endswith("!")
    target = "concept" if kind == "concept" else kind.removeprefix("-> ") if kind.startswith("->") else ""
    dated = kind in ("date", "datetime") and "person_id" in names and name != "birth_datetime"
    end = name.replace("_start_", "_end_")
    standard = name.endswith("_concept_id") and "source" not in name and name not in ("cdm_version_concept_id",)
    own = name.replace("_source_value", "_concept_id")
    rule = {
        "cdmTableName": table,
        "cdmFieldName": name,
        "cdmDatatype": "integer" if kind in ("key", "id", "concept", "int") or target else kind,
        "isRequired": "Yes" if required else "No",
        "isPrimaryKey": "Yes" if kind == "key" else "No",
        "isForeignKey": "Yes" if target else "No",
        "fkTableName": target,
        "fkFieldName": f"{target}_id" if target else "",
        "fkDomain": known["domains"].get(name, "Type Concept" if name.endswith("_type_concept_id") else ""),
        "isStandardValidConcept": "Yes" if standard else "No",
        "measureValueCompleteness": "Yes",
        "standardConceptRecordCompleteness": "Yes" if standard and required else "No",
        "sourceValueCompleteness": "Yes" if name.endswith("_source_value") and own in names else "No",
        "standardConceptFieldName": own if own in names else "",
        "plausibleAfterBirth": "Yes" if dated else "No",
        "plausibleBeforeDeath": "Yes" if dated and table != "death" else "No",
        "plausibleValueHigh": "DATEADD(dd,1,GETDATE())" if dated else "",
        "plausibleStartBeforeEnd": "Yes" if end != name and end in names else "No",
        "plausibleStartBeforeEndFieldName": end if end in names else "",
        "withinVisitDates": "Yes" if dated and "visit_occurrence_id" in names and "end" not in name else "No",
    }
    limits = known["limits"]
    return {**rule, **{f"{check}Threshold": str(limit) for check, limit in limits.items()}}
