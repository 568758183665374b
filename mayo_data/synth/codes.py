"""The codes of `schemas/synth/codes.toml` as objects."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache

from mayo_data import assets

SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
CVX = "http://hl7.org/fhir/sid/cvx"
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
CPT = "http://www.ama-assn.org/go/cpt"
UCUM = "http://unitsofmeasure.org"
LOCAL = "https://codes.saintbrannoc.example.org/local"  # a site's own codes, which no vocabulary maps

VOCABULARIES = {
    SNOMED: "SNOMED",
    LOINC: "LOINC",
    RXNORM: "RxNorm",
    CVX: "CVX",
    ICD10: "ICD10CM",
    CPT: "CPT4",
    UCUM: "UCUM",
}

_SYSTEM = {
    "lab": LOINC,
    "vital": LOINC,
    "finding": LOINC,
    "drug": RXNORM,
    "vaccine": CVX,
    "question": LOINC,
    "level": LOINC,
    "document": LOINC,
}
_DOMAIN = {
    "condition": "Condition",
    "drug": "Drug",
    "vaccine": "Drug",
    "procedure": "Procedure",
    "device": "Device",
    "specimen": "Specimen",
    "lab": "Measurement",
    "vital": "Measurement",
    "finding": "Measurement",
    "answer": "Meas Value",
    "level": "Meas Value",
    "visit": "Visit",
    "document": "Note",
}


@dataclass(frozen=True, slots=True)
class Code:
    """One entry of a code system.

    Attributes:
        system: FHIR system URI.
        code: The code.
        name: Its display.
        short: What clinicians write in a note.
        abbr: How they abbreviate it.
        domain: OMOP domain.
        omop: OMOP concept id of this code.
        billed: The code it is billed under (ICD-10-CM or CPT), where there is one.
        unit: UCUM unit of its values.
        low: Lower end of the reference range, as printed; empty when open.
        high: Upper end.
        digits: Decimals a laboratory prints.
        extra: What only one kind of code has (dose, route, …).
    """

    key: str
    group: str
    system: str
    code: str
    name: str
    short: str = ""
    abbr: str = ""
    domain: str = "Observation"
    omop: int = 0
    billed: Code | None = None
    unit: str = ""
    low: str = ""
    high: str = ""
    digits: int = 0
    dose: str = ""
    form: str = ""
    route: str = ""
    per_day: int = 0
    kind: str = ""

    @property
    def vocabulary(self) -> str:
        """OMOP vocabulary id; empty for a site's own codes."""
        return VOCABULARIES.get(self.system, "")


def site_id(vocabulary: str, code: str) -> int:
    """Return a stable concept id in the range that OHDSI leaves to sites (above 2,000,000,000, below 2^31).

    >>> 2_000_000_000 <= site_id("SNOMED", "1") < 2**31
    True
    """
    digest = hashlib.sha256(f"{vocabulary}|{code}".encode()).digest()
    return 2_000_000_000 + int.from_bytes(digest[:8], "big") % 147_000_000


@cache
def book() -> dict[str, dict[str, Code]]:
    """Return all codes by group and key.

    >>> book()["condition"]["diabetes2"].code
    '44054006'
    """
    return {
        group: {key: _code(group, key, dict(entry)) for key, entry in entries.items()}
        for group, entries in assets.toml("schemas", "synth", "codes.toml").items()
    }


def code(group: str, key: str) -> Code:
    """Return one code; a story that misspells a key fails here, at once.

    >>> code("lab", "hba1c").unit
    '%'
    """
    return book()[group][key]


def _code(group: str, key: str, entry: dict[str, object]) -> Code:
    billed = None
    for name, system, domain in (("icd", ICD10, "Condition"), ("cpt", CPT, "Procedure")):
        if name in entry:
            value, label = str(entry.pop(name)), str(entry.pop(f"{name}_name"))
            vocabulary = VOCABULARIES[system]
            billed = Code(key, name, system, value, label, domain=domain, omop=site_id(vocabulary, value))
    system = LOCAL if entry.pop("system", "") == "local" else _SYSTEM.get(group, SNOMED)
    vocabulary = VOCABULARIES.get(system, "")
    entry.setdefault("omop", site_id(vocabulary, str(entry["code"])) if vocabulary else 0)
    entry.setdefault("domain", _DOMAIN.get(group, "Observation"))
    return Code(key=key, group=group, system=system, billed=billed, **entry)  # type: ignore[arg-type]
