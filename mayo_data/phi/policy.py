"""A PHI policy: an allow-list of elements with actions, and the methods that the actions use.

Policies are data in `schemas/phi/policies/*.toml` over the element list `schemas/phi/elements.toml`. A site's own
file says `extends = "expert_determination"` and overrides single lines.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

from mayo_data import assets
from mayo_data.errors import ConfigError
from mayo_data.keys import fingerprint
from mayo_data.phi import rules
from mayo_data.phi.elements import EXPORTED, elements, explained

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
    "extensions": {"admit": list}, "references": {"own": list}, "elements": None, "identifiers": None, "rules": None,
    "source": str,
    "actions": dict.fromkeys(sorted(EXPORTED), str),
}  # fmt: skip
_ACTIONS = frozenset(
    """id subject encounter medication birth_date zip3 state country extensions items attachment code number boolean
    date time samples label canonical text concept coding quantity age drop""".split()  # noqa: SIM905
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
        extensions: URLs of further extensions whose values are kept, by type; a trailing `*` admits a prefix.
        bases: Base URLs of the site's own servers: an absolute reference to any other is foreign.
        identifiers: What becomes of each of the 18 identifiers of 45 CFR 164.514(b)(2)(i), by letter.
        rules: Rules by FHIRPath that come before the elements: see `mayo_data.phi.rules`.
        model: What reads free text beside patterns and records: `default`, `none`, or a model's path.

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
    extensions: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()
    identifiers: dict[str, dict[str, str]] = field(default_factory=dict)
    rules: tuple[dict[str, Any], ...] = ()
    model: str = "default"

    @property
    def fingerprint(self) -> str:
        """Digest of everything in the policy."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return fingerprint(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS).decode())


