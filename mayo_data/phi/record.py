"""What a caller knows of the subject of a text, as plain data: the `known` of `detect`.

A record is a mapping. Keys are PHI categories (`PATIENT`, `RELATIVE`, `STAFF`, `MRN`, `PHONE`, ...) or everyday
names for them (`name`, `dob`, `address`, ...); values are a text or a list of texts. A FHIR Patient, Practitioner,
RelatedPerson or Organization resource is a record too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from mayo_data import assets
from mayo_data.errors import ConfigError
from mayo_data.phi.dates import MONTHS, full_year, valid
from mayo_data.phi.identifiers import from_fhir
from mayo_data.phi.known import Known
from mayo_data.types import Identifier

Record = Mapping[str, object]

_DAY = re.compile(
    r"(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})|(?P<y4>\d{4})(?P<m2>\d\d)(?P<d2>\d\d)"
    r"|(?P<a>\d{1,2})[-/. ](?P<b>\d{1,2})[-/. ](?P<c>\d{4}|\d\d)"
    r"|(?P<n>[a-z]{3,9})\.? (?P<nd>\d{1,2})(?:st|nd|rd|th)?,? (?P<ny>\d{4})"
    r"|(?P<pd>\d{1,2})(?:st|nd|rd|th)?[- ](?P<p>[a-z]{3,9})\.?,?[- ](?P<py>\d{4})"
)
_PEOPLE = frozenset({"PATIENT", "RELATIVE", "STAFF", "PERSON"})


@cache
def _aliases() -> dict[str, tuple[str, str]]:
    """Everyday key to category and part."""
    table = assets.toml("schemas", "phi", "record_keys.toml")
    aliases = {
        name.lower(): (name, "full" if name in _PEOPLE else "value")
        for name in assets.toml("schemas", "phi", "categories.toml")
    }
    for category, parts in table.items():
        for part, names in parts.items():
            aliases.update((name, (category, part)) for name in names)
    return aliases


def known_from(
    given: Sequence[Known | Record | None] | Known | Record | None,
    size: int,
    subjects: Sequence[object] | None = None,
) -> list[Known]:
    """Return one `Known` a text.

    Args:
        given: One for all texts, or one a text.
        size: How many texts.
        subjects: Who each text is about.

    Raises:
        ConfigError: A length differs, or a record cannot be read.
    """
    if subjects is not None and len(subjects) != size:
        raise ConfigError(f"{size} texts, but {len(subjects)} subjects", hint="give one a text")
    nobody = Known((), 0, 0)
    if given is None:
        return [nobody] * size
    if isinstance(given, Known):
        return [given] * size
    if isinstance(given, Mapping):
        return [Known(identifiers(given), 0, 0)] * size
    if len(given) != size:
        raise ConfigError(
            f"{size} texts, but {len(given)} records", hint="give one a text, None where nothing is known"
        )
    made: dict[int, Known] = {}  # a record that many texts share is compiled once
    people: list[Known] = []
    for one in given:
        if one is None or isinstance(one, Known):
            people.append(one or nobody)
            continue
        if id(one) not in made:
            made[id(one)] = Known(identifiers(one), 0, 0)
        people.append(made[id(one)])
    return people


def identifiers(record: Record) -> list[Identifier]:
    """Return the identifiers of a record.

    Args:
        record: See the module. A key that is no category and no known name counts as OTHERID, so that what a
            caller gives is always searched for.

    Raises:
        ConfigError: A value is neither text nor number nor a list of them, or a FHIR resource cannot be read.

    >>> identifiers({"name": "Jane Doe", "mrn": ["4471123"], "dob": "1950-03-04"})[1]
    Identifier(category='MRN', part='value', value='4471123')
    """
    if "resourceType" in record:
        return [Identifier(*entry) for found in from_fhir(dict(record)) for entry in found.identifiers]
    return list(_read(record, ""))


def _read(record: Record, prefix: str) -> Iterable[Identifier]:
    for key, value in record.items():
        name = str(key).strip().lower().replace("-", "_").replace(" ", "_")
        category, part = (
            _aliases().get(name)
            or _aliases().get(name.removesuffix("s"))
            or _aliases().get(prefix)
            or ("OTHERID", "value")
        )
        values = value if isinstance(value, list | tuple | set | frozenset) else [value]
        for one in values:
            if isinstance(one, Mapping):
                yield from _read(one, name)
            elif isinstance(one, str | int) and not isinstance(one, bool):
                text = str(one).strip()
                if category == "DATE":
                    yield Identifier("DATE", part, day) if (day := _iso(text)) else Identifier("OTHERID", "value", text)
                elif text:
                    yield Identifier(category, part, text)
            elif one is not None:
                raise ConfigError(
                    f"the record's entry {len(values)} is a {type(one).__name__}", hint="give texts or lists of texts"
                )


def _iso(text: str) -> str | None:
    """Read a day as people write it; of 3/4/1950 the month comes first, as in the United States."""
    match = _DAY.match(text.lower())
    if match is None:
        return None
    year, month, day = match["y"] or match["y4"], match["m"] or match["m2"], match["d"] or match["d2"]
    if match["a"]:
        year, month, day = str(full_year(match["c"])), match["a"], match["b"]
        if int(month) > 12:
            month, day = day, month
    elif match["n"] or match["p"]:
        name = match["n"] or match["p"]
        year, day = match["ny"] or match["py"], match["nd"] or match["pd"]
        month = str(next((at for at, full in enumerate(MONTHS, 1) if full.startswith(name[:3])), 0))
    if not valid(int(year), int(month), int(day)):
        return None
    return f"{int(year):04d}-{int(month):02d}-{int(day):02d}"
