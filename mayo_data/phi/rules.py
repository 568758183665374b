"""Rules by FHIRPath that come before the element list of a policy: what configurations of other tools consist of.

A rule selects places of a resource and says what becomes of each: the first rule that reaches a place has it. Rules
can take away and change; they cannot keep what the element list of the policy drops. `dateShift` and `cryptoHash`
mean "leave it to the policy": it moves every date of a subject by one offset, and gives ids and references pseudonyms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from mayo_data.errors import ConfigError
from mayo_data.keys import Secret
from mayo_data.phi import fhir_dates
from mayo_data.phi.fhirpath import Expression, Node, compiled, plain, tree, truth
from mayo_data.types import Json

METHODS = ("keep", "redact", "dateShift", "cryptoHash", "substitute", "perturb", "generalize")
LINES = {
    "path": str, "method": str, "partial_dates": bool, "partial_ages": bool, "partial_zips": bool,
    "restricted_zips": list, "replace_with": object, "span": (int, float), "range_type": str, "round_to": int,
    "cases": list, "other_values": str,
}  # fmt: skip
TOP_AGE = 89

_DATES = frozenset(["date", "dateTime", "instant"])
_NUMBERS = frozenset(["decimal", "integer", "positiveInt", "unsignedInt"])
_REFERENCE = re.compile(r"(.*?/|#|urn:uuid:|urn:oid:)?([^/#]+)")

Rule = tuple[Expression, str, dict[str, Any], list[tuple[Expression, Expression]]]


def check(rules: Sequence[dict[str, Any]]) -> list[Rule]:
    """Return the rules of a policy, ready to apply.

    Args:
        rules: Tables `[[rules]]` of a policy.

    Raises:
        ConfigError: A rule makes no sense; the message has its number.
    """
    found = []
    for number, rule in enumerate(rules, 1):
        try:
            found.append(_checked(rule))
        except ConfigError as error:
            raise ConfigError(f"policy: rules[{number}]: {error}", hint=error.hint) from None
    return found


def _checked(rule: dict[str, Any]) -> Rule:
    for name, value in rule.items():
        if name not in LINES or not isinstance(value, LINES[name]):  # type: ignore[arg-type]
            raise ConfigError(f"{name} is no line of a rule, or has the wrong type", hint=f"known: {', '.join(LINES)}")
    method = rule.get("method")
    if method not in METHODS or "path" not in rule:
        raise ConfigError("a rule has a path and a method", hint=f"method: {', '.join(METHODS)}")
    if method == "substitute" and "replace_with" not in rule:
        raise ConfigError("substitute needs replace_with")
    if method == "perturb":
        span, digits = rule.get("span"), rule.get("round_to", 2)
        if span is None or span < 0 or not 0 <= digits <= 28:
            raise ConfigError("perturb needs a span of 0 or more, and round_to from 0 to 28")
        if rule.get("range_type", "fixed") not in ("fixed", "proportional"):
            raise ConfigError("range_type is fixed or proportional")
    cases = rule.get("cases", [])
    if method == "generalize":
        if not cases or not all(isinstance(case, list) and len(case) == 2 for case in cases):
            raise ConfigError("generalize needs cases: pairs of a condition and a value")
        if rule.get("other_values", "redact") not in ("redact", "keep"):
            raise ConfigError("other_values is redact or keep")
    pairs = [(compiled(str(when)), compiled(str(then))) for when, then in cases]
    return compiled(rule["path"]), str(method), rule, pairs


def applier(rules: Sequence[dict[str, Any]], secret: Secret, *, alone: bool = False) -> Callable[[Json, int], Json]:
    """Return what the rules make of a resource: a function of the resource and the subject's offset in days.

    Args:
        rules: Tables `[[rules]]` of a policy.
        secret: Key of whatever must be the same each time.
        alone: No policy follows that moves dates and gives pseudonyms, so the rules do it.

    Raises:
        ConfigError: A rule makes no sense.
    """
    ready = check(rules)

    def apply(resource: Json, offset: int) -> Json:
        _Pass(ready, secret, offset, alone).resource(resource)
        return resource

    return apply


class _Pass:
    """One pass over one resource, and those inside it."""

    def __init__(self, rules: list[Rule], secret: Secret, offset: int, alone: bool) -> None:
        self._rules = rules
        self._secret = secret
        self._offset = offset
        self._alone = alone

    def resource(self, resource: Json) -> None:
        for inner in _inside(resource):
            self.resource(inner)
        root = tree(resource)
        done: set[Node] = set()
        for select, method, rule, cases in self._rules:
            for node in select([root], root):
                if isinstance(node, Node):
                    self._visit(node, root, method, rule, cases, done, "")
        _prune(resource)

    def _visit(
        self, node: Node, root: Node, method: str, rule: Json, cases: list[tuple[Expression, Expression]],
        done: set[Node], parent: str,
    ) -> None:  # fmt: skip
        if node in done:
            return
        done.add(node)
        if method == "substitute":
            self._substitute(node, rule["replace_with"], done)
            return
        if node.value is not None and not isinstance(node.value, dict | list):
            node.holder[node.key] = self._changed(node, root, method, rule, cases, parent)
        for child in node.children:
            self._visit(child, root, method, rule, cases, done, node.type or parent)

    def _changed(
        self, node: Node, root: Node, method: str, rule: Json, cases: list[tuple[Expression, Expression]], parent: str
    ) -> Any:
        value = node.value
        match method:
            case "redact":
                return _redacted(node, rule, parent)
            case "dateShift" if self._alone and node.type in _DATES and isinstance(value, str):
                return fhir_dates.shift(value, self._offset)
            case "cryptoHash" if self._alone:
                return self._hashed(node)
            case "perturb" if node.type in _NUMBERS:
                return self._perturbed(value, rule)
            case "generalize":
                for when, then in cases:
                    if truth(when([node], root)):
                        found = then([node], root)
                        return plain(found[0]) if found else None
                return value if rule.get("other_values") == "keep" else None
        return value

    def _hashed(self, node: Node) -> Any:
        if not isinstance(node.value, str):
            return node.value
        before, said = "", node.value
        if node.name == "reference" and (match := _REFERENCE.fullmatch(said)):
            before, said = match[1] or "", match[2]
        return before + self._secret.digest("rule-hash", said).hex()

    def _perturbed(self, value: Any, rule: Json) -> Any:
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            return None
        span = Decimal(str(rule["span"])) * (number if rule.get("range_type") == "proportional" else 1)
        noise = Decimal(str(self._secret.fraction("perturb", str(value)) - 0.5)) * span
        return round(number + noise, rule.get("round_to", 2))

    def _substitute(self, node: Node, new: Any, done: set[Node]) -> None:
        """Put a value in place of another; what an earlier rule has decided below it stays."""
        if not isinstance(new, dict) or not isinstance(node.value, dict):
            node.holder[node.key] = new
            return
        decided = {name for name, inner in node.value.items() if _holds(node, name, inner, done)}
        kept = {name: inner for name, inner in node.value.items() if name in decided}
        node.holder[node.key] = {**new, **kept}
        done.update(node.below())


def _holds(node: Node, name: str, inner: Any, done: set[Node]) -> bool:
    return any(
        below in done
        for child in node.children
        if (child.key == name if child.holder is node.value else child.holder is inner)
        for below in (child, *child.below())
    )


def _redacted(node: Node, rule: Json, parent: str) -> Any:
    value = node.value
    if node.type in _DATES and rule.get("partial_dates") and isinstance(value, str) and value[:4].isdigit():
        return value[:4] if datetime.now(UTC).year - int(value[:4]) <= TOP_AGE else None
    if parent == "Age" and node.name == "value" and rule.get("partial_ages"):
        return value if isinstance(value, int | Decimal) and value <= TOP_AGE else None
    if node.name == "postalCode" and rule.get("partial_zips") and isinstance(value, str):
        first = value[:3] if value[:3] not in rule.get("restricted_zips", ()) else "000"
        return first + "0" * (len(value.partition("-")[0]) - 3) if value[:3].isdigit() else None
    return None


def _inside(value: Any) -> list[Json]:
    """The resources inside a resource: contained, or in the entries of a Bundle."""
    found = []
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict) and isinstance(inner.get("resourceType"), str):
            found.append(inner)
        elif isinstance(inner, dict | list):
            found += _inside(inner)
    return found


def _prune(value: Any) -> None:
    """Take away what is empty now."""
    if isinstance(value, dict):
        for name, inner in list(value.items()):
            _prune(inner)
            if name == "extension" and isinstance(inner, list):  # one that says nothing any more
                inner[:] = [one for one in inner if not (isinstance(one, dict) and set(one) == {"url"})]
            if inner is None or (isinstance(inner, dict | list) and not inner):
                del value[name]
    elif isinstance(value, list):
        for inner in value:
            _prune(inner)
        value[:] = [inner for inner in value if inner is not None and (not isinstance(inner, dict | list) or inner)]
