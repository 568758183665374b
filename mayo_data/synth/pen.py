"""What a story writes a chart with: visits, results, medicines, notes, each in one line."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from mayo_data.synth.codes import Code, code
from mayo_data.synth.facts import (
    Allergy,
    Bill,
    Cover,
    Diagnosis,
    Drug,
    Family,
    Imaging,
    Implant,
    Measure,
    Note,
    Operation,
    Order,
    Plan,
    Precision,
    Shot,
    Survey,
    Visit,
)
from mayo_data.synth.ink import Ink
from mayo_data.synth.people import TODAY

_HOME: dict[str, Literal["DocumentReference", "DiagnosticReport"]] = {
    "radiology_report": "DiagnosticReport",
    "pathology_report": "DiagnosticReport",
    "lab_comment": "DiagnosticReport",
}
_WRITER = {
    "radiology_report": 3,
    "pathology_report": 6,
    "triage_note": 10,
    "nursing_note": 10,
    "operative_note": 4,
    "social_work_note": 12,
    "psychiatry_note": 8,
    "therapy_note": 14,
    "pharmacy_note": 13,
}


class Pen(Ink):
    """Writes facts into one chart, each in one line of a story."""

    def diagnose(
        self,
        key: str,
        visit: Visit,
        *,
        precision: Precision = "day",
        years_ago: float = 0,
        until: datetime | None = None,
        remark: str = "",
    ) -> Diagnosis:
        """Write a condition found at a visit."""
        onset = visit.when.later(days=-365.25 * years_ago).written(precision)
        onset = max(onset, self.person.birth.written(precision), key=lambda when: when.at)
        end = self.zoned(until).written("day") if until else None
        fact = Diagnosis(
            self.key(),
            onset,
            visit.when.later(minutes=15),
            visit,
            visit.staff,
            code("condition", key),
            end,
            remark,
        )
        fact.category = "problem-list-item" if end is None else "encounter-diagnosis"
        visit.diagnoses.append(fact)
        self.chart.facts.append(fact)
        return fact

    def drug(
        self,
        key: str,
        visit: Visit,
        act: Literal["request", "administration", "dispense", "statement"] = "request",
        *,
        after: float = 0.3,
        days: int = 90,
        refills: int = 0,
        dose: str = "",
        based_on: Drug | None = None,
        remark: str = "",
    ) -> Drug:
        """Write a medicine."""
        item = code("drug", key)
        when = visit.when.later(hours=after)
        end = when.later(minutes=30) if act == "administration" else when.later(days=days).written("day")
        fact = Drug(
            self.key(),
            self.written(when),
            when.later(minutes=2),
            visit,
            visit.staff,
            item,
            act,
            end,
            dose or item.dose,
        )
        fact.days, fact.refills, fact.based_on, fact.remark = days, refills, based_on, remark
        fact.by_reference = self.dice.chance(0.25)
        self.chart.facts.append(fact)
        return fact

    def prescribe(self, key: str, visit: Visit, *, days: int = 90, refills: int = 1, dose: str = "") -> Drug:
        """Write a prescription and, two times in three, what the pharmacy handed out on it."""
        remark = ""
        if self.dice.chance(0.08):
            remark = f"Sent to {self.person.pharmacy}; {self.contact().name.given} will pick it up."
        order = self.drug(key, visit, days=days, refills=refills, dose=dose, remark=remark)
        if self.dice.chance(0.66):
            self.drug(key, visit, "dispense", after=self.dice.between(3, 60), days=days, dose=dose, based_on=order)
        return order

    def operate(
        self,
        key: str,
        visit: Visit,
        *,
        after: float = 1,
        minutes: int = 30,
        staff: int | None = None,
        remark: str = "",
    ) -> Operation:
        """Write a procedure and add it to the bill."""
        item = code("procedure", key)
        when = visit.when.later(hours=after)
        who = visit.staff if staff is None else self.staff(staff)
        fact = Operation(
            self.key(),
            self.written(when),
            when.later(hours=1),
            visit,
            who,
            item,
            when.later(minutes=minutes),
            remark,
        )
        self.chart.facts.append(fact)
        for bill in self.chart.facts:
            if isinstance(bill, Bill) and bill.visit is visit:
                bill.codes.append(item)
        return fact

    def image(self, key: str, visit: Visit, modality: str, *, after: float = 0.6) -> Imaging:
        """Write an imaging study, its order and its procedure."""
        item = code("procedure", key)
        self.order(item, visit, self.dice.pick(["rule out acute process", "follow up", ""]))
        self.operate(key, visit, after=after, staff=3)
        when = visit.when.later(hours=after)
        uid = f"2.25.{self.dice.digits(30)}"
        fact = Imaging(
            self.key(),
            when,
            when.later(minutes=40),
            visit,
            self.staff(3),
            item,
            modality,
            f"RA{visit.when.at:%y}{self.dice.digits(6)}",
            uid,
        )
        self.chart.facts.append(fact)
        return fact

    def order(self, item: Code, visit: Visit, reason: str = "") -> Order:
        """Write a request for a service."""
        fact = Order(
            self.key(),
            visit.when.later(minutes=9),
            visit.when.later(minutes=10),
            visit,
            visit.staff,
            item,
            reason,
        )
        self.chart.facts.append(fact)
        return fact

    def shot(self, key: str, visit: Visit) -> Shot:
        """Write a vaccination."""
        lot = f"{self.dice.letters(2)}{self.dice.digits(4)}"
        fact = Shot(
            self.key(),
            visit.when.later(minutes=22),
            visit.when.later(minutes=24),
            visit,
            self.staff(10),
            code("vaccine", key),
            lot,
        )
        self.chart.facts.append(fact)
        return fact

    def allergy(self, key: str, reaction: str, visit: Visit, severity: str, remark: str = "") -> Allergy:
        """Write an allergy; people remember the year, not the day."""
        onset = visit.when.later(days=-self.dice.between(400, 4000))
        onset = max(onset, self.person.birth, key=lambda when: when.at).written(
            self.dice.pick(["year", "month", "day"])
        )
        fact = Allergy(
            self.key(),
            onset,
            visit.when.later(minutes=6),
            visit,
            visit.staff,
            code("allergen", key),
            code("reaction", reaction),
            severity,
            remark,
        )
        self.chart.facts.append(fact)
        return fact

    def implant(self, key: str, visit: Visit, maker: str, model: str) -> Implant:
        """Write a device with serial number, lot and UDI (made-up GTIN)."""
        serial, lot = f"{self.dice.letters(2)}{self.dice.digits(7)}", self.dice.digits(6)
        udi = f"(01)0{self.dice.digits(13)}(17){TODAY.year + 2 - 2000}0630(10){lot}(21){serial}"
        fact = Implant(
            self.key(),
            visit.when.later(hours=1),
            visit.when.later(hours=2),
            visit,
            visit.staff,
            code("device", key),
            serial,
            lot,
            udi,
            maker,
            model,
        )
        self.chart.facts.append(fact)
        return fact

    def family(self, key: str, relation: str, name: str, age: int, visit: Visit) -> Family:
        """Write a relative's condition."""
        fact = Family(
            self.key(),
            visit.when.written("day"),
            visit.when,
            visit,
            visit.staff,
            code("condition", key),
            relation,
            name,
            age,
        )
        self.chart.facts.append(fact)
        return fact

    def survey(self, visit: Visit, answers: list[tuple[str, int]], remark: str = "") -> Survey:
        """Write a filled-in questionnaire, answers by score."""
        found = [(code("question", key), code("level", f"l{score}")) for key, score in answers]
        fact = Survey(
            self.key(),
            visit.when.later(minutes=3),
            visit.when.later(minutes=5),
            visit,
            visit.staff,
            found,
            remark,
        )
        self.chart.facts.append(fact)
        return fact

    def plan(
        self, key: str, visit: Visit, activities: list[str], goal: str, target: tuple[Code, str] | None = None
    ) -> Plan:
        """Write a care plan and its goal."""
        todo = [code("plan", activity) for activity in activities]
        fact = Plan(
            self.key(),
            visit.when.later(minutes=20).written("day"),
            visit.when.later(minutes=25),
            visit,
            visit.staff,
            code("plan", key),
            todo,
            goal,
            target,
        )
        self.chart.facts.append(fact)
        return fact

    def cover(self, moment: datetime, until: datetime | None) -> Cover:
        """Write an insurance policy."""
        when = self.zoned(moment).written("day")
        end = self.zoned(until).written("day") if until else None
        fact = Cover(self.key(), when, when, None, self.person.gp, end)
        self.chart.facts.append(fact)
        return fact

    def note(
        self,
        type_key: str,
        visit: Visit,
        *,
        after: float = 1,
        results: list[Measure] | None = None,
        **about: object,
    ) -> Note:
        """Ask for a note; its text is written when the chart is complete."""
        when = visit.when.later(hours=after)
        who = self.staff(_WRITER[type_key]) if type_key in _WRITER else visit.staff
        if type_key == "consult_letter" and who is self.person.gp:
            who = self.staff(self.dice.pick([7, 16]))  # a letter goes to the family doctor, not from them
        fact = Note(
            self.key(),
            when,
            when.later(minutes=self.dice.between(5, 600)),
            visit,
            who,
            type_key,
            code("document", type_key),
        )
        fact.home = _HOME.get(type_key, "DocumentReference")
        fact.results, fact.about = results or [], about
        self.chart.facts.append(fact)
        return fact
