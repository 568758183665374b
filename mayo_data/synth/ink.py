"""Visits, bills, results and vital signs: what every story writes."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from mayo_data.synth.codes import Code, code
from mayo_data.synth.dice import Dice, decimal
from mayo_data.synth.facts import (
    Bill,
    Chart,
    Contact,
    Measure,
    Person,
    Precision,
    Sample,
    Staff,
    Value,
    Visit,
    When,
)
from mayo_data.synth.people import TODAY, local

_NORMAL = {
    "glucose": (90, 14),
    "creatinine": (0.9, 0.25),
    "bun": (14, 6),
    "sodium": (140, 4),
    "potassium": (4.2, 0.6),
    "chloride": (103, 4),
    "bicarbonate": (25, 3),
    "calcium": (9.4, 0.6),
    "egfr": (88, 20),
    "hemoglobin": (13.8, 1.5),
    "hematocrit": (41.5, 4.5),
    "wbc": (7.1, 2.6),
    "platelets": (250, 90),
    "cholesterol": (188, 40),
    "triglycerides": (120, 50),
    "hdl": (52, 14),
    "ldl": (108, 34),
    "alt": (24, 14),
    "ast": (22, 10),
    "tsh": (2.1, 1.4),
    "crp": (2.4, 2.2),
    "poc_glucose": (118, 30),
}


class Ink:
    """The part of a pen that knows the person, the dice and the time, and writes visits and results."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.dice = Dice(person.seed, "story", person.number)
        self.chart = Chart(person)
        self._last = 0

    # time and people

    def day(self, years: float = 0, days: float = 0, hour: int | None = None) -> datetime:
        """Return a working moment `years` and `days` before the export, never before birth."""
        days_ago = round(years * 365.25 + days) + self.dice.between(0, 9)
        moment = datetime(TODAY.year, TODAY.month, TODAY.day) - timedelta(days=days_ago)  # noqa: DTZ001  local() zones it
        moment = max(moment, self.person.birth.at + timedelta(days=60))
        hour = self.dice.between(8, 16) if hour is None else hour
        return moment.replace(hour=hour, minute=self.dice.between(0, 59), second=self.dice.between(0, 59))

    def staff(self, index: int) -> Staff:
        """Return a clinician of the patient's hospital, by specialty number."""
        return self.person.hospital.staff[index]

    def contact(self) -> Contact:
        """Return the first contact."""
        return self.person.contacts[0]

    def zoned(self, moment: datetime) -> When:
        """Return a local time of the patient's hospital."""
        return local(self.person.hospital.zone, moment)

    def key(self) -> int:
        """Return the next fact key."""
        self._last += 1
        return self._last

    def written(self, when: When) -> When:
        """Return the time as one of several source systems writes it."""
        kind: Precision = self.dice.weighed(["second", "milli", "utc"], [6, 3, 1])
        return when.written(kind)

    # visits

    def visit(
        self,
        type_key: str,
        moment: datetime,
        *,
        reason: str = "",
        staff: int | None = None,
        hours: float = 0.5,
        ward: int | None = None,
        discharge: str = "home",
        vitals: bool = True,
    ) -> Visit:
        """Write a visit; a stay of more than 20 hours gets a ward and a room."""
        kinds: dict[str, Literal["AMB", "IMP", "EMER", "VR"]] = {
            "inpatient": "IMP",
            "emergency": "EMER",
            "telephone": "VR",
        }
        when = self.zoned(moment)
        end = self.zoned((moment + timedelta(hours=hours)).replace(microsecond=0))
        hospital = self.person.hospital
        who = self.person.gp if staff is None else self.staff(staff)
        place = hospital.place if ward is None else self.dice.pick(hospital.rooms[ward * 3 : ward * 3 + 3])
        visit = Visit(
            self.key(),
            when,
            end.later(minutes=20),
            None,
            who,
            code("visit", type_key),
            kinds.get(type_key, "AMB"),
            end,
            code("condition", reason) if reason else None,
            place,
            number=self.dice.digits(9),
            discharge=discharge if type_key == "inpatient" else "",
        )
        if type_key == "inpatient":
            visit.others.append(self.staff(10))
            middle = when.later(hours=self.dice.between(5, 20))
            first = hospital.rooms[12 + self.dice.between(0, 2)]
            visit.stays = [(first, when, middle), (place, middle, end)]
        self.chart.facts.append(visit)
        if vitals and type_key != "telephone":
            self.vitals(visit)
        self._bill(visit)
        return visit

    def _bill(self, visit: Visit) -> None:
        if not self.dice.chance(0.75):
            return
        charge = {"IMP": 14200, "EMER": 2100, "AMB": 210, "VR": 64}[visit.kind] * self.dice.around(1, 0.4)
        allowed = charge * 0.62
        copay = self.dice.pick([0.0, 10.0, 25.0, 40.0])
        when = visit.end.later(days=self.dice.between(1, 9))
        self.chart.facts.append(
            Bill(
                self.key(),
                visit.end,
                when,
                visit,
                visit.staff,
                [visit.type],
                decimal(charge, 2),
                decimal(allowed, 2),
                decimal(max(allowed - copay, 0), 2),
                decimal(copay, 2),
                self.dice.digits(11),
            )
        )

    # results

    def measure(
        self,
        item: Code,
        value: Value | None,
        visit: Visit,
        category: str,
        *,
        delay: float = 0,
        after: float = 0.1,
        remark: str = "",
        absent: str = "",
        sample: Sample | None = None,
        parts: list[tuple[Code, Value]] | None = None,
    ) -> Measure:
        """Write an observation, `after` hours into the visit, known `delay` hours later."""
        when = visit.when.later(hours=after)
        known = when.later(hours=delay, minutes=self.dice.between(1, 12))
        flag = _flag(item, value)
        fact = Measure(self.key(), self.written(when), self.written(known), visit, visit.staff, item, value, category)
        fact.parts, fact.flag, fact.absent = parts or [], flag, absent
        fact.remark, fact.sample = remark, sample
        self.chart.facts.append(fact)
        return fact

    def quantity(self, item: Code, number: float | str, digits: int | None = None) -> Value:
        """Return a quantity, printed as a laboratory prints this item."""
        places = item.digits if digits is None else digits
        text = number if isinstance(number, str) else decimal(number, places)
        return Value("Quantity", text, item.unit)

    def labs(
        self, visit: Visit, values: dict[str, float | None], *, sample: str = "blood", after: float = 0.4
    ) -> list[Measure]:
        """Write laboratory values from one specimen; None means a usual value."""
        when = visit.when.later(hours=after)
        accession = f"{self.dice.pick('CHMS')}{visit.when.at:%y}-{self.dice.digits(6)}"
        specimen = Sample(
            self.key(), when, when.later(minutes=25), visit, visit.staff, code("specimen", sample), accession
        )
        self.chart.facts.append(specimen)
        wait, results = self.dice.between(2, 30), []
        for key, given in values.items():
            item = code("lab", key)
            number = self.dice.around(*_NORMAL[key]) if given is None else given
            absent = "specimen-unsatisfactory" if self.dice.chance(0.012) else ""
            remark = ""
            if self.dice.chance(0.04):
                remark = self.dice.pick(
                    [
                        f"Called to {visit.staff.name.plain} by lab, read back.",
                        f"Slightly hemolyzed. {self.person.name.listed} may need a redraw.",
                        "Repeated and confirmed.",
                    ]
                )
            value = None if absent else self.quantity(item, number)
            results.append(
                self.measure(
                    item,
                    value,
                    visit,
                    "laboratory",
                    delay=wait,
                    after=after,
                    remark=remark,
                    absent=absent,
                    sample=specimen,
                )
            )
        return results

    def panel(self, visit: Visit, **changed: float) -> list[Measure]:
        """Write a basic metabolic panel."""
        keys = ["glucose", "creatinine", "bun", "sodium", "potassium", "chloride", "bicarbonate", "calcium"]
        return self.labs(visit, {key: changed.get(key) for key in keys})

    def vitals(self, visit: Visit, **changed: float) -> None:
        """Write blood pressure with its components, pulse, temperature and, often, more."""
        dice, age = self.dice, self.person.age(visit.when.at.date())
        high = changed.get("systolic", dice.around(108 if age < 16 else 124 + age / 8, 14))
        parts = [
            (code("vital", "systolic"), self.quantity(code("vital", "systolic"), high)),
            (
                code("vital", "diastolic"),
                self.quantity(code("vital", "diastolic"), high * 0.62 + dice.around(0, 6)),
            ),
        ]
        self.measure(code("vital", "bp"), None, visit, "vital-signs", parts=parts)
        singles: dict[str, float] = {"pulse": dice.around(96 if age < 12 else 76, 14)}
        if visit.kind != "AMB" or dice.chance(0.4):
            singles |= {
                "temperature": dice.around(36.8, 0.6),
                "spo2": dice.around(97, 2),
                "breaths": dice.around(16, 3),
            }
        if visit.kind == "AMB":
            height = min(self.person.height, 52 + 6.2 * age) if age < 16 else self.person.height
            weight = height * height / 10000 * dice.around(16.5 if age < 16 else 27, 3)
            singles["weight"] = changed.get("weight", weight)
            if dice.chance(0.5):
                singles |= {"height": height, "bmi": singles["weight"] / (height * height / 10000)}
        for key, number in singles.items():
            item = code("vital", key)
            self.measure(item, self.quantity(item, changed.get(key, number)), visit, "vital-signs", after=0.12)

    # everything else


def _flag(item: Code, value: Value | None) -> str:
    if value is None or value.kind != "Quantity":
        return ""
    number = Decimal(value.text)
    if item.low and number < Decimal(item.low):
        return "L"
    if item.high and number > Decimal(item.high):
        return "H"
    return "N" if item.low or item.high else ""
