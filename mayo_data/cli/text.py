"""The commands over text: detect, evaluate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.text import Text

import mayo_data as md
from mayo_data.cli import show
from mayo_data.errors import ConfigError
from mayo_data.phi import corpora
from mayo_data.phi.evaluation import OPTIONAL, Evaluation
from mayo_data.types import PhiSpan

_COLOURS = {
    "person": "bold magenta",
    "date": "cyan",
    "number": "yellow",
    "net": "blue",
    "place": "green",
    "age": "cyan",
}
ModelOption = Annotated[
    str,
    typer.Option("--model", help="default, fast, none (patterns and records alone), or the path of a spaCy pipeline."),
]


def detect(
    source: Annotated[Path, typer.Argument(help='JSON lines {"id", "text"[, "known": {...}]} (PHI zone).')],
    out: Annotated[Path | None, typer.Argument(help="JSON lines with the spans, never the text.")] = None,
    model: ModelOption = "default",
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes; 0 for one a core.")] = 1,
    find: Annotated[str, typer.Option("--find", help="Also report these: YEAR,STATE,COUNTRY.")] = "",
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the texts in colour, with who found what (PHI: terminal only).")
    ] = False,
) -> None:
    """Find PHI in texts: where it is, of what category, who found it and how surely."""
    from mayo_data.phi.detector import KEPT
    from mayo_data.pipeline.texts import detect_file

    keep = KEPT - {name.strip().upper() for name in find.split(",")}
    if explain:
        _explain(source, _model(model), keep)
    if out is not None:
        done = detect_file(source, out, model=_model(model), keep=keep, workers=workers)
        table = show.table(
            f"{done.texts:,} texts, {done.characters:,} characters", ("category", "spans"), right=("spans",)
        )
        for category, count in sorted(done.spans.items()):
            table.add_row(category, f"{count:,}")
        show.console.print(table)
    elif not explain:
        raise ConfigError("nowhere to write to", hint="give a second path, or --explain")


def _model(name: str) -> str | None:
    return None if name == "none" else name


def _explain(source: Path, model: str | None, keep: frozenset[str]) -> None:
    from mayo_data.phi.detector import Detector
    from mayo_data.phi.spans import families
    from mayo_data.pipeline.texts import read_texts

    detector = Detector(model, keep)
    for name, text, known in read_texts(source):
        spans = detector.detect([text], [known])[0]
        shown = Text(text.encode("utf-8", "replace").decode())  # a terminal refuses lone surrogates
        for span in spans:
            shown.stylize(_COLOURS.get(families().get(span.category, ""), "red"), span.start, span.end)
        show.console.rule(str(name), align="left")
        show.console.print(shown)
        show.console.print(_decisions(text, spans))


def _decisions(text: str, spans: list[PhiSpan]) -> object:
    table = show.table("", ("offsets", "text", "category", "found by", "score", "beside it"), right=("score",))
    for span in spans:
        before = " ".join(text[max(0, span.start - 24) : span.start].split())
        after = " ".join(text[span.end : span.end + 16].split())
        table.add_row(
            f"{span.start}-{span.end}",
            Text(" ".join(text[span.start : span.end].split()).encode("utf-8", "replace").decode()),
            span.category,
            span.recognizer,
            f"{span.score:.2f}",
            Text(f"{before} … {after}".encode("utf-8", "replace").decode(), style="dim"),
        )
    return table


def evaluate(
    corpus: Annotated[Path, typer.Argument(help="File or folder of labelled text (PHI zone).")],
    form: Annotated[str, typer.Option("--format", help="jsonl, inline, i2b2, brat or presidio.")] = "jsonl",
    model: ModelOption = "default",
    optional: Annotated[
        str, typer.Option("--optional", help="Categories that need not be found, with commas between.")
    ] = ",".join(sorted(OPTIONAL)),
    known: Annotated[bool, typer.Option("--known/--blind", help="Use the records that the corpus holds.")] = True,
    by_origin: Annotated[
        bool, typer.Option("--by-origin", help="Also show who is found by the origin of their name.")
    ] = False,
    report: Annotated[Path | None, typer.Option("--report", help="Write the figures as JSON (no text in it).")] = None,
    misses: Annotated[
        Path | None, typer.Option("--misses", help="Write what was missed, with its context: PHI zone, mode 0600.")
    ] = None,
) -> None:
    """Measure the detector on labelled text: i2b2, brat, Presidio, inline marks or JSON lines."""
    from mayo_data.phi.evaluation import evaluate as measure

    if form not in corpora.FORMATS:
        raise ConfigError(f"no format {form}", hint=f"one of {', '.join(corpora.FORMATS)}")
    wanted = frozenset(name.strip().upper() for name in optional.split(",") if name.strip())
    found = measure(corpora.read(corpus, form), md.Detector(_model(model)), optional=wanted, known=known)
    _figures(found)
    if by_origin:
        _origins(found)
    if report is not None:
        report.write_bytes(orjson.dumps(found.dict(), option=orjson.OPT_INDENT_2) + b"\n")
    if misses is not None:
        with os.fdopen(os.open(misses, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for miss in sorted(found.misses, key=lambda miss: (miss["category"], miss["before"][-12:].lower())):
                file.write(orjson.dumps(miss) + b"\n")


def _figures(found: Evaluation) -> None:
    figures = found.dict()
    table = show.table(
        "PHI found, by category",
        ("category", "spans", "covered", "95 % interval", "touched"),
        right=("spans", "covered", "touched"),
    )
    for name, row in figures["categories"].items():
        low, high = row["interval"]
        table.add_row(
            name if row["required"] else f"{name} (optional)",
            f"{row['spans']:,}",
            f"{row['covered']:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{row['touched']:.3f}",
        )
    low, high = figures["covered_interval"]
    table.add_section()
    table.add_row(
        "all required",
        f"{figures['spans']:,}",
        f"{figures['covered']:.3f}",
        f"{low:.3f} to {high:.3f}",
        f"{figures['touched']:.3f}",
    )
    show.console.print(table)
    show.console.print(
        f"letters and digits: precision {figures['character_precision']:.3f}, "
        f"recall {figures['character_recall']:.3f}, F1 {figures['character_f1']:.3f}; "
        f"of the text that is no PHI {figures['plain_text_taken']:.2%} was taken"
    )
    show.console.print(
        f"documents: {found.documents:,}, with a leak {found.leaking:,}; "
        f"without any PHI {found.clean:,}, of which something was taken in {found.clean_touched:,}"
    )


def _origins(found: Evaluation) -> None:
    table = show.table(
        "People found, by the origin of their name",
        ("origin", "spans", "covered", "95 % interval", "touched"),
        right=("spans", "covered", "touched"),
    )
    for name, row in found.dict()["origins"].items():
        low, high = row["interval"]
        table.add_row(
            name.replace("_", " "),
            f"{row['spans']:,}",
            f"{row['covered']:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{row['touched']:.3f}",
        )
    show.console.print(table)
    show.console.print("several: the name is common in more than one; unlisted: in none of the lists that ship")
