"""Reads, from the structured record, everything that names a person: what no output may contain.

The survey hands in Patient, RelatedPerson, Practitioner, Organization and their like before anything is scrubbed.
Shapes are not trusted: a name that is a bare string still counts as a name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote

from mayo_data.types import Identifier, Json

# HL7 v2 table 0203, the usual types of identifiers.
_TYPE_CATEGORY = {
    "MR": "MRN", "MRT": "MRN", "PI": "MRN", "PT": "MRN", "SS": "SSN", "SB": "SSN", "DL": "LICENSE", "PPN": "LICENSE",
    "MD": "LICENSE", "NPI": "LICENSE", "DEA": "LICENSE", "MB": "HEALTHPLAN", "SN": "HEALTHPLAN", "MC": "HEALTHPLAN",
    "MA": "HEALTHPLAN", "NIIP": "HEALTHPLAN", "AN": "ACCOUNT", "VN": "ACCOUNT", "BA": "ACCOUNT", "SNO": "DEVICE",
    "UDI": "DEVICE",
}  # fmt: skip
_SYSTEM_CATEGORY = (
    ("us-ssn", "SSN"), ("4.1", "SSN"), ("us-npi", "LICENSE"), ("us-dea", "LICENSE"), ("us-mbi", "HEALTHPLAN"),
    ("medicare", "HEALTHPLAN"), ("mrn", "MRN"), ("account", "ACCOUNT"), ("member", "HEALTHPLAN"),
)  # fmt: skip
_TELECOM_CATEGORY = {"phone": "PHONE", "sms": "PHONE", "pager": "PHONE", "fax": "FAX", "email": "EMAIL", "url": "URL"}
_MOTHERS_NAME = "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName"
_BIRTH_PLACE = "http://hl7.org/fhir/StructureDefinition/patient-birthPlace"
_ZIP = re.compile(r"\b\d{5}(?:-\d{4})?\b")
_STATE = re.compile(r"(?:^|\s)(?:[A-Z]{2}|USA?|United States)$")
_TARGET = {
    "Practitioner": "STAFF", "PractitionerRole": "STAFF", "Organization": "HOSPITAL", "Location": "HOSPITAL",
    "HealthcareService": "HOSPITAL", "performer": "STAFF", "author": "STAFF", "individual": "STAFF",
    "recorder": "STAFF", "requester": "STAFF", "asserter": "STAFF", "generalPractitioner": "STAFF",
    "practitioner": "STAFF", "authenticator": "STAFF", "referrer": "STAFF", "interpreter": "STAFF",
    "resultsInterpreter": "STAFF", "serviceProvider": "HOSPITAL", "custodian": "HOSPITAL", "location": "HOSPITAL",
}  # fmt: skip
_DIRECTORY = frozenset(["Practitioner", "PractitionerRole", "Organization", "Location"])
_PEOPLE = frozenset(["Patient", "RelatedPerson", "Person"])
_ATTACHED = frozenset(["RelatedPerson", "Person", "Coverage", "Account", "Device", "FamilyMemberHistory"])
_OWNERS = ("subject", "patient", "beneficiary", "individual", "for", "candidate")  # schemas/phi/by_type.toml
_KINDS = rb"(?P<target>Practitioner(?:Role)?|Organization|Location|HealthcareService)"
_NAME = rb'"display"\s*:\s*"(?P<name>[^"\\]*+(?:\\.[^"\\]*+)*+)"'
_ESCAPED = re.compile(rb"\\.")
_LONGEST_NAME = 200
_MORE = rb'(?:"type"\s*:\s*"[A-Za-z]{1,40}"\s*,\s*)?'
_TARGETED = re.compile(rb".{0,200}?" + _KINDS + rb"[/?].{1,200}", re.DOTALL)
_NAMED = re.compile(rb'"reference"\s*:\s*"(?P<reference>[^"]{1,420}+)"\s*,\s*' + _MORE + _NAME)
_TURNED = re.compile(_NAME + rb'\s*,\s*"reference"\s*:\s*"[^"]{0,200}?' + _KINDS + rb"[/?]")
_BARE = re.compile(rb"\{\s*" + _NAME + rb"\s*\}")
_BEFORE = re.compile(
    rb'"(?P<target>performer|author|individual|recorder|requester|asserter|generalPractitioner|practitioner'
    rb"|authenticator|referrer|interpreter|resultsInterpreter|serviceProvider|custodian|location)"
    rb'"\s*:\s*\[?\s*\Z'
)
_AS_FAR = 200  # bytes before a bare name in which the name of its element stands
_SHORTEST_NUMBER = 4  # below that a number is no identifier, and would blank every "12" of a note


class Record(NamedTuple):
    """What one resource says of one person (or, for a directory entry, of the site).

    Attributes:
        kind: `patient`, `attached` (a relative, coverage, account or device of one), `directory`, `medication`,
            `owner` (an Encounter or a Binary, and whose it is).
        ref: `Type/id` of the patient it speaks of; for the others, of the resource itself.
        aliases: Other ways in which a reference may name the patient or the directory entry; the patient of an `owner`.
        identifiers: What must not appear in the output.
        sex: FHIR gender of the patient.
        birth: ISO birth date.
        death: ISO date of death.
        concept: For a medication, its code.
        links: Other Patient resources of the same person (`Patient.link`).
    """

    kind: str
    ref: str
    aliases: tuple[str, ...] = ()
    identifiers: tuple[Identifier, ...] = ()
    sex: str | None = None
    birth: str | None = None
    death: str | None = None
    concept: Json | None = None
    links: tuple[str, ...] = ()


def reference_key(reference: object, hint: str = "Patient") -> str | None:
    """Return the canonical key of a FHIR Reference: `Patient/1` or `identifier:SYSTEM|VALUE`.

    Args:
        reference: A FHIR Reference, relative, absolute, versioned, `urn:uuid:`, conditional, or by identifier.
        hint: Resource type where the reference does not say.

    >>> reference_key({"reference": "https://ehr.example.org/fhir/Patient/1/_history/2"})
    'Patient/1'
    >>> reference_key({"reference": "urn:uuid:9a"})
    'Patient/9a'
    >>> reference_key({"identifier": {"system": "urn:mrn", "value": "7"}})
    'identifier:urn:mrn|7'
    """
    if not isinstance(reference, dict):
        return None
    text = reference.get("reference")
    if isinstance(text, str) and text:
        if text.startswith("urn:uuid:"):
            return f"{hint}/{text[9:]}"
        if "?identifier=" in text:
            return "identifier:" + unquote(text.split("?identifier=", 1)[1])
        parts = text.split("/_history/", 1)[0].rstrip("/").split("/")
        return "/".join(parts[-2:]) if len(parts) > 1 else None
    found = reference.get("identifier")
    if isinstance(found, dict) and isinstance(found.get("value"), str):
        return f"identifier:{found.get('system', '')}|{found['value']}"
    return None


def from_fhir(resource: Json) -> list[Record]:
    """Return what a resource of the survey says of people, places and medications.

    Args:
        resource: A parsed FHIR R4 resource, any shape.

    >>> from_fhir({"resourceType": "Patient", "id": "1", "name": [{"family": "Doe"}]})[0].identifiers[0]
    Identifier(category='PATIENT', part='family', value='Doe')
    """
    kind, ident = resource.get("resourceType"), resource.get("id")
    if not isinstance(kind, str) or not isinstance(ident, str):
        return []
    ref = f"{kind}/{ident}"
    return [*_of(resource, kind, ref), *_contained(resource, kind, ref)]


def _of(resource: Json, kind: str, ref: str) -> list[Record]:
    """What a resource says by itself."""
    if kind == "Patient":
        return [_patient(resource, ref)]
    if kind == "Medication":
        code = resource.get("code")
        return [Record("medication", ref, concept=code)] if isinstance(code, dict) else []
    if kind in _DIRECTORY:
        return [Record("directory", ref, _aliases(resource, kind), tuple(_listed(resource, kind)))]
    if kind == "Encounter":
        owner = reference_key(resource.get("subject"))
        return [Record("owner", ref, (owner,))] if owner is not None else []
    if kind == "DocumentReference":
        return _binaries(resource)
    return _attached(resource, kind) if kind in _ATTACHED else []


def _contained(resource: Json, kind: str, ref: str) -> Iterator[Record]:
    """People and places inside a resource: known to the patient whom it is about, clinicians to the whole site."""
    inside = [inner for inner in _dicts(resource.get("contained")) if isinstance(inner.get("resourceType"), str)]
    if not inside:
        return
    owners = [ref] if kind == "Patient" else []
    for name in _OWNERS:
        found = (reference_key(entry) for entry in _dicts(resource.get(name)))
        owners += [key for key in found if key is not None and key.startswith(("Patient/", "identifier:"))]
    for inner in inside:
        kind = inner["resourceType"]
        if kind in _DIRECTORY:
            yield from _site(_listed(inner, kind))
            continue
        said = _patient(inner, "").identifiers if kind == "Patient" else _personal(inner, kind)
        known = tuple(one for one in said if one.category != "DATE")  # of somebody else, perhaps
        if known and owners:
            yield from (Record("attached", owner, identifiers=known) for owner in owners)
        elif known:
            names = [name for name in _dicts(inner.get("name")) if kind in _PEOPLE]
            yield from _site(_names(names, "STAFF"))  # nobody says whose: then whoever it is


def _site(found: Iterable[Identifier]) -> Iterator[Record]:
    """Entries of the site's directory, the same entry however many resources contain it."""
    return (Record("directory", "contained:" + ":".join(one), identifiers=(one,)) for one in found)


