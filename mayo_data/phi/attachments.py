"""Opens attachments whose words can be scrubbed: text, HTML and RTF; anything else has no text here."""

from __future__ import annotations

import base64
import binascii
import re

from mayo_data.phi.markup import Markup, parse
from mayo_data.types import Json

_CHARSET = re.compile(r"charset=\"?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_HTML = ("text/html", "application/xhtml+xml")
_RTF = re.compile(
    r"\\'([0-9a-fA-F]{2})|\\u(-?\d{1,6}) ?\??|\\(par|line|tab|row|cell)\b ?|\\[a-zA-Z]{1,32}-?\d{0,10} ?"
    r"|\\([{}\\])|[\r\n]|([{}])"
)
_RTF_HIDDEN = re.compile(
    r"\{\\\*?\\?(?:fonttbl|colortbl|stylesheet|info|pict|generator)\b(?:[^{}]|\{[^{}]*\})*\}|\{\\\*(?:[^{}]|\{[^{}]*\})*\}"
)


def text_of(content_type: str, data: str) -> str | None:
    r"""Return the words of a FHIR Attachment.

    Args:
        content_type: MIME type, with or without a charset.
        data: base64.

    Returns:
        The text, or None where the content is not text (PDF, image) or not base64.

    >>> text_of("text/html; charset=utf-8", base64.b64encode(b"<p>a &amp; b</p>").decode())
    'a & b\n'
    """
    kind, content = opened(content_type, data)
    if content is None:
        return None
    if kind == "text/rtf":
        return _rtf(content)
    return parse(content).text if kind in (*_HTML, "text/xml") else content


def document_of(content_type: str, data: str) -> tuple[str, Markup] | None:
    """Return MIME type and content of a FHIR Attachment that is HTML or XHTML; None for any other.

    Args:
        content_type: MIME type, with or without a charset.
        data: base64.
    """
    kind, content = opened(content_type, data)
    return (kind, parse(content)) if content is not None and kind in _HTML else None


def packed(kind: str, content: str) -> Json:
    """Return content and its MIME type as a FHIR Attachment has them.

    >>> packed("text/plain", "OK")
    {'contentType': 'text/plain; charset=utf-8', 'data': 'T0s='}
    """
    data = base64.b64encode(content.encode("utf-8", "replace")).decode()
    return {"contentType": f"{kind}; charset=utf-8", "data": data}


def opened(content_type: str, data: str) -> tuple[str, str | None]:
    """Return the MIME type of a FHIR Attachment, in one spelling, and its content, None where that is no text.

    Args:
        content_type: MIME type, with or without a charset.
        data: base64.
    """
    kind = content_type.split(";", 1)[0].strip().lower()
    if not (kind.startswith("text/") or kind in ("application/rtf", "application/xhtml+xml", "application/xml", "")):
        return kind, None
    try:
        raw = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        return kind, None
    text = _decode(raw, content_type)
    if kind == "application/rtf" or text.startswith("{\\rtf"):
        kind = "text/rtf"
    return kind.replace("application/xml", "text/xml"), text


def _decode(raw: bytes, content_type: str) -> str:
    found = _CHARSET.search(content_type)
    for charset in (found.group(1) if found else "utf-8", "utf-8-sig"):
        try:
            return raw.decode(charset)
        except (LookupError, UnicodeError):
            continue
    return raw.decode("cp1252", "replace")


def _rtf(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        octet, point, word, literal, _ = match.groups()
        if octet:
            return bytes([int(octet, 16)]).decode("cp1252", "replace")
        if point:
            return chr(int(point) % 65536)
        if word:
            return "\t" if word in ("tab", "cell") else "\n"
        return literal or ""

    return _RTF.sub(plain, _RTF_HIDDEN.sub("", text))
