"""What happened to a patient, said once. FHIR, OMOP and notes are only ways of writing it down."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Literal, NamedTuple

from mayo_data.synth.codes import Code

Precision = Literal["year", "month", "day", "second", "milli", "utc"]


class When(NamedTuple):
    """A local time, how far it stands from UTC, and how precisely it was written down.

    >>> When(datetime(2020, 1, 2, 3, 4, 5), -300).iso()
    '2020-01-02T03:04:05-05:00'
    """

    at: datetime
    offset: int
    precision: Precision = "second"

    def iso(self) -> str:
        """Return the FHIR form."""
        if self.precision == "year":
            return self.at.strftime("%Y")
        if self.precision == "month":
            return self.at.strftime("%Y-%m")
        if self.precision == "day":
            return self.at.strftime("%Y-%m-%d")
        if self.precision == "utc":
            moved = (self.at - timedelta(minutes=self.offset)).replace(tzinfo=UTC)
            return moved.strftime("%Y-%m-%dT%H:%M:%SZ")
        sign = "-" if self.offset < 0 else "+"
        hours, minutes = divmod(abs(self.offset), 60)
        milli = f".{self.at.microsecond // 1000:03d}" if self.precision == "milli" else ""
        return f"{self.at:%Y-%m-%dT%H:%M:%S}{milli}{sign}{hours:02d}:{minutes:02d}"

    def later(self, *, days: float = 0, hours: float = 0, minutes: float = 0) -> When:
        """Return a later time of the same zone, written to the second."""
        moved = self.at + timedelta(days=days, hours=hours, minutes=minutes)
        return When(moved.replace(microsecond=0), self.offset)

    def written(self, precision: Precision) -> When:
        """Return the same time, written with another precision."""
        return self._replace(precision=precision)


@dataclass(slots=True)
class Name:
    """A person's name in the parts and forms in which people write it."""

    given: str
    middle: str
    family: str
    suffix: str = ""
    family_first: bool = False

    @property
    def full(self) -> str:
        """Whole name, as on a chart."""
        if self.family_first:
            return " ".join(part for part in (self.family, self.middle, self.given) if part)
        return " ".join(part for part in (self.given, self.middle, self.family, self.suffix) if part)

    @property
    def plain(self) -> str:
        """First and last name only."""
        return f"{self.family} {self.given}" if self.family_first else f"{self.given} {self.family}"

    @property
    def listed(self) -> str:
        """Last, First M."""
        middle = f" {self.middle[0]}." if self.middle else ""
        return f"{self.family}, {self.given}{middle}"

    @property
    def initials(self) -> str:
        """Capital initials, first to last."""
        return "".join(part[0] for part in (self.given, self.middle, self.family) if part).upper()

    @property
    def short(self) -> str:
        """F. Last."""
        return f"{self.given[0]}. {self.family}"


@dataclass(slots=True)
class Address:
    """A postal address."""

    street: str
    city: str
    county: str
    state: str
    zip: str
    since: date | None = None
    until: date | None = None


@dataclass(slots=True)
class Place:
    """A hospital, one of its wards, or one of its rooms."""

    id: str
    number: int
    name: str
    kind: Literal["hospital", "ward", "room"]
    parent: Place | None = None


@dataclass(slots=True)
class Staff:
    """A clinician."""

    id: str
    number: int
    name: Name
    sex: str
    title: str
    specialty: str
    npi: str
    dea: str
    phone: str
    pager: str
    email: str
    username: str
    hospital: Hospital


@dataclass(slots=True)
class Hospital:
    """A facility with its town, wards and staff."""

    id: str
    number: int
    name: str
    short: str
    initials: str
    domain: str
    address: Address
    zone: int
    phone: str
    fax: str
    place: Place
    wards: list[Place] = field(default_factory=list)
    rooms: list[Place] = field(default_factory=list)
    staff: list[Staff] = field(default_factory=list)


@dataclass(slots=True)
class Contact:
    """A relative or other person of the patient's."""

    id: str
    name: Name
    relation: str
    sex: str
    phone: str
    email: str
    address: Address
    employer: str


@dataclass(slots=True)
class Person:
    """A patient with everything that identifies them."""

    seed: int
    number: int
    id: str
    sex: str
    name: Name
    nickname: str
    maiden: str
    birth: When
    race: str
    ethnicity: str
    tongue: str
    marital: str
    address: Address
    old_addresses: list[Address]
    home_phone: str
    mobile: str
    work_phone: str
    fax: str
    email: str
    url: str
    ip: str
    username: str
    mrn: str
    old_mrn: str
    ssn: str
    licence: str
    member: str
    group_number: str
    account: str
    plate: str
    vin: str
    car: str
    employer: str
    school: str
    church: str
    occupation: str
    insurer: str
    pharmacy: str
    birth_city: str
    birth_country: str
    mother_maiden: str
    hospital: Hospital
    gp: Staff
    contacts: list[Contact]
    smoker: str
    height: float
    died: When | None = None

    def age(self, at: date) -> int:
        """Return the age in whole years."""
        born = self.birth.at
        return at.year - born.year - ((at.month, at.day) < (born.month, born.day))


