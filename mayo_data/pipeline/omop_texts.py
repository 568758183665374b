"""Scrubs the texts of rows in DuckDB: every distinct value is judged once, and read again only for whom it could name.

What passes through Python is distinct: values, and pairs of a subject and a value.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from mayo_data import schema
from mayo_data.engine.relational import Session, checked
from mayo_data.omop.events import Judged
from mayo_data.phi.labels import MASKED, Cleaned, Labels
from mayo_data.phi.structured import Scrub, text_scrubber
from mayo_data.phi.vault import Vault
from mayo_data.sql import name

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


def clean_texts(db: Session, judged: Sequence[Judged], labels: Labels) -> tuple[list[str], bool]:
    """Scrub the texts of the live rows: which columns were touched, and whether there are decisions.

    Makes `clean_COLUMN` (source_table, source_row, clean, hit) and `decided` (source_table, source_row, decisions).

    Args:
        db: A session with `live`, the rows, and `words`, the words that could name each subject.
        judged: The columns, and what the scrub does to each.
        labels: Who reads them.
    """
    cleaned: list[str] = []
    decided: list[str] = []
    counts = ", ".join(f"count({name(one.column)})" for one in judged)
    filled = db.rows(f"SELECT {counts} FROM live")[0] if judged else ()
    for place, one in enumerate(judged):
        if not filled[place]:
            continue
        fixed, everyone, pairs = _judged(db, one, labels)
        read = _read(db, one, labels, everyone, pairs)
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


def _judged(db: Session, one: Judged, labels: Labels) -> tuple[dict[str, Cleaned], list[str], list[tuple[str, str]]]:
    """Judge the distinct values of a column: what is the same for everybody, what is read for all, words to watch."""
    column = name(one.column)
    fixed: dict[str, Cleaned] = {}
    everyone: list[str] = []
    pairs: list[tuple[str, str]] = []
    for batch in checked(db.batches(f"SELECT DISTINCT {column} FROM live WHERE {column} IS NOT NULL")):
        for value in batch.column(0).to_pylist():
            words, once = labels.judge(value, one.action)
            if words is None:
                everyone.append(value)
                continue
            if words:
                pairs += [(value, word) for word in words]
            if once is not None:
                fixed[value] = once
    return fixed, everyone, pairs


def _read(
    db: Session, one: Judged, labels: Labels, everyone: list[str], pairs: list[tuple[str, str]]
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
        for subject, value, rows in zip(*(batch.column(index).to_pylist() for index in range(3)), strict=True):
            done = labels.scrub(value, one.action, subject)
            if done.decisions or done.text != value:
                labels.count(done, rows)
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
