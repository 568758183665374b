"""Invents patients: one set of facts, written as FHIR R4, as OMOP CDM 5.4 and as notes with gold PHI spans.

Everything is made up, and everything follows from the seed: the first ten patients of a hundred are the ten
patients of ten. `generate` writes an export; the modules below it are only loaded when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mayo_data.synth.export import SynthReport, generate

__all__ = ["SynthReport", "generate"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from mayo_data.synth import export

        return getattr(export, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
