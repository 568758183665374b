"""Stories with a beginning and an end: cancer, pregnancy, fracture, appendicitis, childhood, small things."""

from __future__ import annotations

from datetime import timedelta

from mayo_data.synth.codes import code
from mayo_data.synth.facts import Value
from mayo_data.synth.pen import Pen


def breast_cancer(pen: Pen) -> None:
    """Mammogram, biopsy, lumpectomy, four cycles of chemotherapy, aromatase inhibitor."""
    dice = pen.dice
    screen = pen.visit("office", pen.day(years=2.8))
    pen.image("mammogram", screen, "MG")
    pen.note("radiology_report", screen, after=3, study="mammogram", problem="breast_cancer")
    visit = pen.visit("followup", pen.day(years=2.6), reason="breast_cancer", staff=16)
    pen.diagnose("breast_cancer", visit)
    pen.measure(
        code("finding", "er_status"),
        Value("CodeableConcept", code=code("answer", "positive")),
        visit,
        "laboratory",
        delay=70,
    )
    stay = pen.visit("inpatient", pen.day(years=2.4, hour=7), reason="breast_cancer", staff=4, hours=30, ward=1)
    pen.operate("lumpectomy", stay, after=3, minutes=95, staff=4)
    pen.drug("morphine", stay, "administration", after=7)
    pen.drug("ondansetron", stay, "administration", after=8)
    pen.labs(stay, {"hemoglobin": None, "wbc": None, "platelets": None}, after=2)
    pen.note("operative_note", stay, after=6, operation="lumpectomy", problem="breast_cancer")
    pen.note("pathology_report", stay, after=90, problem="breast_cancer")
    pen.implant("port", stay, "Northline", "PowerPort 8F")
    for cycle in range(4):
        visit = pen.visit(
            "followup",
            stay.end.at + timedelta(days=30 + 21 * cycle),
            reason="breast_cancer",
            staff=16,
            hours=4,
        )
        pen.labs(
            visit,
            {"wbc": dice.around(4.6, 1.6), "hemoglobin": dice.around(11.2, 0.8), "platelets": None},
            after=0.2,
        )
        pen.drug("paclitaxel", visit, "administration", after=1.5)
    pen.note("nursing_note", visit, problem="breast_cancer", drug="paclitaxel")
    visit = pen.visit("followup", pen.day(years=1.5), reason="breast_cancer", staff=16)
    pen.prescribe("anastrozole", visit, refills=3)
    pen.note("consult_letter", visit, problem="breast_cancer", drug="anastrozole")


def pregnancy(pen: Pen) -> None:
    """A pregnancy from the first visit to the birth."""
    dice = pen.dice
    begin = pen.day(years=2.3)
    born = begin + timedelta(days=dice.between(265, 284))
    for index, week in enumerate((9, 20, 28, 36)):
        visit = pen.visit("prenatal", (begin + timedelta(weeks=week)).replace(hour=10), reason="pregnancy", staff=9)
        age = code("finding", "gestation")
        pen.measure(age, pen.quantity(age, week), visit, "exam")
        if index == 0:
            pen.diagnose("pregnancy", visit, until=born)
            pen.measure(code("finding", "lmp"), Value("dateTime", f"{begin:%Y-%m-%d}"), visit, "survey")
            pen.measure(
                code("finding", "due_date"),
                Value("dateTime", f"{begin + timedelta(days=280):%Y-%m-%d}"),
                visit,
                "survey",
            )
            pen.measure(code("finding", "pregnancies"), Value("integer", str(dice.between(1, 4))), visit, "survey")
            pen.labs(visit, {"hemoglobin": None, "platelets": None, "tsh": None})
            pen.labs(visit, {"acr": abs(dice.around(9, 8))}, sample="urine")
        if index == 1:
            pen.image("us_pregnancy", visit, "US")
            pen.note("radiology_report", visit, after=2, study="us_pregnancy", problem="pregnancy")
        if index == 2:
            pen.labs(visit, {"glucose": dice.around(118, 18)})
            pen.shot("tdap", visit)
            pen.note("progress_note", visit, problem="pregnancy", drug="iron")
    stay = pen.visit("inpatient", born.replace(hour=3), reason="delivery", staff=9, hours=50, ward=5)
    pen.diagnose("delivery", stay, until=stay.end.at)
    pen.operate(
        "delivery",
        stay,
        after=8,
        minutes=60,
        staff=9,
        remark=f"{pen.contact().name.given} present at the birth.",
    )
    for key, number in (("apgar1", 8), ("apgar5", 9)):
        item = code("finding", key)
        pen.measure(item, pen.quantity(item, number), stay, "exam", after=8.2)
    pen.drug("ibuprofen", stay, "administration", after=12)
    pen.note("nursing_note", stay, after=14, problem="delivery", drug="ibuprofen")
    pen.note("discharge_summary", stay, after=48, problem="delivery", drug="ibuprofen")


