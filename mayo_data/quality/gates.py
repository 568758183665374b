"""The gates G0 to G4: native Arrow checks on every batch and shard, verdicts at the end.

A check counts violations; it never carries a value. Gate and check names are the contract with the ledger.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mayo_data import assets
from mayo_data.config import GatesConfig
from mayo_data.types import Step, Verdict

_MICROSECONDS_A_YEAR = 31_556_952_000_000
_FEW = 1000  # below so many rows a share says little, and G1 only warns


def events(batch: pa.RecordBatch, rules: GatesConfig) -> Counter[str]:
    """Count what gate G2 minds in staged events: live rows of table `staged`.

    Args:
        batch: Live staged rows.
        rules: Limits of plausibility.
    """
    counts: Counter[str] = Counter(events=batch.num_rows)
    counts["code_missing"] = int(batch.column("code").null_count)
    counts["subject_missing"] = int(batch.column("subject_id").null_count)
    time = batch.column("time").cast(pa.int64())
    low = (rules.earliest_year - 1970) * _MICROSECONDS_A_YEAR
    high = (rules.latest_year + 1 - 1970) * _MICROSECONDS_A_YEAR
    outside = pc.or_(pc.less(time, low), pc.greater(time, high))
    counts["time_implausible"] = _true(outside)
    counts["end_before_start"] = _true(pc.less(batch.column("end_time").cast(pa.int64()), time))
    numeric = batch.column("numeric_value")
    counts["number_not_finite"] = _true(pc.invert(pc.is_finite(numeric)))
    return +counts


def shard(events: pa.Table, number: int, shards: int) -> Counter[str]:
    """Count what gate G3 minds in a finished shard: table `events`.

    Args:
        events: All events of the shard, in order.
        number: Number of the shard.
        shards: Number of shards.
    """
    counts: Counter[str] = Counter(events=events.num_rows)
    subject = np.asarray(events.column("subject_id"))
    if len(subject) == 0:
        return counts
    time = np.asarray(pc.fill_null(events.column("time").cast(pa.int64()), np.iinfo(np.int64).min))
    step_back = subject[1:] < subject[:-1]
    counts["subject_out_of_order"] = int(step_back.sum())
    counts["time_out_of_order"] = int(((subject[1:] == subject[:-1]) & (time[1:] < time[:-1])).sum())
    counts["subject_in_wrong_shard"] = int((subject % shards != number).sum())
    counts["subjects"] = len(np.unique(subject))
    return +counts


def source_verdicts(files: int, broken: int, rows: int) -> list[Verdict]:
    """Return the verdicts of G0: is there something to read, and is it whole?"""
    return [
        Verdict("G0", "files_found", files > 0, f"{files} files"),
        Verdict("G0", "rows_found", rows > 0, f"{rows} rows"),
        Verdict("G0", "files_whole", broken == 0, f"{broken} damaged files", "quarantine"),
    ]


def manifest_verdict(listed: int, wrong: int) -> Verdict:
    """Return the verdict of G0 on a manifest: does every file hold as many resources as the server says?

    Args:
        listed: Files whose number of resources the manifest says.
        wrong: Files that hold another number.
    """
    said = f"{wrong} of {listed} files hold another number of resources than manifest.json says"
    return Verdict("G0", "manifest_counts", wrong == 0, said, "quarantine")


def resource_verdicts(steps: Sequence[Step], rules: GatesConfig) -> list[Verdict]:
    """Return the verdicts of G1: how much went to the quarantine, and does every row have a fate?"""
    reasons = assets.toml("schemas", "reasons.toml")
    rows = steps[0].rows_in if steps else 0
    bad = sum(
        count
        for step in steps
        for reason, count in step.dropped.items()
        if reasons.get(step.name, {}).get(reason, {}).get("quarantine")
    )
    share = bad / rows if rows else 0.0
    seen = f"{bad} of {rows} rows ({share:.2%})"
    stop = rows >= _FEW and share > rules.stop_quarantined
    return [
        Verdict("G1", "quarantined_share", not stop, seen, "stop"),
        Verdict("G1", "quarantined_some", share <= rules.warn_quarantined, seen, "warn"),
        *(
            Verdict("G1", f"{step.name}_accounted", step.balanced, f"{step.rows_in} in, {step.rows_out} out")
            for step in steps
        ),
    ]


def table_verdict(tables: Sequence[Step]) -> Verdict:
    """Return the verdict of G1 on the tables of an OMOP export: does every row of every table have a fate?

    Args:
        tables: What became of the rows of each table.
    """
    lost = [table.name for table in tables if not table.balanced]
    said = f"every row of {len(tables)} tables has a fate" if not lost else "rows lost in " + ", ".join(lost)
    return Verdict("G1", "tables_accounted", not lost, said)


def name_verdict(nameless: int, model: str) -> Verdict:
    """Return the verdict of G1 on people with notes whose name the record does not say, as in an OMOP export alone.

    Neither the known identifiers nor the leak audit can look for such a name: the notes rest on patterns and the model.

    Args:
        nameless: How many such people there are.
        model: What reads free text, as in the pipeline file; `none` for patterns alone.
    """
    rests = "patterns (the model is off)" if model == "none" else "patterns and the model"
    said = f"{nameless} people with notes are nowhere named: the leak audit cannot seek their names, {rests} did"
    return Verdict("G1", "names_known", nameless == 0, said, "warn")


def event_verdicts(counts: Mapping[str, int], rules: GatesConfig) -> list[Verdict]:
    """Return the verdicts of G2 from the summed counts of `events`."""
    total = counts.get("events", 0)
    odd = counts.get("time_implausible", 0)
    share = odd / total if total else 0.0

    def none(name: str, action: str = "stop") -> Verdict:
        found = counts.get(name, 0)
        return Verdict("G2", name, found == 0, f"{found} of {total} events", action)  # type: ignore[arg-type]

    return [
        Verdict("G2", "events_found", total > 0, f"{total} events"),
        none("code_missing"),
        none("subject_missing"),
        none("number_not_finite"),
        Verdict("G2", "time_implausible", share <= rules.stop_implausible, f"{odd} of {total} events"),
        none("end_before_start", "warn"),
    ]


def shard_verdicts(counts: Mapping[str, int]) -> list[Verdict]:
    """Return the verdicts of G3 from the summed counts of `shard`."""
    total = counts.get("events", 0)
    return [
        Verdict("G3", name, counts.get(name, 0) == 0, f"{counts.get(name, 0)} of {total} events")
        for name in ("subject_out_of_order", "time_out_of_order", "subject_in_wrong_shard")
    ]


def leak_verdict(leaks: int) -> Verdict:
    """Return the verdict of the leak audit, the last check before anything is written into the store.

    Args:
        leaks: Identifiers that it found.
    """
    return Verdict("G4", "no_phi_leak", leaks == 0, f"{leaks} identifiers found")


def snapshot_verdicts(rules_broken: Mapping[str, int], faults: Sequence[str]) -> list[Verdict]:
    """Return the verdicts of G4: a valid dataset, balanced accounts.

    Args:
        rules_broken: MEDS rules that the draft breaks, and how often.
        faults: Sentences about arrows that do not balance.
    """
    valid = "every rule holds" if not rules_broken else ", ".join(sorted(rules_broken))
    return [
        Verdict("G4", "valid_meds_dataset", not rules_broken, valid),
        Verdict("G4", "rows_accounted", not faults, "every arrow balances" if not faults else "; ".join(faults)),
    ]


def _true(mask: pa.Array) -> int:
    return int(pc.sum(pc.cast(mask, pa.int64())).as_py() or 0)
