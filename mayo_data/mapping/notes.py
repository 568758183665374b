"""Documents and the text of reports: note."""

from __future__ import annotations

import base64
import binascii
import html
import re
from typing import Any

from mayo_data.mapping import cdm
from mayo_data.mapping.cdm import Row
from mayo_data.mapping.context import Context
from mayo_data.mapping.elements import Json, codings, data, first, some, text_of, words
from mayo_data.mapping.facts import EFFECTIVE, Fact, Rows, fact_of, row, table_of

_TAG = re.compile(r"<[^<>]*>")
_CHARSET = re.compile(r"charset\s*=\s*\"?([\w.:-]+)", re.IGNORECASE)
_TEXTS = ("text/", "application/xhtml", "application/xml", "application/hl7")


def report(context: Context, resource: Json) -> Rows:
    """Map a DiagnosticReport to what it is about, and to the note that holds its text.

    The code of a document (domain Note) is the class of the note and makes no other row.
    """
    fact = fact_of(context, resource, EFFECTIVE, None, resource.get("performer"))
    if fact is None:
        return
    made = 0
    for found in context.resolve(resource.get("code"), fact.spec):
        if found.standard is None or found.standard.domain == "Note":
            continue
        table = table_of(found, fact.spec["home"])
        about = row(context, fact, found, table)
        if table == "observation":
            about["value_source_value"] = words(first(resource.get("code")).get("text"))
        yield table, about
        made += 1
    title = words(first(resource.get("code")).get("text"))
    text = attached(resource.get("presentedForm")) or words(resource.get("conclusion")) or title
    if text:
        yield "note", note(context, fact, text, title, resource.get("code"))
    elif not made:
        context.drop(resource, "no_text")


def document(context: Context, resource: Json) -> Rows:
    """Map a DocumentReference: the first of its contents that is text, else its description."""
    period = first(first(resource.get("context")).get("period"))
    dated = {**resource, "written": period.get("start")}
    fact = fact_of(context, dated, ("date", "written"), None, resource.get("author"))
    if fact is None:
        return
    contents = [one.get("attachment") for one in some(resource.get("content"))]
    title = words(resource.get("description")) or text_of(resource.get("type"))
    text = attached(contents) or words(resource.get("description"))
    if text:
        yield "note", note(context, fact, text, title, resource.get("type"))
    else:
        context.drop(resource, "no_text")


def attached(attachments: Any) -> str:
    """Return the first of several Attachments that is text and can be read.

    >>> attached([{"contentType": "application/pdf", "data": "JVBERg=="}, {"data": "T0s="}])
    'OK'
    >>> attached([{"contentType": "text/html", "data": "PHA+YSAmYW1wOyBiPC9wPg=="}])
    'a & b'
    """
    for one in some(attachments):
        kind = words(one.get("contentType")).lower()
        if kind and not kind.startswith(_TEXTS):
            continue
        try:
            raw = base64.b64decode("".join(words(one.get("data")).split()), validate=True)
        except (binascii.Error, ValueError):
            continue
        charset = _CHARSET.search(kind)
        try:
            text = raw.decode(charset[1] if charset else "utf-8", "replace")
        except LookupError:
            text = raw.decode("utf-8", "replace")
        if "html" in kind:  # a note of the CDM is plain text
            text = html.unescape(_TAG.sub("", text)).strip()
        if text.strip():
            return text.replace("\0", "")
    return ""


def note(context: Context, fact: Fact, text: str, title: str, code: Any) -> Row:
    """Return the note of a text.

    Args:
        context: The mapping under way.
        fact: Who and when.
        text: What it says.
        title: Its title, or empty.
        code: What kind of document it is; the first LOINC code is its class.
    """
    loinc = next((one for one in codings(code) if one.vocabulary == "LOINC"), None)
    source = context.vocabulary.find("LOINC", loinc.code) if loinc else None
    targets = context.vocabulary.standards(source.concept_id) if source is not None else ()
    if not targets:
        context.miss("note.note_class_concept_id", loinc or next(iter(codings(code)), None))
    known = data()["language"]
    spoken = words(fact.resource.get("language")).partition("-")[0].lower() or known["default"]
    kind = words(fact.resource.get("resourceType"))
    return {
        "note_id": cdm.key("note", f"{kind}/{words(fact.resource.get('id'))}"),
        "person_id": fact.person,
        "note_date": fact.start.day if fact.start else None,
        "note_datetime": fact.start.time if fact.start else None,
        "note_type_concept_id": context.kind(kind, "note"),
        "note_class_concept_id": targets[0].concept_id if targets else 0,
        "note_title": title,
        "note_text": text,
        "encoding_concept_id": context.constant("encoding", "utf8") or 0,
        "language_concept_id": (context.constant("language", spoken) if isinstance(known.get(spoken), list) else 0)
        or 0,
        **fact.links,
        "note_source_value": loinc.code if loinc else None,
    }
