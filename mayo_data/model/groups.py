"""Who a subject is, as groups that a model is measured by; never as features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mayo_data.model.features import History

if TYPE_CHECKING:
    from mayo_data.dataset import Dataset

ATTRIBUTES = ("sex", "race", "ethnicity")
BANDS = ((18, "0-17"), (40, "18-39"), (65, "40-64"), (80, "65-79"), (math.inf, "80 and over"))
UNKNOWN = "unknown"


def band(age: float) -> str:
    """Return the age band of an age in years.

    >>> band(17.9), band(80.0), band(math.nan)
    ('0-17', '80 and over', 'unknown')
    """
    return next((name for limit, name in BANDS if age < limit), UNKNOWN)


def of_samples(data: Dataset, histories: Sequence[History]) -> dict[str, list[str]]:
    """Return attribute to the group of each sample: sex, race and ethnicity as recorded, age at the prediction.

    Raises:
        StoreError: The snapshot cannot be read.
    """
    with data.connect() as db:
        columns = ", ".join(ATTRIBUTES)
        rows = db.execute(f"SELECT subject_id, {columns} FROM subject").fetchall()
    said = {row[0]: [value or UNKNOWN for value in row[1:]] for row in rows}
    nobody = [UNKNOWN] * len(ATTRIBUTES)
    found = {
        name: [said.get(one.subject_id, nobody)[place] for one in histories] for place, name in enumerate(ATTRIBUTES)
    }
    return {"age": [band(one.age) for one in histories], **found}
