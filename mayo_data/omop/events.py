"""SQL that turns the typed rows of a table into staged events, by `schemas/omop/events.toml`.

Two queries a table. `rows` joins each row with its person and its concepts, moves its times, and leaves aside what
must be read as text first. `events` writes the events from those rows and the texts after the scrub.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mayo_data.omop.model import Table, concepts, mapping
from mayo_data.sql import name, text
from mayo_data.stage import fate

MASKED = "MASKED//"
_NONE = "NULL"


@dataclass(frozen=True)
class Judged:
    """A column of `rows` with text that must be scrubbed before it may leave.

    Attributes:
        column: Its name in `rows`.
        action: What the scrub does to it: `code`, `word`, `label` or `text`.
        path: What a decision on it calls it: table and field.
    """

    column: str
    action: str
    path: str


@dataclass(frozen=True)
class Relations:
    """What the queries read: DuckDB relations by name.

    Attributes:
        loaded: The typed rows of the table.
        people: `person_id, subject_id, days` and, for `person`, birth and home.
        concepts: `concept_id, code, tail, description`.
        anchors: `anchor, id, person_id, moment`: rows that others hang on.
    """

    loaded: str
    people: str = "people"
    concepts: str = "concepts"
    anchors: str = "anchors"


class Compiled:
    """The queries of one table, for the fields that an export has.

    Args:
        table: The table.
        have: Its fields in the export.
        dates: The date rule of the policy: `shift`, `year` or `keep`.
        top_age: Ages above it are one group (45 CFR 164.514(b)(2)(i)(C)); 0 switches this off.
        zone: IANA name of the time zone in which the clock of the source runs; empty where its times are to be read
            as UTC. A time known to the day only is not moved.

    >>> from mayo_data.omop.model import tables
    >>> compiled = Compiled(tables()["note"], {"note_id", "person_id", "note_date", "note_text"}, "shift")
    >>> [judged.path for judged in compiled.judged]
    ['note.note_text']
    """

    def __init__(self, table: Table, have: Collection[str], dates: str, top_age: int = 0, zone: str = "") -> None:
        self.table = table
        self._top_age = top_age
        self.judged: list[Judged] = []
        self._have = frozenset(have)
        self._dates = dates
        self._zone = zone if dates != "year" else ""
        self._spec = mapping()[table.name]
        self._joins: list[str] = []
        self._columns: dict[str, str] = {}
        self._lookups: dict[str, str] = {}
        self._compile()

    # ── rows ──────────────────────────────────────────────────────────────────────────────────────

    def rows(self, relations: Relations, where: str = "true") -> str:
        """Return the query of the rows, each with its fate where it ends here.

        Args:
            relations: What to read.
            where: Which rows of `loaded`, as a condition on `t`.
        """
        person = "t.person_id" if self.table.personal else "a.person_id"
        joins = [f"FROM {relations.loaded} AS t"]
        if self._through:
            joins.append(f"LEFT JOIN {relations.anchors} AS a ON {self._anchor}")
        joins.append(f"LEFT JOIN {relations.people} AS p ON p.person_id = {person}")
        joins += [join.format(concepts=relations.concepts) for join in self._joins]
        orphan = text(fate("scrub", "unknown_subject"))
        columns = ", ".join(f"{expression} AS {name(column)}" for column, expression in self._columns.items())
        return (
            f"SELECT t.source_table, t.source_row, CASE WHEN t.fate IS NOT NULL THEN t.fate "
            f"WHEN p.subject_id IS NULL THEN {orphan} END AS fate, t.fate_path, p.subject_id, {columns} "
            f"{' '.join(joins)} WHERE {where}"
        )

    @property
    def _through(self) -> dict[str, str]:
        found: dict[str, str] = self._spec.get("through", {})
        return found

    @property
    def _anchor(self) -> str:
        through = self._through
        key = f"a.id = t.{name(through['id'])}" if through["id"] in self._have else "false"
        if "table" in through:
            return f"{key} AND a.anchor = {text(through['table'])}"
        if through["domain"] not in self._have:
            return "false"
        domains = concepts()["domains"].items()
        named = " ".join(f"WHEN {text(domain)} THEN {text(table)}" for domain, table in domains)
        return f"{key} AND a.anchor = CASE CAST(t.{name(through['domain'])} AS VARCHAR) {named} END"

    def _compile(self) -> None:
        spec, add = self._spec, self._columns
        add["twin"] = "t.twin"
        add["row_id"] = f"t.{name(self.table.key)}" if self.table.key in self._have else "NULL::BIGINT"
        encounter = "visit_occurrence_id" if spec.get("encounter", True) else ""
        add["visit_id"] = f"nullif(t.{name(encounter)}, 0)" if encounter in self._have else "NULL::BIGINT"
        self._times(spec)
        self._events: list[dict[str, Any]] = [self._one(spec, "m")]
        add["kind"] = self._kind(spec)
        self._events += [
            self._one({"kind": "", **each}, f"e{index}") for index, each in enumerate(spec.get("each", ()), 1)
        ]
        if self.table.name == "person":
            for column in ("birth", "birth_precision", "zip3", "state"):
                add[column] = f"p.{column}"

    def _times(self, spec: Mapping[str, Any]) -> None:
        start, exact = self._moment(spec.get("time"))
        if start == _NONE and self._through:
            start, exact = "a.moment", "false"
        end, whole = self._moment(spec.get("end"))
        add = self._columns
        began = self._instant(start, exact)
        add["time"] = f"{self._moved(began)}::TIMESTAMP"
        add["utc_offset"] = self._offset(start, began)
        precise = "'year'" if self._dates == "year" else f"CASE WHEN {exact} THEN 'second' ELSE 'day' END"
        add["time_precision"] = f"CASE WHEN {start} IS NOT NULL THEN {precise} END"
        # An end known only to the day is not before a start on that day.
        closed = self._instant(end, whole)
        add["end_offset"] = self._offset(end, closed)
        if end != _NONE and start != _NONE:
            day = f"NOT {whole} AND {end} < {start} AND {start} < {end} + INTERVAL 1 DAY"
            closed = f"CASE WHEN {day} THEN {began} ELSE {closed} END"
        add["end_time"] = f"{self._moved(closed)}::TIMESTAMP"
        known = f"coalesce({closed}, {began})" if spec.get("available") == "end" and end != _NONE else began
        add["available_time"] = f"{self._moved(known)}::TIMESTAMP"

    def _instant(self, moment: str, exact: str) -> str:
        """The moment in UTC, where the source knows more than the day and its zone is known."""
        if not self._zone or moment == _NONE:
            return moment
        return f"CASE WHEN {exact} THEN timezone('UTC', timezone({text(self._zone)}, {moment})) ELSE {moment} END"

    def _offset(self, wall: str, instant: str) -> str:
        """Minutes east of UTC, where the moment was read in a zone."""
        if wall == instant:
            return "NULL::SMALLINT"
        apart = f"date_diff('minute', {instant}, {wall})"
        return f"CASE WHEN {wall} <> date_trunc('day', {wall}) THEN {apart} END::SMALLINT"

    def _moment(self, prefix: str | None) -> tuple[str, str]:
        """What time a prefix names, and whether the source knows more than the day."""
        if prefix is None:
            return _NONE, "false"
        stamp, day = f"{prefix}_datetime", f"{prefix}_date"
        if stamp not in self._have:
            return (f"t.{name(day)}", "false") if day in self._have else (_NONE, "false")
        moment = f"t.{name(stamp)}"
        exact = f"({moment} IS NOT NULL AND {moment} <> date_trunc('day', {moment}))"
        return (f"coalesce({moment}, t.{name(day)})" if day in self._have else moment), exact

    def _moved(self, moment: str) -> str:
        if moment == _NONE or self._dates == "keep":
            return moment
        if self._dates == "year":
            return f"date_trunc('year', {moment})"
        return f"({moment} + to_days(p.days))"

    def _kind(self, spec: Mapping[str, Any]) -> str:
        kind = text(spec["kind"])
        if "kinds" in spec and spec["type"] in self._have:
            cases = " ".join(f"WHEN {number} THEN {text(other)}" for number, other in spec["kinds"].items())
            kind = f"CASE t.{name(spec['type'])} {cases} ELSE {kind} END"
        tail = self._columns.get("m_tail", _NONE)
        for vocabulary in spec.get("vaccines", ()) if tail != _NONE else ():
            kind = f"CASE WHEN starts_with({tail}, {text(vocabulary + '//')}) THEN 'IMMUNIZATION' ELSE {kind} END"
        negated = spec.get("negated")
        if negated and negated["column"] in self._have:
            listed = ", ".join(text(one) for one in negated["is"])
            said = f"t.{name(negated['column'])} IN ({listed})"
            kind = f"{kind} || CASE WHEN {said} THEN {text(negated['suffix'])} ELSE '' END"
        return kind

    def _lookup(self, column: str) -> str:
        """Join the concept of a column, once; return the alias, or nothing where the export has no such column."""
        if column not in self._have:
            return ""
        if column not in self._lookups:
            alias = self._lookups[column] = f"c{len(self._lookups)}"
            self._joins.append(f"LEFT JOIN {{concepts}} AS {alias} ON {alias}.concept_id = t.{name(column)}")
        return self._lookups[column]

    def _judge(self, column: str, field: str, expression: str, action: str = "") -> str:
        self._columns[column] = expression
        action = action or self.table.fields[field].action
        self.judged.append(Judged(column, action, f"{self.table.name}.{field}"))
        return column

    def _concept(self, spec: Mapping[str, Any], short: str) -> dict[str, Any]:
        """Columns that say which concept a prefix names: its tail, its meaning, and the source's own code."""
        prefix = spec["concept"]
        standard = self._lookup(f"{prefix}_concept_id")
        source = self._lookup(f"{prefix}_source_concept_id")
        value = spec.get("source", f"{prefix}_source_value")
        add, found = self._columns, {"source": "", "description": ""}
        tails = [f"{alias}.tail" for alias in (standard, source) if alias]
        add[f"{short}_tail"] = f"coalesce({', '.join(tails)})" if tails else "NULL::VARCHAR"
        number = f"nullif(t.{name(prefix + '_concept_id')}, 0)" if standard else "NULL::BIGINT"
        add[f"{short}_id"] = number
        other = f"CASE WHEN {source}.tail <> {standard}.tail THEN {source}.tail END" if source and standard else _NONE
        unknown = f"{standard}.tail IS NULL AND {number} IS NOT NULL" if standard else "false"
        add[f"{short}_parent"] = f"CASE WHEN {unknown} THEN 'OMOP//' || {number} ELSE {other} END::VARCHAR"
        if tails:
            described = [
                f"WHEN {alias}.tail IS NOT NULL THEN {alias}.description" for alias in (standard, source) if alias
            ]
            found["description"] = self._judge(
                f"{short}_meaning", f"{prefix}_concept_id", f"CASE {' '.join(described)} END", "label"
            )
        if value in self._have and not self._dropped(value):
            plain = f"nullif(trim(t.{name(value)}), '')"
            same = [f"{alias}.code IS NOT DISTINCT FROM {plain}" for alias in (standard, source) if alias]
            known = [f"{source}.tail IS NOT NULL"] if source else []
            drop = " OR ".join([*known, *same]) or "false"
            action = self.table.fields[value].action
            found["source"] = self._judge(
                f"{short}_source",
                value,
                f"CASE WHEN {drop} THEN NULL ELSE {plain} END",
                "" if action != "text" else "code",
            )
        return found

    def _one(self, spec: Mapping[str, Any], short: str) -> dict[str, Any]:
        """Compile one event of a row; its columns in `rows` begin with its short name."""
        add = self._columns
        event: dict[str, Any] = {"spec": spec, "short": short}
        if "concept" in spec:
            event |= self._concept(spec, short)
        elif str(spec.get("code", "")).startswith("@"):
            column = spec["code"][1:]
            add[f"{short}_word"] = f"t.{name(column)}" if column in self._have else "NULL::VARCHAR"
        number = spec.get("number")
        if number in self._have:
            add[f"{short}_number"] = self._capped(f"CAST(t.{name(number)} AS DOUBLE)", add.get(f"{short}_tail"))
            event["number"] = f"{short}_number"
        self._unit(spec, short, event)
        if (operator := self._column(spec, "operator")) in self._have:
            signs = " ".join(f"WHEN {number} THEN {text(sign)}" for number, sign in concepts()["operators"].items())
            add[f"{short}_operator"] = f"CASE t.{name(operator)} {signs} END"
            event["operator"] = f"{short}_operator"
        if alias := self._lookup(self._column(spec, "answer")):
            add[f"{short}_answer"] = f"{alias}.tail"
            event["answer"] = f"{short}_answer"
            event["answered"] = self._judge(
                f"{short}_answered", self._column(spec, "answer"), f"{alias}.description", "label"
            )
        self._texts(spec, short, event)
        self._status(spec, short, event)
        return event

    def _dropped(self, field: str) -> bool:
        return self.table.fields[field].action.startswith("drop ")

    @property
    def dropped(self) -> dict[str, str]:
        """Fields of the export that are dropped, with their PHI category."""
        return {
            one.name: one.action[5:]
            for one in self.table.fields.values()
            if one.name in self._have and one.action.startswith("drop ")
        }

    def _capped(self, number: str, tail: str | None) -> str:
        """An age over the top age is the group's lower bound."""
        if not self._top_age or tail is None:
            return number
        ages = ", ".join(text(one) for one in concepts()["ages"])
        return f"CASE WHEN {tail} IN ({ages}) THEN least({number}, {self._top_age + 1}) ELSE {number} END"

    @staticmethod
    def _column(spec: Mapping[str, Any], key: str) -> str:
        return f"{spec[key]}_concept_id" if key in spec else ""

    def _unit(self, spec: Mapping[str, Any], short: str, event: dict[str, Any]) -> None:
        if "units" in spec:
            event["units"] = text(spec["units"])
        if "unit" not in spec:
            return
        if alias := self._lookup(f"{spec['unit']}_concept_id"):
            code = f"CASE WHEN regexp_matches({alias}.tail, '^(UCUM|ISO4217)//') THEN {alias}.code END"
            self._columns[f"{short}_ucum"] = code
            event["ucum"] = f"{short}_ucum"
        printed = f"{spec['unit']}_source_value"
        if printed in self._have:
            plain = f"nullif(trim(t.{name(printed)}), '')"
            unsaid = f"CASE WHEN {code} IS NULL THEN {plain} END" if alias else plain
            event["printed"] = self._judge(f"{short}_unit", printed, unsaid)

    def _texts(self, spec: Mapping[str, Any], short: str, event: dict[str, Any]) -> None:
        given = [field for field in spec.get("text", ()) if field in self._have]
        event["texts"] = []
        for index, field in enumerate(given):
            plain = f"nullif(trim(t.{name(field)}), '')" if field != "note_text" else f"t.{name(field)}"
            said = []
            if "number" in event:  # the number again, as it was written
                said.append(
                    f"TRY_CAST({plain} AS DOUBLE) IS NOT DISTINCT FROM CAST(t.{name(spec['number'])} AS DOUBLE)"
                )
            if "answer" in event:  # the answer again, as code or words
                alias = self._lookups[self._column(spec, "answer")]
                said += [f"{plain} IS NOT DISTINCT FROM {alias}.code"]
                said += [f"starts_with({alias}.description, {plain})"]
            column = f"{short}_text{index}"
            again = " OR ".join(f"({one})" for one in said)
            event["texts"].append(
                self._judge(column, field, f"CASE WHEN {again} THEN NULL ELSE {plain} END" if said else plain)
            )
            if "number" in event and field == "value_source_value":
                self._columns[f"{short}_written"] = f"CASE WHEN {said[0]} THEN {plain} END"
                event["written"] = f"{short}_written"

    def _status(self, spec: Mapping[str, Any], short: str, event: dict[str, Any]) -> None:
        printed = f"{spec['status']}_source_value" if "status" in spec else ""
        if printed in self._have:
            event["status"] = self._judge(f"{short}_status", printed, f"nullif(trim(t.{name(printed)}), '')", "label")

    # ── events ────────────────────────────────────────────────────────────────────────────────────

    def events(self, relation: str, cleaned: Collection[str], decided: bool = False) -> str:
        """Return the query of the events.

        Args:
            relation: The live rows.
            cleaned: Judged columns of which some texts were replaced: relations `clean_COLUMN` hold
                `source_table, source_row, clean` for those rows.
            decided: Whether relation `decided` holds `source_table, source_row, decisions`.
        """
        kept = [column for column in self._columns if column not in cleaned]
        joined = "".join(
            f" LEFT JOIN {name('clean_' + column)} AS {name('k_' + column)} USING (source_table, source_row)"
            for column in cleaned
        )
        fresh = "".join(
            f", CASE WHEN {name('k_' + column)}.hit THEN {name('k_' + column)}.clean ELSE r.{name(column)} END "
            f"AS {name(column)}"
            for column in cleaned
        )
        head = ", ".join(f"r.{name(column)}" for column in kept)
        made = " UNION ALL ".join(self._select(event, item) for item, event in enumerate(self._events))
        made += "".join(f" UNION ALL {one}" for one in self._extras())
        decisions = "d.decisions" if decided else _NONE
        with_decisions = (
            " LEFT JOIN decided AS d ON d.source_table = e.source_table AND d.source_row = e.source_row "
            "AND e.source_item = 0"
            if decided
            else ""
        )
        return (
            f"WITH r AS (SELECT source_table, source_row, subject_id, {head}{fresh} FROM {relation} AS r{joined}), "
            f"e AS ({made}) SELECT e.*, {decisions} AS decisions FROM e{with_decisions}"
        )

    def _select(self, event: Mapping[str, Any], item: int) -> str:
        spec = event["spec"]
        main = item == 0
        suffix = spec.get("suffix")
        kind = f"kind || {text(suffix)}" if suffix else "kind" if main else text(spec["kind"])
        under = self._events[0] if suffix else event
        code, parents = self._code(under, kind)
        number = event.get("number", _NONE)
        written = self._written(event)
        words = self._words(event, written)
        unit = self._units(event)
        static = spec.get("static", False) or self._spec.get("static", False)
        time = "NULL::TIMESTAMP" if static else "coalesce(end_time, time)" if spec.get("at") == "end" else "time"
        available = (
            "NULL::TIMESTAMP"
            if static
            else "coalesce(end_time, available_time)"
            if spec.get("at") == "end"
            else "available_time"
        )
        end = "end_time" if main else "NULL::TIMESTAMP"
        status = event.get("status") or _NONE
        meaning = event.get("description") or under.get("description") or _NONE
        precision = "NULL::VARCHAR" if static else "time_precision"
        at_end = "CASE WHEN end_time IS NULL THEN utc_offset ELSE end_offset END"
        offset = "NULL::SMALLINT" if static else at_end if spec.get("at") == "end" else "utc_offset"
        if spec.get("code") and not str(spec["code"]).startswith("@"):
            meaning = _NONE
        return self._row(
            item, code, parents, time=time, offset=offset, end=end, available=available, precision=precision,
            number=number, written=written, words=words, unit=unit, status=status, meaning=meaning,
        ) + self._where(event, main)  # fmt: skip

    def _row(
        self, item: int, code: str, parents: str, *, time: str = "NULL::TIMESTAMP",
        offset: str = "NULL::SMALLINT", end: str = "NULL::TIMESTAMP",
        available: str = "NULL::TIMESTAMP", precision: str = _NONE, number: str = _NONE, written: str = _NONE,
        words: str = _NONE, unit: str = _NONE, status: str = _NONE, meaning: str = _NONE,
    ) -> str:  # fmt: skip
        return (
            f"SELECT subject_id, {time} AS time, {offset} AS utc_offset, {code} AS code, "
            f"TRY_CAST({number} AS FLOAT) AS numeric_value, "
            f"{words}::VARCHAR AS text_value, {end} AS end_time, {unit}::VARCHAR AS unit, {status}::VARCHAR AS status, "
            f"{written}::VARCHAR AS value_text, visit_id, {available} AS available_time, "
            f"{precision}::VARCHAR AS time_precision, source_table, source_row, {item}::INTEGER AS source_item, "
            f"row_id, twin, {meaning}::VARCHAR AS description, {parents} AS parent_codes FROM r"
        )

    def _where(self, event: Mapping[str, Any], main: bool) -> str:
        spec, short = event["spec"], event["short"]
        if main or spec.get("always"):
            return ""
        if "suffix" in spec and "number" not in event:
            return f" WHERE coalesce({', '.join(event['texts'])}) IS NOT NULL" if event["texts"] else " WHERE false"
        if "suffix" in spec:
            unless = ", ".join(str(one) for one in spec.get("unless", ()))
            return f" WHERE {event['number']} IS NOT NULL" + (
                f" AND {event['number']} NOT IN ({unless})" if unless else ""
            )
        source = f" OR {event['source']} IS NOT NULL" if event.get("source") else ""
        return f" WHERE {short}_id IS NOT NULL OR {short}_tail IS NOT NULL{source}"

    def _code(self, event: Mapping[str, Any], kind: str) -> tuple[str, str]:
        spec, short = event["spec"], event["short"]
        nothing = "NULL::VARCHAR[]"
        if str(spec.get("code", "")).startswith("@"):
            return f"{kind} || '//' || coalesce({short}_word, 'UNKNOWN')", nothing
        if "code" in spec:
            code, timeless = text(spec["code"]), spec.get("timeless")
            return (f"CASE WHEN time IS NULL THEN {text(timeless)} ELSE {code} END" if timeless else code), nothing
        source = event["source"]
        own = text(f"OMOP_SOURCE//{self.table.name}//")
        named = (
            f"CASE WHEN starts_with({source}, '{MASKED}') THEN {source} ELSE {own} || {source} END" if source else _NONE
        )
        code = f"{kind} || '//' || coalesce({short}_tail, {named}, 'OMOP//' || {short}_id, 'UNKNOWN')"
        known = f"{short}_tail IS NOT NULL AND NOT starts_with({source}, '{MASKED}')"
        beside = f"CASE WHEN {known} THEN {named} END" if source else _NONE
        alone = f"CASE WHEN {short}_tail IS NOT NULL OR {source or _NONE} IS NOT NULL THEN {short}_parent END"
        parents = f"nullif(list_filter([{alone}, {beside}]::VARCHAR[], lambda x: x IS NOT NULL), []::VARCHAR[])"
        return code, parents

    def _written(self, event: Mapping[str, Any]) -> str:
        """The digits of a number: as the source wrote them where it says so, without `.0` otherwise."""
        number = event.get("number")
        if not number:
            return _NONE
        plain = f"regexp_replace({number}::VARCHAR, '\\.0$', '')"
        return f"coalesce({event['written']}, {plain})" if event.get("written") else plain

    def _words(self, event: Mapping[str, Any], written: str) -> str:
        options = []
        if event.get("operator") and event.get("number"):
            options.append(f"{event['operator']} || {written}")
        if event.get("answer"):
            answer, meaning = event["answer"], event["answered"]
            options.append(f"{answer} || coalesce('//' || {meaning}, '')")
        options += event["texts"]
        return f"coalesce({', '.join(options)})" if options else _NONE

    @staticmethod
    def _units(event: Mapping[str, Any]) -> str:
        if "units" in event:
            return str(event["units"])
        options = [event[one] for one in ("ucum", "printed") if event.get(one)]
        return f"coalesce({', '.join(options)})" if options else _NONE

    def _extras(self) -> list[str]:
        """What else a row says: words beside a coded answer; of a person, birth and home."""
        made = []
        item = len(self._events)
        main = self._events[0]
        if main.get("answer") and main["texts"]:
            code, _ = self._code(main, "kind || '_NOTE'")
            words = f"coalesce({', '.join(main['texts'])})"
            row = self._row(
                item, code, "NULL::VARCHAR[]", time="time", offset="utc_offset", available="available_time",
                precision="time_precision",
                words=words, meaning=main.get("description") or _NONE,
            )  # fmt: skip
            made.append(f"{row} WHERE {words} IS NOT NULL AND {main['answer']} IS NOT NULL")
        if self.table.name == "person":
            birth = self._row(
                item, "'MEDS_BIRTH'", "NULL::VARCHAR[]", time="birth", available="birth", precision="birth_precision"
            )
            made.append(f"{birth} WHERE birth IS NOT NULL")
            for more, column in enumerate(("zip3", "state"), item + 1):
                row = self._row(more, f"{text(column.upper() + '//')} || {column}", "NULL::VARCHAR[]")
                made.append(f"{row} WHERE {column} IS NOT NULL")
        return made