def displays(text: bytes) -> set[tuple[str, str]]:
    """Return the names of clinicians and places that stand in the `display` of a reference: (category, name).

    A clinician who is in no Practitioner resource is often named there and nowhere else. Texts are searched as they
    are written, without parsing: only a reference to a Practitioner, Organization or Location counts, or a reference
    without a target in an element that can hold nothing else.

    Args:
        text: Lines of JSON.

    >>> displays(b'{"performer":[{"reference":"Practitioner/7","display":"Dr. Jane Doe"}]}')
    {('STAFF', 'Dr. Jane Doe')}
    """
    found = set()
    for target, written in _named(text):
        if not 2 <= len(_ESCAPED.sub(b".", written)) <= _LONGEST_NAME:
            continue
        try:
            name = json.loads(b'"' + written + b'"').strip()
        except ValueError:
            continue
        if name and not name.isdigit():
            found.add((_TARGET[target.decode()], name))
    return found


def _named(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield what a reference leads to, or the element that it is, and its display as it is written."""
    for match in _NAMED.finditer(text):
        if (target := _TARGETED.fullmatch(match["reference"])) is not None:
            yield target["target"], match["name"]
    for match in _TURNED.finditer(text):
        yield match["target"], match["name"]
    for match in _BARE.finditer(text):
        if (before := _BEFORE.search(text, max(0, match.start() - _AS_FAR), match.start())) is not None:
            yield before["target"], match["name"]


def directory_of(names: set[tuple[str, str]]) -> Iterator[Record]:
    """Yield what `displays` found as entries of the site's directory."""
    for category, name in sorted(names):
        part = "full" if category == "STAFF" else "value"
        yield Record("directory", f"display:{category}:{name}", identifiers=(Identifier(category, part, name),))


def _aliases(resource: Json, kind: str) -> tuple[str, ...]:
    return tuple(f"{kind}:{alias}" for alias in _identifier_keys(resource))


def _identifier_keys(resource: Json) -> tuple[str, ...]:
    return tuple(
        f"identifier:{entry.get('system', '')}|{entry['value']}"
        for entry in _dicts(resource.get("identifier"))
        if isinstance(entry.get("value"), str)
    )


def _listed(resource: Json, kind: str) -> Iterator[Identifier]:
    """What a directory entry says: a clinician, or a place."""
    if kind in ("Practitioner", "PractitionerRole"):
        yield from _names(resource.get("name"), "STAFF")
        yield from _numbers(resource)
        yield from _displays(resource.get("practitioner"), "STAFF")
    else:
        names = _strings([resource.get("name"), resource.get("alias")])
        yield from (Identifier("HOSPITAL", "value", text) for text in names)
    yield from _telecom(resource)
    yield from _addresses(resource.get("address"))


def _binaries(resource: Json) -> list[Record]:
    """The Binary resources in which a document keeps its content, and whose they are."""
    owner = reference_key(resource.get("subject"))
    urls = [entry["attachment"].get("url") for entry in _dicts(resource.get("content"))
            if isinstance(entry.get("attachment"), dict)]  # fmt: skip
    found = [url.split("/_history/", 1)[0].split("/")[-2:] for url in urls if isinstance(url, str)]
    return [Record("owner", "/".join(parts), (owner,)) for parts in found if owner and parts[0] == "Binary"]


def _patient(resource: Json, ref: str) -> Record:
    found: list[Identifier] = list(_names(resource.get("name"), "PATIENT"))
    found += _numbers(resource)
    found += _telecom(resource)
    found += _addresses(resource.get("address"))
    if len(ident := ref.rpartition("/")[2]) >= _SHORTEST_NUMBER:
        found.append(Identifier("OTHERID", "value", ident))
    for contact in _dicts(resource.get("contact")):
        found += _names(contact.get("name"), "RELATIVE")
        found += _telecom(contact)
        found += _addresses(contact.get("address"))
        found += _displays(contact.get("organization"), "ORG")
    for doctor in _dicts(resource.get("generalPractitioner")):
        found += _displays(doctor, "STAFF")
    for extension in _dicts(resource.get("extension")):
        if extension.get("url") == _MOTHERS_NAME:
            found += [Identifier("RELATIVE", "full", text) for text in _strings(extension.get("valueString"))]
        elif extension.get("url") == _BIRTH_PLACE:
            found += _addresses(extension.get("valueAddress"))
    birth, death = _first(resource.get("birthDate")), _first(resource.get("deceasedDateTime"))
    if birth:
        found.append(Identifier("DATE", "birth", birth[:10]))
    if death:
        found.append(Identifier("DATE", "death", death[:10]))
    links = tuple(
        key
        for entry in _dicts(resource.get("link"))
        if (key := reference_key(entry.get("other"))) is not None and key.startswith("Patient/") and key != ref
    )
    sex = _first(resource.get("gender"))
    return Record("patient", ref, _identifier_keys(resource), tuple(found), sex, birth, death, links=links)


def _attached(resource: Json, kind: str) -> list[Record]:
    """RelatedPerson, Coverage, Account, Device, Person: speak of a patient whom they refer to."""
    keys = [
        key
        for name in ("patient", "beneficiary", "subject", "link")
        for entry in _dicts(resource.get(name))
        if (key := reference_key(entry.get("target", entry) if name == "link" else entry)) is not None
    ]
    found = _personal(resource, kind)
    return [Record("attached", key, identifiers=tuple(found)) for key in keys] if found else []


def _personal(resource: Json, kind: str) -> list[Identifier]:
    """What a relative, coverage, account or device says that leads to a person."""
    role = "RELATIVE" if kind == "RelatedPerson" else "PATIENT"
    found: list[Identifier] = []
    if kind in ("RelatedPerson", "Person"):
        found += _names(resource.get("name"), role)
        found += _telecom(resource)
        found += _addresses(resource.get("address"))
    if kind == "FamilyMemberHistory":
        found += [Identifier("RELATIVE", "full", text) for text in _strings(resource.get("name"))]
    number = {"Coverage": "HEALTHPLAN", "Account": "ACCOUNT", "Device": "DEVICE"}.get(kind)
    found += _numbers(resource, number)
    for name in ("subscriberId", "dependent", "serialNumber", "distinctIdentifier", "lotNumber"):
        found += [
            Identifier(number or "OTHERID", "value", text) for text in _strings(resource.get(name)) if _long(text)
        ]
    for carrier in _dicts(resource.get("udiCarrier")):
        for text in _strings([carrier.get("deviceIdentifier"), carrier.get("carrierHRF")]):
            found.append(Identifier("DEVICE", "value", text))
    return found


def _names(value: object, category: str) -> Iterator[Identifier]:
    for name in _as_list(value):
        if not isinstance(name, dict):
            yield from (Identifier(category, "full", text) for text in _strings(name))
            continue
        if category == "STAFF":  # one of many: a clinician is found by the whole name, or the family name after a title
            whole = [*_strings(name.get("given")), *_strings(name.get("family"))]
            yield from [Identifier(category, "full", " ".join(whole))] if whole else []
        else:
            yield from (Identifier(category, "family", text) for text in _strings(name.get("family")))
            yield from (Identifier(category, "given", text) for text in _strings(name.get("given")))
        yield from (Identifier(category, "full", text) for text in _strings(name.get("text")))


def _numbers(resource: Json, category: str | None = None) -> Iterator[Identifier]:
    for entry in _objects(resource.get("identifier"), "value"):
        for text in _strings(entry.get("value")):
            if _long(text):
                yield Identifier(category or _category(entry), "value", text)


def _category(entry: Json) -> str:
    kind = entry.get("type")
    for coding in _dicts(kind.get("coding") if isinstance(kind, dict) else None):
        code = coding.get("code")
        if isinstance(code, str) and code in _TYPE_CATEGORY:
            return _TYPE_CATEGORY[code]
    system = str(entry.get("system", "")).lower()
    return next(
        (category for part, category in _SYSTEM_CATEGORY if system.endswith(part) or f"/{part}" in system), "OTHERID"
    )


def _telecom(resource: Json) -> Iterator[Identifier]:
    for entry in _objects(resource.get("telecom"), "value"):
        category = _TELECOM_CATEGORY.get(str(entry.get("system")), "PHONE")
        yield from (Identifier(category, "value", text) for text in _strings(entry.get("value")) if _long(text))


def _addresses(value: object) -> Iterator[Identifier]:
    for address in _objects(value, "line"):
        for text in _strings(address.get("line")):
            yield Identifier("STREET", "value", text)
        for name, category in (("city", "CITY"), ("district", "COUNTY"), ("postalCode", "ZIP")):
            yield from (Identifier(category, "value", text) for text in _strings(address.get(name)))
        for text in _strings(address.get("text")):
            yield from _one_line(text)


def _one_line(text: str) -> Iterator[Identifier]:
    """Split an address that is written in one line: 12 Elm St, Apt 3, Salem, MA 02139.

    >>> [one[::2] for one in _one_line("12 Elm St, Salem, MA 02139")]
    [('STREET', '12 Elm St'), ('CITY', 'Salem'), ('ZIP', '02139')]
    """
    numbers = [match for match in _ZIP.finditer(text) if match.start() > 0]
    before = text[: numbers[-1].start()] if numbers else text
    pieces = [piece.strip() for piece in re.split(r"[,;\n\r]+", before) if piece.strip()]
    if pieces and (state := _STATE.search(pieces[-1])):
        pieces[-1] = pieces[-1][: state.start()].strip()
        pieces = [piece for piece in pieces if piece]
    for index, piece in enumerate(pieces):
        if index == 0 or any(char.isdigit() for char in piece):
            yield Identifier("STREET", "value", piece)
        elif len(piece) > 3 and index == len(pieces) - 1:
            yield Identifier("CITY", "value", piece)
    if numbers:
        yield Identifier("ZIP", "value", numbers[-1].group())


def _displays(reference: object, category: str) -> Iterator[Identifier]:
    for entry in _dicts(reference):
        yield from (Identifier(category, "full", text) for text in _strings(entry.get("display")))


def _long(text: str) -> bool:
    return sum(char.isalnum() for char in text) >= _SHORTEST_NUMBER


def _as_list(value: object) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _dicts(value: object) -> Iterator[Json]:
    return (entry for entry in _as_list(value) if isinstance(entry, dict))


def _objects(value: object, name: str) -> Iterator[Json]:
    """Yield the objects of a list; a bare string or number stands for the element of that name."""
    for entry in _as_list(value):
        if isinstance(entry, dict):
            yield entry
        elif type(entry) in (str, int):
            yield {name: entry}


def _strings(value: object) -> Iterator[str]:
    for entry in _as_list(value):
        if type(entry) is int:  # an exporter that writes numbers without quotes names a person all the same
            entry = str(entry)
        if isinstance(entry, str):
            if text := entry.strip():
                yield text
        elif isinstance(entry, list):
            yield from _strings(entry)


def _first(value: object) -> str | None:
    return next(_strings(value), None)
