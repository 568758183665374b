"""Stories that last for years: diabetes, hypertension, lungs, heart, kidney, depression, Parkinson."""

from __future__ import annotations

from mayo_data.synth.codes import code
from mayo_data.synth.facts import Value
from mayo_data.synth.pen import Pen


def diabetes(pen: Pen) -> None:
    """Type 2 diabetes: HbA1c creeps up, metformin helps, insulin follows; every half year a visit."""
    dice = pen.dice
    start = dice.around(3.9, 0.6)
    level = dice.around(7.4, 0.6)
    visit = pen.visit("followup", pen.day(years=start), reason="diabetes2")
    pen.diagnose("diabetes2", visit, precision=dice.pick(["day", "month"]))
    if dice.chance(0.6):
        pen.diagnose("hyperlipidemia", visit, precision="year", years_ago=1)
        pen.prescribe("atorvastatin", visit)
    pen.prescribe("metformin", visit, refills=3)
    pen.plan("diabetes_plan", visit, ["diet", "activity"], "HbA1c below 7%", (code("lab", "hba1c"), "7.0"))
    pen.implant("glucose_meter", visit, "Lumina Diagnostics", "G-20")
    pen.labs(visit, {"hba1c": level, "glucose": level * 22})
    on_insulin = False
    count = dice.between(3, 5)
    for index in range(count):
        level += dice.around(-0.35 if index == 0 else 0.35, 0.3)
        visit = pen.visit("followup", pen.day(years=start - 0.55 * (index + 1)), reason="diabetes2")
        results = pen.labs(visit, {"hba1c": level, "glucose": level * 22, "creatinine": None, "egfr": None})
        if index % 2:
            pen.labs(visit, {"acr": abs(dice.around(24, 22))}, sample="urine")
        pen.prescribe("metformin", visit, dose="1000" if level > 8 else "500")
        if level > 8 and not on_insulin:
            on_insulin = True
            pen.prescribe("insulin", visit, days=30, refills=5)
            pen.note("pharmacy_note", visit, problem="diabetes2", drug="insulin")
        elif index % 2 == 0:
            pen.note(
                dice.pick(["progress_note", "consult_letter", "dictation"]),
                visit,
                results=results,
                problem="diabetes2",
                drug="metformin",
            )
    pen.note(
        "telephone_note",
        pen.visit("telephone", pen.day(years=0.5), reason="diabetes2", hours=0.2),
        problem="diabetes2",
        drug="metformin",
    )


def hypertension(pen: Pen) -> None:
    """Essential hypertension: pressure falls as drugs are added."""
    dice = pen.dice
    start, pressure = dice.around(3.5, 0.8), dice.around(162, 12)
    for index, drug in enumerate(["lisinopril", "amlodipine", "hctz"][: dice.between(2, 3)]):
        visit = pen.visit("followup", pen.day(years=start - 0.7 * index), reason="hypertension", vitals=False)
        pen.vitals(visit, systolic=pressure)
        if index == 0:
            pen.diagnose("hypertension", visit, precision="month", years_ago=0.5)
        pen.prescribe(drug, visit, refills=3)
        pen.panel(visit)
        if index == 1:
            pen.operate("ecg", visit, minutes=10)
            strip = Value("SampledData", " ".join(str(dice.between(95, 140)) for _ in range(24)), "mV", other="4")
            pen.measure(code("finding", "ecg_lead"), strip, visit, "procedure")
        pressure -= dice.around(13, 6)
        if dice.chance(0.6):
            pen.note("progress_note", visit, problem="hypertension", drug=drug)
    pen.drug("aspirin", visit, "statement", days=365, remark="Takes it over the counter.")
    pen.note("nursing_note", visit, after=0.2, problem="hypertension", drug="lisinopril")


