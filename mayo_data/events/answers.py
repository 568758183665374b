"""Events of a QuestionnaireResponse: one an answer, however deep its item lies.

An item is coded by its `linkId`. Where that is a LOINC code, as in US Core (`/44250-9`), it is a LOINC event;
any other linkId means something within its questionnaire alone, so that one's name is its vocabulary.
"""

from __future__ import annotations

import re
from typing import Any

from mayo_data.events import codes, times, values
from mayo_data.events.elements import Json, whole
from mayo_data.events.rows import WITHDRAWN, Rows, encounter_id

_KINDS = "Boolean Decimal Integer Date DateTime Time String Uri Attachment Coding Quantity".split()  # noqa: SIM905
PATHS = (
    "status",
    "authored",
    "encounter",
    "questionnaire",
    "meta.lastUpdated",
    "item.linkId",
    "item.text",
    "item.item",
    "item.answer.item",
    *(f"item.answer.value{kind}" for kind in _KINDS),
)
_LOINC = re.compile(r"\d{1,7}-\d", re.ASCII)
_KIND = "QUESTIONNAIRE//"
_read = values.choice("value")


def resource(raw: Json, origin: int, rows: Rows) -> str | None:
    """Append the events of one QuestionnaireResponse; return the reason where it gives none.

    Args:
        raw: The de-identified resource.
        origin: Row of the batch that it came from.
        rows: Where events go.

    >>> rows = Rows()
    >>> resource(b'{"item": [{"linkId": "/44250-9", "answer": [{"valueInteger": 2}]}]}', 0, rows)
    >>> rows.facts[0][:2]
    ('QUESTIONNAIRE//LOINC//44250-9', 2.0)
    """
    body = whole(raw)
    if type(body) is not dict:
        return "no_facts"
    status = codes.plain_code(body.get("status"))
    if status == WITHDRAWN:
        return "entered_in_error"
    before = len(rows)
    moment = _moment(body.get("authored"))
    meta = body.get("meta")
    known = moment or _moment(meta.get("lastUpdated") if type(meta) is dict else None)
    encounter = encounter_id(body.get("encounter"))
    vocabulary = _vocabulary(body.get("questionnaire"))
    waiting = [body.get("item")]  # not a recursive call: the depth is the sender's choice
    while waiting:
        item = waiting.pop()
        if type(item) is list:
            waiting.extend(reversed(item))
            continue
        if type(item) is not dict:
            continue
        answers = item.get("answer")
        below = [item.get("item")]
        for answer in answers if type(answers) is list else [answers]:
            if type(answer) is not dict:
                continue
            value = _read(answer)
            if value is not values.NOTHING:
                asked = item.get("text")
                rows.add(
                    origin,
                    _code(item.get("linkId"), vocabulary),
                    moment or known,
                    value=value,
                    status=status,
                    encounter=encounter,
                    available=known[0] if known else None,
                    description=asked if type(asked) is str and asked else None,
                )
            below.append(answer.get("item"))
        waiting.extend(reversed(below))
    return None if len(rows) > before else "no_facts"


def _moment(value: Any) -> times.Moment | None:
    return times.parse(value) if type(value) is str else None


def _vocabulary(questionnaire: Any) -> str:
    return codes.prefix(questionnaire) if type(questionnaire) is str else "LINKID//"


def _code(link_id: Any, vocabulary: str) -> str:
    if type(link_id) is not str or not link_id:
        return f"{_KIND}UNKNOWN"
    last = link_id.rpartition("/")[2]
    if _LOINC.fullmatch(last):
        return f"{_KIND}LOINC//{last}"
    return f"{_KIND}{vocabulary}{link_id}"
