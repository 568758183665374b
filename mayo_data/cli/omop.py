"""The commands over the OMOP CDM: to-omop, dqd."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mayo_data.cli import show
from mayo_data.errors import GateError

_SHOWN = 40  # failed checks that are listed


class Form(StrEnum):
    """How the tables are written."""

    csv = "csv"
    parquet = "parquet"


def to_omop(
    fhir: Annotated[str, typer.Option("--fhir", help="De-identified FHIR: folder or file, ndjson or Bundles.")],
    vocabulary: Annotated[Path, typer.Option("--vocabulary", help="Folder unpacked from OHDSI Athena.")],
    out: Annotated[Path, typer.Option("--out", help="New folder: one file a table, and counts.json.")],
    form: Annotated[Form, typer.Option("--format", help="csv or parquet.")] = Form.csv,
    allow_identified: Annotated[
        bool, typer.Option("--allow-identified", help="Take patients with names: the tables then hold PHI.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Map de-identified FHIR to the tables of the OMOP CDM 5.4, after the HL7 FHIR-to-OMOP guide."""
    from mayo_data.pipeline import omop_out

    made = omop_out.to_omop(fhir, vocabulary, out, form=form.value, identified=allow_identified)
    if as_json:
        show.raw_json(made.dict())
        return
    rows = show.table(f"OMOP CDM 5.4 in {out}", ("table", "rows"), right=("rows",))
    for name, count in made.rows.items():
        if count:
            rows.add_row(name, f"{count:,}")
    show.console.print(rows)
    for title, counts in (("no standard concept", made.tally.unmapped), ("no row", made.tally.dropped)):
        if counts:
            columns = ("column", "vocabulary") if title == "no standard concept" else ("what", "why")
            table = show.table(title, (*columns, "times"), right=("times",))
            for (one, two), count in sorted(counts.items()):
                table.add_row(one, two, f"{count:,}")
            show.console.print(table)


def dqd(
    tables: Annotated[Path, typer.Argument(help="Folder of OMOP tables: one CSV or Parquet file each.")],
    vocabulary: Annotated[Path | None, typer.Option("--vocabulary", help="Folder of the vocabulary tables.")] = None,
    cdm: Annotated[str, typer.Option("--cdm", help="5.3 or 5.4.")] = "5.4",
    thresholds: Annotated[
        Path | None, typer.Option("--thresholds", help="Folder with the Dashboard's threshold files (CSV).")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 4 where a check fails its threshold.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print every check as JSON.")] = False,
) -> None:
    """Run the checks of OHDSI's Data Quality Dashboard: conformance, completeness, plausibility."""
    from mayo_data.pipeline import omop_out

    found = omop_out.dqd(tables, vocabulary, version=cdm, thresholds=thresholds)
    failed = [one for one in found if one.status == "failed"]
    if as_json:
        show.raw_json([asdict(one) for one in found])
    else:
        counts = Counter((one.category, one.context, one.status) for one in found)
        columns = ("category", "context", "passed", "failed", "not applicable")
        overview = show.table("Data quality", columns, right=columns[2:])
        for category in ("Conformance", "Completeness", "Plausibility"):
            for context in ("Verification", "Validation"):
                overview.add_row(category, context, *(f"{counts[category, context, name]:,}" for name in columns[2:]))
        overview.add_section()
        overview.add_row("all", "", *(f"{sum(one.status == name for one in found):,}" for name in columns[2:]))
        show.console.print(overview)
        if failed:
            listed = show.table(
                f"failed ({len(failed):,})", ("check", "of", "violated", "rows", "allowed"),
                right=("violated", "rows", "allowed"),
            )  # fmt: skip
            for one in failed[:_SHOWN]:
                of = ".".join(filter(None, (one.table, one.field, one.concept)))
                listed.add_row(one.check, of, f"{one.violated:,}", f"{one.rows:,}", f"{one.threshold:g} %")
            show.console.print(listed)
            if len(failed) > _SHOWN:
                show.console.print(f"and {len(failed) - _SHOWN:,} more: --json has them all")
    if strict and failed:
        raise GateError(f"{len(failed)} checks of data quality fail their threshold", hint="see the table above")
