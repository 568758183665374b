from __future__ import annotations

import pytest

from mayo_data.lineage import steps
from mayo_data.types import Step


def test_accounts_that_balance() -> None:
    flow = [
        Step("read", 10, 10),
        Step("scrub", 10, 7, {"bad_json": 1, "not_about_a_patient": 2}),
        Step("normalize", 7, 6, {"entered_in_error": 1}, {"events": 40}),
        Step("build", 40, 38, {"superseded": 2}),
    ]
    assert steps.check(flow) == []
    assert steps.check([]) == []


@pytest.mark.parametrize(
    ("flow", "fault"),
    [
        ([Step("scrub", 5, 3, {"bad_json": 1})], "scrub: 5 rows in, 3 out, 1 dropped: 1 lost"),
        ([Step("scrub", 5, 6)], "scrub: 5 rows in, 6 out, 0 dropped: 1 from nowhere"),
        ([Step("read", 5, 5), Step("scrub", 4, 4)], "read gave 5 rows, scrub took 4"),
        (
            [Step("normalize", 5, 5, {}, {"events": 9}), Step("build", 8, 8)],
            "normalize gave 5 rows, build took 8",
        ),
        ([Step("scrub", 1, 0, {"because": 1})], "scrub: because is no reason of schemas/reasons.toml"),
        ([Step("scrub", 1, 2, {"bad_json": -1})], "scrub: a count is negative"),
    ],
)
def test_each_fault_is_named(flow: list[Step], fault: str) -> None:
    assert steps.check(flow) == [fault]
