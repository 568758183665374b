"""What the command line prints: calm tables on a terminal, JSON lines for machines. Counts and names only."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from mayo_data.pipeline.report import RunReport, Watcher
from mayo_data.types import Step

if TYPE_CHECKING:
    import pandas as pd

console = Console(highlight=False)
if not console.is_terminal:
    console = Console(highlight=False, width=120)  # a log file has no width of its own
_CATEGORIES = ("Conformance", "Completeness", "Plausibility")  # what verdicts of expectations begin with
_ROOM = 120  # characters of a terminal in which the widest tables have room
_WIDEST = 64  # characters of a cell
_STAGES = {
    "survey": "survey", "map": "read, scrub, normalize", "shuffle": "shuffle", "build": "build timelines",
    "commit": "commit",
}  # fmt: skip


def line(text: str) -> None:
    """Print a line as it is."""
    sys.stdout.write(text + "\n")


def aside(text: str) -> None:
    """Say something beside the output, on stderr."""
    sys.stderr.write(f"mayo-data: {text}\n")


def raw_json(value: Any) -> None:
    """Print a value as indented JSON."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode() + "\n")


def table(title: str, columns: Sequence[str], *, right: Sequence[str] = ()) -> Table:
    """Return an empty table in the house style."""
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return made


def narrow(made: Table, folds: int) -> Table:
    """Return a wide table for a narrow terminal: one column folds, and no number is ever broken over two lines."""
    if console.width < _ROOM:
        made.padding = (0, 0)
        for at, column in enumerate(made.columns):
            column.no_wrap = at != folds
            column.overflow = "fold" if at == folds else "ellipsis"
    return made


