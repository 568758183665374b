"""The accounts of a run: at every arrow, rows in = rows out + rows dropped, by reason."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from mayo_data import assets
from mayo_data.types import Step


def check(steps: Sequence[Step]) -> list[str]:
    """Return what does not add up in the arrows of a run, in their order; empty when no row was lost.

    A step may hand on something else than it counted in (resources in, events out): then the next one's
    `rows_in` must be one of its `produced` counts.

    Args:
        steps: The arrows, in the order of the data flow.

    Returns:
        One sentence a fault: names and counts, never a value.

    >>> check([Step("read", 3, 3), Step("scrub", 3, 1, {"bad_json": 1})])
    ['scrub: 3 rows in, 1 out, 1 dropped: 1 lost']
    >>> check([Step("normalize", 2, 2, produced={"events": 9}), Step("build", 9, 9)])
    []
    """
    known = assets.toml("schemas", "reasons.toml")
    faults: list[str] = []
    for step in steps:
        dropped = sum(step.dropped.values())
        lost = step.rows_in - step.rows_out - dropped
        if lost:
            what = f"{lost} lost" if lost > 0 else f"{-lost} from nowhere"
            faults.append(f"{step.name}: {step.rows_in} rows in, {step.rows_out} out, {dropped} dropped: {what}")
        if min(step.rows_in, step.rows_out, *step.dropped.values(), *step.produced.values()) < 0:
            faults.append(f"{step.name}: a count is negative")
        unlisted = sorted(reason for reason in step.dropped if reason not in known.get(step.name, {}))
        faults += [f"{step.name}: {reason} is no reason of schemas/reasons.toml" for reason in unlisted]
    for before, after in pairwise(steps):
        if after.rows_in not in {before.rows_out, *before.produced.values()}:
            faults.append(f"{before.name} gave {before.rows_out} rows, {after.name} took {after.rows_in}")
    return faults
