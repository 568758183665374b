"""Lineage: the ledger of what was done, and the way back from an event to its source.

Submodules are imported by name (`from mayo_data.lineage import ledger`).
"""
