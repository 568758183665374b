"""Conformance: is this line a FHIR resource?

`fhir.resources` decides, and it is slow. So a fast acceptor, made from the shapes of its own models, lets through what
is certainly right, and only the rest is put before the library (`Validate`).
"""
