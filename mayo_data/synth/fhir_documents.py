"""Notes, reports and imaging studies as FHIR R4."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

from mayo_data.synth.facts import Chart, Imaging, Note
from mayo_data.synth.fhir_ids import id_of, start
from mayo_data.synth.fhir_parts import Json, concept, meta, reference, second, staff, term


def imaging(chart: Chart, fact: Imaging) -> Iterator[Json]:
    """Yield the ImagingStudy."""
    found = start(chart, fact)
    dicom = "http://dicom.nema.org/resources/ontology/DCM"
    plain = {"system": "urn:ietf:rfc:3986", "code": "urn:oid:1.2.840.10008.5.1.4.1.1.1.1"}
    modality = {"system": dicom, "code": fact.modality}
    found |= {
        "identifier": [
            {"system": "urn:dicom:uid", "value": f"urn:oid:{fact.uid}"},
            {"type": term("v2-0203", "ACSN"), "value": fact.accession},
        ],
        "status": "available",
        "modality": [modality],
        "started": fact.when.iso(),
        "numberOfSeries": 1,
        "numberOfInstances": 1,
        "procedureCode": [concept(fact.code)],
        "description": fact.code.short,
        "series": [
            {
                "uid": f"{fact.uid}.1",
                "number": 1,
                "modality": modality,
                "started": fact.when.iso(),
                "instance": [{"uid": f"{fact.uid}.1.1", "sopClass": plain, "number": 1}],
            }
        ],
    }
    yield found


def document(chart: Chart, fact: Note) -> Iterator[Json]:
    """Yield the DocumentReference or DiagnosticReport with its text, and for half of them who signed it."""
    raw = fact.text.encode()
    attachment: Json = {
        "contentType": "text/plain" if fact.key % 2 else "text/plain; charset=utf-8",
        "language": "en-US",
        "data": base64.b64encode(raw).decode(),
        "title": fact.code.name,
        "creation": second(fact.recorded),
    }
    found = start(chart, fact, encounter="" if fact.home == "DocumentReference" else "encounter")
    if fact.home == "DiagnosticReport":
        lab = fact.type == "lab_comment"
        found |= {
            "status": "final",
            "category": [term("v2-0074", {"lab_comment": "LAB", "pathology_report": "PAT"}.get(fact.type, "RAD"))],
            "code": concept(fact.code),
            "effectiveDateTime": fact.when.iso(),
            "issued": second(fact.recorded),
            "performer": [staff(fact.staff)],
            "presentedForm": [attachment],
        }
        if lab and fact.results:
            found["result"] = [reference("Observation", id_of(chart.person, result)) for result in fact.results]
    else:
        attachment |= {"size": len(raw), "hash": base64.b64encode(hashlib.sha1(raw).digest()).decode()}  # noqa: S324  FHIR asks for SHA-1
        found |= {
            "status": "current",
            "docStatus": "final",
            "type": concept(fact.code),
            "category": [
                term(
                    "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category",
                    "clinical-note",
                )
            ],
            "date": second(fact.recorded),
            "author": [staff(fact.staff)],
            "custodian": reference("Organization", chart.person.hospital.id, chart.person.hospital.name),
            "content": [{"attachment": attachment}],
            "context": {"period": {"start": fact.when.iso()}},
        }
        if fact.visit:
            found["context"]["encounter"] = [reference("Encounter", id_of(chart.person, fact.visit))]
    yield found
    if fact.key % 2:
        yield {
            "resourceType": "Provenance",
            "id": id_of(chart.person, fact, "Provenance"),
            "meta": meta(fact.recorded),
            "target": [reference(fact.home, id_of(chart.person, fact))],
            "recorded": second(fact.recorded),
            "agent": [{"type": term("provenance-participant-type", "author"), "who": staff(fact.staff)}],
        }
