"""How fast a large store answers: `python benchmarks/query.py [--events 100000000] [--keep STORE]`.

Makes a store of simulated events in a temporary folder, with DuckDB and the library's own writer, seals it as a run
does, asks it through `md.connect` on two cores, and removes it. 100 M events need 10 GB of disk and some minutes;
`--keep` builds the store once, and the next time asks the one that is there.

As a run would: one file for every 64 MiB of input (118,000 events of Synthea), a subject in exactly one of them, events
in order. Codes are as skewed as in the public demo of MIMIC-IV: 20,000 of them, some thousands in a file.

Opening is `md.connect`. A timeline is `FROM timeline(subject)`, of subjects drawn at random, all rows fetched. The
count of codes reads the code of every event; that `code.n_events` knows the answer already is another line.

`FROM event WHERE subject_id = N` opens every file: which one holds a subject is the subject modulo their number, and
DuckDB skips a file by its name or a row group by its least and greatest value, but not by arithmetic on a column. The
macro `timeline` names the file; two thirds of what it then takes is DuckDB listing the folder with its 847 files.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
from rich.console import Console
from rich.table import Table

import mayo_data as md
from mayo_data import schema
from mayo_data.store import snapshot, write
from mayo_data.store.layout import Store

EVENTS_IN_A_FILE = 118_000
CODES = 20_000
KINDS = [
    *["OBSERVATION//LOINC"] * 5, "CONDITION//SNOMED", "PROCEDURE//SNOMED", "CLAIM_ITEM//CPT",
    "MEDICATION_REQUEST//RXNORM", "MEDICATION_ADMINISTRATION//RXNORM",
]  # fmt: skip
THREADS = 2

# Every number is drawn by a hash of the subject and the position, so the store is the same each time.
WHO = """
SELECT (hash(i) >> 1)::BIGINT AS subject_id, i AS who, 20 + (hash(i + 7) % 161)::INT AS n FROM range({subjects}) t(i)
"""
BOOK = """
SELECT i AS rank, {kinds}[1 + i * 7 % {k}] || '//' || (10000 + hash(i) % 90000) || '-' || i % 10 AS code
FROM range({codes}) t(i)
"""
FILE = """
WITH drawn AS (
  SELECT subject_id, who, k, hash(who * 1000 + k) AS h FROM (
    SELECT *, unnest(range(n)) AS k FROM who WHERE subject_id % {files} = {number})
), placed AS (
  SELECT *, least({codes} - 1, (53 * (pow(1 - 0.9486 * ((h >> 20) % 1000000) / 1000000.0, -2) - 1))::INT) AS rank,
         CASE WHEN k > 3 THEN make_timestamp((1262304000 + h % 473385600)::BIGINT * 1000000) END AS time,
         (h >> 8) % 2000 / 10.0 AS value FROM drawn
)
SELECT subject_id, time, code, CASE WHEN seen THEN value::FLOAT END AS numeric_value, NULL::VARCHAR AS text_value,
       CASE WHEN starts_with(code, 'COND') THEN time + INTERVAL 90 DAY END AS end_time,
       CASE WHEN seen THEN ['mg/dL', 'mmol/L', '%', 'kg'][1 + rank % 4] END AS unit, 'final' AS status,
       CASE WHEN seen THEN value::VARCHAR END AS value_text, (hash(who * 1000 + k // 20) >> 1)::BIGINT AS encounter_id,
       time AS available_time, CASE WHEN k > 3 THEN 'second' END AS time_precision,
       CASE WHEN k > 3 THEN -360 END::SMALLINT AS utc_offset, (h % 30)::INT AS source_table,
       ((h >> 3) % 10000000 + 1)::BIGINT AS source_row, 0 AS source_item, 0 AS scrub_ref
FROM (SELECT *, starts_with(code, 'OBS') AS seen FROM placed JOIN book USING (rank))
ORDER BY subject_id, time NULLS FIRST, source_table, source_row
"""
MEANINGS = """
SELECT code, 'What ' || code || ' means' AS description, NULL::VARCHAR[] AS parent_codes FROM book ORDER BY code
"""
SPLITS = "SELECT subject_id, 'train' AS split FROM who ORDER BY subject_id"
SOURCES = """
SELECT i::INT AS source_table, hash(i)::VARCHAR AS name_key, sha256(i::VARCHAR) AS sha256, 1::BIGINT AS bytes,
       1::BIGINT AS rows, 'ndjson' AS format, 'bench' AS run_id FROM range(30) t(i)
"""
SCRUBS = """
SELECT 0 AS scrub_ref, 'p' AS policy, 'f' AS policy_fingerprint, 'd' AS detector, 'k' AS key_id, 'bench' AS run_id,
       '0' AS code_version
"""


class Measured(NamedTuple):
    """One line of the report: milliseconds on the clock and of this process's CPU, and what the median may be."""

    what: str
    median: float
    cpu: float
    highest: float
    runs: int
    target: float | None = None


def simulate(
    root: Path, events: int, say: Callable[[str], None], *, file: str = FILE, meanings: str = MEANINGS
) -> None:
    """Write a store of about so many events; `file` makes those of one file, `meanings` lists the codes."""
    files = max(4, round(events / EVENTS_IN_A_FILE))
    store = Store.create(root, "0123456789ab")
    draft = store.staging("simulated")
    with duckdb.connect(config={"threads": THREADS, "memory_limit": "2GB"}) as db:
        db.execute(f"CREATE TABLE who AS {WHO.format(subjects=events // 100)}")
        db.execute(f"CREATE TABLE book AS {BOOK.format(kinds=KINDS, k=len(KINDS), codes=CODES)}")

        def put(query: str, name: str, path: str) -> write.FileReceipt:
            table = db.sql(query).to_arrow_table().cast(schema.table(name))
            return write.write_table(table, draft / path, schema_name=name, root=draft)

        receipts = [
            put(meanings, "codes", "metadata/codes.parquet"),
            put(SPLITS, "subject_splits", "metadata/subject_splits.parquet"),
            put(SOURCES, "sources", "lineage/sources.parquet"),
            put(SCRUBS, "scrubs", "lineage/scrubs.parquet"),
        ]
        began = time.perf_counter()
        for number in range(files):
            query = file.format(files=files, number=number, codes=CODES)
            receipts.append(put(query, "events", f"data/{number:04d}.parquet"))
            if number % 50 == 49:
                say(f"{number + 1} of {files} files, {time.perf_counter() - began:.0f} s")
    began = time.perf_counter()
    snapshot.seal(
        draft, run_id="bench", code_version=md.__version__, policy="p", policy_fingerprint="f", key_id="0123456789ab",
        created_at="2026-01-01T00:00:00+00:00", previous=None, receipts=receipts,
    )  # fmt: skip
    say(f"sealed in {time.perf_counter() - began:.0f} s")
    store.commit(draft)


def timed(what: str, calls: Iterable[Callable[[], Any]], target: float | None = None) -> Measured:
    """Call each once and return the median, in milliseconds."""
    taken, cpu = [], []
    for call in calls:
        began, used = time.perf_counter(), time.process_time()
        call()
        taken.append((time.perf_counter() - began) * 1000)
        cpu.append((time.process_time() - used) * 1000)
    return Measured(what, statistics.median(taken), statistics.median(cpu), max(taken), len(taken), target)


def ask(store: Path, runs: int, subjects: int) -> list[Measured]:
    """Ask the store, on two cores."""
    if hasattr(os, "sched_setaffinity"):  # the settings of a confined connection are locked, its threads too
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])

    def opened() -> duckdb.DuckDBPyConnection:
        return md.connect(store)

    first = "import sys, mayo_data as md; md.connect(sys.argv[1]).sql('SELECT count(*) FROM subject').fetchall()"
    fresh = [sys.executable, "-c", first, str(store)]
    found = [
        timed("md.connect(store)", [lambda: opened().close()] * 20, 100),
        timed("the same and a first answer, Python's start included", [lambda: subprocess.run(fresh, check=True)] * 3),
    ]
    with opened() as db:
        drawn = db.sql(f"SELECT subject_id FROM subject ORDER BY hash(subject_id) LIMIT {subjects + 1}").fetchall()

        def query(text: str) -> Callable[[], Any]:
            return lambda: db.execute(text).fetchall()

        def frame(text: str) -> Callable[[], Any]:
            return lambda: db.sql(text).df()

        timelines = [query(f"FROM timeline({subject})") for (subject,) in drawn]
        found.append(timed("the first timeline of a connection", timelines[:1]))
        found.append(timed("FROM timeline(subject)", timelines[1:], 20))
        frames = [frame(f"FROM timeline({subject})") for (subject,) in drawn[1:]]
        found.append(timed("the same as a pandas frame", frames))
        every = [query(f"FROM event WHERE subject_id = {subject}") for (subject,) in drawn[1 : 1 + runs]]
        found.append(timed("FROM event WHERE subject_id = N", every))
        count = "SELECT code, count(*) FROM event GROUP BY code"
        found.append(timed("the first count of codes of a connection", [query(count)]))
        found.append(timed(count, [query(count)] * runs, 1000))
        table = "SELECT code, n_events FROM code"
        found.append(timed(table, [query(table)] * runs))
        first_events = "SELECT count(*) FROM first_event('CONDITION//SNOMED//3.*')"
        found.append(timed(first_events, [query(first_events)] * min(runs, 3)))
        means = "SELECT code, avg(value) FROM measurement GROUP BY code"
        found.append(timed(means, [query(means)] * min(runs, 3)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=lambda text: int(float(text)), default=100_000_000)
    parser.add_argument("--runs", type=int, default=9, help="how often a query over all events is asked")
    parser.add_argument("--subjects", type=int, default=300, help="of how many subjects the timeline is asked")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--keep", type=Path, metavar="STORE", help="keep the store here, or ask the one that is here")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    with tempfile.TemporaryDirectory(prefix="mayo-data-query-", dir=arguments.folder) as folder:
        store = arguments.keep or Path(folder) / "store"
        if not store.exists():
            free, needed = shutil.disk_usage(folder).free, arguments.events * 100
            if free < needed:
                sys.exit(
                    f"{needed / 1e9:.0f} GB of disk are needed, {free / 1e9:.0f} GB are free: choose another --folder"
                )
            simulate(store, arguments.events, console.print)
        files = sorted((store / "snapshots" / "000001" / "data").iterdir())
        with md.connect(store) as db:
            events, subjects = db.sql("SELECT sum(n_events), count(*) FROM subject").fetchall()[0]
        machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
        about = {
            "events": int(events), "subjects": subjects, "files": len(files),
            "bytes": sum(path.stat().st_size for path in files), "machine": machine, "threads": THREADS,
            "python": platform.python_version(), "duckdb": duckdb.__version__, "pyarrow": pa.__version__,
            "mayo_data": md.__version__,
        }  # fmt: skip
        for name, value in about.items():
            console.print(f"{name:>10}  {value:,}" if isinstance(value, int) else f"{name:>10}  {value}")
        found = ask(store, arguments.runs, arguments.subjects)
    shown = Table("what", *(f"{name}, ms" for name in ("median", "CPU", "highest")), "runs", "limit, ms", "")
    for one in found:
        verdict = "" if one.target is None else "[green]kept[/]" if one.median <= one.target else "[red]missed[/]"
        limit = "" if one.target is None else f"{one.target:,.0f}"
        shown.add_row(
            one.what, f"{one.median:,.1f}", f"{one.cpu:,.1f}", f"{one.highest:,.1f}", str(one.runs), limit, verdict
        )
    console.print(shown)
    if arguments.json:
        report = {**about, "measured": [one._asdict() for one in found]}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
