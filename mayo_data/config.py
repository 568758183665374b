"""The pipeline file: parameters, not programs. Its JSON Schema is `schemas/pipeline.schema.json`."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta, Struct

from mayo_data import assets
from mayo_data.errors import ConfigError

ValidateShare = Literal["all", "sample", "off"]
T = TypeVar("T", bound=Struct)
_KINDS = {"pipeline": "pipeline", "train": "training"}  # name of the schema to what a person calls the file
_AT = re.compile(r" - at `\$\.?(.*)`$")


class SourceConfig(Struct, forbid_unknown_fields=True, frozen=True):
    """How the export is read.

    Attributes:
        format: `fhir` or `omop`; where a run has an input of each, both are recognised.
        mode: `full`: the input is everything, and replaces what the store holds. `delta`: it is what changed since
            the last run (FHIR `_since`; of OMOP all rows of some persons), and is merged into the store.
        max_line_mib: Longest line that is read, MiB; a longer one is quarantined.
        split_mib: Size of the part of an uncompressed file that one task reads, MiB.
        time_zone: IANA name of the zone in which the clock of an OMOP export runs, for example `America/Chicago`:
            OMOP times have no zone of their own. Empty: they are read as UTC. FHIR times carry theirs.
    """

    format: Literal["fhir", "omop"] = "fhir"
    mode: Literal["full", "delta"] = "full"
    max_line_mib: Annotated[int, Meta(ge=1, le=2048)] = 64
    split_mib: Annotated[int, Meta(ge=1, le=4096)] = 32
    time_zone: Annotated[str, Meta(pattern=r"^([A-Za-z][A-Za-z0-9_+\-/]{0,63})?$")] = ""


class PhiConfig(Struct, forbid_unknown_fields=True, frozen=True):
    """How PHI is treated.

    Attributes:
        policy: Name of a preset, or path of a site's policy, relative to the pipeline file.
        admit: Further code systems whose codes carry no PHI; a trailing `*` admits a prefix.
        join: Systems of identifiers that belong to one person only, for example of a master patient index: two
            records with the same value are the same person, in FHIR and (as `person_source_value`) in OMOP.
        as_of: ISO date at which ages over the top age are judged; empty for the end of this year.
        model: What reads free text beside patterns and records: `default` for the shipped models, `fast` for the
            smaller of them alone, `none` for none (much is missed), or the path of a spaCy pipeline.
        seconds: Processor seconds that the scrub of one resource, or of one text of an OMOP table, may take, for each
            MiB of it that is begun; what takes longer is quarantined (`too_slow`). 0: no limit.
        crosswalk: Whether the vault keeps, sealed, which resource of the source a keyed id stands for, so that
            `mayo-data reidentify` can lead back to it. Off: nobody can, but by running the export again.
    """

    policy: str = "expert_determination"
    admit: tuple[str, ...] = ()
    join: tuple[str, ...] = ()
    as_of: Annotated[str, Meta(pattern=r"^(\d{4}-\d{2}-\d{2})?$")] = ""
    model: str = "default"
    seconds: Annotated[int, Meta(ge=0, le=86_400)] = 120
    crosswalk: bool = False


class EventsConfig(Struct, forbid_unknown_fields=True, frozen=True):
    """How resources become events.

    Attributes:
        mapping: Name of the mapping in `schemas/fhir`.
    """

    mapping: Literal["fhir"] = "fhir"


class StoreConfig(Struct, forbid_unknown_fields=True, frozen=True):
    """How the store is laid out.

    Attributes:
        shards: Number of event files; 0 for one per 64 MiB of input, at least 4 and at most 8,192.
        splits: Shares of the subjects, by keyed hash; MEDS names train, tuning and held_out.
    """

    shards: Annotated[int, Meta(ge=0, le=100_000)] = 0
    splits: dict[str, Annotated[float, Meta(ge=0, le=1)]] = msgspec.field(
        default_factory=lambda: {"train": 0.8, "tuning": 0.1, "held_out": 0.1}
    )


class GatesConfig(Struct, forbid_unknown_fields=True, frozen=True):
    """When gates speak up.

    Attributes:
        warn_quarantined: Share of quarantined rows from which gate G1 warns.
        stop_quarantined: Share of quarantined rows from which G1 stops a run of at least 1,000 rows.
        earliest_year: Events before it are implausible.
        latest_year: Events after it are implausible.
        stop_implausible: Share of implausible times from which G2 stops.
        suites: A site's own suites of expectations, JSON files relative to the pipeline file.
        skip: Checks of the suites that are left out, by name.
        history_rows: Rows of a type or a kind in the snapshot before from which it counts as history: only then do
            lost, shrunk or doubled types and another mix of codes speak up.
    """

    warn_quarantined: Annotated[float, Meta(ge=0, le=1)] = 0.01
    stop_quarantined: Annotated[float, Meta(ge=0, le=1)] = 0.5
    earliest_year: int = 1850
    latest_year: int = 2300
    stop_implausible: Annotated[float, Meta(ge=0, le=1)] = 0.05
    suites: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    history_rows: Annotated[int, Meta(ge=1)] = 1000


class PipelineConfig(Struct, forbid_unknown_fields=True, frozen=True):
    """A pipeline: read, validate, scrub, normalize, build, commit, always in this order; only parameters differ.

    Attributes:
        name: What the ledger calls it.
        validate: Which rows must be valid FHIR to go on: `all`, a `sample` of one in 50, or none (`off`).
        source: How the export is read.
        phi: How PHI is treated.
        events: How resources become events.
        store: How the store is laid out.
        gates: When gates speak up.

    >>> PipelineConfig(name="nightly").source.format
    'fhir'
    """

    name: str
    validate: ValidateShare = "all"
    source: SourceConfig = SourceConfig()
    phi: PhiConfig = PhiConfig()
    events: EventsConfig = EventsConfig()
    store: StoreConfig = msgspec.field(default_factory=StoreConfig)
    gates: GatesConfig = GatesConfig()


def load(path: Path) -> PipelineConfig:
    """Read a pipeline file: a path, or the name of a shipped one such as `fhir.toml`.

    Raises:
        ConfigError: The file is missing, is not TOML, or has a wrong or unknown line.
    """
    config, found = read(path, PipelineConfig, "pipeline", "fhir.toml")
    return _checked(config, found)


def read(path: Path, shape: type[T], what: str, shipped: str) -> tuple[T, Path]:
    """Read a TOML file of parameters; return what it says, and where it was found.

    Args:
        path: A path, or the name of a file that is shipped in `pipelines/`.
        shape: What it must say.
        what: Its kind, `pipeline` or `train`: that of `schemas/KIND.schema.json`.
        shipped: Name of a shipped file of that kind, for a hint.

    Raises:
        ConfigError: The file is missing, is not TOML, or has a wrong or unknown line.

    >>> read(Path("fhir.toml"), PipelineConfig, "pipeline", "fhir.toml")[0].source.format
    'fhir'
    """
    found = path
    if not path.exists():
        try:
            found = assets.path("pipelines", path.name)
        except FileNotFoundError as error:
            raise ConfigError(f"the {_KINDS[what]} file does not exist", hint=f"try pipelines/{shipped}") from error
    try:
        body = tomllib.loads(found.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"the {_KINDS[what]} file is not TOML: {error}") from error
    try:
        return msgspec.convert(body, shape), found
    except msgspec.ValidationError as error:
        where = _AT.search(str(error))
        line = where[1] if where and where[1] else "the top level"
        raise ConfigError(
            f"{_KINDS[what]} file, {line}: {_AT.sub('', str(error))}",
            hint=f"schemas/{what}.schema.json lists every line",
        ) from error


def _checked(config: PipelineConfig, found: Path) -> PipelineConfig:
    if abs(sum(config.store.splits.values()) - 1) > 1e-6:
        raise ConfigError("pipeline file, store.splits: the shares must add up to 1")
    if config.phi.as_of:
        try:
            date.fromisoformat(config.phi.as_of)
        except ValueError as error:
            raise ConfigError("pipeline file, phi.as_of: no such day") from error
    if config.source.time_zone:
        try:
            ZoneInfo(config.source.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ConfigError(
                "pipeline file, source.time_zone: no such zone", hint="an IANA name such as America/Chicago"
            ) from error
    suites = tuple(str(found.parent / suite) for suite in config.gates.suites)
    if suites != config.gates.suites:
        config = msgspec.structs.replace(config, gates=msgspec.structs.replace(config.gates, suites=suites))
    beside = found.parent / config.phi.policy
    if config.phi.policy.endswith(".toml") and beside.exists():
        return msgspec.structs.replace(config, phi=msgspec.structs.replace(config.phi, policy=str(beside)))
    return config


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a pipeline file, as shipped in `schemas/pipeline.schema.json`."""
    return msgspec.json.schema(PipelineConfig)
