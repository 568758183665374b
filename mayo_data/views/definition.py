"""Reads a ViewDefinition and checks it; whatever is wrong is told with its place in the view.

The rules are those of the logical model of SQL on FHIR v2 (`ViewDefinition`, its invariants, and `repeat`). A key that
is not in the model is refused: a `foreach` that is silently ignored gives a wrong table.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from mayo_data.errors import ConfigError
from mayo_data.views.elements import KINDS
from mayo_data.views.moments import literal_moment
from mayo_data.views.syntax import Literal, Node, parse
from mayo_data.views.values import MOMENTS

DEEPEST = 12  # levels of select and unionAll
MOST_SELECTS = 300
MOST_COLUMNS = 1000

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:\.[A-Za-z0-9]+)*")
_PREFIX = "http://hl7.org/fhir/StructureDefinition/"
_CANONICAL = frozenset(
    [
        *(
            "resourceType",
            "id",
            "meta",
            "implicitRules",
            "language",
            "text",
            "contained",
            "extension",
            "url",
            "version",
        ),
        *("identifier", "versionAlgorithmString", "versionAlgorithmCoding", "name", "title", "status", "experimental"),
        *("date", "publisher", "contact", "description", "useContext", "jurisdiction", "purpose", "copyright"),
        *("copyrightLabel", "profile", "fhirVersion", "constant", "resource", "select", "where"),
    ]
)
_EVERYWHERE = frozenset({"id", "extension"})
_SELECT = frozenset({"column", "select", "forEach", "forEachOrNull", "repeat", "unionAll"})
_COLUMN = frozenset({"path", "name", "description", "collection", "type", "tag"})
_CONSTANT = re.compile(r"value(.+)")
_OWN = frozenset({"rowIndex", "resource", "rootResource", "context"})  # constants that the view cannot define
_ANSI = (
    (r"(?:CHARACTER VARYING|CHARACTER|VARCHAR|CHAR)(?:\(\d+\))?", "VARCHAR"),
    (r"BOOLEAN", "BOOLEAN"),
    (r"SMALLINT", "SMALLINT"),
    (r"INTEGER|INT", "INTEGER"),
    (r"BIGINT", "BIGINT"),
    (r"REAL", "FLOAT"),
    (r"DOUBLE PRECISION|DOUBLE|FLOAT(?:\(\d+\))?", "DOUBLE"),
    (r"DATE", "DATE"),
    (r"TIME", "TIME"),
    (r"TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ"),
    (r"TIMESTAMP(?: WITHOUT TIME ZONE)?", "TIMESTAMP"),
)
_DECIMAL = re.compile(r"(?:DECIMAL|NUMERIC|DEC)\((\d{1,2})(?:,\s*(\d{1,2}))?\)")


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        place: Where it stands in the view.
        name: Its name in the output.
        path: Its expression.
        type: The FHIR type that the view declares, or empty.
        collection: Whether it holds a list.
        cast: The SQL type that its tag `ansi/type` asks for, or empty.
    """

    place: str
    name: str
    path: Node
    type: str = ""
    collection: bool = False
    cast: str = ""


@dataclass(frozen=True)
class Select:
    """One selection structure.

    Attributes:
        place: Where it stands in the view.
        columns: Its columns.
        selects: What is joined to them.
        union: Branches whose rows follow each other.
        each: The expression of `forEach` or `forEachOrNull`.
        or_null: Whether it is `forEachOrNull`.
        repeat: The expressions of `repeat`.
    """

    place: str
    columns: tuple[Column, ...] = ()
    selects: tuple[Select, ...] = ()
    union: tuple[Select, ...] = ()
    each: Node | None = None
    or_null: bool = False
    repeat: tuple[Node, ...] = ()


@dataclass(frozen=True)
class View:
    """A ViewDefinition that has been read.

    Attributes:
        resource: The resource type.
        name: Its name, or empty.
        selects: Its selection structures.
        where: Place and expression of each condition.
        constants: Name to value.
        versions: The FHIR versions that it declares.
    """

    resource: str
    name: str
    selects: tuple[Select, ...]
    where: tuple[tuple[str, Node], ...] = ()
    constants: Mapping[str, Literal] = field(default_factory=dict)
    versions: tuple[str, ...] = ()