def copd(pen: Pen) -> None:
    """COPD: spirometry, inhalers, one or two admissions for exacerbation."""
    dice = pen.dice
    if pen.person.smoker == "never_smoker":
        pen.person.smoker = "former_smoker"
    visit = pen.visit("followup", pen.day(years=3.6), reason="copd")
    pen.diagnose("copd", visit, precision="year", years_ago=4)
    pen.operate("spirometry", visit, minutes=20)
    ratio = code("finding", "fev1_fvc")
    pen.measure(ratio, pen.quantity(ratio, dice.around(58, 9)), visit, "procedure")
    pen.prescribe("albuterol", visit, days=30, refills=5)
    pen.prescribe("salmeterol", visit, days=30, refills=5)
    for index in range(dice.between(1, 2)):
        door = pen.day(years=2.4 - index * 1.3, hour=dice.between(2, 20))
        emergency = pen.visit("emergency", door, reason="copd_flare", staff=2, hours=5, ward=4)
        pen.note("triage_note", emergency, after=0.1, problem="copd_flare")
        stay = pen.visit(
            "inpatient",
            emergency.end.at,
            reason="copd_flare",
            staff=1,
            hours=24 * dice.between(2, 5) + 4,
            ward=dice.between(0, 3),
            discharge=dice.pick(["home", "snf"]),
        )
        pen.diagnose("copd_flare", stay, until=stay.end.at)
        pen.image("chest_xray", stay, "DX")
        pen.note("radiology_report", stay, after=2, study="chest_xray", problem="copd_flare")
        pen.labs(
            stay,
            {"wbc": dice.around(13, 3), "hemoglobin": None, "platelets": None, "crp": dice.around(48, 30)},
        )
        for dose in range(3):
            pen.drug("prednisone", stay, "administration", after=4 + dose * 24)
        pen.drug("azithromycin", stay, "administration", after=5)
        pen.drug("albuterol", stay, "statement", days=365)
        if dice.chance(0.4):
            pen.implant("nebulizer", stay, "Aerowell", "N3")
        pen.note(
            "discharge_summary",
            stay,
            after=(stay.end.at - stay.when.at).total_seconds() / 3600 - 1,
            problem="copd_flare",
            drug="prednisone",
        )
        if index == 0:
            pen.note("social_work_note", stay, after=30, problem="copd")
    pen.order(code("plan", "rehab"), stay, "deconditioning")


def asthma(pen: Pen) -> None:
    """Asthma, mostly of children: reliever, preventer, a night in the emergency department."""
    dice = pen.dice
    visit = pen.visit("followup", pen.day(years=2.6), reason="asthma")
    pen.diagnose("asthma", visit, precision="month", years_ago=0.2)
    pen.prescribe("albuterol", visit, days=30, refills=3)
    pen.note("progress_note", visit, problem="asthma", drug="albuterol")
    emergency = pen.visit("emergency", pen.day(years=1.6, hour=22), reason="asthma_flare", staff=2, hours=4, ward=4)
    pen.diagnose("asthma_flare", emergency, until=emergency.end.at)
    pen.drug("albuterol", emergency, "administration", after=0.5)
    pen.drug("prednisone", emergency, "administration", after=0.8, dose="20")
    pen.note("triage_note", emergency, after=0.1, problem="asthma_flare")
    pen.image("chest_xray", emergency, "DX")
    pen.note("radiology_report", emergency, after=1.4, study="chest_xray", problem="asthma_flare")
    visit = pen.visit("followup", pen.day(years=1.5), reason="asthma")
    pen.prescribe("fluticasone", visit, days=30, refills=5)
    pen.operate("spirometry", visit, minutes=15)
    ratio = code("finding", "fev1_fvc")
    pen.measure(ratio, pen.quantity(ratio, dice.around(78, 6)), visit, "procedure")
    pen.note(
        "telephone_note",
        pen.visit("telephone", pen.day(years=0.8), reason="asthma", hours=0.2),
        problem="asthma",
        drug="fluticasone",
    )


def heart_failure(pen: Pen) -> None:
    """Heart failure: echo, NT-proBNP, diuresis in hospital, weight comes down."""
    dice = pen.dice
    visit = pen.visit("followup", pen.day(years=2.9), reason="heart_failure", staff=7)
    pen.diagnose("heart_failure", visit, precision="month", years_ago=0.3)
    pen.operate("echo", visit, after=30, minutes=45, staff=7)
    ejection = code("finding", "ejection")
    pen.measure(ejection, pen.quantity(ejection, dice.around(32, 8)), visit, "procedure", after=31)
    for drug in ("metoprolol", "lisinopril", "furosemide"):
        pen.prescribe(drug, visit, refills=3)
    pen.plan("heart_plan", visit, ["salt", "activity"], "Weight within 2 kg of dry weight")
    pen.note("consult_letter", visit, problem="heart_failure", drug="metoprolol")
    hours = 24 * dice.between(3, 6) + 3
    stay = pen.visit(
        "inpatient",
        pen.day(years=1.7),
        reason="heart_failure_acute",
        staff=7,
        hours=hours,
        ward=2,
        discharge=dice.pick(["home", "home-health"]),
    )
    pen.diagnose("heart_failure_acute", stay, until=stay.end.at)
    pen.labs(
        stay,
        {
            "ntprobnp": dice.around(6200, 4000),
            "creatinine": dice.around(1.5, 0.3),
            "potassium": None,
            "sodium": 133,
        },
    )
    pen.image("chest_xray", stay, "DX")
    pen.note("radiology_report", stay, after=2, study="chest_xray", problem="heart_failure_acute")
    weight = dice.around(92, 12)
    for day in range(3):
        pen.drug("furosemide_iv", stay, "administration", after=3 + 24 * day)
        pen.measure(
            code("vital", "weight"),
            pen.quantity(code("vital", "weight"), weight - 1.2 * day),
            stay,
            "vital-signs",
            after=6 + 24 * day,
        )
        out = code("finding", "urine_output")
        pen.measure(
            out,
            Value("Range", str(1800 + 200 * day), out.unit, other=str(2400 + 200 * day)),
            stay,
            "vital-signs",
            after=20 + 24 * day,
        )
    pen.note("nursing_note", stay, after=12, problem="heart_failure_acute", drug="furosemide_iv")
    pen.note("discharge_summary", stay, after=hours - 2, problem="heart_failure_acute", drug="furosemide")
    if dice.chance(0.5):
        clinic = pen.visit("followup", pen.day(years=1.2), reason="atrial_fibrillation", staff=7)
        pen.diagnose("atrial_fibrillation", clinic)
        pen.operate("ecg", clinic, minutes=10)
        pen.prescribe("warfarin", clinic, days=30, refills=5)
        pen.implant("pacemaker", clinic, "Corvane", "PX-9")


