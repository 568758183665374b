"""De-identified FHIR resources become events: which elements, under which codes, at which times.

`normalize.Normalize` is the stage; `paths` lists every element that it reads, so that a PHI policy can be
checked to keep them. The mapping itself is data: `schemas/fhir/events.toml`.
"""

from __future__ import annotations


def paths(mapping: str = "fhir") -> dict[str, set[str]]:
    """Return, for each resource type, the FHIR element paths that become events.

    The PHI policies' tests use it: what a policy drops there, no timeline can show.

    Args:
        mapping: Folder under `schemas/` that holds `events.toml`.

    >>> "component.valueQuantity" in paths()["Observation"]
    True
    """
    from mayo_data.events import answers, subject
    from mayo_data.events import mapping as compiled

    written = {"Patient": set(subject.PATHS), "QuestionnaireResponse": set(answers.PATHS)}
    return {**compiled.paths(mapping), **written}
