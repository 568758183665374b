"""Compiles `schemas/<mapping>/events.toml` once a process into nodes that `walk` can follow fast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from mayo_data import assets
from mayo_data.errors import ConfigError
from mayo_data.events import codes, times, values
from mayo_data.events.elements import Memory, Shape, field, memory
from mayo_data.events.rows import encounter_ids, read_encounters

_T = TypeVar("_T")
Reader = Callable[[bytes], _T]
Leaf = tuple[str, Reader[_T]]
"""Field of a `Shape`, and what reads its bytes."""

_FROM_BYTES: dict[Any, Reader[Any]] = {
    times.period: times.read,
    encounter_ids: Memory(read_encounters).__getitem__,
    values.every(values.guess): Memory(values.read_guess).__getitem__,
}
_ALLOWED = frozenset(
    """kind code time end available value absent text every needs status encounter withdrawn negated
    codes values each path under at""".split()  # noqa: SIM905
)
_LISTS = "code time end available value absent text status encounter withdrawn".split()  # noqa: SIM905
_PLACE = ("time", "end", "at", "status", "encounter")
_ROOT = {"status": ["status"], "encounter": ["encounter"]}


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """What becomes of one element: the compiled form of a group of `events.toml`."""

    kind: str
    shape: Shape
    code: tuple[Leaf[list[codes.Concept]], ...]
    under: bool
    time: tuple[Leaf[times.Period], ...]
    end: tuple[Leaf[times.Period], ...]
    at_end: bool
    available: tuple[Leaf[times.Period], ...]
    status: tuple[Leaf[str | None], ...]
    encounter: tuple[Leaf[tuple[int, ...]], ...]
    encounter_below: tuple[tuple[Each, str, Reader[tuple[int, ...]]], ...]
    value: tuple[Leaf[tuple[values.Value, ...]], ...]
    absent: tuple[Leaf[str | None], ...]
    text: tuple[Leaf[tuple[str, ...]], ...]
    text_above: bool
    every: bool
    needs_value: bool
    withdrawn: tuple[Leaf[str | None], ...]
    negated: tuple[tuple[str, Reader[bool], Node], ...]
    codes: tuple[tuple[str, str, Reader[list[codes.Concept]]], ...]
    values: tuple[tuple[str, str, Reader[tuple[values.Value, ...]]], ...]
    each: tuple[Each, ...]
    placed: bool  # has a time, an encounter or a status of its own, or a part that has


@dataclass(frozen=True, slots=True, eq=False)
class Each:
    """A group of the mapping for every element found at a path.

    Args:
        field: First key of the path.
        keys: The others.
        node: What becomes of each element.
    """

    field: str
    keys: tuple[str, ...]
    node: Node


@cache
def nodes(mapping: str) -> dict[str, Node]:
    """Return the compiled mapping: resource type to root node.

    Args:
        mapping: Folder under `schemas/` that holds `events.toml`.

    Raises:
        ConfigError: The mapping uses a key that does not exist, or lacks one that must.

    >>> nodes("fhir")["Condition"].kind
    'CONDITION//'
    """
    spec = assets.toml("schemas", mapping, "events.toml")
    return {name: _node(name, _root(body), "") for name, body in spec.items()}


def _root(body: dict[str, Any]) -> dict[str, Any]:
    return {**_ROOT, **body, "available": [*body.get("available", []), "meta.lastUpdated"]}


def _node(where: str, spec: dict[str, Any], suffix: str) -> Node:
    unknown = set(spec) - _ALLOWED
    if unknown or "kind" not in spec:
        raise ConfigError(
            f"events.toml, {where}: {f'unknown key {sorted(unknown)[0]}' if unknown else 'no kind'}",
            hint="the keys are explained at the head of schemas/fhir/events.toml",
        )
    each = tuple(_each(where, below, suffix) for below in spec.get("each", []))
    into = {path: _into(path, spec, each) for path in spec.get("encounter", [])}
    return Node(
        kind=f"{spec['kind']}{suffix}//",
        shape=Shape(_keys(spec)),
        code=_leaves(spec.get("code", []), codes.concepts),
        under=spec.get("under", False),
        time=_leaves(spec.get("time", []), times.period),
        end=_leaves(spec.get("end", []), times.period),
        at_end=spec.get("at") == "end",
        available=_leaves(spec.get("available", []), times.period),
        status=_leaves(spec.get("status", []), codes.plain_code),
        encounter=_leaves([path for path, found in into.items() if found is None], encounter_ids),
        encounter_below=tuple(found for found in into.values() if found is not None),
        value=tuple(leaf for path in spec.get("value", []) for leaf in _value(path, spec)),
        absent=_leaves(spec.get("absent", []), codes.answer),
        text=_leaves([path for path in spec.get("text", []) if path != "^"], values.texts),
        text_above="^" in spec.get("text", []),
        every=spec.get("every", False),
        needs_value=spec.get("needs") == "value",
        withdrawn=_leaves(spec.get("withdrawn", []), codes.plain_code),
        negated=tuple(_negated(rule, where, spec, suffix) for rule in spec.get("negated", [])),
        codes=tuple(
            (f"{kind}{suffix}//", *_leaf(path, codes.concepts)) for kind, path in spec.get("codes", {}).items()
        ),
        values=tuple(
            (f"{kind}{suffix}//", *_leaf(path, values.every(values.guess)))
            for kind, path in spec.get("values", {}).items()
        ),
        each=each,
        placed=any(spec.get(key) for key in _PLACE) or any(group.node.placed for group in each),
    )


def _leaf(path: str, read: Callable[[Any], _T]) -> Leaf[_T]:
    first, below = _split(path)
    direct = None if below else _FROM_BYTES.get(read)
    return field(first), direct or memory(read, below).__getitem__


def _leaves(paths: list[str], read: Callable[[Any], _T]) -> tuple[Leaf[_T], ...]:
    return tuple(_leaf(path, read) for path in paths)


def _split(path: str) -> tuple[str, tuple[str, ...]]:
    if path == ".":
        return path, ()
    first, *others = path.split(".")
    return first, tuple(others)


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _value(path: str, spec: dict[str, Any]) -> list[Leaf[tuple[values.Value, ...]]]:
    above, _, name = path.rpartition(".")
    if not name.endswith("[x]"):
        return [_leaf(path, values.every(values.guess))]
    times_ = frozenset(_last(path) for key in ("time", "end") for path in spec.get(key, []))
    if above:
        return [_leaf(above, values.every(values.choice(name[:-3], times_)))]
    readers = values.choices(name[:-3], times_)
    return [(field(key), values.sole(read)) for key, read in readers.items()]


def _negated(rule: dict[str, Any], where: str, spec: dict[str, Any], suffix: str) -> tuple[str, Reader[bool], Node]:
    said = frozenset(rule["is"])

    def holds(element: Any) -> bool:
        return ("true" if element is True else codes.plain_code(element)) in said

    variant = _node(where, {**spec, "negated": []}, suffix + rule["suffix"])
    return *_leaf(rule["path"], holds), variant


def _each(where: str, spec: dict[str, Any], suffix: str) -> Each:
    first, keys = _split(spec["path"])
    node = _node(f"{where}.{spec['path']}", spec, suffix)
    return Each(field(first), keys, node)


def _into(path: str, spec: dict[str, Any], each: tuple[Each, ...]) -> tuple[Each, str, Reader[tuple[int, ...]]] | None:
    """Return the group that an encounter path leads into, so that its elements are taken apart once."""
    for group, below in zip(each, spec.get("each", []), strict=True):
        inner = path.removeprefix(f"{below['path']}.")
        if inner != path and inner in below.get("encounter", []):
            return group, *_leaf(inner, encounter_ids)
    return None


def _keys(spec: dict[str, Any]) -> dict[str, None]:
    """Return the keys of an element that its group reads, in the order of the group."""
    found = [path for path in _listed(spec) if path != "^"]
    found += [below["path"] for below in spec.get("each", [])]
    keys: dict[str, None] = {}
    for path in found:
        first = _split(path)[0]
        if first.endswith("[x]"):
            keys |= dict.fromkeys(values.choices(first[:-3]))
        else:
            keys[first] = None
    return keys


def paths(mapping: str) -> dict[str, set[str]]:
    """Return the FHIR element paths that the mapping reads, by resource type.

    A choice is given as its FHIR R4 names. A path names an element; what that holds (`coding`, `value`,
    `start`) is read with it.
    """
    spec = assets.toml("schemas", mapping, "events.toml")
    return {name: set(_read(_root(body), "")) for name, body in spec.items()}


def _listed(spec: dict[str, Any]) -> list[str]:
    listed = [path for key in _LISTS for path in spec.get(key, [])]
    listed += [rule["path"] for rule in spec.get("negated", [])]
    return [*listed, *spec.get("codes", {}).values(), *spec.get("values", {}).values()]


def _read(spec: dict[str, Any], above: str) -> Iterator[str]:
    for path in _listed(spec):
        if path in (".", "^"):
            yield above.rstrip(".")
        elif path.endswith("[x]"):
            yield from (above + path.replace(f"{_last(path)}", name) for name in _R4_CHOICES[_last(path)[:-3]])
        else:
            yield above + path
    for below in spec.get("each", []):
        yield from _read(below, f"{above}{below['path']}.")


def _names(name: str, kinds: str) -> tuple[str, ...]:
    return tuple(name + kind for kind in kinds.split())


_R4_CHOICES = {  # the types that FHIR R4 allows where this mapping reads a choice
    "value": _names(
        "value",
        "Quantity CodeableConcept String Boolean Integer Range Ratio SampledData Time DateTime Period",
    ),
    "onset": _names("onset", "Age Range String Period"),
    "performed": _names("performed", "Age Range String"),
    "dose": _names("dose", "Quantity Range"),
    "rate": _names("rate", "Quantity Range Ratio"),
    "detail": _names("detail", "Quantity Range CodeableConcept String Boolean Integer Ratio"),
    "quantity": _names("quantity", "Quantity Range Ratio"),
}
