"""Notes without any PHI keep their words: at most .3 % of the letters and digits may go."""

from __future__ import annotations

import pytest

from mayo_data.phi.detector import Detector

NOTES = [
    """Chief complaint: shortness of breath. The patient describes two weeks of worsening dyspnea on exertion, orthopnea and
leg swelling. He denies chest pain, fever, cough or calf pain. He ran out of furosemide and had been eating canned soup
most evenings. Past history includes hypertension, type 2 diabetes, hyperlipidemia, obstructive sleep apnea and stage 3
chronic kidney disease. Surgical history: appendectomy, right knee arthroscopy, laparoscopic cholecystectomy.""",
    """Vitals: temperature 98.4 F, heart rate 104, blood pressure 158/92, respiratory rate 22, oxygen saturation 91% on room
air, weight 104.2 kg, BMI 33.1. General: no acute distress, speaking in full sentences. Neck: jugular venous pressure
12 cm. Heart: irregularly irregular, 2/6 holosystolic murmur at the apex. Lungs: bibasilar crackles. Abdomen: soft,
nontender. Extremities: 2+ pitting edema to the knees, pulses 2+ throughout. Neuro: strength 5/5, reflexes 2+, gait
not tested, Babinski downgoing, Romberg negative.""",
    """Labs: sodium 134, potassium 4.9, chloride 101, bicarbonate 24, BUN 38, creatinine 1.7 (baseline 1.4), glucose 201,
hemoglobin A1c 8.3%, WBC 8.2, hemoglobin 11.4, platelets 212, NT-proBNP 6,840, troponin I 0.03 then 0.04, TSH 2.1,
ferritin 41, INR 1.1, lactate 1.4. Urinalysis: specific gravity 1.018, protein 2+, no nitrites. Arterial blood gas on
2 liters: 7.38/44/68/25. ECG: atrial fibrillation at 102, left axis deviation, QTc 462 ms, no ST elevation.""",
    """Assessment and plan: 1. Acute on chronic heart failure with preserved ejection fraction, NYHA class III, likely from
dietary indiscretion and missed doses. Furosemide 40 mg IV twice daily, strict intake and output, daily weights, 2 g
sodium diet. Echocardiogram in the morning. 2. Atrial fibrillation: CHA2DS2-VASc 5, HAS-BLED 2; continue apixaban 5 mg
twice daily, metoprolol succinate 50 mg daily. 3. Diabetes: hold metformin, basal insulin 12 units at bedtime, sliding
scale. 4. CKD stage 3b: avoid NSAIDs, renally dose medications. 5. Prophylaxis: on anticoagulation. Full code.""",
    """Operative findings: the gallbladder was distended with a thickened wall and pericholecystic fluid. The critical view
of safety was obtained; the cystic duct and artery were clipped twice proximally and once distally and divided. A 5 mm
trocar was placed under direct vision. Hemostasis was confirmed with electrocautery. Estimated blood loss 25 mL. A
10 French Jackson-Pratt drain was left in the gallbladder fossa. The fascia was closed with 0 Vicryl and the skin with
4-0 Monocryl and Dermabond. Counts were correct twice. The patient was extubated and taken to recovery in stable
condition.""",
    """CT of the abdomen and pelvis with contrast: the liver is normal in size. A 1.2 x 0.9 cm hypodensity in segment 4 is
too small to characterize. No biliary dilatation. Spleen, pancreas and adrenals are unremarkable. Bosniak II cyst in
the left kidney, 2.4 cm. Diverticulosis without diverticulitis. No free air. Degenerative changes at L4-L5 and L5-S1
with grade 1 anterolisthesis. Impression: no acute abnormality. Follow-up ultrasound in 6 months. Fleischner criteria
do not apply.""",
    """Nursing: alert and oriented x4, pain 3/10 after oxycodone 5 mg. Foley draining 300 mL clear yellow urine. Braden 18,
Morse fall scale 45, bed alarm on, call light in reach. Turned every 2 hours, heels floated, sacrum intact. PICC line
dressing clean, dry and intact, flushes easily. Ambulated 150 feet with walker and standby assist. Ate 75% of lunch.
Incentive spirometer to 1250 mL, 10 times an hour. Glucose 163 before dinner, 4 units of insulin lispro given.""",
    """Psychiatry: mood "so-so", affect constricted but reactive, thought process linear, no delusions, denies suicidal or
homicidal ideation. PHQ-9 14, GAD-7 11, AUDIT 4. Sertraline was increased from 50 to 100 mg. Sleep hygiene and
cognitive behavioral therapy were discussed. Safety plan reviewed. Return in 4 weeks. Lithium level 0.7, TSH normal.""",
    """Physical therapy: transfers sit to stand with contact guard, gait 200 feet with rolling walker, Berg balance 42/56,
Timed Up and Go 17 seconds, Tinetti 19/28, MMT 4/5 in the quadriceps and 4-/5 in hip abductors. Exercises: bridges
3 x 10, clamshells 3 x 12, heel raises 2 x 15, Epley maneuver once for posterior canal vertigo with Dix-Hallpike
positive on the right. Plan 3 times a week for 4 weeks.""",
    """Obstetrics: G3P2 at 38 weeks and 2 days by first trimester ultrasound, Bishop score 8, cervix 4/80/-1, vertex by
Leopold maneuvers, fetal heart rate 140s with moderate variability, category I, contractions every 3 to 4 minutes. GBS
negative, Rh positive, rubella immune, hepatitis B negative. Apgar scores 8 and 9. Birth weight 3,410 g. Second degree
laceration repaired with 3-0 Vicryl. Estimated blood loss 350 mL. Oxytocin 30 units in 500 mL.""",
    """Pathology: sections show invasive ductal carcinoma, Nottingham grade 2 (tubules 3, nuclei 2, mitoses 1), 1.4 cm,
margins negative by 3 mm, no lymphovascular invasion, 0/3 sentinel nodes, pT1c pN0. ER 95%, PR 80%, HER2 1+ by
immunohistochemistry, Ki-67 12%. Gleason is not applicable. Congo red and Masson trichrome were not performed. The
Oncotype score is 14.""",
    """Ophthalmology: visual acuity 20/40 right and 20/25 left with correction, pressures 16 and 15 by Goldmann applanation.
Slit lamp: trace nuclear sclerosis, no cells or flare. Dilated exam: cup to disc 0.4 and 0.5, no hemorrhages, drusen in
both maculae. OCT shows no fluid. Continue latanoprost at bedtime. Amsler grid weekly. Return in 6 months.""",
    """DISCHARGE INSTRUCTIONS: TAKE AMOXICILLIN 500 MG THREE TIMES A DAY FOR 7 DAYS. DRINK PLENTY OF FLUIDS. DO NOT DRIVE
WHILE TAKING OPIOIDS. CALL IF YOU HAVE FEVER OVER 101, WORSENING PAIN, BLEEDING OR TROUBLE BREATHING. KEEP THE WOUND
DRY FOR 48 HOURS. NO LIFTING OVER 10 POUNDS FOR 6 WEEKS. FOLLOW UP WITH YOUR PRIMARY CARE CLINIC IN 2 WEEKS.""",
    """Pediatrics: 9 month old with 3 days of barking cough and stridor at rest, Westley croup score 4. Given dexamethasone
0.6 mg/kg and racemic epinephrine. Tolerating feeds, 5 wet diapers in 24 hours. Immunizations up to date. Weight at the
60th percentile, length at the 45th, head circumference at the 50th. Tympanic membranes clear. Kawasaki disease was
considered and is unlikely. Parents understand when to return.""",
    """Dental: #3 MOD composite with recurrent decay, #14 crown intact, #19 periapical radiolucency, probing depths 3-2-3
and 4-3-5. Local anesthesia with 2 carpules of lidocaine 2% with epinephrine 1:100,000. Rubber dam placed. Root canal
working lengths 19, 20 and 21 mm. Temporary restoration with Cavit. Ibuprofen 600 mg every 6 hours as needed.""",
    """Pharmacy: vancomycin trough 18.2, AUC/MIC 520, dose changed to 1,250 mg every 12 hours. Creatinine clearance 62 mL/min
by Cockcroft-Gault. Interactions: amiodarone with simvastatin, limit to 20 mg. Warfarin 5 mg on alternate days with
2.5 mg, INR goal 2 to 3. Eliquis, Lasix, Norvasc and Synthroid reconciled. Naloxone kit offered.""",
]


@pytest.mark.parametrize("model", [None, "fast"], ids=["patterns", "model"])
def test_clinical_text_stays(model: str | None) -> None:
    kept = taken = 0
    lost = []
    for text, spans in zip(NOTES, Detector(model).detect(NOTES), strict=True):
        kept += sum(map(str.isalnum, text))
        for span in spans:
            lost.append((text[span.start : span.end], span.category, span.recognizer))
            taken += sum(map(str.isalnum, text[span.start : span.end]))
    assert taken / kept <= 0.003, lost
