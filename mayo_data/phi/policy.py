"""A PHI policy: an allow-list of elements with actions, and the methods that the actions use.

Policies are data in `schemas/phi/policies/*.toml` over the element list `schemas/phi/elements.toml`. A site's own
file says `extends = "expert_determination"` and overrides single lines.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from mayo_data import assets
from mayo_data.errors import ConfigError
from mayo_data.keys import fingerprint

PRESETS = ("expert_determination", "safe_harbor", "limited_data_set")

# HHS, Guidance Regarding Methods for De-identification (2012): three-digit ZIP areas with 20,000 people or fewer
# in the census of 2000. They become 000.
SMALL_ZIP3 = frozenset(
    {
        "036", "059", "063", "102", "203", "556", "692", "790", "821", "823", "830", "831", "878", "879", "884",
        "890", "893",
    }
)  # fmt: skip


# What a site's own file may say, with the type of each line; `elements` is checked by itself.
_LINES: dict[str, Any] = {
    "name": str, "legal": str, "version": int, "dates": {"method": str, "max_days": int}, "ages": {"top": int},
    "zip": {"method": str}, "codes": {"admit": list}, "text": {"replace": str}, "ids": {"method": str},
    "elements": None,
}  # fmt: skip
_ACTIONS = frozenset(
    """id subject encounter medication birth_date zip3 state extensions items attachment code number boolean date time
    samples label canonical text concept coding quantity age""".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class PhiPolicy:
    """What is kept, and how dates, ages, ZIP codes, codes and text are treated.

    Attributes:
        name: Name of the preset, or of the site's file.
        legal: The legal basis, in words.
        elements: Element tree: resource type or `datatypes` → element → action or subtree.
        dates: `shift` (one keyed offset a subject), `year`, or `keep`.
        max_days: Largest offset, in days.
        top_age: Ages above it are one group; 0 switches this off.
        zip_method: `zip3` or `keep`.
        admit: URIs of site-local code systems that carry no PHI; a trailing `*` admits a prefix.
        replace: What becomes of PHI in free text: `surrogate` or `tag`.
        ids: `keyed` or `random`.

    >>> load("safe_harbor").dates
    'year'
    """

    name: str
    legal: str
    elements: dict[str, Any]
    dates: Literal["shift", "year", "keep"]
    max_days: int
    top_age: int
    zip_method: Literal["zip3", "keep"]
    admit: tuple[str, ...]
    replace: Literal["surrogate", "tag"]
    ids: Literal["keyed", "random"]

    @property
    def fingerprint(self) -> str:
        """Digest of everything in the policy."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return fingerprint(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS).decode())


def load(name: str, *, admit: tuple[str, ...] = ()) -> PhiPolicy:
    """Load a preset by name, or a site's policy by path.

    Args:
        name: One of `PRESETS`, or the path of a TOML file.
        admit: Further code systems to admit, from the pipeline file.

    Raises:
        ConfigError: No such policy, or a line of it makes no sense.
    """
    body = _read(name)
    try:
        return PhiPolicy(
            name=str(body["name"]),
            legal=str(body["legal"]),
            elements=body["elements"],
            dates=_one_of(body["dates"]["method"], ("shift", "year", "keep"), "dates.method"),
            max_days=int(body["dates"].get("max_days", 365)),
            top_age=int(body["ages"]["top"]),
            zip_method=_one_of(body["zip"]["method"], ("zip3", "keep"), "zip.method"),
            admit=tuple(dict.fromkeys([*body["codes"].get("admit", []), *admit])),
            replace=_one_of(body["text"]["replace"], ("surrogate", "tag"), "text.replace"),
            ids=_one_of(body["ids"]["method"], ("keyed", "random"), "ids.method"),
        )
    except KeyError as error:
        raise ConfigError(f"policy {Path(name).name}: {error} is missing", hint="compare it with a preset") from error


def _read(name: str, depth: int = 0) -> dict[str, Any]:
    if name in PRESETS:
        body = dict(assets.toml("schemas", "phi", "policies", f"{name}.toml"))
        body["elements"] = assets.toml("schemas", "phi", f"{body['elements']}.toml")
        return body
    try:
        own = tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"no policy {name!r}", hint=f"use one of {', '.join(PRESETS)}, or the path of a file"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"policy {Path(name).name} is not TOML: {error}") from error
    extends = own.pop("extends", None)
    if not isinstance(extends, str) or depth > 3:
        raise ConfigError(f"policy {Path(name).name} lacks extends", hint=f"extends = one of {', '.join(PRESETS)}")
    base = extends if extends in PRESETS else str(Path(name).parent / extends)
    merged = _merge(_read(base, depth + 1), own)
    _check_lines(own, _LINES, "")
    _check_elements(own.get("elements", {}), merged["elements"])
    return merged


def _check_lines(own: dict[str, Any], known: dict[str, Any], where: str) -> None:
    """A line that nobody reads is a rule that nobody follows, so it is an error."""
    for name, value in own.items():
        wanted = known.get(name, ...)
        if wanted is ...:
            raise ConfigError(f"policy: {where}{name} is no line of a policy", hint=f"known: {', '.join(known)}")
        if isinstance(wanted, dict) and isinstance(value, dict):
            _check_lines(value, wanted, f"{where}{name}.")
        elif wanted is not None and type(value) is not wanted:
            raise ConfigError(f"policy: {where}{name} has the wrong type")
    if not all(isinstance(uri, str) for uri in own.get("admit", [])):
        raise ConfigError("policy: codes.admit lists URIs")


def _check_elements(own: Any, merged: dict[str, Any]) -> None:
    types = {*assets.toml("schemas", "fhir", "resource_types.toml")["types"], "datatypes"}
    actions = {*_ACTIONS, *merged["datatypes"]}
    drops = {f"drop {category}" for category in assets.toml("schemas", "phi", "categories.toml")}

    def check(tree: Any, where: str) -> None:
        if isinstance(tree, dict):
            for name, inner in tree.items():
                check(inner, f"{where}.{name}")
        elif tree not in ({"any"} if where.endswith("[x]") else actions | drops):
            raise ConfigError(
                f"policy: {where} has no such action",
                hint="see the head of schemas/phi/elements.toml; to drop: drop CATEGORY",
            )

    if not isinstance(own, dict) or not all(isinstance(tree, dict) for tree in own.values()):
        raise ConfigError("policy: elements is a table of resource types")
    for kind, tree in own.items():
        if kind not in types:
            raise ConfigError(f"policy: elements.{kind} is no resource type of FHIR R4")
        check(tree, f"elements.{kind}")


def _merge(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Lay single lines of `own` over `base`."""
    merged = dict(base)
    for key, value in own.items():
        inner = merged.get(key)
        merged[key] = _merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _one_of(value: object, allowed: tuple[str, ...], where: str) -> Any:
    if value not in allowed:
        raise ConfigError(f"policy: {where} must be one of {', '.join(allowed)}")
    return value
