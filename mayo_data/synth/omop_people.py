"""People, places and clinicians as rows of the OMOP CDM 5.4."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from mayo_data.synth.facts import Chart, Hospital, Person, Visit, When

Row = tuple[str, dict[str, Any]]  # table, column → value

EHR = 32817
_GENDER = {"male": 8507, "female": 8532}
_RACE = {"white": 8527, "black": 8516, "asian": 8515, "native": 8657, "pacific": 8557}
_ETHNICITY = {"hispanic": 38003563}
_NOT_HISPANIC = 38003564


def person_id(person: Person) -> int:
    """Return the OMOP person_id."""
    return person.number + 1


def directory(sites: list[Hospital]) -> Iterator[Row]:
    """Yield locations, care sites and providers of the hospitals."""
    for site in sites:
        yield "location", _location(site.number, site.address, f"site {site.number}")
        for place in (site.place, *site.wards):
            yield (
                "care_site",
                {
                    "care_site_id": place.number,
                    "care_site_name": place.name if place is site.place else f"{site.short} {place.name}",
                    "place_of_service_concept_id": 8717 if place is site.place else 0,
                    "location_id": site.number,
                    "care_site_source_value": place.id,
                    "place_of_service_source_value": place.kind,
                },
            )
        for who in site.staff:
            yield (
                "provider",
                {
                    "provider_id": who.number,
                    "provider_name": f"{who.name.full}, {who.title}",
                    "npi": who.npi,
                    "dea": who.dea,
                    "specialty_concept_id": 0,
                    "care_site_id": site.place.number,
                    "gender_concept_id": _GENDER[who.sex],
                    "provider_source_value": who.username,
                    "specialty_source_value": who.specialty,
                    "specialty_source_concept_id": 0,
                    "gender_source_value": who.sex,
                    "gender_source_concept_id": 0,
                },
            )


def _location(number: int, address: Any, source: str) -> dict[str, Any]:
    return {
        "location_id": number,
        "address_1": address.street[:50],
        "city": address.city,
        "state": address.state,
        "zip": address.zip.replace("-", ""),
        "county": address.county[:20],
        "location_source_value": source,
        "country_source_value": "US",
    }


def person_rows(chart: Chart) -> Iterator[Row]:
    """Yield location, person, observation_period and death."""
    person = chart.person
    home = 1000 + person_id(person)
    born = person.birth.at
    yield "location", _location(home, person.address, f"home {person.mrn}")
    yield (
        "person",
        {
            "person_id": person_id(person),
            "gender_concept_id": _GENDER[person.sex],
            "year_of_birth": born.year,
            "month_of_birth": born.month,
            "day_of_birth": born.day,
            "birth_datetime": born,
            "race_concept_id": _RACE.get(person.race, 0),
            "ethnicity_concept_id": _ETHNICITY.get(person.ethnicity, _NOT_HISPANIC),
            "location_id": home,
            "provider_id": person.gp.number,
            "care_site_id": person.hospital.place.number,
            "person_source_value": person.mrn,
            "gender_source_value": person.sex[0].upper(),
            "gender_source_concept_id": 0,
            "race_source_value": person.race,
            "race_source_concept_id": 0,
            "ethnicity_source_value": person.ethnicity,
            "ethnicity_source_concept_id": 0,
        },
    )
    times = [fact.when.at for fact in chart.facts if isinstance(fact, Visit)]
    last = max(fact.end.at for fact in chart.facts if isinstance(fact, Visit))
    yield (
        "observation_period",
        {
            "observation_period_id": person_id(person),
            "person_id": person_id(person),
            "observation_period_start_date": min(times).date(),
            "observation_period_end_date": max(last, person.died.at if person.died else last).date(),
            "period_type_concept_id": EHR,
        },
    )
    if person.died:
        yield (
            "death",
            {
                "person_id": person_id(person),
                "death_date": person.died.at.date(),
                "death_datetime": stamp(person.died),
                "death_type_concept_id": EHR,
            },
        )


def stamp(when: When) -> datetime | None:
    """Return the time, or None where the source knows only a day."""
    return when.at.replace(microsecond=0) if when.precision in ("second", "milli", "utc") else None
