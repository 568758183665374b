"""Which stories befall a patient: who they are decides, then chance."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from mayo_data.synth import acute, chronic
from mayo_data.synth.codes import code
from mayo_data.synth.facts import Chart, Person, Value, Visit
from mayo_data.synth.pen import Pen
from mayo_data.synth.people import TODAY, local

Story = Callable[[Pen], None]


def live(person: Person) -> Chart:
    """Return the chart of a person: background, check-ups, one or two conditions and, for some, an end.

    Args:
        person: The patient; their seed and number decide everything.
    """
    pen = Pen(person)
    first = background(pen)
    for story in _chosen(pen):
        story(pen)
    _end(pen, first)
    # Ordered by when a fact was recorded, as a database would export it; the key settles ties.
    pen.chart.facts.sort(key=lambda fact: (fact.recorded.at, fact.key))
    return pen.chart


def _chosen(pen: Pen) -> list[Story]:
    person, dice = pen.person, pen.dice
    age = person.age(TODAY)
    if age < 16:
        return [acute.childhood, dice.pick([chronic.asthma, chronic.asthma, acute.appendicitis])]
    fits: list[tuple[Story, float]] = [
        (chronic.diabetes, 3 if age > 30 else 0),
        (chronic.hypertension, 3 if age > 35 else 0),
        (chronic.copd, 2 if age > 45 else 0),
        (chronic.asthma, 1),
        (chronic.heart_failure, 2 if age > 55 else 0),
        (chronic.kidney, 2 if age > 50 else 0),
        (chronic.depression, 1.5),
        (chronic.parkinson, 1.5 if age > 60 else 0),
        (acute.breast_cancer, 2.5 if person.sex == "female" and age > 40 else 0),
        (acute.pregnancy, 5 if person.sex == "female" and 19 < age < 43 else 0),
        (acute.hip_fracture, 3 if age > 68 else 0),
        (acute.appendicitis, 1.5 if age < 60 else 0.2),
        (acute.small_things, 1.5),
    ]
    first = dice.weighed([story for story, _ in fits], [weight for _, weight in fits])
    rest = [(story, weight) for story, weight in fits if story is not first]
    chosen = [first]
    if dice.chance(0.55):
        chosen.append(dice.weighed([story for story, _ in rest], [weight for _, weight in rest]))
    return chosen


def background(pen: Pen) -> Visit:
    """Write what every chart holds: insurance, a first visit, history, habits, allergies, check-ups."""
    person, dice = pen.person, pen.dice
    pen.cover(pen.day(years=6), pen.day(years=3) if dice.chance(0.4) else None)
    first = pen.visit("office", pen.day(years=5))
    age = person.age(first.when.at.date())
    if age >= 16:
        finding = code("answer", person.smoker)
        pen.measure(code("finding", "smoking"), Value("CodeableConcept", code=finding), first, "social-history")
        job = Value("string", f"{person.occupation} at {person.employer}")
        pen.measure(code("finding", "occupation"), job, first, "social-history")
        if dice.chance(0.5):
            drinks = Value("integer", str(dice.between(0, 14)), other="drinks per week")
            pen.measure(code("finding", "alcohol"), drinks, first, "social-history")
        if age > 50:
            pen.measure(
                code("finding", "advance_directive"),
                Value("boolean", dice.pick(["true", "false"])),
                first,
                "survey",
            )
    if dice.chance(0.3):
        pen.measure(
            code("finding", "bedtime"),
            Value("time", f"{dice.between(20, 23)}:{dice.pick(['00', '15', '30'])}:00"),
            first,
            "survey",
        )
    relative = person.contacts[-1]
    told = f"Reported by {relative.relation} {relative.name.plain}." if dice.chance(0.3) else ""
    if dice.chance(0.5):
        key, reaction = dice.pick(
            [
                ("penicillin", "hives"),
                ("sulfa", "rash"),
                ("shellfish", "anaphylaxis"),
                ("peanut", "anaphylaxis"),
                ("grass", "rhinitis"),
                ("mite", "rhinitis"),
            ]
        )
        pen.allergy(key, reaction, first, dice.pick(["mild", "moderate", "severe"]), told)
    mother = f"{dice.pick(['Ruth', 'Ana', 'Lan', 'Olga', 'Mary'])} {person.mother_maiden}"
    pen.family(
        dice.pick(["diabetes2", "hypertension", "breast_cancer", "asthma"]),
        "mother",
        mother,
        dice.between(40, 92),
        first,
    )
    pen.note("history_physical", first)
    visits = dice.between(1, 3)
    for index in range(visits):
        visit = pen.visit("office", pen.day(years=4.4 - index * 1.5), reason="checkup" if age > 18 else "")
        results = pen.panel(visit) if age > 18 else []
        if age > 18 and dice.chance(0.5):
            results += pen.labs(visit, {"cholesterol": None, "triglycerides": None, "hdl": None, "ldl": None})
        pen.shot("influenza", visit)
        if age > 60 and dice.chance(0.5):
            pen.shot(dice.pick(["pneumo13", "pneumo23", "covid", "td"]), visit)
        if index == 0 and age > 45:
            pen.operate("colonoscopy", visit, after=200, minutes=40, staff=4)
        if dice.chance(0.6):
            pen.note(dice.pick(["progress_note", "progress_note", "dictation"]), visit)
        if results and dice.chance(0.25):
            pen.note("lab_comment", visit, after=30, results=results)
    if dice.chance(0.6):
        pen.note("portal_message", pen.visit("telephone", pen.day(years=1.2), hours=0.2))
    if dice.chance(0.3):
        fasting = Value("Period", first.when.later(hours=-10).iso(), other=first.when.iso())
        pen.measure(code("finding", "fasting"), fasting, first, "laboratory")
    return first


def _end(pen: Pen, first: Visit) -> None:
    person, dice = pen.person, pen.dice
    age = person.age(TODAY)
    if not dice.chance(0.45 if age > 85 else 0.15 if age > 70 else 0.01):
        return
    latest = max(fact.recorded.at for fact in pen.chart.facts)
    moment = latest + timedelta(days=dice.between(2, 20), hours=dice.between(0, 20))
    # Death is the last fact: a story that reaches the day of the export leaves no room for it.
    if moment.date() < TODAY:
        person.died = local(person.hospital.zone, moment.replace(microsecond=0)).written(
            dice.pick(["second", "day", "utc"])
        )