@dataclass(slots=True)
class Fact:
    """What all facts share: a key unique within the patient, a time, when it was recorded, and where."""

    key: int
    when: When
    recorded: When
    visit: Visit | None
    staff: Staff


@dataclass(slots=True)
class Visit(Fact):
    """A contact with the hospital."""

    type: Code
    kind: Literal["AMB", "IMP", "EMER", "VR"]
    end: When
    reason: Code | None
    place: Place
    others: list[Staff] = field(default_factory=list)
    stays: list[tuple[Place, When, When]] = field(default_factory=list)
    diagnoses: list[Diagnosis] = field(default_factory=list)
    number: str = ""
    discharge: str = ""


@dataclass(slots=True)
class Diagnosis(Fact):
    """A condition."""

    code: Code
    end: When | None = None
    remark: str = ""
    category: str = "encounter-diagnosis"


@dataclass(slots=True)
class Value:
    """A value of an observation, named like FHIR's value[x]."""

    kind: str
    text: str = ""
    unit: str = ""
    code: Code | None = None
    other: str = ""


@dataclass(slots=True)
class Measure(Fact):
    """An observation: laboratory value, vital sign or finding."""

    code: Code
    value: Value | None
    category: str
    parts: list[tuple[Code, Value]] = field(default_factory=list)
    flag: str = ""
    absent: str = ""
    remark: str = ""
    sample: Sample | None = None


@dataclass(slots=True)
class Drug(Fact):
    """A medicine ordered, given, dispensed or reported."""

    code: Code
    act: Literal["request", "administration", "dispense", "statement"]
    end: When | None
    dose: str
    days: int = 0
    refills: int = 0
    by_reference: bool = False
    based_on: Drug | None = None
    remark: str = ""


@dataclass(slots=True)
class Operation(Fact):
    """A procedure."""

    code: Code
    end: When
    remark: str = ""


@dataclass(slots=True)
class Shot(Fact):
    """A vaccination."""

    code: Code
    lot: str = ""


@dataclass(slots=True)
class Allergy(Fact):
    """An allergy and what it did."""

    code: Code
    reaction: Code
    severity: str
    remark: str = ""


@dataclass(slots=True)
class Sample(Fact):
    """A specimen."""

    code: Code
    accession: str = ""


@dataclass(slots=True)
class Order(Fact):
    """A request for a service."""

    code: Code
    reason: str = ""


@dataclass(slots=True)
class Implant(Fact):
    """A device that the patient has."""

    code: Code
    serial: str = ""
    lot: str = ""
    udi: str = ""
    maker: str = ""
    model: str = ""


@dataclass(slots=True)
class Family(Fact):
    """A condition of a relative."""

    code: Code
    relation: str = ""
    name: str = ""
    age: int = 0


@dataclass(slots=True)
class Survey(Fact):
    """A filled-in questionnaire."""

    answers: list[tuple[Code, Code]] = field(default_factory=list)
    remark: str = ""


@dataclass(slots=True)
class Plan(Fact):
    """A care plan with its goal."""

    code: Code
    activities: list[Code] = field(default_factory=list)
    goal: str = ""
    target: tuple[Code, str] | None = None


@dataclass(slots=True)
class Imaging(Fact):
    """An imaging study."""

    code: Code
    modality: str = "DX"
    accession: str = ""
    uid: str = ""


@dataclass(slots=True)
class Bill(Fact):
    """A claim and what was paid on it."""

    codes: list[Code] = field(default_factory=list)
    charge: str = "0.00"
    allowed: str = "0.00"
    paid: str = "0.00"
    copay: str = "0.00"
    number: str = ""


@dataclass(slots=True)
class Cover(Fact):
    """An insurance policy."""

    end: When | None = None


class Span(NamedTuple):
    """A piece of PHI in a note."""

    start: int
    end: int
    category: str


@dataclass(slots=True)
class Note(Fact):
    """A text. `home` says which FHIR resource carries it."""

    type: str
    code: Code
    home: Literal["DocumentReference", "DiagnosticReport"] = "DocumentReference"
    style: str = ""
    text: str = ""
    spans: list[Span] = field(default_factory=list)
    results: list[Measure] = field(default_factory=list)
    about: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Chart:
    """A person and all facts about them, in the order in which they were recorded."""

    person: Person
    facts: list[Fact] = field(default_factory=list)
