"""Writes resources of every type from their shapes, and spoils them in every way that comes to mind."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

from mayo_data.conformance import shapes
from mayo_data.conformance.element import RESOURCE, Element
from mayo_data.conformance.primitives import TYPES

Json = Any

SOUND: dict[str, list[Json]] = {
    "base64Binary": ["", "aGVsbG8=", "AAAA"],
    "boolean": [True, False],
    "canonical": ["http://example.org/a|1", "#a"],
    "code": ["final", "a b", "8302-2", "é"],
    "date": ["2020", "2020-02", "2020-02-29", "1969-12-31"],
    "dateTime": ["2020", "1999-12", "2020-02-29", "2020-02-29T23:59:59Z", "2020-01-01T00:00:00.123-05:00"],
    "decimal": [1, 0, -1.5, 1e-7, 1.10, 2**70, 0.1],
    "id": ["a", "A-b.9", "x" * 64],
    "instant": ["2020-02-29T23:59:59Z", "2020-01-01T00:00:00.123456+14:00"],
    "integer": [0, -1, 2**31 - 1, -(2**31)],
    "markdown": ["# a\n b", "x"],
    "oid": ["urn:oid:1.2.840.0"],
    "positiveInt": [1, 2**31 - 1],
    "string": ["a", "Ünï\ncode", " a ", "\u00a0a", "{}"],
    "time": ["23:59:59", "00:00:00.5"],
    "unsignedInt": [0, 7],
    "uri": ["http://example.org/a", "urn:uuid:c757873d-ec9a-4326-a141-556f43239520", "a"],
    "url": ["http://example.org/a", "mailto:a@example.org", "https://example.org"],
    "uuid": ["urn:uuid:c757873d-ec9a-4326-a141-556f43239520", "c757873d-ec9a-4326-a141-556f43239520"],
    "xhtml": ['<div xmlns="http://www.w3.org/1999/xhtml">a</div>'],
}

# Strings where one of them is right for some type, and wrong for most.
NASTY: list[Json] = [
    "", " ", "  ", "\n", "\t", "\u00a0", "\u2003", "\u3000\u3000", "\u000b", "\u000c", "\u001c", "\u0085", "\ufeff", "\u200b",
    "a ", " a", "a  b", "a\nb", "a\n", "a\u00a0b", "a\u00a0\u00a0b", "a\u001cb", "\u0000", "a\u0000", "😀",
    "true", "false", "yes", "1", "0", "-1", "1.0", "1.10", "+1", "1e5", "1e400", "NaN", "Infinity", "01", "0x1", "1_000",
    "2020", "0000", "9999", "20", "2020-1", "2020-13", "2020-00", "2020-02-30", "2019-02-29", "1900-02-29", "2000-02-29",
    "2020-04-31", "2020-1-1", "0000-01-01", "0001-01-01", "9999-12-31", "2020-01-01 ", " 2020-01-01", "20200101", "2020-W01-1",
    "2020-01-01T", "2020-01-01T10", "2020-01-01T10:00Z", "2020-01-01T10:00:00", "2020-01-01T10:00:00Z",
    "2020-01-01t10:00:00z", "2020-01-01 10:00:00Z", "2020-01-01T24:00:00Z", "2020-01-01T23:59:60Z", "2020-01-01T23:60:00Z",
    "2020-01-01T10:00:00.1Z", "2020-01-01T10:00:00.123456Z", "2020-01-01T10:00:00.1234567Z", "2020-01-01T10:00:00.1234567890123Z",
    "2020-01-01T10:00:00.Z", "2020-01-01T10:00:00+14:00", "2020-01-01T10:00:00+14:01", "2020-01-01T10:00:00-13:59",
    "2020-01-01T10:00:00+15:00", "2020-01-01T10:00:00-00:00", "2020-01-01T10:00:00+0500", "2020-02-30T10:00:00Z",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2020-01-01T10:00:00Z\n", "٢٠٢٠", "2020-01-0١",
    "10:00", "10:00:00", "24:00:00", "10:00:00Z", "10:00:60", "10:60:00", "10:00:00.1234567", "1:00:00",
    "urn:oid:1.2.3", "urn:oid:3.2", "urn:oid:1", "urn:oid:1.02", "urn:oid:1.2\n", "1.2.3",
    "c757873d-ec9a-4326-a141-556f43239520", "C757873D-EC9A-4326-A141-556F43239520", "{c757873d-ec9a-4326-a141-556f43239520}",
    "c757873dec9a4326a141556f43239520", "c757873d-ec9a-1326-a141-556f43239520", "c757873d-ec9a-4326-c141-556f43239520",
    "urn:uuid:c757873d-ec9a-4326-a141-556f43239520\n",
    "AAA", "AAAA", "AA==", "AA=", "A===", "=AAA", "AA==AA==", "AAAA AAAA", "AAA\nA", "A-_A", "AA=A", "AAAAA", "é", "AB==",
    "http://", "http:", ":a", "http://a b", "/Patient/1", "Patient/1", "a b", "?a", "#", "http://[", "mailto:", "string", "\\",
    "x" * 64, "x" * 65, "x" * 255, "x" * 256, "a_b", "a/b", "é1", "a\n", "{}", "[]", "null", '{"url":"a"}', '{"a":1}', "x" * 5000,
]  # fmt: skip
JUNK: list[Json] = [
    None, True, False, 0, 1, -1, 5, 1.0, 1.5, -0.0, 1e300, 1e-300, 2**31, 2**63, 2**64, -(2**31) - 1, 10**30, "x", "",
    [], {}, [None], [[]], [{}], [[{}]], ["x"], [1], [None, None], {"a": 1}, {"extension": []}, {"id": "a"}, {"url": "a"},
    {"resourceType": "Patient"}, {"resourceType": "Period"}, {"resourceType": None}, [True], ["x", None], {"": ""},
]  # fmt: skip
RESOURCES: list[Json] = [
    {"resourceType": "Patient", "id": "p"}, {"resourceType": "Patient", "birthDate": "x"}, {"resourceType": "Nope"},
    {"resourceType": 5}, {"resourceType": ["Patient"]}, {"resourceType": "Period"}, {"resourceType": "Resource"},
    {"resourceType": "DomainResource"}, {"resourceType": "Element"}, {"id": "a"}, {}, None, "x", [], 5,
    {"resourceType": "Patient", "contained": [{"resourceType": "Patient"}]},
    {"resourceType": "Patient", "contained": [{"resourceType": "Patient", "contained": [{"resourceType": "Patient", "x": 1}]}]},
    {"id": "a", "resourceType": "Basic", "code": {}}, {"resourceType": "Basic"}, {"resourceType": "Patient", "resource_type": "x"},
    {"resourceType": "Observation", "status": "final", "code": {"text": "a"}, "valueString": "a", "valueInteger": 1},
]  # fmt: skip


def resource(kind: str, dice: random.Random) -> Json:
    """Write a right resource of a type."""
    return {"resourceType": kind, **_object(kind, dice, 0)}


def _object(kind: str, dice: random.Random, depth: int) -> dict[str, Json]:
    elements = shapes.r4b()[kind]
    picked: dict[str, str] = {}
    for element in elements.values():
        if element.choice and (element.required or dice.random() < 0.5):
            members = [key for key, one in elements.items() if one.choice == element.choice]
            picked.setdefault(element.choice, dice.choice(members))
    out: dict[str, Json] = {}
    share = (0.35, 0.12, 0.03, 0.0, 0.0)[min(depth, 4)]
    for name, element in elements.items():
        if element.choice:
            if picked.get(element.choice) != name or (depth > 3 and not element.required):
                continue
        elif not element.required and dice.random() >= share:
            continue
        out[name] = _value(element, dice, depth)
        if element.extensible and dice.random() < 0.1:
            sibling = _sibling(dice)
            out[f"_{name}"] = [None, sibling] if element.repeats else sibling
    if kind == "FHIRPrimitiveExtension" and not out:
        out["id"] = "a"
    return out


def _value(element: Element, dice: random.Random, depth: int) -> Json:
    def one() -> Json:
        if element.primitive:
            return dice.choice(SOUND[element.type])
        if element.type == RESOURCE:
            return copy.deepcopy(RESOURCES[0])
        return _object(element.type, dice, depth + 1)

    return [one() for _ in range(dice.randint(1, 2))] if element.repeats else one()


def _sibling(dice: random.Random) -> Json:
    return dice.choice(
        [
            {"id": "a"},
            {"extension": [{"url": "http://example.org/a", "valueCode": "unknown"}]},
            {"extension": [{"url": "u"}], "id": "b"},
        ]
    )


def places(value: Json) -> Iterator[tuple[Any, Any]]:
    """Yield every container of a resource with each of its keys."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield value, key
            yield from places(inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield value, index
            yield from places(inner)


def mutant(whole: Json, dice: random.Random) -> Json:
    """Return a copy of a resource with one or two things done to it."""
    changed = copy.deepcopy(whole)
    for _ in range(dice.choice((1, 1, 1, 2))):
        dice.choice(MUTATIONS)(changed, dice)
    return changed


def _anywhere(whole: Json, dice: random.Random) -> tuple[Any, Any]:
    found = [place for place in places(whole) if place[1] != "resourceType"]
    return dice.choice(found) if found else (whole, "id")


def _objects(whole: Json) -> list[dict[str, Json]]:
    return [whole, *(holder[key] for holder, key in places(whole) if isinstance(holder[key], dict))]


def junk(whole: Json, dice: random.Random) -> None:
    holder, key = _anywhere(whole, dice)
    holder[key] = copy.deepcopy(dice.choice(JUNK))


def nasty(whole: Json, dice: random.Random) -> None:
    texts = [place for place in places(whole) if isinstance(place[0][place[1]], str) and place[1] != "resourceType"]
    holder, key = dice.choice(texts) if texts else (whole, "id")
    holder[key] = dice.choice(NASTY)


def missing(whole: Json, dice: random.Random) -> None:
    holder, key = _anywhere(whole, dice)
    if isinstance(holder, list) or key in holder:
        del holder[key]


def unknown(whole: Json, dice: random.Random) -> None:
    found = dice.choice(_objects(whole))
    key = dice.choice(
        ["zzz", "Name", "_", "__", "extension__ext", "class_fhir", "resource_type", "fhir_comments", "", "é"]
    )
    found[key] = copy.deepcopy(dice.choice(JUNK))


def foreign(whole: Json, dice: random.Random) -> None:
    """Put an element of some type where it may not belong: second choices, elements of other types, siblings."""
    found = dice.choice(_objects(whole))
    kind = dice.choice(list(shapes.r4b()))
    name, element = dice.choice(list(shapes.r4b()[kind].items()) or [("id", Element("string", False, False))])
    found[name] = _value(element, dice, 3)


def second(whole: Json, dice: random.Random) -> None:
    """Give a choice a second value."""
    elements = shapes.r4b()[whole["resourceType"]]
    choices = [(name, element) for name, element in elements.items() if element.choice]
    if choices:
        name, element = dice.choice(choices)
        whole[name] = dice.choice([_value(element, dice, 3), None])


def sibling(whole: Json, dice: random.Random) -> None:
    found = dice.choice(_objects(whole))
    name = dice.choice([key for key in found if not key.startswith("_") and key != "resourceType"] or ["id"])
    value = dice.choice(
        [_sibling(dice), {}, None, [], [None], {"extension": []}, {"extension": None}, {"id": None}, "x", 5]
    )
    found[f"_{name}"] = dice.choice([value, [value], [None, value]])
    if dice.random() < 0.5:
        found.pop(name, None)


def wrapped(whole: Json, dice: random.Random) -> None:
    holder, key = _anywhere(whole, dice)
    value = holder.get(key) if isinstance(holder, dict) else holder[key]
    holder[key] = value[0] if isinstance(value, list) and value else [value]


def contained(whole: Json, dice: random.Random) -> None:
    found = copy.deepcopy(dice.choice(RESOURCES))
    whole[dice.choice(["contained", "contained", "resource", "entry"])] = dice.choice([found, [found], [found, found]])


def extension(whole: Json, dice: random.Random) -> None:
    kind = dice.choice(sorted(TYPES))
    value = dice.choice([*SOUND[kind], *NASTY, *JUNK])
    one = {"url": "http://example.org/a", f"value{kind[0].upper()}{kind[1:]}": value}
    deep = {
        "url": "u",
        "extension": [one],
        **dice.choice([{}, {}, {"valueString": "a"}, {"_valueString": {"id": "a"}}]),
    }
    found = dice.choice(_objects(whole))
    found[dice.choice(["extension", "extension", "modifierExtension"])] = dice.choice(
        [[one], [deep], one, [one, one], [{}]]
    )


def comments(whole: Json, dice: random.Random) -> None:
    dice.choice(_objects(whole))["fhir_comments"] = dice.choice(["a", ["a", ""], [], "", 5, [5], {}, None, [None]])


MUTATIONS: list[Callable[[Json, random.Random], None]] = [
    junk, junk, nasty, nasty, nasty, missing, missing, unknown, foreign, second, sibling, wrapped, contained, extension,
    comments,
]  # fmt: skip