def hip_fracture(pen: Pen) -> None:
    """A fall, an operation, therapy, bisphosphonate."""
    dice = pen.dice
    emergency = pen.visit("emergency", pen.day(years=1.9, hour=6), reason="hip_fracture", staff=2, hours=4, ward=4)
    pen.note("triage_note", emergency, after=0.2, problem="hip_fracture")
    pen.image("hip_xray", emergency, "DX")
    pen.note("radiology_report", emergency, after=1.5, study="hip_xray", problem="hip_fracture")
    hours = 24 * dice.between(4, 7)
    stay = pen.visit(
        "inpatient", emergency.end.at, reason="hip_fracture", staff=5, hours=hours, ward=0, discharge="snf"
    )
    pen.diagnose(
        "hip_fracture",
        stay,
        until=stay.end.at + timedelta(days=90),
        remark=f"Fell at home; found by {pen.contact().name.plain}.",
    )
    pen.operate("hip_replacement", stay, after=20, minutes=110, staff=5)
    pen.implant("hip_prosthesis", stay, "Ostrava Orthopedics", "Corail-type 12")
    pen.note("operative_note", stay, after=24, operation="hip_replacement", problem="hip_fracture")
    pen.panel(stay)
    pen.labs(stay, {"hemoglobin": dice.around(9.4, 0.9), "wbc": None, "platelets": None}, after=30)
    for turn in range(3):
        pen.drug(dice.pick(["oxycodone", "acetaminophen"]), stay, "administration", after=26 + 8 * turn)
    pain = code("finding", "pain")
    pen.measure(pain, Value("integer", str(dice.between(4, 9)), pain.unit), stay, "survey", after=27)
    pen.operate("physio", stay, after=50, minutes=40, staff=14)
    pen.note("therapy_note", stay, after=51, problem="hip_fracture")
    pen.note("social_work_note", stay, after=70, problem="hip_fracture")
    pen.note("discharge_summary", stay, after=hours - 3, problem="hip_fracture", drug="oxycodone")
    visit = pen.visit("followup", pen.day(years=1.5), reason="osteoporosis")
    pen.diagnose("osteoporosis", visit, precision="year", years_ago=1)
    pen.prescribe("alendronate", visit)


