"""Follows a compiled mapping through one resource and collects events.

This is the innermost loop of a run: plain tuples, one function call an element, and no element read that said
the same before. What an export holds is not always FHIR: every reader takes anything.
"""

from __future__ import annotations

from mayo_data.events import codes, elements, times, values
from mayo_data.events.elements import Element, Json
from mayo_data.events.mapping import Each, Node
from mayo_data.events.rows import WITHDRAWN, Fact, Place, Rows
from mayo_data.events.times import Moment

_NO_MOMENT: tuple[None, None, None] = (None, None, None)
_NO_VALUE = (values.NOTHING,)
_UNKNOWN: codes.Concept = ("UNKNOWN", None, None, None)

# What an element inherits from the one above: moment, end, status, encounter, available, concept.
Above = tuple[Moment | None, Moment | None, str | None, int | None, int | None, codes.Concept]
_TOP: Above = (None, None, None, None, None, _UNKNOWN)


def resource(node: Node, body: Json, origin: int, rows: Rows) -> str | None:
    """Append the events of one resource; return the reason where it gives none.

    Args:
        node: Root of its type.
        body: The de-identified resource.
        origin: Row of the batch that it came from.
        rows: Where events go.
    """
    element = node.shape.one(body)
    if element is None:
        return "no_facts"
    for field, read in node.withdrawn:
        raw = getattr(element, field)
        if raw is not None and read(bytes(raw)) == WITHDRAWN:
            return "entered_in_error"
    before = len(rows.facts)
    if _emit(node, element, origin, _TOP, rows, True):
        return "entered_in_error"
    return None if len(rows.facts) > before else "no_facts"


def _emit(node: Node, element: Element, origin: int, above: Above, rows: Rows, root: bool) -> bool:
    """Append the events of an element that has its own place; return whether it was withdrawn."""
    if node.negated:
        node = _variant(node, element)
    moment, end, status, encounter, available, over = above
    own_time = False
    for field, period in node.time:
        raw = getattr(element, field)
        if raw is not None:
            start, last = period(bytes(raw))
            if start is not None:
                moment, end, own_time = start, last, True
                break
    for field, period in node.end:
        raw = getattr(element, field)
        if raw is not None:
            start, last = period(bytes(raw))
            if start is not None:
                end = last or start
                moment = moment or end
                break
    if node.at_end and end is not None:
        available = end[0]
        moment, end = end, None
    for field, said in node.status:
        raw = getattr(element, field)
        if raw is not None:
            status = said(bytes(raw))
            if status == WITHDRAWN:
                return True
            break
    for field, named in node.encounter:
        raw = getattr(element, field)
        if raw is not None:
            ids = named(bytes(raw))
            if len(ids) == 1:
                encounter = ids[0]
            break
    opened: dict[Each, list[Element]] | None = None
    for each, field, named in node.encounter_below:
        opened = {each: _below(element, each)}
        raws = [raw for one in opened[each] if (raw := getattr(one, field)) is not None]
        found_ids = {number for raw in raws for number in named(bytes(raw))}
        if len(found_ids) == 1:
            encounter = found_ids.pop()
    if root:
        known = None
        for field, period in node.available:
            raw = getattr(element, field)
            if raw is not None:
                known = period(bytes(raw))[0]
                if known is not None:
                    break
        moment = moment or known
        available = known[0] if known else moment[0] if moment else None
    elif own_time and moment is not None and (available is None or available < moment[0]):
        available = moment[0]  # what the whole says of its availability is no evidence for a later part
    time, precision, offset = moment or _NO_MOMENT
    until = times.close(time, end) if end is not None else None
    place: Place = (origin, time, until, status, encounter, available, precision, offset, None)

    facts = rows.facts
    before = len(facts)
    found = _say(node, element, over, facts, own_time or (root and status is not None))
    if found is None:
        return False
    for each in node.each:
        if getattr(element, each.field) is None:
            continue
        parts = opened[each] if opened and each in opened else _below(element, each)
        if not each.node.placed:
            for one in parts:
                _tell(each.node, one, found, facts)
            continue
        if len(facts) > before:
            rows.places.append(place)
            rows.counts.append(len(facts) - before)
        here: Above = (moment, end, status, encounter, available, found)
        for one in parts:
            _emit(each.node, one, origin, here, rows, False)
        before = len(facts)
    if len(facts) > before:
        rows.places.append(place)
        rows.counts.append(len(facts) - before)
    return False


