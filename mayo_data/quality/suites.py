"""Suites of expectations: JSON as Great Expectations writes it, with what a gate must know of each under `meta`.

{"name": "site", "meta": {"gate": "G2"}, "expectations": [
  {"type": "expect_column_values_to_be_between", "kwargs": {"column": "excess", "max_value": 0},
   "meta": {"table": "measured", "check": "value_impossible", "action": "warn", "category": "Plausibility"}}]}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from mayo_data import assets
from mayo_data.errors import ConfigError

SHIPPED = ("source", "resource", "event", "shard", "snapshot")
Gate = Literal["G0", "G1", "G2", "G3", "G4"]
Action = Literal["stop", "quarantine", "warn"]
Category = Literal["Conformance", "Completeness", "Plausibility"]
_NAME = r"^[a-z][a-z0-9_]{0,63}$"


class About(Struct, forbid_unknown_fields=True, frozen=True):
    """What a gate must know of an expectation.

    Attributes:
        table: What it looks at: a table of `schemas/quality/tables.toml`, or one that those are made of.
        check: Its name in the ledger.
        action: What follows where it does not hold: `stop` (nothing is committed), `quarantine` (the rows are listed
            by file and line in the PHI zone, for somebody to look at) or `warn`.
        category: Of OHDSI's Data Quality Dashboard (Kahn and others, eGEMs 2016): `Conformance`, `Completeness` or
            `Plausibility`.
        says: One sentence: what must hold.
        by: Column by which a report counts what is not as expected: our own words alone, never a value of the data.
    """

    table: Annotated[str, Meta(pattern=_NAME)]
    check: Annotated[str, Meta(pattern=_NAME)]
    action: Action
    category: Category
    says: str = ""
    by: Literal["", "name", "kind", "reason", "resource_type"] = ""


class Expectation(Struct, forbid_unknown_fields=True, frozen=True):
    """One expectation of a suite.

    Attributes:
        type: Its type, as Great Expectations names it.
        kwargs: Its parameters, as Great Expectations names them.
        meta: What a gate must know of it.
    """

    type: str
    kwargs: dict[str, Any]
    meta: About


class _Gate(Struct, forbid_unknown_fields=True, frozen=True):
    gate: Gate


class Suite(Struct, forbid_unknown_fields=True, frozen=True):
    """A suite: the expectations of one gate.

    Attributes:
        name: Its name.
        meta: Its gate.
        expectations: What must hold.
    """

    name: Annotated[str, Meta(pattern=_NAME)]
    meta: _Gate
    expectations: list[Expectation]

    @property
    def gate(self) -> Gate:
        """The gate that its verdicts belong to."""
        return self.meta.gate


def load(more: Sequence[str | Path] = (), skip: Sequence[str] = ()) -> list[Suite]:
    """Read the shipped suites and those of a site.

    Args:
        more: Files of the site.
        skip: Checks that are left out.

    Raises:
        ConfigError: A file is missing or is no suite, two checks of a gate have one name, or `skip` names none.

    >>> [suite.gate for suite in load()]
    ['G0', 'G1', 'G2', 'G3', 'G4']
    """
    shipped = [_read(assets.path("schemas", "expectations", f"{name}.json")) for name in SHIPPED]
    suites = [*shipped, *(_read(Path(path)) for path in more)]
    names = [(suite.gate, one.meta.check) for suite in suites for one in suite.expectations]
    twice = sorted({f"{gate} {check}" for gate, check in names if names.count((gate, check)) > 1})
    if twice:
        raise ConfigError(f"two expectations are called {', '.join(twice)}", hint="give yours another name")
    unknown = sorted(set(skip) - {check for _, check in names})
    if unknown:
        raise ConfigError(f"gates.skip names no check: {', '.join(unknown)}", hint="mayo-data quality lists them")
    return [
        msgspec.structs.replace(suite, expectations=[one for one in suite.expectations if one.meta.check not in skip])
        for suite in suites
    ]


def _read(path: Path) -> Suite:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Suite)
    except OSError as error:
        raise ConfigError(
            f"the suite {path.name} cannot be read", hint="gates.suites are paths relative to the pipeline file"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the suite {path.name} is none: {error}", hint="see schemas/expectations") from error


def tables() -> Mapping[str, tuple[str, bool]]:
    """Return the tables that expectations look at: name to SQL, and whether it is kept once made.

    >>> tables()["persons"][1]
    True
    """
    listed = assets.toml("schemas", "quality", "tables.toml")
    return {name: (str(one["sql"]).strip(), bool(one.get("stays", False))) for name, one in listed.items()}


def ranges() -> list[dict[str, Any]]:
    """Return the limits of results, one row for each code, unit and spelling: table `ranges`.

    >>> next(row["high"] for row in ranges() if row["loinc"] == "2823-3" and row["unit"] == "mmol/l")
    12.0
    """
    listed = assets.toml("schemas", "quality", "ranges.toml")
    rows = []
    for result in listed["result"]:
        youngest, oldest = result.get("ages", (None, None))
        usual = {unit: (low, high) for unit, low, high in result.get("typical", ())}
        for unit, low, high in result["limits"]:
            middle = usual.get(unit, (None, None))
            rows += [
                {
                    "loinc": loinc, "code": f"OBSERVATION//LOINC//{loinc}", "name": result["name"], "unit": spelled,
                    "low": float(low), "high": float(high), "age_low": youngest, "age_high": oldest,
                    "typical_low": middle[0], "typical_high": middle[1], "factor": result.get("factor"),
                }
                for loinc in result["loinc"]
                for spelled in dict.fromkeys((unit.lower(), *listed["units"].get(unit, ())))
            ]  # fmt: skip
    return rows


def sexed() -> list[dict[str, Any]]:
    """Return the codes that one sex only can have: table `sexed`.

    >>> {"sex": "female", "vocabulary": "ICD10CM", "start": "O", "prefix": True} in sexed()
    True
    """
    return [
        {"sex": group["sex"], "vocabulary": group["vocabulary"], "start": start, "prefix": kind == "prefixes"}
        for group in assets.toml("schemas", "quality", "sexed.toml")["codes"]
        for kind in ("codes", "prefixes")
        for start in group.get(kind, ())
    ]
