"""The leak audit of a shard, set-wise: which strings to search, for whom, and in which events what was found stands.

Strings repeat over subjects by the thousand. Every distinct one is looked at once: is it public, could it hold
anything of anybody? What is left is searched for each subject who has it, as `phi.audit` searches.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mayo_data.errors import LeakError
from mayo_data.keys import Secret
from mayo_data.phi import units
from mayo_data.phi.audit import Audit, Strangers, touches
from mayo_data.phi.vault import Vault
from mayo_data.pipeline.place import private

NAMES = frozenset(
    ["PATIENT", "RELATIVE", "STAFF", "PERSON", "EMAIL", "USERNAME", "STREET", "CITY", "COUNTY", "HOSPITAL", "ORG"]
)
SHORTEST_NUMBER = 7  # digits below which a measured number says nothing of who
_UNIT_DIGITS = 5  # of a unit that may be a number of somebody's
_COLUMNS = ("text_value", "unit", "status", "value_text", "description", "code")
_CODES = frozenset(["code", "parent_codes"])
_NAMELESS_CODE = re.compile(r"//[\d.-]+$|(?:^|//)MASKED//[0-9a-f]{16}$")  # digits, or a keyed token
_NOTED = "rare-names.json"  # in the work folder
_MARKS = 1 << 27  # bytes that may be spent on marking numbers rather than sorting them

Ints = npt.NDArray[np.int64]


class _Said(NamedTuple):
    """The strings of a column that must be searched: who has which, each pair once."""

    column: str
    subjects: Ints
    strings: Ints  # index in `texts`
    texts: list[str]


def search(
    staged: pa.Table, vault: Vault, kept: Collection[str] = (), others: Strangers | None = None
) -> list[tuple[str, str, str]]:
    """Search every output string of every subject for that subject's identifiers, and for rare names of others.

    Args:
        staged: Table `staged`: all events of the shard's subjects.
        vault: Where subjects are known.
        kept: PHI categories that the policy keeps.
        others: Rare names of all patients.

    Returns:
        Event id, column and category of what was found.
    """
    said = [one for column in (*_COLUMNS, "parent_codes") if len((one := _said(staged, column)).subjects)]
    if not said:
        return []
    audits: dict[int, Audit] = {}
    for subject in np.unique(np.concatenate([one.subjects for one in said])).tolist():
        person = vault.subject(subject)
        if person is not None:
            audits[subject] = Audit([one for one in person.identifiers if one.category not in kept])
    touched: frozenset[str] = frozenset().union(*(audit.touched for audit in audits.values()))
    found: list[tuple[int, str, str, str]] = []
    strangers = others or Strangers({})
    for one in said:
        for subject, text, category in _searched(one, audits, touched, strangers):
            # The digits of a public code may well be somebody's ZIP.
            if one.column not in _CODES or category in NAMES:
                found.append((subject, one.column, text, category))
    return [(_event_id(staged, subject, column, text), column, category) for subject, column, text, category in found]


def note_names(folder: Path, vault: Path, secret: Secret) -> None:
    """Note, in the work folder, the rare names of all patients, for every shard.

    Args:
        folder: Work folder of the run (PHI zone).
        vault: The vault.
        secret: Its key.
    """
    opened = Vault(vault, secret, readonly=True)
    try:
        names = Strangers.rare(person.identifiers for person in opened.people())
    finally:
        opened.close()
    with private(folder / _NOTED) as out:
        out.write(msgspec.json.encode(names))


def noted_names(folder: Path) -> Strangers:
    """Return what `note_names` has noted.

    Args:
        folder: Work folder of the run.
    """
    return Strangers(msgspec.json.decode((folder / _NOTED).read_bytes(), type=dict[str, list[str]]))


def refusal(found: Sequence[tuple[str, str, str]], *, delta: bool) -> LeakError:
    """Return the error that says where `search` found something.

    Args:
        found: Event id, column and category.
        delta: Whether the search went over what was scrubbed before, too.
    """
    where = ", ".join(f"event {event} ({column}, {category})" for event, column, category in found[:5])
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    told = "source_table.source_row of the event id leads to the line; tell the maintainers which category leaks"
    return LeakError(
        f"{len(found)} identifiers of a subject in that subject's output: {where}{more}. Nothing was committed",
        hint=f"a text of an earlier run may name who became known now: run without --delta. Or {told}"
        if delta
        else told,
    )


def _searched(
    one: _Said, audits: dict[int, Audit], touched: frozenset[str], others: Strangers
) -> Iterator[tuple[int, str, str]]:
    """Yield subject, string and category of what is found in a column."""
    every = touched | others.touched
    words = [touches(text) & every for text in one.texts]
    named = [
        not others.touched.isdisjoint(said) and others.named(text) for said, text in zip(words, one.texts, strict=True)
    ]
    could = np.fromiter(map(bool, words), dtype=bool, count=len(words))
    rows = np.flatnonzero(could[one.strings])
    for subject, string in zip(one.subjects[rows].tolist(), one.strings[rows].tolist(), strict=True):
        audit, text, own = audits.get(subject), one.texts[string], []
        if audit is not None and not audit.touched.isdisjoint(words[string]):
            own = [category for _, category in audit.leaks((text,))]
            yield from ((subject, text, category) for category in own)
        if named[string] and "PATIENT" not in own:
            yield subject, text, "PERSON"


def _said(staged: pa.Table, column: str) -> _Said:
    cells = staged.column(column).combine_chunks()
    if column == "parent_codes":
        parents = pc.list_parent_indices(cells)
        subjects, cells = staged.column("subject_id").combine_chunks().take(parents), pc.list_flatten(cells)
    else:
        subjects = staged.column("subject_id").combine_chunks()
    coded = cells.dictionary_encode()
    texts = coded.dictionary.to_pylist()
    shown = np.fromiter((not is_public(column, text) for text in texts), dtype=bool, count=len(texts))
    if not shown.any():
        return _Said(column, np.empty(0, np.int64), np.empty(0, np.int64), [])
    place = np.asarray(pc.fill_null(coded.indices, -1)).astype(np.int64, copy=False)
    rows = np.flatnonzero((place >= 0) & shown[place])
    named = subjects.take(pa.array(rows)).dictionary_encode()
    people = np.asarray(named.dictionary).astype(np.int64, copy=False)
    pairs = _distinct(np.asarray(named.indices).astype(np.int64) * len(texts) + place[rows], len(people) * len(texts))
    # A string that nobody is searched for is not looked at.
    used = _distinct(pairs % len(texts), len(texts))
    strings = np.searchsorted(used, pairs % len(texts))
    return _Said(column, people[pairs // len(texts)], strings, [texts[index] for index in used.tolist()])


def _distinct(numbers: Ints, end: int) -> Ints:
    """Numbers below an end, each once, in order."""
    if end > _MARKS:
        return np.unique(numbers)
    marks = np.zeros(end, dtype=bool)
    marks[numbers] = True
    return np.flatnonzero(marks)


def is_public(column: str, text: str) -> bool:
    """Numeric and masked codes, known units, numbers too short or too exact to name anybody; the rest is searched.

    >>> is_public("code", "OBSERVATION//LOINC//718-7"), is_public("value_text", "1.5"), is_public("status", "Jane")
    (True, True, False)
    """
    if column in _CODES:
        return _NAMELESS_CODE.search(text) is not None
    if column == "value_text":
        return "." in text or len(text) < SHORTEST_NUMBER
    return column == "unit" and units.is_public(text) and sum(map(str.isdigit, text)) < _UNIT_DIGITS


def _event_id(staged: pa.Table, subject_id: int, column: str, text: str) -> str:
    own = staged.filter(pc.equal(staged["subject_id"], subject_id))
    if column == "parent_codes":
        row = next(row for row in own.to_pylist() if text in (row[column] or ()))
    else:
        row = own.filter(pc.equal(own[column], text)).slice(0, 1).to_pylist()[0]
    return f"{row['source_table']}.{row['source_row']}.{row['source_item']}"