def kidney(pen: Pen) -> None:
    """Chronic kidney disease from stage 3 to 4, with anemia."""
    dice = pen.dice
    rate = dice.around(48, 5)
    count = dice.between(3, 5)
    for index in range(count):
        visit = pen.visit("followup", pen.day(years=3.7 - 0.8 * index), reason="ckd3" if rate >= 30 else "ckd4")
        results = pen.labs(
            visit,
            {
                "creatinine": 92 / rate,
                "egfr": rate,
                "bun": 1100 / rate,
                "potassium": dice.around(4.9, 0.4),
                "hemoglobin": 9 + rate / 16,
            },
        )
        pen.labs(visit, {"acr": dice.around(180, 90)}, sample="urine")
        if index == 0:
            pen.diagnose("ckd3", visit, precision="month", years_ago=0.5)
            pen.prescribe("lisinopril", visit)
        if index == 1:
            pen.diagnose("anemia", visit)
            pen.prescribe("iron", visit, days=60)
            clump = Value("Ratio", "1", other=dice.pick(["80", "160", "320"]))
            pen.measure(code("finding", "titre"), clump, visit, "laboratory")
        if rate < 30 and index:
            pen.diagnose("ckd4", visit)
        if index == count - 1:
            pen.note("consult_letter", visit, results=results, problem="ckd3", drug="lisinopril")
        if index == 1:
            pen.note("lab_comment", visit, after=26, results=results)
        rate -= dice.around(5, 3)


def depression(pen: Pen) -> None:
    """Depression: PHQ-9 falls under sertraline and talking."""
    dice = pen.dice
    score = dice.between(14, 22)
    for index in range(3):
        visit = pen.visit("followup", pen.day(years=1.9 - index * 0.35), reason="depression", staff=8)
        level = min(3, max(0, score // 6))
        pen.survey(
            visit,
            [("phq_interest", level), ("phq_mood", max(0, level - index % 2))],
            f"Filled in with help of {pen.contact().name.plain}." if dice.chance(0.3) else "",
        )
        total = code("finding", "phq9")
        pen.measure(total, pen.quantity(total, score), visit, "survey")
        if index == 0:
            pen.diagnose("depression", visit, precision="month")
            if dice.chance(0.5):
                pen.diagnose("anxiety", visit, precision="year", years_ago=3)
            pen.note("psychiatry_note", visit, problem="depression", drug="sertraline")
        pen.prescribe("sertraline", visit, days=30, refills=2, dose=["50", "100", "100"][index])
        pen.operate("psychotherapy", visit, minutes=45)
        score = max(2, score - dice.between(3, 7))
    pen.note(dice.pick(["psychiatry_note", "social_work_note"]), visit, problem="depression", drug="sertraline")


def parkinson(pen: Pen) -> None:
    """Parkinson disease: an eponym that must survive, with therapy and falls."""
    visit = pen.visit("followup", pen.day(years=2.2), reason="parkinson", staff=1)
    pen.diagnose("parkinson", visit, precision="year", years_ago=2)
    pen.note("consult_letter", visit, problem="parkinson", drug="aspirin")
    for index in range(2):
        visit = pen.visit("followup", pen.day(years=1.6 - index * 0.1), reason="parkinson", staff=14)
        pen.operate("physio", visit, minutes=45)
        pain = code("finding", "pain")
        pen.measure(pain, Value("integer", str(pen.dice.between(1, 6)), pain.unit), visit, "survey")
    pen.note("therapy_note", visit, problem="parkinson")
    pen.note("portal_message", pen.visit("telephone", pen.day(years=0.4), hours=0.2), problem="parkinson")
