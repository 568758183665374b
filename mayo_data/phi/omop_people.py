"""Reads, from the rows of an OMOP CDM, everything that names a person: what no output may contain."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache
from typing import Any

from mayo_data import assets
from mayo_data.phi.identifiers import Record
from mayo_data.phi.known import Known
from mayo_data.phi.policy import SMALL_ZIP3, PhiPolicy
from mayo_data.types import Identifier

_SHORTEST = 4  # characters of a number that is an identifier
_RUNS = re.compile(r"\d{6,}")
_SEX = {8507: "male", 8532: "female"}


def reference(person_id: int) -> str:
    """Return the key under which the vault knows a person of a CDM.

    >>> reference(6)
    'omop:person/6'
    """
    return f"omop:person/{person_id}"


def person(row: Mapping[str, Any], ref: str, aliases: tuple[str, ...]) -> Record:
    """Return what a row of `person`, with its location and death, says of a person.

    Args:
        row: Fields of person, of location under their own names, and `death_date`.
        ref: Key of the person in the vault.
        aliases: Other keys of the same person.

    >>> row = {"person_id": 1, "year_of_birth": 1970, "person_source_value": "8841207"}
    >>> person(row, "omop:person/1", ()).birth
    '1970'
    """
    found: list[Identifier] = []
    source = _text(row, "person_source_value")
    if len(source) >= _SHORTEST:
        found.append(Identifier("MRN", "value", source))
        # MRN-88412077: a note, or a code, may give the number alone.
        found += [Identifier("MRN", "value", run) for run in _RUNS.findall(source) if run != source]
    found += _address(row)
    birth = birth_date(row)
    if birth:
        found.append(Identifier("DATE", "birth", birth))
    death = row.get("death_date")
    died = death.isoformat()[:10] if isinstance(death, date | datetime) else None
    if died:
        found.append(Identifier("DATE", "death", died))
    return Record("patient", ref, aliases, tuple(found), _SEX.get(int(row.get("gender_concept_id") or 0)), birth, died)


def birth_date(row: Mapping[str, Any]) -> str | None:
    """Return the birth date of a person as far as it is known: year, month or day; None where it is no date.

    >>> birth_date({"year_of_birth": 1970, "month_of_birth": 3, "day_of_birth": None})
    '1970-03'
    """
    whole = row.get("birth_datetime")
    year, month, day = (row.get(f"{part}_of_birth") for part in ("year", "month", "day"))
    if isinstance(whole, datetime) and (year is None or (month and day)):
        return whole.date().isoformat()
    if year is None or not 0 < year < 10_000:
        return None
    if not month or not 1 <= month <= 12:
        return f"{year:04d}"
    try:
        return date(year, month, day).isoformat() if day else f"{year:04d}-{month:02d}"
    except ValueError:
        return f"{year:04d}-{month:02d}"


def attached(ref: str, identifiers: tuple[Identifier, ...]) -> Record:
    """Return what another table says of a person: the number of a policy, of a device."""
    return Record("attached", ref, (), identifiers)


def place(row: Mapping[str, Any]) -> Record:
    """Return what a row of care_site, with its location, says of the site."""
    found = [Identifier("HOSPITAL", "value", _text(row, "care_site_name"))] if _text(row, "care_site_name") else []
    return Record("directory", f"omop:care_site/{row['care_site_id']}", (), (*found, *_address(row)))


def provider(row: Mapping[str, Any]) -> Record:
    """Return what a row of provider says of a clinician.

    >>> provider({"provider_id": 1, "provider_name": "Ann Roe, MD", "npi": "1234567893"}).identifiers[0].value
    'Ann Roe'
    """
    found = []
    if whole := _text(row, "provider_name"):
        # "Ann Roe, MD": what follows the comma is a title, and not a given name.
        plain, _, title = whole.partition(",")
        found.append(Identifier("STAFF", "full", whole if " " in title.strip() or " " not in plain.strip() else plain))
    for column, category in (("npi", "LICENSE"), ("dea", "LICENSE"), ("provider_source_value", "USERNAME")):
        if len(value := _text(row, column)) >= _SHORTEST:
            found.append(Identifier(category, "value", value))
    return Record("directory", f"omop:provider/{row['provider_id']}", (), tuple(found))


def zip_code(value: str | None, policy: PhiPolicy) -> str | None:
    """Return a ZIP code as a policy lets it leave (45 CFR 164.514(b)(2)(i)(B)).

    Args:
        value: As written in `location.zip`.
        policy: The policy.
    """
    plain = (value or "").strip()
    if policy.zip_method == "keep":
        return plain or None
    first = plain[:3]
    if len(first) < 3 or not (first.isascii() and first.isdigit()):
        return None
    return "000" if first in SMALL_ZIP3 else first


def state(value: str | None, known: Known) -> str | None:
    """Return a state of the US, unless the word is one of the person's own identifiers."""
    plain = (value or "").strip()
    if plain.casefold() not in states() or not known.tokens.isdisjoint(plain.casefold().split()):
        return None
    return plain


@cache
def states() -> frozenset[str]:
    """Return names and abbreviations of the states, in lower case."""
    listed = assets.toml("schemas", "phi", "us_states.toml")["states"]
    return frozenset(word.casefold() for pair in listed.items() for word in pair)


def _address(row: Mapping[str, Any]) -> list[Identifier]:
    columns = (("address_1", "STREET"), ("address_2", "STREET"), ("city", "CITY"), ("zip", "ZIP"), ("county", "COUNTY"))
    return [Identifier(category, "value", value) for column, category in columns if (value := _text(row, column))]


def _text(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    return value.strip() if isinstance(value, str) else ""
