"""SQL that gives back the typed rows of a table as they may leave: dates moved, places generalised, the rest dropped.

Pseudonyms are put in afterwards, column by column: `links` says which column names a row of which table.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from mayo_data.omop.events import Judged
from mayo_data.omop.model import Field, Table, concepts, mapping
from mayo_data.sql import name, text

REMOVED = "removed"  # stands in a required field of which nothing may stay
_JUDGED = frozenset(["code", "word", "label", "text"])
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?"


class Scrubbed:
    """The queries of one table on its way out as OMOP.

    Args:
        table: The table.
        have: Its fields in the export.
        dates: The date rule of the policy.
        small: Three-digit ZIP areas in which too few people live (45 CFR 164.514(b)(2)(i)(B)).
        whole_zip: Whether the policy keeps ZIP codes as they are.

    >>> from mayo_data.omop.model import tables
    >>> Scrubbed(tables()["death"], ["person_id", "death_date"], "keep").links
    {'person_id': 'person'}
    """

    def __init__(
        self, table: Table, have: Collection[str], dates: str, small: Collection[str] = (), whole_zip: bool = False
    ) -> None:
        self.table = table
        self.fields = [field for field in table.fields.values() if field.name in have]
        self._have = frozenset(have)
        self._dates = dates
        self._small = small
        self._whole_zip = whole_zip
        self._personal = table.of == "subject"
        self.judged = [
            Judged(one.name, one.action, f"{table.name}.{one.name}") for one in self.fields if one.action in _JUDGED
        ]

    @property
    def links(self) -> dict[str, str]:
        """Column to the table whose rows it names, where that is the same in every row."""
        found = {one.name: one.target for one in self.fields if one.target}
        if self.table.of != "vocabulary":
            found |= {one.name: self.table.name for one in self.fields if one.kind == "key"}
        return found

    @property
    def open_links(self) -> dict[str, str]:
        """Column that names a row of a table which another column tells: that column, `domain` or `field`."""
        pairs = {
            "cost_event_id": "cost_domain_id", "fact_id_1": "domain_concept_id_1", "fact_id_2": "domain_concept_id_2",
            "measurement_event_id": "meas_event_field_concept_id", "note_event_id": "note_event_field_concept_id",
            "observation_event_id": "obs_event_field_concept_id", "event_id": "episode_event_field_concept_id",
        }  # fmt: skip
        return {field: by for field, by in pairs.items() if field in self._have}

    def rows(self, loaded: str) -> str:
        """Return the query of the rows with their subject: every field, and the fate of a row that ends."""
        through: Mapping[str, str] = mapping().get(self.table.name, {}).get("through", {})
        joins = f"FROM {loaded} AS t"
        if not self._personal or self.table.name == "episode_event":
            kept = ", ".join(f"t.{name(one.name)}" for one in self.fields)
            nobody = "0::BIGINT AS subject_id, 0::INTEGER AS days"
            return f"SELECT t.source_table, t.source_row, t.fate, {nobody}, {kept} {joins}"
        person = "t.person_id"
        if through:
            by = f"t.{name(through['id'])}" if through["id"] in self._have else "NULL"
            named = text(through["table"]) if "table" in through else self._anchor(through["domain"])
            joins += f" LEFT JOIN anchors AS a ON a.id = {by} AND a.anchor = {named}"
            person = "a.person_id"
        joins += f" LEFT JOIN people AS p ON p.person_id = {person}"
        ending = "CASE WHEN t.fate IS NOT NULL THEN t.fate WHEN p.subject_id IS NULL THEN 'scrub/unknown_subject' END"
        kept = ", ".join(f"t.{name(one.name)}" for one in self.fields)
        born = ", p.birth AS born, p.birth_precision AS born_to" if self.table.name == "person" else ""
        return (
            f"SELECT t.source_table, t.source_row, {ending} AS fate, p.subject_id, p.days, {kept}{born}, t.twin {joins}"
        )

    def _anchor(self, column: str) -> str:
        if column not in self._have:
            return "NULL"
        cases = " ".join(f"WHEN {text(domain)} THEN {text(table)}" for domain, table in concepts()["domains"].items())
        return f"CASE CAST(t.{name(column)} AS VARCHAR) {cases} END"

    def out(self, relation: str, cleaned: Collection[str], turn: str) -> str:
        """Return the query of the rows as they may leave; ids are still the source's.

        Vocabularies keep their order. The others stand in one that only the key knows: the place of a row would lead to
        the row of the source as surely as its id.

        Args:
            relation: The live rows.
            cleaned: Judged columns of which some texts were replaced: see `events.Compiled.events`.
            turn: What makes the order: keyed, hex digits.
        """
        order = "source_table, source_row"
        if self.table.of != "vocabulary":
            order = f"md5_number_lower(concat_ws(':', {text(turn)}, source_table, source_row)), {order}"
        columns = ", ".join(f"{self._cell(one, one.name in cleaned)} AS {name(one.name)}" for one in self.fields)
        joined = "".join(
            f" LEFT JOIN {name('clean_' + column)} AS {name('k_' + column)} USING (source_table, source_row)"
            for column in cleaned
        )
        twin = "r.twin" if self._personal and self.table.name != "episode_event" else "0::BIGINT AS twin"
        return f"SELECT {columns}, {twin}, r.subject_id FROM {relation} AS r{joined} ORDER BY {order}"

    def _cell(self, field: Field, cleaned: bool) -> str:
        raw = f"r.{name(field.name)}"
        verb, _, _ = field.action.partition(" ")
        if cleaned:
            own = name("k_" + field.name)
            raw = f"CASE WHEN {own}.hit THEN {own}.clean ELSE {raw} END"
        if verb == "drop":
            nothing = text(REMOVED) if field.needed and field.kind == "text" else "NULL"
            return f"{nothing}::{field.sql}"
        if field.action == "birth":
            return self._birth(field.name)
        if field.action == "zip3":
            return f"CASE WHEN regexp_matches(trim({raw}), '^[0-9]{{3}}') THEN {self._zip(raw)} END"
        if field.action == "time":
            return f"CASE WHEN regexp_full_match(trim({raw}), {text(_CLOCK)}) THEN trim({raw}) END"
        if field.kind in ("date", "datetime"):
            moved = self._moved(raw) if self._personal else raw
            return f"CAST({moved} AS {'DATE' if field.kind == 'date' else 'TIMESTAMP'})"
        return raw

    def _zip(self, raw: str) -> str:
        if self._whole_zip:
            return f"trim({raw})"
        first = f"left(trim({raw}), 3)"
        listed = ", ".join(text(one) for one in sorted(self._small))
        return f"CASE WHEN {first} IN ({listed}) THEN '000' ELSE {first} END"

    def _moved(self, moment: str) -> str:
        if self._dates == "keep":
            return moment
        return f"date_trunc('year', {moment})" if self._dates == "year" else f"({moment} + to_days(r.days))"

    @staticmethod
    def _birth(field: str) -> str:
        month = "CASE WHEN born_to <> 'year' THEN month(born) END"
        day = "CASE WHEN born_to = 'day' THEN day(born) END"
        cells = {"year_of_birth": "year(born)", "month_of_birth": month, "day_of_birth": day}
        return f"CAST({cells[field]} AS BIGINT)" if field in cells else "CASE WHEN born_to = 'day' THEN born END"
