"""What the ledger says, in the words of others: OpenLineage, W3C PROV, Croissant, FHIR, cards for people.

Every module is a pure function of an `Account` (ledger records, manifest, counts): the same account gives the same
bytes. Only `transport` can reach a network, and only when it is called.
"""
