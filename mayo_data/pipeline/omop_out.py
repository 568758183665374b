"""FHIR in, OMOP CDM out: reads de-identified resources, maps them, puts the tables in order, writes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pyarrow as pa

from mayo_data import assets
from mayo_data.errors import ConfigError, LeakError
from mayo_data.mapping import cdm, seal
from mayo_data.mapping.cdm import Row
from mayo_data.mapping.context import Tally
from mayo_data.mapping.mapper import Mapper
from mayo_data.mapping.vocabulary import Concept, constant
from mayo_data.quality import dqd as quality
from mayo_data.sources import fhir
from mayo_data.store.athena import Athena
from mayo_data.store.cdm import Draft, Form
from mayo_data.store.dqd import Result, rules
from mayo_data.store.dqd import run as run_checks

COUNTS = "counts.json"
_ROWS = 20_000  # rows of a table that are gathered before they go to the draft
_LONGEST = 256 << 20  # bytes of a resource
_NAMING = ("name", "telecom", "photo", "contact")
_ABOUT = "cdm_source"
_CDM_54 = [756265]

_decode = msgspec.json.Decoder().decode


@dataclass
class Made:
    """What `to_omop` did.

    Attributes:
        rows: Rows by table.
        tally: What became of the resources.
    """

    rows: dict[str, int]
    tally: Tally

    def dict(self) -> dict[str, Any]:
        """Return it as JSON has it; `written` is what the maps made before orphans and twins went."""
        return {"rows": {name: count for name, count in self.rows.items() if count}, **self.tally.dict()}


def to_omop(source: Path | str, vocabulary: Path, out: Path, *, form: Form = "csv", identified: bool = False) -> Made:
    """Map a de-identified FHIR export to the tables of the OMOP CDM 5.4.

    Args:
        source: Folder or file of FHIR: ndjson, Bundles, single resources, plain or compressed.
        vocabulary: Folder with Athena's `CONCEPT.csv` and `CONCEPT_RELATIONSHIP.csv`.
        out: New or empty folder: one file a table, and `counts.json`.
        form: `csv` or `parquet`.
        identified: Take patients that still have names or phones. The tables then hold PHI.

    Raises:
        SourceError: An input cannot be read.
        LeakError: A patient has a name, a phone, a photo or a contact: this is no de-identified export.
        StoreError: The folder is not empty.
    """
    with Athena(vocabulary, Concept) as known, Draft(out, (seal.create(table) for table in cdm.MADE)) as draft:
        if identified:
            out.chmod(0o700)  # what is made here is PHI, too
        mapper = Mapper(known)
        splits = [
            split
            for file in fhir.discover(source).files
            for split in fhir.survey(file, mapper.learn, longest=_LONGEST).splits
        ]
        waiting: dict[str, list[Row]] = {table: [] for table in cdm.MADE}
        for resource in _resources(splits, mapper.tally):
            if not identified and resource.get("resourceType") == "Patient":
                _refuse_identified(resource)
            for table, row in mapper.rows(resource):
                waiting[table].append(row)
                if len(waiting[table]) >= _ROWS:
                    _flush(draft, table, waiting[table])
        for table, rows in waiting.items():
            _flush(draft, table, rows)
        _seal(draft, mapper)
        queries = {table: seal.sealed(table) for table in cdm.MADE}
        queries |= {table: _empty(table) for table in _others()}
        queries[_ABOUT] = _about(constant(known, _CDM_54) or 0)
        made = Made(draft.write(queries, form), mapper.tally)
    (out / COUNTS).write_bytes(orjson.dumps(made.dict(), option=orjson.OPT_INDENT_2) + b"\n")
    return made


def _resources(splits: list[fhir.Split], tally: Tally) -> Iterator[dict[str, Any]]:
    for split in splits:
        for batch in fhir.read(split, longest=_LONGEST):
            for body, fate in zip(batch.column(2).to_pylist(), batch.column(3).to_pylist(), strict=True):
                resource = None
                if body is not None and fate is None:
                    with suppress(msgspec.DecodeError, RecursionError):
                        resource = _decode(body)
                if isinstance(resource, dict):
                    yield resource
                else:
                    tally.dropped["other", "unreadable"] += 1


def _refuse_identified(resource: dict[str, Any]) -> None:
    for name in _NAMING:
        if resource.get(name):
            raise LeakError(
                f"a Patient of this export has the element {name}: it is not de-identified",
                hint="scrub it first; --allow-identified maps it as it is, PHI and all",
            )


def _flush(draft: Draft, table: str, rows: list[Row]) -> None:
    if rows:
        draft.append(table, pa.Table.from_pylist(rows, schema=cdm.schema(table)))
        rows.clear()


def _seal(draft: Draft, mapper: Mapper) -> None:
    tally = mapper.tally
    for step in seal.steps():
        changed = draft.change(step.counts, step.change)
        if not changed or (step.reason == "same_key" and step.name == "location"):
            continue  # people who live together share a location: nothing is lost
        if step.kind == "dropped":
            tally.dropped[step.name, step.reason] += changed
        elif step.kind == "orphans":
            tally.orphans[step.name] += changed
        else:
            tally.dated[step.name] += changed
    draft.run(seal.periods(mapper.period_kind()))
    for table in seal.NUMBERED:
        draft.run(seal.numbers(table))


def _others() -> list[str]:
    listed = assets.toml("schemas", "omop", "cdm.toml")
    return [name for name, body in listed.items() if name not in cdm.MADE and body["of"] != "vocabulary"]


def _empty(table: str) -> str:
    columns = ", ".join(f"CAST(NULL AS VARCHAR) AS {one.name}" for one in cdm.fields(table))
    return f"SELECT {columns} WHERE false"


def _about(version: int) -> str:
    """The row of cdm_source. Its dates are the last day of the data, so that the same export gives the same bytes."""
    last = "coalesce((SELECT max(observation_period_end_date) FROM observation_period), DATE '1970-01-01')"
    said = {
        "cdm_source_name": "'De-identified FHIR export'", "cdm_source_abbreviation": "'FHIR'", "cdm_holder": "'unsaid'",
        "cdm_etl_reference": "'mayo-data to-omop'", "source_release_date": last, "cdm_release_date": last,
        "cdm_version": f"'v{cdm.VERSION}'", "cdm_version_concept_id": str(version), "vocabulary_version": "'unsaid'",
    }  # fmt: skip
    columns = (f"{said.get(one.name, 'CAST(NULL AS VARCHAR)')} AS {one.name}" for one in cdm.fields(_ABOUT))
    return f"SELECT {', '.join(columns)}"


def dqd(
    folder: Path, vocabulary: Path | None = None, *, version: str = cdm.VERSION, thresholds: Path | None = None
) -> list[Result]:
    """Run the checks of OHDSI's Data Quality Dashboard on a folder of OMOP tables.

    Args:
        folder: One file a table, CSV or Parquet, plain or gzipped.
        vocabulary: Folder with the vocabulary tables, if they are not in the first.
        version: `5.3` or `5.4`.
        thresholds: Folder with the Dashboard's own threshold files (`OMOP_CDMv5.4_Table_Level.csv`, `_Field_Level`,
            `_Concept_Level`); without them the rules of the CDM hold, and no checks of single concepts.

    Raises:
        SourceError: A table or threshold file cannot be read.
        ConfigError: No such version.
    """
    if version not in ("5.3", "5.4"):
        raise ConfigError(f"there are no checks of CDM {version}", hint="--cdm 5.3 or --cdm 5.4")
    own_tables, own_fields = quality.own_rules(version)
    tables, fields, concepts = own_tables, own_fields, list[quality.Rule]()
    if thresholds is not None:
        parts = (f"OMOP_CDMv{version}_{level}_Level.csv" for level in ("Table", "Field", "Concept"))
        tables, fields, concepts = (list[quality.Rule](rules(thresholds / part)) for part in parts)
    return run_checks(folder, list(quality.checks(tables, fields, concepts)), [*own_fields, *fields], vocabulary)
