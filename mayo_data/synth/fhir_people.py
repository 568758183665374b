"""Patients, their relatives, clinicians and places as FHIR R4."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from mayo_data.synth.codes import book
from mayo_data.synth.dice import identify
from mayo_data.synth.facts import Chart, Contact, Hospital, Name, Person, Place, Staff, When
from mayo_data.synth.fhir_parts import (
    TERMS,
    Json,
    address,
    coding,
    human_name,
    meta,
    reference,
    staff,
    telecom,
    term,
)

_STAMP = When(datetime(2025, 6, 30, 2, 0), -300)  # noqa: DTZ001  the offset stands beside it
_RACES = {
    "white": ("2106-3", "White"),
    "black": ("2054-5", "Black or African American"),
    "asian": ("2028-9", "Asian"),
    "native": ("1002-5", "American Indian or Alaska Native"),
    "pacific": ("2076-8", "Native Hawaiian or Other Pacific Islander"),
    "other": ("2131-1", "Other Race"),
}
_MARITAL = {"M": "Married", "S": "Never Married", "D": "Divorced", "W": "Widowed"}
_ROLES = {
    "mother": "MTH",
    "father": "FTH",
    "husband": "HUSB",
    "wife": "WIFE",
    "partner": "DOMPART",
    "sister": "SIS",
    "brother": "BRO",
    "daughter": "DAU",
    "son": "SON",
    "aunt": "AUNT",
    "neighbor": "NBOR",
    "friend": "FRND",
}
_TONGUES = {
    "en": "English",
    "es": "Spanish",
    "vi": "Vietnamese",
    "zh": "Chinese",
    "ko": "Korean",
    "ja": "Japanese",
    "hi": "Hindi",
    "ar": "Arabic",
    "pl": "Polish",
    "it": "Italian",
    "so": "Somali",
    "fr": "French",
    "pt": "Portuguese",
    "tl": "Tagalog",
    "fa": "Persian",
}


def medication_id(seed: int, key: str) -> str:
    """Return the id of a shared Medication resource."""
    return identify(seed, "medication", key)


def directory(seed: int, sites: list[Hospital]) -> Iterator[Json]:
    """Yield what belongs to no patient: organizations, places, clinicians, medications."""
    for site in sites:
        yield _organization(site)
        for place in (site.place, *site.wards, *site.rooms):
            yield _location(place, site)
        for who in site.staff:
            yield _practitioner(who)
            yield _role(who)
    for key, item in book()["drug"].items():
        yield {
            "resourceType": "Medication",
            "id": medication_id(seed, key),
            "meta": meta(_STAMP),
            "code": {"coding": [coding(item)], "text": item.short},
            "status": "active",
            "form": {"text": item.form},
        }


def _organization(site: Hospital) -> Json:
    return {
        "resourceType": "Organization",
        "id": site.id,
        "meta": meta(_STAMP, "us-core-organization"),
        "identifier": [{"system": "urn:oid:2.16.840.1.113883.4.7", "value": f"{site.number:02d}D0{site.number}77124"}],
        "active": True,
        "type": [term("organization-type", "prov", "Healthcare Provider")],
        "name": site.name,
        "alias": [site.short, site.initials],
        "telecom": [
            telecom("phone", site.phone, "work"),
            telecom("fax", site.fax, "work"),
            telecom("url", f"https://www.{site.domain}", "work"),
        ],
        "address": [address(site.address, "work")],
    }


def _location(place: Place, site: Hospital) -> Json:
    kind = {"hospital": ("bu", "Building"), "ward": ("wa", "Ward"), "room": ("ro", "Room")}[place.kind]
    found: Json = {
        "resourceType": "Location",
        "id": place.id,
        "meta": meta(_STAMP),
        "status": "active",
        "name": place.name,
        "mode": "instance",
        "physicalType": term("location-physical-type", *kind),
        "managingOrganization": reference("Organization", site.id, site.name),
    }
    if place.kind == "hospital":
        found["address"] = address(site.address, "work")
    if place.parent:
        found["partOf"] = reference("Location", place.parent.id, place.parent.name)
    return found


def _practitioner(who: Staff) -> Json:
    return {
        "resourceType": "Practitioner",
        "id": who.id,
        "meta": meta(_STAMP, "us-core-practitioner"),
        "identifier": [
            {"system": "http://hl7.org/fhir/sid/us-npi", "value": who.npi},
            {"type": term("v2-0203", "DEA"), "system": "urn:oid:2.16.840.1.113883.4.814", "value": who.dea},
        ],
        "active": True,
        "name": [human_name(who.name, "official", "Dr." if who.title in ("MD", "DO") else "")],
        "telecom": [
            telecom("phone", who.phone, "work"),
            telecom("pager", who.pager, "work"),
            telecom("email", who.email, "work"),
        ],
        "gender": who.sex,
        "qualification": [{"code": {"text": who.title}}],
    }


def _role(who: Staff) -> Json:
    return {
        "resourceType": "PractitionerRole",
        "id": identify("role", who.id),
        "meta": meta(_STAMP),
        "active": True,
        "practitioner": staff(who),
        "organization": reference("Organization", who.hospital.id, who.hospital.name),
        "specialty": [{"text": who.specialty}],
        "location": [reference("Location", who.hospital.place.id)],
        "telecom": [telecom("phone", who.phone, "work")],
    }


def _identifiers(person: Person) -> list[Json]:
    home = person.hospital
    mrn = f"urn:oid:2.25.{home.number}0001"

    def one(kind: str, label: str, system: str, number: str, use: str = "usual") -> Json:
        typed = term("v2-0203", kind, label)
        return {"use": use, "type": typed, "system": system, "value": number}

    found = [
        one("MR", "Medical record number", mrn, person.mrn)
        | {"assigner": reference("Organization", home.id, home.name)},
        one("MR", "Medical record number", mrn, person.old_mrn, "old"),
        one("SS", "Social Security number", "http://hl7.org/fhir/sid/us-ssn", person.ssn, "official"),
        one("MB", "Member Number", "urn:oid:2.25.77102", person.member),
        one("AN", "Account number", f"urn:oid:2.25.{home.number}0002", person.account),
    ]
    if person.age(_STAMP.at.date()) >= 16:
        found.append(
            one(
                "DL",
                "Driver's license number",
                "urn:oid:2.16.840.1.113883.4.3.25",
                person.licence,
                "official",
            )
        )
    return found


def _names(person: Person) -> list[Json]:
    found = [human_name(person.name, "official", "Mrs." if person.maiden else "")]
    if person.nickname:
        found.append({"use": "nickname", "given": [person.nickname], "family": person.name.family})
    if person.maiden:
        found.append(human_name(Name(person.name.given, person.name.middle, person.maiden), "maiden"))
    return found


def _extensions(person: Person) -> list[Json]:
    core = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
    race: list[Json]
    if person.race in _RACES:
        number, label = _RACES[person.race]
        race = [
            {
                "url": "ombCategory",
                "valueCoding": {
                    "system": "urn:oid:2.16.840.1.113883.6.238",
                    "code": number,
                    "display": label,
                },
            },
            {"url": "text", "valueString": label},
        ]
    else:
        race = [
            {"url": "ombCategory", "valueCoding": {"system": f"{TERMS}v3-NullFlavor", "code": "UNK"}},
            {"url": "text", "valueString": "Unknown"},
        ]
    number, label = (
        ("2135-2", "Hispanic or Latino") if person.ethnicity == "hispanic" else ("2186-5", "Not Hispanic or Latino")
    )
    ethnicity = [
        {
            "url": "ombCategory",
            "valueCoding": {"system": "urn:oid:2.16.840.1.113883.6.238", "code": number, "display": label},
        },
        {"url": "text", "valueString": label},
    ]
    standard = "http://hl7.org/fhir/StructureDefinition/patient-"
    return [
        {"url": f"{core}race", "extension": race},
        {"url": f"{core}ethnicity", "extension": ethnicity},
        {"url": f"{core}birthsex", "valueCode": person.sex[0].upper()},
        {"url": f"{standard}mothersMaidenName", "valueString": person.mother_maiden},
        {
            "url": f"{standard}birthPlace",
            "valueAddress": {"city": person.birth_city, "country": person.birth_country},
        },
    ]


def patient(chart: Chart) -> Json:
    """Return the Patient."""
    person = chart.person
    grown = person.age(_STAMP.at.date()) >= 16
    phones = [telecom("phone", person.home_phone, "home"), telecom("phone", person.mobile, "mobile")]
    if grown:
        phones += [
            telecom("phone", person.work_phone, "work"),
            telecom("fax", person.fax, "home"),
            telecom("email", person.email, "home"),
            telecom("url", person.url, "home"),
        ]
    told = f"{person.name.full}, MRN {person.mrn}, DOB {person.birth.iso()}"
    found: Json = {
        "resourceType": "Patient",
        "id": person.id,
        "meta": meta(chart.facts[-1].recorded, "us-core-patient"),
        "text": {
            "status": "generated",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{told}</div>',
        },
        "extension": _extensions(person),
        "identifier": _identifiers(person),
        "active": True,
        "name": _names(person),
        "telecom": phones,
        "gender": person.sex,
        "birthDate": person.birth.iso(),
    }
    if person.died:
        found["deceasedDateTime"] = person.died.iso()
    elif person.number % 3 == 0:
        found["deceasedBoolean"] = False
    found["address"] = [address(person.address)] + [address(old, "old") for old in person.old_addresses]
    found["maritalStatus"] = term("v3-MaritalStatus", person.marital, _MARITAL[person.marital])
    found["multipleBirthBoolean"] = False
    found["contact"] = [_contact(contact, index) for index, contact in enumerate(person.contacts)]
    found["communication"] = [
        {"language": term("urn:ietf:bcp:47", person.tongue, _TONGUES[person.tongue]), "preferred": True}
    ]
    found["generalPractitioner"] = [staff(person.gp)]
    found["managingOrganization"] = reference("Organization", person.hospital.id, person.hospital.name)
    return found


def _contact(contact: Contact, index: int) -> Json:
    return {
        "relationship": [
            term("v2-0131", "C" if index else "N", "Emergency Contact" if index else "Next-of-Kin")
            | {"text": contact.relation}
        ],
        "name": human_name(contact.name, "usual"),
        "telecom": [telecom("phone", contact.phone, "mobile")],
        "address": address(contact.address),
        "gender": contact.sex,
    }


def related(person: Person) -> Iterator[Json]:
    """Yield the RelatedPersons."""
    for contact in person.contacts:
        yield {
            "resourceType": "RelatedPerson",
            "id": contact.id,
            "meta": meta(_STAMP),
            "active": True,
            "patient": reference("Patient", person.id),
            "relationship": [term("v3-RoleCode", _ROLES[contact.relation], contact.relation)],
            "name": [human_name(contact.name, "official")],
            "telecom": [telecom("phone", contact.phone, "mobile"), telecom("email", contact.email, "home")],
            "gender": contact.sex,
            "address": [address(contact.address)],
        }
