"""Scrubs the texts of rows in DuckDB: every distinct value is judged once, and read again only for whom it could name.

What passes through Python is distinct: values, and pairs of a subject and a value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import pyarrow as pa

from mayo_data import schema
from mayo_data.engine.relational import Session, checked
from mayo_data.omop.events import Judged
from mayo_data.phi.labels import MASKED, Cleaned, Labels
from mayo_data.phi.structured import Scrub, text_scrubber
from mayo_data.phi.time_limit import TimeLimit, TooSlow
from mayo_data.phi.vault import Vault
from mayo_data.sources.watch import BETWEEN, At
from mayo_data.sql import name, text
from mayo_data.stage import fate

T = TypeVar("T")
R = TypeVar("R")

_TOGETHER = 64  # values under one limit; where it is not kept, each has its own
_TOO_SLOW = fate("scrub", "too_slow")
_CRASHED = fate("scrub", "crashed")
_HELD = pa.schema([("value", pa.large_string()), ("subject_id", pa.int64()), ("fate", pa.string())])
_WORDS = pa.schema([("value", pa.string()), ("word", pa.string())])

_kept: tuple[tuple[str, int], Labels] | None = None


def labels_of(scrub: Scrub) -> Labels:
    """The scrubber of texts, once a process."""
    global _kept  # noqa: PLW0603 - one a process, as its vault and its detector are
    key = (scrub.fingerprint, scrub.vault.stat().st_mtime_ns)
    if _kept is None or _kept[0] != key:
        vault = Vault(scrub.vault, scrub.vault_secret, readonly=True)
        scrubber = text_scrubber(scrub.policy, scrub.secret, vault)
        _kept = (key, Labels(scrub.policy, scrub.secret, scrubber, vault, scrub.as_of))
    return _kept[1]


class Held(NamedTuple):
    """A value that was not read to its end, in which column, of whom (None: of everybody), and why."""

    column: Judged
    value: str
    subject: int | None
    fate: str


class Reader:
    """Reads values, each within its limit of time.

    Args:
        labels: Who reads them.
        seconds: Processor seconds that a value may take, for each MiB of it that is begun; 0 for no limit.
        crashed: Values that are left alone, as `place_of` has them.
        at: Told the place of every value before it is read.
    """

    def __init__(
        self, labels: Labels, seconds: float, crashed: frozenset[int] = frozenset(), at: At | None = None
    ) -> None:
        self.labels = labels
        self.held: list[Held] = []
        self._seconds = seconds
        self._crashed = crashed
        self._at = at

    def each(self, values: Sequence[T], said: Callable[[T], str], work: Callable[[T], R]) -> list[tuple[T, R | str]]:
        """Return what work makes of each value; of one that is not read, its fate.

        Args:
            values: What to read, perhaps with more beside the text.
            said: Returns the text.
            work: Reads one.
        """
        done: list[tuple[T, R | str]] = []
        if self._at or self._crashed:
            return [(one, self._closely(one, said(one), work)) for one in values]
        for start in range(0, len(values), _TOGETHER):
            some = values[start : start + _TOGETHER]
            try:
                with TimeLimit(self._seconds) as limit, limit.of(sum(len(said(one)) for one in some)):
                    done += [(one, work(one)) for one in some]
            except TooSlow:
                done += [(one, self._within(one, said(one), work)) for one in some]
        return done

    def _closely(self, one: T, said: str, work: Callable[[T], R]) -> R | str:
        place = place_of(said)
        if place in self._crashed:
            return _CRASHED
        if self._at is None:
            return self._within(one, said, work)
        self._at(place)
        done = self._within(one, said, work)
        self._at(BETWEEN)
        return done

    def _within(self, one: T, said: str, work: Callable[[T], R]) -> R | str:
        try:
            with TimeLimit(self._seconds) as limit, limit.of(len(said)):
                return work(one)
        except TooSlow:
            return _TOO_SLOW


def place_of(value: str) -> int:
    """Return the number that stands for a value where a place is told.

    >>> place_of("well") == place_of("well") != place_of("unwell")
    True
    """
    digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True) or 1


def clean_texts(db: Session, judged: Sequence[Judged], reader: Reader) -> tuple[list[str], bool]:
    """Scrub the texts of the live rows: which columns were touched, and whether there are decisions.

    Makes `clean_COLUMN` (source_table, source_row, clean, hit) and `decided` (source_table, source_row, decisions).
    Where a text is not read to its end, its rows get a fate in `read`, and `held` (source_table, source_row, path) says
    which field it was.

    Args:
        db: A session with `read`, the rows, `live`, those without a fate, and `words`, the words that could name each
            subject.
        judged: The columns, and what the scrub does to each.
        reader: Who reads them.
    """
    db.run("CREATE OR REPLACE TEMP TABLE held (source_table BIGINT, source_row BIGINT, path VARCHAR)")
    while True:
        found = _clean(db, judged, reader)
        if not reader.held:
            return found
        _end(db, reader.held)  # and once more, as if they had never been there
        reader.held.clear()
        reader.labels.counts.clear()


def _end(db: Session, held: Sequence[Held]) -> None:
    for one in dict.fromkeys(each.column for each in held):
        mine = [each for each in held if each.column == one]
        columns = {
            "value": [each.value for each in mine],
            "subject_id": [each.subject for each in mine],
            "fate": [each.fate for each in mine],
        }
        db.give("given_held", pa.table(columns, schema=_HELD))
        met = f"h.value = r.{name(one.column)} AND (h.subject_id IS NULL OR h.subject_id = r.subject_id)"
        db.run(
            f"INSERT INTO held SELECT DISTINCT r.source_table, r.source_row, {text(one.path)} FROM read AS r "
            f"JOIN given_held AS h ON {met} WHERE r.fate IS NULL"
        )
        db.run(f"UPDATE read AS r SET fate = h.fate FROM given_held AS h WHERE r.fate IS NULL AND {met}")


def _clean(db: Session, judged: Sequence[Judged], reader: Reader) -> tuple[list[str], bool]:
    labels = reader.labels
    cleaned: list[str] = []
    decided: list[str] = []
    counts = ", ".join(f"count({name(one.column)})" for one in judged)
    filled = db.rows(f"SELECT {counts} FROM live")[0] if judged else ()
    for place, one in enumerate(judged):
        if not filled[place]:
            continue
        fixed, everyone, pairs = _judged(db, one, reader)
        read = _read(db, one, reader, everyone, pairs)
        if not fixed and not read:
            continue
        made = _settled(db, one, fixed, read)
        labels.counts["codes/masked"] += int(
            db.one(f"SELECT count(*) FROM {made} WHERE fixed AND starts_with(clean, '{MASKED}')")
        )
        for value, rows in db.rows(
            f"SELECT l.{name(one.column)}, count(*) FROM {made} AS c JOIN live AS l USING (source_table, source_row) "
            f"WHERE c.fixed AND c.decisions IS NOT NULL GROUP BY ALL"
        ):
            labels.count(Cleaned(None, fixed[value].decisions), rows)
        if db.one(f"SELECT count(*) FROM {made} WHERE hit"):
            cleaned.append(one.column)
        decided.append(
            f"SELECT source_table, source_row, {place} AS place, decisions FROM {made} WHERE decisions IS NOT NULL"
        )
    if decided:
        db.run(
            f"CREATE OR REPLACE TEMP TABLE decided AS SELECT source_table, source_row, "
            f"flatten(list(decisions ORDER BY place)) AS decisions FROM ({' UNION ALL '.join(decided)}) GROUP BY ALL"
        )
    return cleaned, bool(decided)


def _judged(db: Session, one: Judged, reader: Reader) -> tuple[dict[str, Cleaned], list[str], list[tuple[str, str]]]:
    """Judge the distinct values of a column: what is the same for everybody, what is read for all, words to watch."""
    column = name(one.column)
    fixed: dict[str, Cleaned] = {}
    everyone: list[str] = []
    pairs: list[tuple[str, str]] = []
    for batch in checked(db.batches(f"SELECT DISTINCT {column} FROM live WHERE {column} IS NOT NULL")):
        values: list[str] = batch.column(0).to_pylist()
        for value, verdict in reader.each(values, str, lambda value: reader.labels.judge(value, one.action)):
            if isinstance(verdict, str):
                reader.held.append(Held(one, value, None, verdict))
                continue
            words, once = verdict
            if words is None:
                everyone.append(value)
                continue
            if words:
                pairs += [(value, word) for word in words]
            if once is not None:
                fixed[value] = once
    return fixed, everyone, pairs


def _read(
    db: Session, one: Judged, reader: Reader, everyone: list[str], pairs: list[tuple[str, str]]
) -> list[tuple[int, str, Cleaned]]:
    """Read values for the subjects whom they could name."""
    if not everyone and not pairs:
        return []
    column = name(one.column)
    db.give("everyone", pa.table({"value": pa.array(everyone, pa.string())}))
    given = {"value": [value for value, _ in pairs], "word": [word for _, word in pairs]}
    db.give("spelled", pa.table(given, schema=_WORDS))
    seen = f"SELECT l.subject_id, l.{column} AS value, count(*) AS rows FROM live AS l SEMI JOIN {{}} GROUP BY ALL"
    query = (
        f"WITH hit AS (SELECT DISTINCT s.value, w.subject_id FROM spelled AS s JOIN words AS w USING (word)) "
        f"{seen.format(f'everyone AS e ON e.value = l.{column}')} UNION ALL "
        f"{seen.format(f'hit AS h ON h.value = l.{column} AND h.subject_id = l.subject_id')} ORDER BY ALL"
    )
    found: list[tuple[int, str, Cleaned]] = []
    for batch in checked(db.batches(query)):
        met: list[tuple[int, str, int]] = list(
            zip(*(batch.column(index).to_pylist() for index in range(3)), strict=True)
        )
        for (subject, value, rows), done in reader.each(
            met, lambda each: each[1], lambda each: reader.labels.scrub(each[1], one.action, each[0])
        ):
            if isinstance(done, str):
                reader.held.append(Held(one, value, None if done == _CRASHED else subject, done))
                continue
            if done.decisions or done.text != value:
                reader.labels.count(done, rows)
            found.append((subject, value, done))
    return found


def _settled(db: Session, one: Judged, fixed: dict[str, Cleaned], read: list[tuple[int, str, Cleaned]]) -> str:
    """Make `clean_COLUMN`: what was read for a subject counts before what is the same for everybody."""
    column, made = name(one.column), name("clean_" + one.column)
    subjects = pa.array([subject for subject, _, _ in read], pa.int64())
    own = _cleaned([value for _, value, _ in read], [done for _, _, done in read], one.path)
    db.give("read_for", own.append_column("subject_id", subjects))
    db.give("read_once", _cleaned(list(fixed), list(fixed.values()), one.path))
    rows = f"live AS l JOIN {{}} AS f ON f.value = l.{column}"
    kept = "l.source_table, l.source_row, f.clean, f.clean IS DISTINCT FROM f.value AS hit, f.decisions"
    db.run(
        f"CREATE OR REPLACE TEMP TABLE {made} AS "
        f"SELECT {kept}, false AS fixed FROM {rows.format('read_for')} AND f.subject_id = l.subject_id "
        f"WHERE f.decisions IS NOT NULL OR f.clean IS DISTINCT FROM f.value "
        f"UNION ALL SELECT {kept}, true AS fixed FROM {rows.format('read_once')} "
        f"WHERE NOT EXISTS (SELECT 1 FROM read_for AS r WHERE r.value = l.{column} AND r.subject_id = l.subject_id)"
    )
    return made


def _cleaned(values: list[str], done: list[Cleaned], path: str) -> pa.Table:
    kind = schema.table("staged").field("decisions").type
    decisions = [[{"path": path, **one} for one in each.decisions] or None for each in done]
    columns = {
        "value": pa.array(values, pa.large_string()),
        "clean": pa.array([each.text for each in done], pa.large_string()),
        "decisions": pa.array(decisions, kind),
    }
    return pa.table(columns)