def _tell(node: Node, element: Element, over: codes.Concept, facts: list[Fact]) -> None:
    """Append the events of an element that stands where the element above it does."""
    if node.negated:
        node = _variant(node, element)
    found = _say(node, element, over, facts, False)
    if found is not None:
        for each in node.each:
            for one in _below(element, each):
                _tell(each.node, one, found, facts)


def _variant(node: Node, element: Element) -> Node:
    for field, holds, variant in node.negated:
        raw = getattr(element, field)
        if raw is not None and holds(bytes(raw)):
            return variant
    return node


def _below(element: Element, each: Each) -> list[Element]:
    raw = getattr(element, each.field)
    if raw is None:
        return []
    if not each.keys:
        return each.node.shape.some(raw)
    return [one for found in elements.reach([raw], each.keys) for one in each.node.shape.some(found)]


def _say(node: Node, element: Element, over: codes.Concept, facts: list[Fact], happened: bool) -> codes.Concept | None:
    """Append what the element itself says; return its concept, or None where it is not to be looked at."""
    read: tuple[values.Value, ...] = ()
    for field, value in node.value:
        raw = getattr(element, field)
        if raw is not None:
            read = value(bytes(raw))
            if read:
                break
    else:
        if node.absent:
            read = _absent(node, element)
    if node.text:
        read = _worded(node, element, read)
    if node.needs_value and not read:
        return None
    concepts: list[codes.Concept] | None = None
    if node.under:
        if read:
            concepts = [(over[0], over[1], None, over[3])]
    else:
        for field, coded in node.code:
            raw = getattr(element, field)
            if raw is not None:
                concepts = coded(bytes(raw))
                if concepts:
                    break
        if not concepts and (read or happened):
            concepts = [_UNKNOWN]
    if concepts:
        above = _label(over) if node.text_above else None
        for tail, description, parents, name in concepts:
            code = node.kind + tail
            for number, digits, text, unit in (read if node.every else read[:1]) or _NO_VALUE:
                if above:
                    text = above if text is None else f"{above}: {text}"
                if name is not None:
                    text = name if text is None else f"{name}: {text}"
                facts.append((code, number, digits, text, unit, description, parents))
        over = concepts[0]
    elif not node.under:
        over = _UNKNOWN

    for kind, field, coded in node.codes:
        raw = getattr(element, field)
        if raw is not None:
            for tail, description, parents, name in coded(bytes(raw)):
                facts.append((kind + tail, None, None, name, None, description, parents))
    for kind, field, guessed in node.values:
        raw = getattr(element, field)
        if raw is not None:
            for number, digits, text, unit in guessed(bytes(raw)):
                if over[3] is not None:
                    text = over[3] if text is None else f"{over[3]}: {text}"
                facts.append((kind + over[0], number, digits, text, unit, over[1], None))
    return over


def _absent(node: Node, element: Element) -> tuple[values.Value, ...]:
    for field, answer in node.absent:
        raw = getattr(element, field)
        reason = answer(bytes(raw)) if raw is not None else None
        if reason is not None:
            text = reason if reason.startswith("ABSENT//") else f"ABSENT//{reason}"
            return ((None, None, text, None),)
    return ()


def _worded(node: Node, element: Element, read: tuple[values.Value, ...]) -> tuple[values.Value, ...]:
    """Put further text behind that of the first value; what is absent has a reason and no words."""
    for field, worded in node.text:
        raw = getattr(element, field)
        texts = worded(bytes(raw)) if raw is not None else ()
        if texts:
            number, digits, said, unit = read[0] if read else values.NOTHING
            return ((number, digits, "; ".join((said, *texts) if said else texts), unit), *read[1:])
    return read


def _label(concept: codes.Concept) -> str | None:
    tail, description, _, text = concept
    if text is not None:
        return text
    if tail == "UNKNOWN":
        return None
    return f"{tail}//{description}" if description else tail
