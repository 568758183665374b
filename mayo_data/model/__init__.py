"""A reference consumer of the store: trains a model, serves it, and watches it drift.

It is here to show that the lineage holds from a prediction back to the source line, and to be read before a team
writes its own. On invented patients it measures the plumbing, not medicine.

Submodules are imported by name (`from mayo_data.model import training`).
"""