def appendicitis(pen: Pen) -> None:
    """Belly pain at night, CT, laparoscopy, pathology."""
    dice = pen.dice
    emergency = pen.visit("emergency", pen.day(years=2.1, hour=1), reason="appendicitis", staff=2, hours=5, ward=4)
    pen.note("triage_note", emergency, after=0.1, problem="appendicitis")
    pen.labs(emergency, {"wbc": dice.around(15.2, 2.4), "crp": dice.around(62, 30), "hemoglobin": None})
    pen.image("ct_abdomen", emergency, "CT")
    pen.note("radiology_report", emergency, after=2.5, study="ct_abdomen", problem="appendicitis")
    stay = pen.visit("inpatient", emergency.end.at, reason="appendicitis", staff=4, hours=38, ward=3)
    pen.diagnose("appendicitis", stay, until=stay.end.at)
    pen.drug("piptazo", stay, "administration", after=0.5)
    pen.operate("appendectomy", stay, after=3, minutes=55, staff=4)
    pen.note("operative_note", stay, after=5, operation="appendectomy", problem="appendicitis")
    pen.drug("ondansetron", stay, "administration", after=6)
    pen.note("pathology_report", stay, after=60, problem="appendicitis")
    pen.note("discharge_summary", stay, after=36, problem="appendicitis", drug="ibuprofen")


def childhood(pen: Pen) -> None:
    """Vaccinations and ear infections."""
    dice = pen.dice
    for index, shots in enumerate((["dtap", "polio"], ["mmr", "varicella"])):
        visit = pen.visit("office", pen.day(years=3.3 - index * 0.9))
        for key in shots:
            pen.shot(key, visit)
    visit = pen.visit("office", pen.day(years=1.9), reason="otitis")
    pen.diagnose("otitis", visit, until=visit.end.at + timedelta(days=10))
    pen.drug("amoxicillin", visit, days=10, dose="250")
    pen.note(
        "telephone_note",
        pen.visit("telephone", visit.end.at + timedelta(days=2), reason="otitis", hours=0.2),
        problem="otitis",
        drug="amoxicillin",
    )
    if dice.chance(0.5):
        visit = pen.visit("office", pen.day(years=0.9), reason="pharyngitis")
        pen.diagnose("pharyngitis", visit, until=visit.end.at + timedelta(days=7))
        pen.note("progress_note", visit, problem="pharyngitis", drug="ibuprofen")


def small_things(pen: Pen) -> None:
    """A healthy life: a sprain, a urinary infection, a thyroid that is looked at."""
    dice = pen.dice
    visit = pen.visit("office", pen.day(years=2.0), reason="sprain")
    pen.diagnose(
        "sprain",
        visit,
        until=visit.end.at + timedelta(days=28),
        remark=f"Slipped at {pen.person.employer}." if dice.chance(0.5) else "",
    )
    pen.drug("ibuprofen", visit, "statement", days=10)
    pen.note("therapy_note", visit, problem="sprain")
    visit = pen.visit("office", pen.day(years=1.4), reason="uti")
    pen.diagnose("uti", visit, until=visit.end.at + timedelta(days=9))
    pen.labs(visit, {"acr": abs(dice.around(14, 10))}, sample="urine")
    pen.measure(
        code("finding", "urine_colour"),
        Value("string", dice.pick(["dark yellow", "amber, cloudy"])),
        visit,
        "laboratory",
        delay=2,
    )
    pen.measure(code("finding", "wbc_urine"), Value("Range", "10", "/[HPF]", other="20"), visit, "laboratory", delay=2)
    pen.measure(
        code("finding", "urine_culture"),
        Value("CodeableConcept", code=code("answer", "e_coli")),
        visit,
        "laboratory",
        delay=50,
    )
    pen.drug("amoxicillin", visit, days=7)
    pen.note(
        "telephone_note",
        pen.visit("telephone", visit.end.at + timedelta(days=3), reason="uti", hours=0.2),
        problem="uti",
        drug="amoxicillin",
    )
    if dice.chance(0.6):
        visit = pen.visit("followup", pen.day(years=0.9), reason="hypothyroidism")
        pen.labs(visit, {"tsh": dice.around(9.2, 3)})
        pen.diagnose("hypothyroidism", visit)
        pen.prescribe("levothyroxine", visit, dose="75")
        bedside = code("lab", "poc_glucose")
        pen.measure(bedside, pen.quantity(bedside, dice.around(112, 20)), visit, "laboratory")
        pen.note("pharmacy_note", visit, problem="hypothyroidism", drug="levothyroxine")
