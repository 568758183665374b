from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from mayo_data import schema
from mayo_data.config import GatesConfig
from mayo_data.quality import gates
from mayo_data.types import Step, Verdict

RULES = GatesConfig()
DAY = 86_400_000_000


def staged(*rows: dict[str, Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(
        [{"subject_id": 1, "code": "A", **row} for row in rows], schema=schema.table("staged")
    )


def stops(found: list[Verdict]) -> set[str]:
    return {verdict.check for verdict in found if not verdict.passed and verdict.action == "stop"}


def test_sound_events_pass() -> None:
    counts = gates.events(staged({"time": 0}, {"time": None}, {"time": 5, "end_time": 5, "numeric_value": 1.5}), RULES)
    assert counts == {"events": 3}
    assert stops(gates.event_verdicts(counts, RULES)) == set()


@pytest.mark.parametrize(
    ("row", "check", "stopped"),
    [
        ({"code": None}, "code_missing", True),
        ({"subject_id": None}, "subject_missing", True),
        ({"numeric_value": float("nan")}, "number_not_finite", True),
        ({"numeric_value": float("inf")}, "number_not_finite", True),
        ({"time": -300 * 366 * DAY}, "time_implausible", True),
        ({"time": 400 * 366 * DAY}, "time_implausible", True),
        ({"time": 5, "end_time": 4}, "end_before_start", False),
    ],
)
def test_each_check_of_events_sees_its_fault(row: dict[str, Any], check: str, stopped: bool) -> None:
    counts = gates.events(staged(row), RULES)
    assert counts[check] == 1
    assert (check in stops(gates.event_verdicts(counts, RULES))) is stopped
    assert any(verdict.check == check and not verdict.passed for verdict in gates.event_verdicts(counts, RULES))


def test_no_events_is_a_stop() -> None:
    assert stops(gates.event_verdicts({}, RULES)) == {"events_found"}
    assert stops(gates.source_verdicts(0, 0, 0)) == {"files_found", "rows_found"}
    assert stops(gates.source_verdicts(1, 1, 1)) == set()


def test_the_share_of_bad_rows_stops_a_large_run_only() -> None:
    def steps(rows: int, bad: int) -> list[Step]:
        return [Step("read", rows, rows), Step("scrub", rows, rows - bad, {"bad_json": bad})]

    assert stops(gates.resource_verdicts(steps(1000, 501), RULES)) == {"quarantined_share"}
    assert stops(gates.resource_verdicts(steps(1000, 500), RULES)) == set()
    assert stops(gates.resource_verdicts(steps(999, 999), RULES)) == set()
    dropped = [Step("read", 1000, 1000), Step("scrub", 1000, 0, {"type_not_in_policy": 1000})]
    assert stops(gates.resource_verdicts(dropped, RULES)) == set()  # dropped by policy is not bad
    assert stops(gates.resource_verdicts([Step("read", 3, 2)], RULES)) == {"read_accounted"}


def test_a_shard_must_be_in_order_and_hold_its_own_subjects() -> None:
    def shard(subjects: list[int], times: list[int | None]) -> pa.Table:
        rows = [
            {
                "subject_id": subject,
                "time": time,
                "code": "A",
                "source_table": 0,
                "source_row": 1,
                "source_item": 0,
                "scrub_ref": 0,
            }
            for subject, time in zip(subjects, times, strict=True)
        ]
        return pa.Table.from_pylist(rows, schema=schema.table("events"))

    assert stops(gates.shard_verdicts(gates.shard(shard([2, 2, 4], [None, 3, 1]), 0, 2))) == set()
    assert stops(gates.shard_verdicts(gates.shard(shard([4, 2], [1, 1]), 0, 2))) == {"subject_out_of_order"}
    assert stops(gates.shard_verdicts(gates.shard(shard([2, 2], [1, None]), 0, 2))) == {"time_out_of_order"}
    assert stops(gates.shard_verdicts(gates.shard(shard([3], [1]), 0, 2))) == {"subject_in_wrong_shard"}
    assert gates.shard(shard([], []), 0, 2)["events"] == 0


def test_the_last_gate() -> None:
    assert stops([*gates.snapshot_verdicts({}, []), gates.leak_verdict(0)]) == set()
    found = [*gates.snapshot_verdicts({"sorted": 2}, ["x"]), gates.leak_verdict(1)]
    assert stops(found) == {"valid_meds_dataset", "rows_accounted", "no_phi_leak"}
