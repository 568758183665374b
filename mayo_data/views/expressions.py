"""Compiles the tree of a FHIRPath expression to SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count

from mayo_data.errors import ConfigError
from mayo_data.views import functions, navigate, operators, sql
from mayo_data.views.elements import Types
from mayo_data.views.moments import literal_moment
from mayo_data.views.scope import Scope
from mayo_data.views.syntax import Binary, Call, Constant, Index, Literal, Member, Negative, Node, Special
from mayo_data.views.values import DECIMAL, Nodes, Scalar, Value, one_of, scalar

LONGEST = 400_000  # characters of SQL that one expression may become


@dataclass
class Compiler:
    """Compiles the expressions of one view.

    Attributes:
        types: The types that are known.
        constants: The constants of the view.
        written: Give decimals as text, with the digits that the resource has.
        notes: What is suspicious in it, though it compiles.
    """

    types: Types
    constants: Mapping[str, Literal] = field(default_factory=dict)
    written: bool = False
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._numbers = count(1)

    def fresh(self) -> str:
        """Return a name for a lambda's parameter that nothing else has."""
        return f"x{next(self._numbers)}"

    def compile(self, node: Node, scope: Scope) -> Value:
        """Return the SQL of an expression.

        Raises:
            ConfigError: It uses what is not supported or not known, or becomes too large.
        """
        made = self._compile(node, scope)
        if len(made.sql) > LONGEST:
            raise ConfigError("the expression is too large", hint="split it, or split the view")
        return made

    def _compile(self, node: Node, scope: Scope) -> Value:
        match node:
            case Literal():
                return literal(node)
            case Constant(name):
                return self._constant(name, scope)
            case Special("$this"):
                return scope.this
            case Special():
                if not scope.index:
                    raise ConfigError("$index has no meaning here", hint="it counts within where() and exists()")
                return Scalar(scope.index, "integer")
            case Member(of, name):
                return self._member(of, name, scope)
            case Call(of, name, arguments):
                return functions.call(self, of, name, arguments, scope)
            case Index(of, at):
                return self._index(self.nodes(of, scope), at, scope)
            case Binary(operator, left, right):
                a, b = self.compile(left, scope), self.compile(right, scope)
                return operators.apply(operator, a, b, scope.place, self.fresh)
            case Negative(Literal(kind, value)) if kind in ("integer", "decimal"):
                return literal(Literal(kind, f"-{value}"))
            case Negative(of):
                return operators.negative(self.compile(of, scope), scope.place)

    def nodes(self, node: Node | None, scope: Scope) -> Nodes:
        """Compile what must be elements; None is the focus.

        Raises:
            ConfigError: It is a computed value.
        """
        found = scope.this if node is None else self.compile(node, scope)
        if isinstance(found, Scalar):
            raise ConfigError("a computed value has no elements", hint="paths and filters begin at an element")
        return found

    def _member(self, of: Node | None, name: str, scope: Scope) -> Value:
        if of is None and scope.this is scope.root and name == scope.root.type:
            return scope.root  # Patient.name is name
        nodes = self.nodes(of, scope)
        if nodes.kind == "complex" and self.types.known(nodes.type) and not self.types.has(nodes.type, name):
            self.notes.append(f"{scope.place}: {nodes.type} has no element {name[:60]} in FHIR R4")
        return navigate.child(nodes, name, self.types, self.fresh())

    def _constant(self, name: str, scope: Scope) -> Value:
        if name == "rowIndex":
            return Scalar(scope.row, "integer")
        if name in ("resource", "rootResource", "context"):
            return scope.root
        if name not in self.constants:
            raise ConfigError(f"%{name[:60]} is not defined", hint="add it to constant")
        return literal(self.constants[name])

    def _index(self, of: Nodes, at: Node, scope: Scope) -> Nodes:
        index = self.compile(at, scope)
        known = at.value if isinstance(at, Literal) else ""
        if isinstance(at, Constant) and at.name in self.constants:
            known = self.constants[at.name].value
        place = scalar(index, scope.place, "integer")
        if place.kind != "integer":
            raise ConfigError("an index is a whole number", hint="for example name[0]")
        if known:
            return navigate.element(of, int(known))
        # SQL counts from one, and counts a negative index from the end
        return one_of(f"({of.list()})[nullif(greatest({place.sql}, -1), -1) + 1]", of.type)


def literal(value: Literal) -> Scalar:
    """Return a literal, or a constant of the view, as SQL.

    Raises:
        ConfigError: The number is too large, or too long to be exact; the date is none.

    >>> literal(Literal("string", "it's")).sql
    "'it''s'"
    """
    match value.kind:
        case "integer":
            if not -(2**63) <= int(value.value) < 2**63:
                raise ConfigError("the number is too large", hint="integers have 64 bits")
            return Scalar(f"CAST({int(value.value)} AS BIGINT)", "integer")
        case "decimal":
            whole, _, digits = value.value.lstrip("-").partition(".")
            if len(whole.lstrip("0")) > 19 or len(digits.rstrip("0")) > 18:
                raise ConfigError("the number is too long", hint="up to 19 digits before and 18 after the point")
            return Scalar(f"CAST('{value.value}' AS {DECIMAL})", "decimal")
        case "boolean":
            return Scalar(value.value, "boolean")
        case "date" | "dateTime" | "time":
            return Scalar(sql.text(literal_moment(value.kind, value.value)), value.kind)
    return Scalar(sql.text(value.value), "string")
