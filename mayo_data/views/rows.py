"""Turns the selection structures of a view into SQL.

Everything that a resource becomes is computed within its own row, as a list of structs, and unnested at the end: no
join, so the rows of a resource keep their order and a large document is never a join key. A structure without a loop
is one row and needs no list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from mayo_data.errors import ConfigError
from mayo_data.views import sql
from mayo_data.views.columns import Field, finish
from mayo_data.views.definition import Select, at
from mayo_data.views.expressions import Compiler
from mayo_data.views.scope import Scope
from mayo_data.views.syntax import Call, Index, Member, Node
from mayo_data.views.values import Nodes, one_of

LARGEST = 1_000_000  # characters of SQL
_STATE = "STRUCT(k BIGINT[], n JSON)[]"


@dataclass(frozen=True)
class Part:
    """Some columns of a structure.

    Attributes:
        fields: The columns, in their order.
        one: SQL of each column, where the part is one row.
        rows: SQL of a list of structs, where it is many.
    """

    fields: tuple[Field, ...]
    one: tuple[str, ...] = ()
    rows: str = ""


class Merged(NamedTuple):
    """All columns of a structure.

    Attributes:
        fields: The columns, in their order.
        one: Slot to SQL, of what is the same in all rows.
        rows: SQL of a list of structs of the other columns; empty where there is exactly one row.
    """

    fields: tuple[Field, ...]
    one: dict[str, str]
    rows: str


def parts(selects: Sequence[Select], compiler: Compiler, scope: Scope, start: int = 0) -> list[Part]:
    """Compile structures that stand side by side.

    Args:
        selects: The structures.
        compiler: The compiler of the view.
        scope: Where they are evaluated.
        start: Number of columns before them.

    Raises:
        ConfigError: An expression is wrong, or branches of a union differ in their columns.
    """
    made: list[Part] = []
    for select in selects:
        before = start + sum(len(part.fields) for part in made)
        if select.each is not None or select.repeat:
            made.append(_loop(select, compiler, scope, before))
        else:
            made += _body(select, compiler, scope, before)
    if sum(len(part.rows) for part in made) > LARGEST:
        raise ConfigError("select: the view is too large", hint="split it")
    return made


def merge(found: Sequence[Part], compiler: Compiler) -> Merged:
    """Bring parts together: what is one row stays apart, and every row of a part meets every row of the others."""
    fields = tuple(field for part in found for field in part.fields)
    one = {field.slot: made for part in found for field, made in zip(part.fields, part.one, strict=False)}
    many = [part for part in found if part.rows]
    if len(many) < 2:
        return Merged(fields, one, many[0].rows if many else "")
    lists = compiler.fresh()
    items = [compiler.fresh() for _ in many]
    values = {
        field.slot: f"{item}.{field.slot}" for part, item in zip(many, items, strict=True) for field in part.fields
    }
    body = f"[{_struct(values)}]"
    for number in reversed(range(len(many))):
        body = f"flatten(list_transform({lists}.l{number}, lambda {items[number]}: {body}))"
    bound = {f"l{number}": part.rows for number, part in enumerate(many)}
    return Merged(fields, one, sql.let(bound, body, lists))


def whole(merged: Merged, compiler: Compiler) -> str:
    """Return SQL of the list of complete rows."""
    if not merged.rows:
        return f"[{_struct(merged.one)}]"
    if not merged.one:
        return merged.rows
    bound, item = compiler.fresh(), compiler.fresh()
    slots = [field.slot for field in merged.fields]
    values = {slot: f"{bound}.{slot}" if slot in merged.one else f"{item}.{slot}" for slot in slots}
    body = f"list_transform({bound}.l, lambda {item}: {_struct(values)})"
    return sql.let({**merged.one, "l": merged.rows}, body, bound)


def _struct(values: dict[str, str]) -> str:
    ordered = sorted(values.items(), key=lambda pair: int(pair[0][1:]))
    return f"struct_pack({', '.join(f'{slot} := {value}' for slot, value in ordered)})"


def _body(select: Select, compiler: Compiler, scope: Scope, start: int) -> list[Part]:
    """A structure without its loop: columns, then selects, then the union."""
    made: list[Part] = []
    if select.columns:
        fields, one = [], []
        for number, column in enumerate(select.columns):
            with at(f"{column.place}.path"):
                inside = replace(scope, place=column.place)
                value = compiler.compile(column.path, inside)
                field, text = finish(value, column, start + number, written=compiler.written)
            fields.append(field)
            one.append(text)
        made.append(Part(tuple(fields), tuple(one)))
    made += parts(select.selects, compiler, scope, start + len(select.columns))
    if select.union:
        before = start + sum(len(part.fields) for part in made)
        made.append(_union(select, compiler, scope, before))
    return made


def _union(select: Select, compiler: Compiler, scope: Scope, start: int) -> Part:
    branches = [merge(parts([branch], compiler, scope, start), compiler) for branch in select.union]
    first = branches[0].fields
    for number, branch in enumerate(branches[1:], 1):
        place = f"{select.place}.unionAll[{number}]"
        if [field.name for field in branch.fields] != [field.name for field in first]:
            raise ConfigError(f"{place}: other columns than unionAll[0]", hint="same names in the same order")
        for field, other in zip(first, branch.fields, strict=True):
            if field.sql != other.sql:
                raise ConfigError(
                    f"{place}: column {field.name} is of another type than in unionAll[0]", hint="give both a type"
                )
    lists = [whole(branch, compiler) for branch in branches]
    return Part(first, rows=f"flatten([{', '.join(lists)}])")


def _loop(select: Select, compiler: Compiler, scope: Scope, start: int) -> Part:
    if select.repeat:
        every, kind = _repeated(select, compiler, scope)
    else:
        assert select.each is not None
        key = "forEachOrNull" if select.or_null else "forEach"
        place = f"{select.place}.{key}"
        with at(place):
            nodes = compiler.nodes(select.each, replace(scope, place=place))
        every, kind = nodes.list(), nodes.type
        if select.or_null:
            every = f"coalesce(nullif({every}, []), [NULL::JSON])"
    item, place = compiler.fresh(), compiler.fresh()
    inside = replace(scope, this=one_of(item, kind), row=f"({place} - 1)")
    merged = merge(_body(select, compiler, inside, start), compiler)
    if merged.rows:
        rows = f"flatten(list_transform({every}, lambda {item}, {place}: {whole(merged, compiler)}))"
    else:
        rows = f"list_transform({every}, lambda {item}, {place}: {_struct(merged.one)})"
    return Part(merged.fields, rows=rows)


# ── repeat ────────────────────────────────────────────────────────────────────────────────────────


def _repeated(select: Select, compiler: Compiler, scope: Scope) -> tuple[str, str]:
    """Return SQL of all descendants along the paths of `repeat`, parents first, and their type.

    SQL has no recursion within a row, so the levels are taken off one by one: `n` holds a node, `k` its place among
    its siblings and those of its ancestors, by which the result is sorted. There are never more levels than the text
    has keys of the names that are followed.
    """
    names = []
    for number, path in enumerate(select.repeat):
        with at(f"{select.place}.repeat[{number}]"):
            names.append(_followed(path))
    before = len(compiler.notes)
    first = _children(select, compiler, scope)
    kinds = {nodes.type for nodes in first if nodes.type}
    kind = kinds.pop() if len(kinds) == 1 else ""
    state, node, item, order, sibling, again = (compiler.fresh() for _ in range(6))
    noted = len(compiler.notes)
    deeper = _children(select, compiler, replace(scope, this=one_of(f"{node}.n", kind)))
    if {nodes.type for nodes in deeper} - {kind, ""}:  # other types below: nothing is known of any
        kind = ""
        deeper = _children(select, compiler, replace(scope, this=one_of(f"{node}.n")))
    if kind:  # what only the top lacks, answer.item, is as it should be
        places = [note.partition(":")[0] for note in compiler.notes[noted:]]
        compiler.notes[before:noted] = [
            note for note in compiler.notes[before:noted] if note.partition(":")[0] in places
        ]
    top = f"list_transform({_concat(first)}, lambda {item}, {order}: struct_pack(k := [{order}], n := {item}))"
    below = (
        f"flatten(list_transform({state}.next, lambda {node}: list_transform({_concat(deeper)}, "
        f"lambda {item}, {order}: struct_pack(k := list_append({node}.k, {order}), n := {item}))))"
    )
    begin = f"struct_pack(done := CAST([] AS {_STATE}), next := CAST({top} AS {_STATE}))"
    text = f"CAST({scope.this.one('')} AS VARCHAR)"
    levels = f"len(regexp_extract_all({text}, '\"(?:{'|'.join(sorted(set(names)))})[A-Za-z]*\"'))"
    rounds = f"list_transform(range(coalesce({levels}, 0)), lambda {again}: NULL)"
    step = f"struct_pack(done := list_concat({state}.done, {state}.next), next := {below})"
    end = compiler.fresh()
    step = f"CASE WHEN len({state}.next) > 0 THEN {step} ELSE {state} END"
    reduced = f"list_reduce(list_concat([{begin}], {rounds}), lambda {state}, {again}: {step})"
    stop = sql.fail(f"{select.place}: the nesting is deeper than it can be")
    sorted_ = f"list_transform(list_sort({end}.s.done), lambda {sibling}: {sibling}.n)"
    body = f"CASE WHEN len({end}.s.next) > 0 THEN CAST({stop} AS JSON[]) ELSE {sorted_} END"
    return sql.let({"s": reduced}, body, end), kind


def _children(select: Select, compiler: Compiler, scope: Scope) -> list[Nodes]:
    found = []
    for number, path in enumerate(select.repeat):
        place = f"{select.place}.repeat[{number}]"
        with at(place):
            found.append(compiler.nodes(path, replace(scope, place=place)))
    return found


def _concat(found: Sequence[Nodes]) -> str:
    if len(found) == 1:
        return found[0].list()
    return f"flatten([{', '.join(nodes.list() for nodes in found)}])"


def _followed(path: Node) -> str:
    """Return the name of an element that every round goes through; without one it would never end.

    Raises:
        ConfigError: The path leads to no element below the one it starts from.
    """
    match path:
        case Member(_, name):
            sql.key(name)
            return name
        case Call(_, "extension", _):
            return "extension"
        case Call(of, _, _) | Index(of, _) if of is not None:
            return _followed(of)
    raise ConfigError("repeat must lead to an element below", hint="for example item")
