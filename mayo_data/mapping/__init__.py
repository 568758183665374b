"""FHIR to OMOP: de-identified resources in, rows of CDM 5.4 tables out. Nothing here reads a file or runs SQL."""
