"""What a note can speak of: the people, places, numbers, dates and results of one record."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from mayo_data.synth.codes import code
from mayo_data.synth.dates import FORMS, WHOLE
from mayo_data.synth.dice import Dice
from mayo_data.synth.facts import (
    Address,
    Allergy,
    Chart,
    Contact,
    Diagnosis,
    Drug,
    Family,
    Implant,
    Measure,
    Name,
    Note,
    Operation,
    Sample,
    Staff,
    Visit,
)
from mayo_data.synth.people import phone, places
from mayo_data.synth.template import Piece, snippets

_GIRLS = ["Nancy", "Rosa", "Thuy", "Keisha", "Fatima"]


class ChartScene:
    """The scene of one note.

    Args:
        chart: The record that the note belongs to.
        note: The note to be written.
        dice: Chance for what the record leaves open.
    """

    def __init__(self, chart: Chart, note: Note, dice: Dice) -> None:
        self.chart, self.note, self.dice, self.person = chart, note, dice, chart.person
        assert note.visit is not None
        self.visit: Visit = note.visit
        self.day = note.when.at.date()
        self.age = self.person.age(self.day)
        self.form = dice.pick(WHOLE)
        self._site = self.person.hospital
        staff = self._site.staff
        self._people: dict[str, Any] = {
            "pt": self.person.name,
            "att": note.staff,
            "gp": self.person.gp,
            "ord": self.visit.staff,
            "surg": staff[4],
            "ref": dice.pick([one for one in staff[:10] if one is not note.staff]),
            "rn": staff[10],
            "rn2": staff[11],
            "rel": self.person.contacts[0],
            "rel2": self.person.contacts[-1],
        }
        self._dates = self._all_dates()
        self._facts = [fact for fact in chart.facts if fact.visit is self.visit]
        self._cache: dict[str, str] = {}

    def _all_dates(self) -> dict[str, date]:
        dice, start = self.dice, self.visit.when.at.date()
        visits = [fact.when.at.date() for fact in self.chart.facts if isinstance(fact, Visit)]
        earlier = [day for day in visits if day < self.day]
        operations = [
            fact.when.at.date() for fact in self.chart.facts if isinstance(fact, Operation) and fact.visit is self.visit
        ]
        prev = dice.pick(earlier[-3:]) if earlier else self.day - timedelta(days=dice.between(20, 200))
        return {
            "when": self.day,
            "adm": start,
            "dis": self.visit.end.at.date(),
            "op": operations[-1] if operations else start,
            "sampled": start,
            "known": self.note.recorded.at.date(),
            "birth": self.person.birth.at.date(),
            "prev": prev,
            "fu": self.day + timedelta(days=dice.between(5, 75)),
            "lately": self.day - timedelta(days=dice.between(200, 700)),
            "past": self.day - timedelta(days=dice.between(900, 7000)),
        }

    # PHI

    def text(self, path: str) -> str:
        """Return the text of a PHI mark.

        Raises:
            KeyError: The template names something that no record has.
        """
        name, _, form = path.partition("|")
        if name in self._dates:
            return self._date(name, form)
        if path not in self._cache:
            head, _, tail = name.partition(".")
            upper = tail.isupper()
            found = self._lookup(head, tail.lower())
            self._cache[path] = found.upper() if upper else found
        return self._cache[path]

    def _date(self, name: str, form: str) -> str:
        if not form:
            form = self.dice.pick(WHOLE) if self.dice.chance(0.15) else self.form
        elif form == "md" and self.dice.chance(0.3):
            form = "md0"
        elif form == "my" and self.dice.chance(0.2):
            form = "mys"
        return FORMS[form](self._dates[name])

    def _lookup(self, head: str, tail: str) -> str:
        if head in self._people:
            return self._of(self._people[head], tail)
        if head == "h":
            return self._hospital(tail)
        if head == "home" and tail:
            return self._address(self.person.address, tail)
        if head == "id":
            return self._number(tail)
        return self._single(head)

    def _of(self, who: Name | Staff | Contact, tail: str) -> str:
        name = who if isinstance(who, Name) else who.name
        forms = {
            "full": name.full,
            "plain": name.plain,
            "first": name.given,
            "last": name.family,
            "listed": name.listed,
            "initials": name.initials,
            "short": name.short,
            "upper": name.plain.upper(),
        }
        if tail in forms:
            return forms[tail]
        if isinstance(who, Name):
            nick = self.person.nickname or who.given
            return {"nick": nick, "nickfull": f"{nick} {who.family}", "maidenfull": who.full}[tail]
        if isinstance(who, Contact) and tail in ("street", "city", "state", "zip"):
            return self._address(who.address, tail)
        return str(getattr(who, {"user": "username"}.get(tail, tail)))

    def _hospital(self, tail: str) -> str:
        site = self._site
        own = {
            "name": site.name,
            "short": site.short,
            "phone": site.phone,
            "fax": site.fax,
            "url": f"https://www.{site.domain}",
            "viewer": f"https://images.{site.domain}/v/{self.dice.digits(6)}",
        }
        return own[tail] if tail in own else self._address(site.address, tail)

    @staticmethod
    def _address(place: Address, tail: str) -> str:
        return str(getattr(place, tail))

    def _number(self, tail: str) -> str:
        person, dice = self.person, self.dice
        whole = {
            "mrn": person.mrn,
            "old": person.old_mrn,
            "account": person.account,
            "ssn": person.ssn,
            "ssn4": person.ssn[-4:],
            "ssn4x": f"xxx-xx-{person.ssn[-4:]}",
            "member": person.member,
            "group": person.group_number,
            "licence": person.licence,
            "plate": person.plate,
            "vin": person.vin,
            "visit": self.visit.number,
        }
        if tail in whole:
            return whole[tail]
        if tail in ("sample", "specimen"):
            samples = [fact.accession for fact in self._facts if isinstance(fact, Sample)]
            return samples[-1] if samples else f"S{self.day:%y}-{dice.digits(5)}"
        if tail == "accession":
            found = [getattr(fact, "accession", "") for fact in self._facts if type(fact).__name__ == "Imaging"]
            return found[-1] if found else f"RA{dice.digits(8)}"
        shapes = {"case": f"S{self.day:%y}-{dice.digits(5)}", "claim": dice.digits(9), "rx": dice.digits(7)}
        return shapes[tail]

    def _single(self, head: str) -> str:
        person, dice, words = self.person, self.dice, places()["words"]
        room = self.visit.place.name if self.visit.place.kind == "room" else f"{dice.between(1, 24)}"
        made: dict[str, Callable[[], str]] = {
            "mobile": lambda: person.mobile,
            "home": lambda: person.home_phone,
            "work": lambda: person.work_phone,
            "fax": lambda: person.fax,
            "drugstore": lambda: phone(dice, "413"),
            "email": lambda: person.email,
            "url": lambda: person.url,
            "ip": lambda: person.ip,
            "username": lambda: person.username,
            "insurer": lambda: person.insurer,
            "pharmacy": lambda: person.pharmacy,
            "employer": lambda: person.employer if self.age > 17 else person.school,
            "workplace": lambda: person.employer if self.age > 17 else person.school,
            "school": lambda: person.school,
            "church": lambda: person.church,
            "birthplace": lambda: person.birth_city,
            "country": lambda: dice.pick(words["countries"]) if person.birth_country == "US" else person.birth_country,
            "nursing": lambda: dice.pick(words["nursing_homes"]),
            "lab": lambda: dice.pick(words["labs"]),
            "otherh": lambda: dice.pick(
                [site["name"] for site in places()["facility"] if site["name"] != self._site.name]
            ),
            "room": lambda: room,
            "room1": lambda: self.visit.stays[0][0].name if self.visit.stays else room,
            "or": lambda: str(dice.between(1, 14)),
            "dictated": lambda: f"{self.note.staff.name.initials}/{dice.letters(2).lower()}",
            "scanner": lambda: f"{dice.digits(4)}-{dice.letters(2)}{dice.digits(3)}",
            "pump": lambda: f"{dice.letters(1)}{dice.digits(7)}",
            "walker": lambda: f"{dice.letters(2)}-{dice.digits(6)}",
            "implant": self._implant,
            "unit": lambda: f"EMS-{dice.digits(3)}",
            "mother": self._mother,
            "maiden": lambda: person.maiden,
            "inlaw": lambda: " ".join([dice.pick(_GIRLS), person.contacts[0].name.family]).upper(),
            "clia": lambda: f"{dice.between(10, 50)}D{dice.digits(7)}",
        }
        return made[head]()

    def _implant(self) -> str:
        serials = [fact.serial for fact in self.chart.facts if isinstance(fact, Implant)]
        return serials[-1] if serials else f"{self.dice.letters(2)}{self.dice.digits(6)}"

    def _mother(self) -> str:
        return next((fact.name for fact in self.chart.facts if isinstance(fact, Family)), self.person.mother_maiden)

    def snippet(self, name: str) -> str:
        """Return the snippet name that suits age, study and disease."""
        special = {"finding": self.note.about.get("study"), "micro": self.note.about.get("problem")}.get(name)
        if special:
            return f"{name}_{special}"
        child = f"{name}_child"
        return child if self.age < 17 and child in snippets() else name

    # plain text

    def pieces(self, path: str) -> list[Piece]:
        """Return plain text; ages over 89 come marked (45 CFR 164.514(b)(2)(i)(C))."""
        if path == "age":
            return [Piece(str(self.age), "AGE90" if self.age > 89 else "")]
        if path == "maidenline":
            return [Piece("(née "), Piece(self.person.maiden, "PATIENT"), Piece(") ")] if self.person.maiden else []
        if path == "clock":
            return [Piece(f"{self.note.when.at:{self.dice.pick(['%H:%M', '%H%M', '%I:%M %p'])}}")]
        plain = self._plain(path.lower())
        return [Piece(plain[:1].upper() + plain[1:] if path[0].isupper() else plain)]

    def _plain(self, path: str) -> str:
        person, note = self.person, self.note
        woman = person.sex == "female"
        head, _, tail = path.partition(".")
        if tail == "title":
            return str(self._people[head].title)
        if tail in ("is", "my"):
            relation = str(self._people[head].relation)
            return relation if tail == "is" else f"my {relation}"
        problem, drug = str(note.about.get("problem", "")), str(note.about.get("drug", ""))
        disease = code("condition", problem) if problem else self._problem()
        medicine = code("drug", drug) if drug else self._medicine()
        simple: dict[str, Callable[[], str]] = {
            "he": lambda: "she" if woman else "he",
            "his": lambda: "her" if woman else "his",
            "him": lambda: "her" if woman else "him",
            "mr": lambda: "Ms." if woman else "Mr.",
            "sex": lambda: ("girl" if woman else "boy") if self.age < 13 else ("woman" if woman else "man"),
            "s": lambda: "F" if woman else "M",
            "rel": lambda: person.contacts[0].relation,
            "dx": lambda: disease.short,
            "dxabbr": lambda: disease.abbr or disease.short,
            "drug": lambda: medicine.short,
            "dose": lambda: f"{medicine.dose} {medicine.unit.strip('{}[]')}",
            "pmh": lambda: ", ".join(self._problems()) or "none",
            "occupation": lambda: person.occupation if self.age > 17 else "student",
            "smoke": lambda: (
                f"{code('answer', person.smoker).short.capitalize()}." if self.age > 17 else "No smokers at home."
            ),
            "car": lambda: person.car,
            "study": lambda: code("procedure", str(note.about.get("study", "chest_xray"))).short,
            "operation": lambda: code("procedure", str(note.about.get("operation", "appendectomy"))).short,
            "los": lambda: str(max(1, (self._dates["dis"] - self._dates["adm"]).days)),
            "dispo": lambda: {"snf": "to a nursing facility", "home-health": "home with visiting nurses"}.get(
                self.visit.discharge, "home"
            ),
            "disposition": lambda: f"Discharged {self._plain('dispo')} in stable condition.",
            "allergies": lambda: (
                ", ".join(
                    f"{fact.code.short} ({fact.reaction.short})"
                    for fact in self.chart.facts
                    if isinstance(fact, Allergy)
                )
                or "NKDA"
            ),
            "family": lambda: next(
                (fact.code.short for fact in self.chart.facts if isinstance(fact, Family)), "hypertension"
            ),
            "meds": lambda: "\n".join(f"- {item}" for item in self._medicines()) or "- none",
            "meds1": lambda: ", ".join(self._medicines()) or "none",
            "vitals": self._vitals,
            "labs": lambda: (
                ", ".join(
                    f"{fact.code.short} {fact.value.text}{fact.flag.strip('N') and ' ' + fact.flag}"
                    for fact in self._labs()
                    if fact.value
                )
                or "none today"
            ),
            "labtable": self._labtable,
        }
        return simple[path]()

    def _problem(self) -> Any:
        found = [fact.code for fact in self._facts if isinstance(fact, Diagnosis)]
        if found or (self.visit.reason and self.visit.reason.key != "checkup"):
            return found[-1] if found else self.visit.reason
        before = [
            fact.code
            for fact in self.chart.facts
            if isinstance(fact, Diagnosis) and fact.recorded.at <= self.note.when.at
        ]
        return before[-1] if before else code("condition", "fatigue")

    def _medicine(self) -> Any:
        before = [
            fact.code for fact in self.chart.facts if isinstance(fact, Drug) and fact.recorded.at <= self.note.when.at
        ]
        return before[-1] if before else code("drug", "acetaminophen")

    def _problems(self) -> list[str]:
        found = [
            fact.code.abbr
            for fact in self.chart.facts
            if isinstance(fact, Diagnosis) and fact.recorded.at <= self.note.when.at
        ]
        return list(dict.fromkeys(found))[:5]

    def _medicines(self) -> list[str]:
        found = [
            f"{fact.code.short} {fact.dose} {fact.code.unit.strip('{}[]')}"
            for fact in self.chart.facts
            if isinstance(fact, Drug) and fact.act in ("request", "statement") and fact.recorded.at <= self.note.when.at
        ]
        return list(dict.fromkeys(found))[-6:]

    def _labs(self) -> list[Measure]:
        own = [fact for fact in self.note.results if fact.value]
        return (
            own
            or [
                fact
                for fact in self._facts
                if isinstance(fact, Measure)
                and fact.category == "laboratory"
                and fact.value
                and fact.value.kind == "Quantity"
            ][:8]
        )

    def _labtable(self) -> str:
        rows = []
        for fact in self._labs():
            item, given = fact.code, fact.value
            if given:
                flag, ends = fact.flag.strip("N"), f"[{item.low}-{item.high}]"
                unit = item.unit.replace("{", "").replace("}", "")
                rows.append(f"{item.short:<18}{given.text:>8} {unit:<12} {flag:<2} {ends}")
        return "\n".join(rows) or "No results."

    def _vitals(self) -> str:
        found = []
        for fact in self._facts:
            if isinstance(fact, Measure) and fact.category == "vital-signs":
                if fact.parts:
                    found.append(f"BP {fact.parts[0][1].text}/{fact.parts[1][1].text}")
                elif fact.value and fact.value.kind == "Quantity":
                    found.append(f"{fact.code.short} {fact.value.text}")
        return ", ".join(found[:6]) or "VSS"
