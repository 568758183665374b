"""SQL on FHIR: ViewDefinitions in, SQL text out. Nothing here runs SQL."""