def load(name: str, *, admit: tuple[str, ...] = (), model: str = "default") -> PhiPolicy:
    """Load a preset by name, or a site's policy by path.

    Args:
        name: One of `PRESETS`, or the path of a TOML file.
        admit: Further code systems to admit, from the pipeline file.
        model: What reads free text, from the pipeline file: `default`, `none`, or a model's path.

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
            extensions=tuple(body.get("extensions", {}).get("admit", [])),
            bases=tuple(body.get("references", {}).get("own", [])),
            identifiers=body.get("identifiers", {}),
            rules=tuple(body.get("rules", [])),
            model=model,
        )
    except KeyError as error:
        raise ConfigError(f"policy {Path(name).name}: {error} is missing", hint="compare it with a preset") from error


def _read(name: str, depth: int = 0) -> dict[str, Any]:
    if name in PRESETS:
        body = dict(assets.toml("schemas", "phi", "policies", f"{name}.toml"))
        named = assets.toml("schemas", "phi", f"{body['elements']}.toml")
        whole = {**named, "by_type": assets.toml("schemas", "phi", "by_type.toml")}
        body["elements"] = _turned(whole, body.get("actions", {}))
        return body
    try:
        text = Path(name).read_text(encoding="utf-8")
        own = tomllib.loads(text)
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
    whole = _read(base, depth + 1)
    _check_lines(own, _LINES, "")
    for verb, new in own.get("actions", {}).items():
        if verb not in EXPORTED or new != "drop":
            raise ConfigError(f"policy: actions.{verb} can only be drop", hint=f"known: {', '.join(sorted(EXPORTED))}")
    whole["elements"] = _turned(whole["elements"], own.get("actions", {}))
    if not isinstance(own.get("rules", []), list) or not all(isinstance(rule, dict) for rule in own.get("rules", [])):
        raise ConfigError("policy: rules is a list of tables")
    rules.check(own.get("rules", []))
    merged = _merge(whole, own)
    try:
        _check_elements(own.get("elements", {}), merged["elements"], whole["elements"])
    except ConfigError as error:
        raise ConfigError(f"{error}{_line(text, str(error))}", hint=error.hint) from None
    return merged


def _turned(tree: Any, verbs: dict[str, str]) -> Any:
    """Let all elements with an action of which only FHIR out has a use be dropped instead."""
    if isinstance(tree, dict):
        return {name: _turned(inner, verbs) for name, inner in tree.items()} if verbs else tree
    if isinstance(tree, str) and (said := tree.partition(" "))[0] in verbs:
        return f"{verbs[said[0]]} {said[2]}".strip()
    return tree


def _line(text: str, said: str) -> str:
    """Where in the file the element of a message stands, as far as its last name tells."""
    name = said.split(" ")[1].rpartition(".")[2]
    lines = [number for number, line in enumerate(text.splitlines(), 1) if name in line.split("=")[0]]
    return f" (line {lines[-1]})" if lines else ""


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
    for name in ("admit", "own"):
        if not all(isinstance(uri, str) for uri in own.get(name, [])):
            raise ConfigError(f"policy: {where}{name} lists URIs")


def _check_elements(own: Any, merged: dict[str, Any], base: dict[str, Any] | None = None) -> None:
    types = {*assets.toml("schemas", "fhir", "resource_types.toml")["types"], "datatypes", "by_type"}
    categories = assets.toml("schemas", "phi", "categories.toml")
    verbs = {f"{verb} {category}" for category in categories for verb in ("drop", *EXPORTED)}
    actions = {*_ACTIONS, *verbs, *merged["datatypes"]}

    def check(tree: Any, where: str, shape: str | None, before: Any) -> None:
        if isinstance(tree, dict):
            for name, inner in tree.items():
                at = f"{where}.{name}"
                known = before.get(name) if isinstance(before, dict) else None
                element = elements(shape).get(name) if shape else None
                if shape and element is None and known is None and not name.endswith("[x]"):
                    raise ConfigError(f"policy: {at} is no element of FHIR R4", hint="policy explain lists them")
                check(inner, at, element.type if element else None, known)
        elif tree not in ({"any"} if where.endswith("[x]") else actions):
            raise ConfigError(
                f"policy: {where} has no such action",
                hint="see the head of schemas/phi/elements.toml; to drop: drop CATEGORY",
            )

    if not isinstance(own, dict) or not all(isinstance(tree, dict) for tree in own.values()):
        raise ConfigError("policy: elements is a table of resource types")
    for kind, tree in own.items():
        if kind not in types:
            raise ConfigError(f"policy: elements.{kind} is no resource type of FHIR R4")
        if kind == "by_type":
            _check_by_type(tree, actions)
        else:
            check(tree, f"elements.{kind}", None if kind == "datatypes" else kind, (base or merged).get(kind))


def _check_by_type(tree: dict[str, Any], actions: set[str]) -> None:
    for name, inner in tree.items():
        if name not in ("type", "text", "subject") or not isinstance(inner, dict):
            raise ConfigError(f"policy: elements.by_type.{name} is no table of by_type", hint="type, text or subject")
        for key, value in inner.items():
            if name == "type" and value not in actions:
                raise ConfigError(f"policy: elements.by_type.type.{key} has no such action")
            if name != "type" and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
                raise ConfigError(f"policy: elements.by_type.{name}.{key} lists names")


def identifiers(found: PhiPolicy) -> list[dict[str, str]]:
    """Return what a policy does with the 18 identifiers of 45 CFR 164.514(b)(2)(i): letter, identifier, method, ...

    >>> len(identifiers(load("safe_harbor")))
    18
    """
    named = assets.toml("schemas", "phi", "hipaa.toml")
    empty = {"method": "", "elements": "", "note": ""}
    return [
        {"letter": letter, "identifier": name, **empty, **found.identifiers.get(letter, {})}
        for letter, name in named.items()
    ]


def compare(first: PhiPolicy, second: PhiPolicy) -> list[tuple[str, str, str]]:
    """Return what two policies do differently: (what, first, second), methods before elements.

    >>> compare(load("safe_harbor"), load("limited_data_set"))[0]
    ('dates', 'year', 'keep')
    """
    found = []
    for name in ("dates", "max_days", "top_age", "zip_method", "admit", "replace", "ids", "extensions", "bases"):
        one, other = getattr(first, name), getattr(second, name)
        if one != other:
            found.append((name, _said(one), _said(other)))
    if first.rules != second.rules:
        found.append(("rules", f"{len(first.rules)} rules", f"{len(second.rules)} rules"))
    for kind in assets.toml("schemas", "fhir", "resource_types.toml")["types"]:
        one = {line.path: line.action for line in explained(first.elements, kind)}
        other = {line.path: line.action for line in explained(second.elements, kind)}
        for path in dict.fromkeys([*one, *other]):
            if one.get(path) != other.get(path):
                found.append((path, one.get(path, "drop"), other.get(path, "drop")))
    return found


def _said(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


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