def read(body: object) -> View:
    """Read a ViewDefinition.

    Args:
        body: The view as JSON gives it.

    Raises:
        ConfigError: It is no ViewDefinition; the message begins with the place of what is wrong.

    >>> read({"resource": "Patient", "select": [{"column": [{"name": "id", "path": "id"}]}]}).resource
    'Patient'
    """
    return _Reader().view(body)


@contextmanager
def at(place: str) -> Iterator[None]:
    """Put a place in front of what goes wrong inside."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}", hint=error.hint) from None


def _is_text(value: object, place: str) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{place}: a text belongs here", hint="for example a FHIRPath expression or a name")
    return value


def _named(value: object, place: str) -> str:
    if not _NAME.fullmatch(_is_text(value, place)) or len(str(value)) > 255:
        raise ConfigError(
            f"{place}: this name does not do in a database", hint="a letter, then letters, digits, underscores"
        )
    return str(value)


def _object(value: object, place: str, keys: frozenset[str] | None = None) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{place or 'the view'}: an object belongs here", hint="see the ViewDefinition of SQL on FHIR"
        )
    for key in value:
        if not isinstance(key, str) or (
            keys is not None and key not in keys and key not in _EVERYWHERE and not key.startswith("_")
        ):
            raise ConfigError(
                f"{_below(place, str(key)[:60])}: a ViewDefinition has no such key",
                hint=f"here can stand {', '.join(sorted(keys or ()))}",
            )
    return value


def _list(value: object, place: str) -> Sequence[Any]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{place}: a list belongs here", hint="see the ViewDefinition of SQL on FHIR")
    return value


def _below(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _path(value: object, place: str) -> Node:
    text = _is_text(value, place)
    with at(place):
        return parse(text)


class _Reader:
    def __init__(self) -> None:
        self.selects = 0
        self.columns = 0

    def view(self, body: object) -> View:
        view = _object(body, "", _CANONICAL)
        if view.get("resourceType", "ViewDefinition") != "ViewDefinition":
            raise ConfigError("resourceType: this is no ViewDefinition", hint="give a ViewDefinition of SQL on FHIR v2")
        if "resource" not in view:
            raise ConfigError("resource: it is missing", hint="name the resource type, for example Patient")
        resource = _is_text(view["resource"], "resource")
        if not re.fullmatch(r"[A-Z][A-Za-z]*", resource):
            raise ConfigError("resource: this is no resource type", hint="for example Patient")
        name = _named(view["name"], "name") if "name" in view else ""
        versions = view.get("fhirVersion") or ()
        versions = tuple(str(one) for one in (versions if isinstance(versions, list | tuple) else (versions,)))
        constants = self.constants(_list(view.get("constant"), "constant"))
        where: list[tuple[str, Node]] = []
        for number, one in enumerate(_list(view.get("where"), "where")):
            place = f"where[{number}]"
            condition = _object(one, place, frozenset({"path", "description"}))
            where.append((f"{place}.path", _path(condition.get("path"), f"{place}.path")))
        if not _list(view.get("select"), "select"):
            raise ConfigError("select: it is missing", hint="a view has at least one select with a column")
        selects = self.many(view["select"], "select", 1)
        if not self.columns:
            raise ConfigError("select: the view has no column", hint="add one")
        return View(resource, name, selects, tuple(where), constants, versions)

    def constants(self, given: Sequence[Any]) -> dict[str, Literal]:
        made: dict[str, Literal] = {}
        for number, one in enumerate(given):
            place = f"constant[{number}]"
            name = _named(_object(one, place).get("name"), f"{place}.name")
            if name in made or name in _OWN:
                raise ConfigError(f"{place}.name: this name is taken", hint="give each constant another name")
            values = [key for key in one if key != "name" and key not in _EVERYWHERE and not key.startswith("_")]
            if len(values) != 1:
                raise ConfigError(f"{place}: a constant has exactly one value", hint="for example valueString")
            found = _CONSTANT.fullmatch(values[0])
            kind = found[1][0].lower() + found[1][1:] if found else ""
            if kind not in KINDS or kind == "xhtml" or kind == "markdown":
                raise ConfigError(f"{place}.{values[0][:60]}: no such type of constant", hint="for example valueString")
            made[name] = _literal(KINDS[kind], one[values[0]], f"{place}.{values[0]}")
        return made

    def many(self, given: object, place: str, depth: int) -> tuple[Select, ...]:
        return tuple(self.select(one, f"{place}[{i}]", depth) for i, one in enumerate(_list(given, place)))

    def select(self, given: object, place: str, depth: int) -> Select:
        self.selects += 1
        if depth > DEEPEST:
            raise ConfigError(f"{place}: more than {DEEPEST} levels of select", hint="split the view")
        if self.selects > MOST_SELECTS:
            raise ConfigError(f"{place}: more than {MOST_SELECTS} selects", hint="split the view")
        select = _object(given, place, _SELECT)
        loops = [key for key in ("forEach", "forEachOrNull", "repeat") if select.get(key) is not None]
        if len(loops) > 1:
            raise ConfigError(f"{place}: {' and '.join(loops)} exclude each other", hint="nest one select in the other")
        each: Node | None = None
        repeat: tuple[Node, ...] = ()
        if loops == ["repeat"]:
            paths = _list(select["repeat"], f"{place}.repeat")
            repeat = tuple(_path(one, f"{place}.repeat[{i}]") for i, one in enumerate(paths))
        elif loops:
            each = _path(select[loops[0]], f"{place}.{loops[0]}")
        columns = tuple(
            self.column(one, f"{place}.column[{i}]")
            for i, one in enumerate(_list(select.get("column"), f"{place}.column"))
        )
        made = Select(
            place,
            columns,
            self.many(select.get("select"), f"{place}.select", depth + 1),
            self.many(select.get("unionAll"), f"{place}.unionAll", depth + 1),
            each,
            loops == ["forEachOrNull"],
            repeat,
        )
        if not (made.columns or made.selects or made.union):
            raise ConfigError(f"{place}: it selects nothing", hint="add column, select or unionAll")
        return made

    def column(self, given: object, place: str) -> Column:
        self.columns += 1
        if self.columns > MOST_COLUMNS:
            raise ConfigError(f"{place}: more than {MOST_COLUMNS} columns", hint="split the view")
        column = _object(given, place, _COLUMN)
        collection = column.get("collection", False)
        if not isinstance(collection, bool):
            raise ConfigError(f"{place}.collection: true or false belongs here", hint="true: the column holds a list")
        kind = column.get("type", "")
        kind = _is_text(kind, f"{place}.type").removeprefix(_PREFIX) if "type" in column else ""
        if kind and not _TYPE.fullmatch(kind.removeprefix("http://hl7.org/fhirpath/System.")):
            raise ConfigError(f"{place}.type: this is no type of FHIR", hint="for example string or HumanName")
        name = _named(column.get("name"), f"{place}.name")
        path = _path(column.get("path"), f"{place}.path")
        return Column(place, name, path, kind, collection, _cast(_list(column.get("tag"), f"{place}.tag"), place))


def _literal(kind: str, value: object, place: str) -> Literal:
    if kind == "boolean" and isinstance(value, bool):
        return Literal(kind, str(value).lower())
    if kind == "integer" and (type(value) is int or (isinstance(value, str) and re.fullmatch(r"-?\d{1,19}", value))):
        return Literal(kind, str(value))
    if kind == "decimal" and isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        exact = Decimal(str(value)) if math.isfinite(value) else None
        if exact is not None and abs(exact) < 10**19:
            return Literal(kind, f"{exact:f}")
    if isinstance(value, str) and kind == "string":
        return Literal(kind, value)
    if isinstance(value, str) and kind in MOMENTS:
        with at(place):
            return Literal(kind, literal_moment(kind, value))
    raise ConfigError(f"{place}: the value is not of this type", hint="write it as FHIR JSON does")


def _cast(tags: Sequence[Any], place: str) -> str:
    for number, tag in enumerate(tags):
        where = f"{place}.tag[{number}]"
        named = _object(tag, where, frozenset({"name", "value"}))
        if named.get("name") != "ansi/type":
            continue
        wanted = " ".join(_is_text(named.get("value"), f"{where}.value").upper().split())
        if (found := _DECIMAL.fullmatch(wanted)) and 1 <= int(found[1]) <= 38 and int(found[2] or 0) <= int(found[1]):
            return f"DECIMAL({int(found[1])},{int(found[2] or 0)})"
        for pattern, made in _ANSI:
            if re.fullmatch(pattern, wanted):
                return made
        raise ConfigError(f"{where}.value: this SQL type is not known here", hint="for example DATE or DECIMAL(18,4)")
    return ""
