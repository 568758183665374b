"""All peers in one run: `python benchmarks/peers.py [--export FOLDER] [--meds-etl VENV] [--pathling VENV]`.

PHI in text beside stock Presidio with the same spaCy pipeline; FHIR validation beside `fhir.resources`; OMOP to MEDS
beside `meds_etl`; a SQL on FHIR view beside Pathling; and the whole run beside readers that only read: orjson, msgspec,
pyarrow, DuckDB. Prints one table, writes one JSON, and with --readme puts the table where the README has its place.

Everything is measured in one tree of processes, in turn, so that a busy machine is busy for all. Speeds and ratios are
of processor seconds, of all processes, at the median of --runs; seconds of the wall stand beside them. Notes and OMOP
are invented (`mayo-data synth`), and without --export the FHIR is, too.

A peer that is not there is a line that says how to get it. meds_etl and Pathling have needs of their own, so each comes
from a virtual environment of its own:

    python -m venv A && A/bin/pip install meds_etl meds_etl_cpp 'meds==0.3.3' 'polars<2'
    python -m venv B && B/bin/pip install pathling       (Java 17, and a Maven repository for its jars)
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contests import CONTESTS, Asked, Contest, MissingError, Side, Took
from rich.console import Console
from rich.table import Table

import mayo_data
from mayo_data.synth import generate

HEADS = ("what", "peer", "ours", "the peer", "unit", "ratio", "ours is", "ours, s", "the peer, s")
PLACE = re.compile(r"(<!-- peers -->\n).*?(<!-- /peers -->)", re.DOTALL)


def measured(contest: Contest, runs: int) -> Iterator[dict[str, Any]]:
    """Ask all sides in turn, so many times; yield a row for each peer."""
    sides = (contest.ours, *contest.peers)
    taken: dict[str, list[Took]] = {side.name: [] for side in sides}
    absent: dict[str, str] = {}
    for _ in range(runs):
        for side in sides:
            if side.name in absent:
                continue
            try:
                taken[side.name].append(side.measure())
            except MissingError as error:
                absent[side.name] = f"not installed: {error}"
            except (Exception, SystemExit) as error:  # its words may hold values of the export
                absent[side.name] = f"failed: {type(error).__name__}"
    ours = _figures(contest, contest.ours, taken, absent)
    for side in contest.peers:
        peer = _figures(contest, side, taken, absent)
        row = {"what": contest.what, "unit": contest.unit, "amount": contest.amount, "counted": contest.counted}
        row |= {"ours": ours, "peer": peer}
        if "speed" in ours and "speed" in peer:
            row["ratio"] = round(peer["processor"] / ours["processor"], 5)
            row["ratio_wall"] = round(peer["wall"] / ours["wall"], 5)
        yield row


def _figures(contest: Contest, side: Side, taken: dict[str, list[Took]], absent: dict[str, str]) -> dict[str, Any]:
    about: dict[str, Any] = {"name": side.name, "version": side.version}
    if side.name in absent:
        return {**about, "absent": absent[side.name]}
    wall, processor, wrote = (statistics.median(column) for column in zip(*taken[side.name], strict=True))
    runs = [{"wall": round(one.wall, 4), "processor": round(one.processor, 4)} for one in taken[side.name]]
    figures = {"wall": round(wall, 4), "processor": round(processor, 4), "wrote": int(wrote), "runs": runs}
    return {**about, **figures, "speed": round(contest.amount / processor, 3)}


def unprepared(what: str, reason: str) -> Iterator[dict[str, Any]]:
    """The rows of a contest that cannot be had at all."""
    for name in CONTESTS[what][1]:
        yield {"what": what, "ours": {"name": "mayo_data"}, "peer": {"name": name, "absent": reason}}


def all_rows(asked: Asked, runs: int) -> Iterator[dict[str, Any]]:
    for what, (prepare, _) in CONTESTS.items():
        print(f"{what} …", file=sys.stderr)
        try:
            yield from measured(prepare(asked), runs)
        except ImportError as error:
            yield from unprepared(what, f"not installed: pip install {error.name}")
        except Exception as error:  # its words may hold values of the export
            yield from unprepared(what, f"failed: {type(error).__name__}")


def words(row: dict[str, Any]) -> tuple[str, ...]:
    """A row as the cells under `HEADS`."""
    ours, peer = row["ours"], row["peer"]
    name = f"{peer['name']} {peer.get('version', '')}".strip()
    unit = f"{row['unit']}/s" if "unit" in row else ""
    speeds = _speed(ours), _speed(peer)
    walls = tuple(f"{side['wall']:,.1f}" if "wall" in side else "" for side in (ours, peer))
    ratio = row.get("ratio")
    if ratio is None:
        return row["what"], name, *speeds, unit, "", "", *walls
    verdict = f"{_short(ratio)} × faster" if ratio >= 1 else f"{_short(1 / ratio)} × slower"
    return row["what"], name, *speeds, unit, f"{ratio:.2g}" if ratio < 1 else _short(ratio), verdict, *walls


def _speed(figures: dict[str, Any]) -> str:
    return figures["absent"].split(":")[0] if "absent" in figures else _short(figures.get("speed"))


def _short(number: float | None) -> str:
    return "" if number is None else f"{number:,.0f}" if number >= 100 else f"{number:,.1f}"


def title(report: dict[str, Any]) -> str:
    machine, export = report["machine"], report["export"]
    return (
        f"mayo_data {report['versions']['mayo_data']} beside its peers, {report['date']}, {machine['cores']} cores, "
        f"{machine['arch']}, load {machine['load']}, Python {report['versions']['python']}; "
        f"{export['name']}: {export['bytes'] / 1e6:,.0f} MB"
    )


def notes(report: dict[str, Any]) -> list[str]:
    """What the table does not say: how it counts, and what is not there."""
    said = [f"Speeds and ratios are of processor seconds, medians of {report['runs']}; seconds are those of the wall."]
    for row in report["rows"]:
        said += [f"{row['what']}: {row['counted']}."] if "counted" in row else []
        said += [f"{side['name']}, {side['absent']}." for side in (row["ours"], row["peer"]) if "absent" in side]
    return list(dict.fromkeys(said))


def markdown(report: dict[str, Any]) -> str:
    """The table as the README shows it."""
    lines = textwrap.wrap(f"{title(report)} unpacked. {notes(report)[0]}", 120)
    lines += ["", f"| {' | '.join(HEADS)} |", "|---|---|" + "---:|" * 2 + "---|" + "---:|" * 4]
    lines += [f"| {' | '.join(words(row))} |" for row in report["rows"]]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--export", type=Path, help="a FHIR export, ndjson or ndjson.gz; invented otherwise")
    parser.add_argument("--patients", type=int, default=300, help="of the invented export")
    parser.add_argument("--persons", type=int, default=2000, help="of the invented OMOP tables")
    parser.add_argument("--lines", type=int, default=300, help="lines of each file that fhir.resources judges")
    parser.add_argument("--meds-etl", type=Path, metavar="VENV", help="virtual environment with meds_etl")
    parser.add_argument("--pathling", type=Path, metavar="VENV", help="virtual environment with pathling")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--readme", type=Path, help="a Markdown file that has a place for the table")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mayo-data-peers-") as folder:
        scratch = Path(folder)
        export = given.export
        if export is None:
            generate(scratch / "export", patients=given.patients, formats=("fhir",), compress=True)
            export = scratch / "export" / "fhir"
        asked = Asked(
            export, scratch, given.patients, given.persons, given.lines, given.workers, given.meds_etl, given.pathling
        )
        if not asked.files:
            sys.exit("there is no .ndjson or .ndjson.gz in the export")
        load = os.getloadavg()[0]
        rows = list(all_rows(asked, given.runs))
    whole = next((row for row in rows if row["what"] == "whole run, FHIR to store"), {})
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"cores": os.cpu_count(), "arch": platform.machine(), "load": round(load, 1)},
        "versions": {"mayo_data": mayo_data.__version__, "python": platform.python_version()}
        | {row["peer"]["name"]: row["peer"].get("version", "") for row in rows},
        "runs": given.runs, "workers": given.workers,
        "export": {
            "name": given.export.name if given.export else f"{given.patients} invented patients",
            "bytes": round(1e6 * whole.get("amount", 0)),
        },
        "rows": rows,
    }  # fmt: skip
    table = Table(*HEADS, title=title(report))
    for column in table.columns[2:4] + table.columns[5:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*words(row))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    console.print(table)
    for note in notes(report):
        console.print(note, markup=False)
    if given.json:
        given.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if given.readme:
        text = given.readme.read_text(encoding="utf-8")
        given.readme.write_text(PLACE.sub(lambda found: found[1] + markdown(report) + found[2], text), encoding="utf-8")


if __name__ == "__main__":
    main()
