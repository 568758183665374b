"""How long a large store's risk takes: `python benchmarks/risk.py [--events 10000000]`.

Makes a store of simulated events as `benchmarks/query.py` does, with demography and visits added, asks for its risk
and its coverage, and removes it. 10 M events need 1 GB of disk and a minute.

The limit is for `md.risk` with all measures: k, l, t, prosecutor, journalist, marketer, and the ways to lower it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import query
from rich.console import Console
from rich.table import Table

import mayo_data as md

LIMIT = 60.0  # seconds, on two cores
PEOPLE = """
SELECT subject_id, NULL::TIMESTAMP AS time, unnest([
         ['SEX//female', 'SEX//male'][1 + (hash(who + 1) % 2)::INT],
         'RACE//CDCREC//' || ['2106-3', '2106-3', '2106-3', '2054-5', '2028-9', '2131-1'][1 + (hash(who + 2) % 6)::INT],
         'ETHNICITY//CDCREC//' || ['2186-5', '2186-5', '2186-5', '2135-2'][1 + (hash(who + 3) % 4)::INT],
         'ZIP3//' || lpad((550 + sqrt((hash(who + 4) % 900)::DOUBLE))::INT::VARCHAR, 3, '0')]) AS code
FROM who WHERE subject_id % {files} = {number}
UNION ALL
SELECT subject_id, make_timestamp((-800000000 + hash(who + 5) % 1900000000)::BIGINT * 1000000), 'MEDS_BIRTH'
FROM who WHERE subject_id % {files} = {number}
UNION ALL
SELECT subject_id, make_timestamp((1262304000 + hash(who * 7 + k) % 473385600)::BIGINT * 1000000), 'ENCOUNTER//ACT//AMB'
FROM (SELECT *, unnest(range(5)) AS k FROM who WHERE subject_id % {files} = {number})
"""
FILE = f"""
SELECT * FROM (
  ({query.FILE})
  UNION ALL BY NAME
  SELECT subject_id, time, code, 0 AS source_table, row_number() OVER () + 20000000 AS source_row, 0 AS source_item,
         0 AS scrub_ref, CASE WHEN code = 'ENCOUNTER//ACT//AMB' THEN (hash(subject_id, time) >> 1)::BIGINT END
         AS encounter_id FROM ({PEOPLE})
) ORDER BY subject_id, time NULLS FIRST, source_table, source_row
"""
CODES = """
SELECT code, 'What ' || code || ' means' AS description, NULL::VARCHAR[] AS parent_codes FROM (
  SELECT code FROM book UNION SELECT 'ENCOUNTER//ACT//AMB' UNION SELECT 'MEDS_BIRTH'
  UNION SELECT unnest(['SEX//female', 'SEX//male'])
  UNION SELECT 'RACE//CDCREC//' || unnest(['2106-3', '2054-5', '2028-9', '2131-1'])
  UNION SELECT 'ETHNICITY//CDCREC//' || unnest(['2186-5', '2135-2'])
  UNION SELECT 'ZIP3//' || i::VARCHAR FROM range(550, 581) t(i)
) ORDER BY code
"""


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds on the clock and of this process's CPU."""
    began, used = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - began, time.process_time() - used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=lambda text: int(float(text)), default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--keep", type=Path, metavar="STORE", help="keep the store here, or ask the one that is here")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(query.THREADS))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    with tempfile.TemporaryDirectory(prefix="mayo-data-risk-", dir=arguments.folder) as folder:
        store = arguments.keep or Path(folder) / "store"
        if not store.exists():
            if shutil.disk_usage(folder).free < arguments.events * 100:
                sys.exit(f"{arguments.events / 1e7:.1f} GB of disk are needed: choose another --folder")
            query.simulate(store, arguments.events, console.print, file=FILE, meanings=CODES)
        with md.connect(store) as db:
            events, subjects = db.sql("SELECT sum(n_events), count(*) FROM subject").fetchall()[0]
        more = ("age_band", "sex", "race", "ethnicity", "zip3", "admission_year", "rarest_code", "sequence")
        measured = {
            "md.risk(store, population=…)": timed(lambda: md.risk(store, population=subjects * 20)),
            "the same with a rare code and the first conditions": timed(lambda: md.risk(store, quasi=more)),
            "md.coverage(store)": timed(lambda: md.coverage(store)),
        }
    about = {
        "events": int(events), "subjects": subjects, "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}", "python": platform.python_version(), "duckdb": duckdb.__version__,
        "mayo_data": md.__version__,
    }  # fmt: skip
    for name, value in about.items():
        console.print(f"{name:>10}  {value:,}" if isinstance(value, int) else f"{name:>10}  {value}")
    shown = Table("what", "seconds", "CPU", "limit", "")
    for name, (clock, cpu) in measured.items():
        kept = "[green]kept[/]" if clock <= LIMIT else "[red]missed[/]"
        shown.add_row(name, f"{clock:.1f}", f"{cpu:.1f}", f"{LIMIT:.0f}", kept)
    console.print(shown)
    if arguments.json:
        arguments.json.write_text(json.dumps({**about, "measured": measured}, indent=2) + "\n")


if __name__ == "__main__":
    main()