@contextmanager
def watcher(log: str) -> Iterator[Watcher]:
    """Yield what a run should tell its progress to: a bar on a terminal, JSON lines, or nobody."""
    if log == "json":
        yield lambda event, **fields: line(orjson.dumps({"event": event, **fields}, default=str).decode())
    elif log == "quiet" or not console.is_terminal:
        yield lambda event, **fields: None
    else:
        columns = (TextColumn("{task.description:>24}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            bars: dict[str, TaskID] = {}

            def tell(event: str, **fields: Any) -> None:
                if event in _STAGES:
                    if event not in bars:
                        bars[event] = progress.add_task(_STAGES[event], total=fields["total"] or 1)
                    progress.update(bars[event], completed=fields["done"])

            yield tell


def report(found: RunReport, log: str = "auto") -> None:
    """Print what a run did."""
    if log == "json":
        body = {name: getattr(found, name) for name in found.__dataclass_fields__}
        line(orjson.dumps({"event": "report", **body}, default=str, option=orjson.OPT_NON_STR_KEYS).decode())
        return
    if log == "quiet":
        return
    if found.repeated:
        console.print(f"Nothing to do: snapshot {found.snapshot.name if found.snapshot else '-'} holds all of it.")
        return
    steps(found.steps)
    decisions(found.phi, found.notes)
    _verdicts(found)
    if found.unread:
        kinds = ", ".join(f"{ending} {count:,}" for ending, count in found.unread.items())
        console.print(f"Files not read: {sum(found.unread.values()):,} ({kinds}); not_read.tsv in the quarantine\n")
    name = found.snapshot.name if found.snapshot else "-"
    console.print(
        f"[bold]Committed snapshot {name}[/]: {found.subjects:,} subjects, {found.events:,} events"
        f" in {found.seconds:.1f} s (run {found.run_id})"
    )
    if found.mode == "delta":
        console.print(f"  a delta: {found.rewritten:,} shards were written; the others stay as they are")
    console.print(f"  store    {found.snapshot}", soft_wrap=True)
    console.print(f"  PHI zone {found.phi_zone}  (quarantine, vault: keep it where the input is)", soft_wrap=True)


def steps(found: Sequence[Step]) -> None:
    """Print what became of the rows at every arrow."""
    shown = table(
        "Rows at every arrow", ("arrow", "in", "out", "dropped", "why", "became"), right=("in", "out", "dropped")
    )
    for step in found:
        why = ", ".join(
            f"{reason} {count:,}" for reason, count in sorted(step.dropped.items(), key=lambda item: -item[1])
        )
        became = ", ".join(f"{count:,} {name}" for name, count in step.produced.items())
        mark = "" if step.balanced else " [red]does not balance[/]"
        dropped = sum(step.dropped.values())
        shown.add_row(
            step.name + mark, f"{step.rows_in:,}", f"{step.rows_out:,}", f"{dropped:,}", why or "·", became or "·"
        )
    console.print(shown)


def decisions(phi: Mapping[str, int], notes: Mapping[str, int]) -> None:
    """Print what was done with PHI, by category, and what else was counted."""
    actions = sorted({name.split("/")[1] for name in phi})
    categories = sorted({name.split("/")[0] for name in phi})
    shown = table("PHI decisions", ("category", *actions), right=actions)
    for category in categories:
        counts = [phi.get(f"{category}/{action}", 0) for action in actions]
        shown.add_row(category, *(f"{count:,}" if count else "·" for count in counts))
    console.print(shown)
    said = {
        "codes/masked": "codes of systems that the policy does not admit, masked: masked_systems.tsv in the quarantine",
        "elements/unnamed": "elements that the policy does not name, dropped",
        "elements/extension": "extensions that the policy does not name, dropped",
        "elements/not_a_code": "values that are no code where a code must be, dropped",
        "elements/masked": "elements that FHIR requires and the policy drops, masked with data-absent-reason",
        "elements/contained": "contained resources of a type that is not known, dropped",
        "texts/about_nobody": "texts of resources about no patient, dropped",
        "references/unresolved": "references that name nothing, dropped",
        "attachments/url": "addresses of attachments that lie elsewhere, dropped",
        "attachments/dropped": "attachments without readable text, dropped",
    }
    for name, text in said.items():
        if notes.get(name):
            console.print(f"  {notes[name]:>9,} {text}")
    console.print()


def _verdicts(found: RunReport) -> None:
    shown = table("Gates", ("gate", "check", "verdict", "observed"))
    quiet: Counter[str] = Counter()
    for verdict in found.verdicts:
        if verdict.passed and verdict.observed.startswith(_CATEGORIES):
            quiet[verdict.gate] += 1  # what the suites found in order: the ledger lists it
            continue
        said = (
            Text("pass", "green")
            if verdict.passed
            else Text(verdict.action, "yellow" if verdict.action != "stop" else "red")
        )
        shown.add_row(verdict.gate, verdict.check, said, verdict.observed)
    for gate, count in sorted(quiet.items()):
        shown.add_row(gate, "suite", Text("pass", "green"), f"{count} expectations")
    console.print(shown)


def synthetic(made: Any, out: Path) -> None:
    """Print what the generator made."""
    shown = table("Synthetic export", ("folder", "what", "how many"), right=("how many",))
    shown.add_row("fhir/", f"resources of {len(made.resources)} types", f"{sum(made.resources.values()):,}")
    shown.add_row("omop_csv/, omop_parquet/", f"rows of {len(made.rows)} tables", f"{sum(made.rows.values()):,}")
    shown.add_row("gold/", f"notes of {len(made.notes)} types", f"{sum(made.notes.values()):,}")
    shown.add_row("gold/", f"PHI spans of {len(made.spans)} categories", f"{sum(made.spans.values()):,}")
    console.print(shown)
    console.print(f"{made.patients:,} patients in {out}, all of them invented", soft_wrap=True)


def timeline(title: str, frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Print some rows of a timeline."""
    shown = table(title, columns, right=("numeric_value", "value"))
    for row in frame[list(columns)].itertuples(index=False):
        shown.add_row(*(_cell(value) for value in row))
    console.print(shown)


def _cell(value: Any) -> str:
    if value is None or value != value or str(value) in ("NaT", "<NA>"):
        return "·"
    if isinstance(value, float):
        return f"{value:g}"
    text = " ".join(str(value).split())
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def lineage(found: Mapping[str, Any]) -> None:
    """Print the way back from an event to its source."""
    event, source, scrub = found["event"], found["source"] or {}, found["scrub"] or {}
    resource = found["resource"] or {}
    shown = table(f"Event {found['event_id']}", ("what", "value"))
    rows = [
        ("code", event["code"]), ("time", event["time"]), ("subject", event["subject_id"]),
        ("resource", f"{resource.get('resource_type', '?')}, keyed id {resource.get('resource_key', '?')}"),
        ("source", "file {source_table}, line {row} ({format})".format(**source) if source else "?"),
        ("sha256", source.get("sha256", "?")),
        ("mapping", "{name}, section {section}, {fingerprint}".format(**found["mapping"]) if found["mapping"] else "?"),
        ("policy", f"{scrub.get('policy', '?')} {scrub.get('policy_fingerprint', '?')}"),
        *((name.replace("_", " "), scrub.get(name, "?")) for name in ("key_id", "run_id", "code_version")),
    ]  # fmt: skip
    for name, value in rows:
        shown.add_row(name, _cell(value))
    console.print(shown)
    decisions = found["decisions"]
    columns = ("path", "from", "to", "category", "recognizer", "score", "action")
    listed = table(f"PHI decisions on that resource: {len(decisions)}", columns, right=("from", "to", "score"))
    for one in decisions:
        cells = (
            one["path"],
            one["start"],
            one["end"],
            one["category"],
            one["recognizer"],
            round(one["score"], 2),
            one["action"],
        )
        listed.add_row(*(str(cell) for cell in cells))
    if decisions:
        console.print(listed)


def findings(found: Sequence[Any]) -> None:
    """Print what is wrong with a dataset."""
    if not found:
        console.print("[green]valid[/]: every rule of MEDS 0.4 holds")
        return
    shown = table("Findings", ("severity", "rule", "file", "count", "hint"), right=("count",))
    for one in found:
        shown.add_row(
            Text(one.severity, "red" if one.severity == "error" else "yellow"),
            one.rule,
            one.file,
            f"{one.count:,}",
            one.hint,
        )
    console.print(shown)


def problems(found: Sequence[Any]) -> None:
    """Print what is wrong with a ledger."""
    if not found:
        console.print("[green]intact[/]: the chain of records holds")
        return
    shown = table("Problems", tuple(found[0].__dataclass_fields__))
    for one in found:
        shown.add_row(*(str(getattr(one, name)) for name in one.__dataclass_fields__))
    console.print(shown)


def manifest(dataset: Any, found: Any) -> None:
    """Print what a store holds."""
    shown = table(f"Snapshot {dataset.path.name} of {len(dataset.store.snapshots())}", ("what", "value"))
    rows = [
        ("subjects", f"{found.counts['subjects']:,}"), ("made", found.created_at), ("policy", found.policy),
        ("key id", found.key_id), ("run", found.run_id), ("code version", found.code_version),
        ("logical digest", found.logical_digest),
    ]  # fmt: skip
    for name, value in rows:
        shown.add_row(name, str(value))
    for name, summary in found.tables.items():
        shown.add_row(name, f"{summary.rows:,} rows")
    console.print(shown)
