"""Reads note templates: text of our own writing with a slot wherever an identifier stands."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mayo_data import assets

_HEAD = re.compile(r"%%[ \t]*([a-z0-9_]+)[ \t]*(?:\|[ \t]*(.*))?")
_SLOT = re.compile(r"\[\[([A-Z0-9]+)(?:#(\d{1,3}))?(?::([a-z0-9_]+))?(?:\|(upper|lower))?\]\]")
_NAME = (
    "full first last full_m full_middle last_first last_first_m i_last initials initials_dot last_i nick"
    " last_caret_first full_suffix"
)
_DATE = (
    "mdy mdy2 md my long long_md mon dmon dmy month_year month mon_d iso iso_time hl7 hl7_time weekday wd weekday_date"
    " holiday military day_ord range range_long month_range season dob dots dash"
)
# Category to the forms that it may take.
FORMS: dict[str, frozenset[str]] = {
    category: frozenset(forms.split())
    for category, forms in {
        "PATIENT": _NAME, "STAFF": _NAME, "RELATIVE": _NAME, "PERSON": _NAME, "DATE": _DATE, "AGE90": "num words",
        "PHONE": "ext pager local intl", "FAX": "ext pager local intl", "EMAIL": "", "URL": "", "IP": "",
        "SSN": "full last4", "MRN": "", "ACCOUNT": "", "HEALTHPLAN": "", "LICENSE": "npi dea license dl",
        "VEHICLE": "plate vin", "DEVICE": "serial udi lot",
        "OTHERID": "accession order specimen study claim case auth rx badge", "ROOM": "room bed unitroom",
        "STREET": "street_only pobox rural intersection", "CITY": "", "COUNTY": "", "ZIP": "",
        "HOSPITAL": "full short abbr unit pharmacy", "ORG": "employer school insurer agency",
        "USERNAME": "login handle sig sig_init", "YEAR": "", "STATE": "abbr", "COUNTRY": "", "AGE": "", "TIME": "",
        "DRUG": "", "DOSE": "", "EPONYM": "", "VITAL": "", "LAB": "", "PROF": "", "NUM": "", "ICD": "", "DEMONYM": "",
    }.items()
}  # fmt: skip
# Filled, but no identifiers.
PLAIN = frozenset(
    [
        "YEAR",
        "STATE",
        "COUNTRY",
        "AGE",
        "TIME",
        "DRUG",
        "DOSE",
        "EPONYM",
        "VITAL",
        "LAB",
        "PROF",
        "NUM",
        "ICD",
        "DEMONYM",
    ]
)


class TemplateError(ValueError):
    """A template that cannot be read; the message names file and line."""


class Slot(NamedTuple):
    """A place for an identifier.

    Attributes:
        category: A key of `FORMS`.
        number: Which person or thing of the document, 0 where the author did not say.
        form: How it is written, empty for any common form.
        case: `upper`, `lower` or empty.

    >>> Slot("STAFF", 2, "last", "").number
    2
    """

    category: str
    number: int
    form: str
    case: str


@dataclass(frozen=True)
class Template:
    """One note with slots.

    Attributes:
        type: Note type: the name of its file.
        slug: Its name in the file.
        style: What its author says of its style.
        parts: Literal text and slots, in order.
    """

    type: str
    slug: str
    style: str
    parts: tuple[str | Slot, ...]

    @property
    def split(self) -> str:
        """`train`, `dev` or `test`, by a hash of type and slug, so that it never changes.

        >>> Template("ed", "a", "", ()).split in {"train", "dev", "test"}
        True
        """
        share = zlib.crc32(f"{self.type}/{self.slug}".encode()) % 1000
        return "train" if share < 850 else "dev" if share < 925 else "test"


def parse(text: str, where: str, problems: list[str] | None = None) -> list[Template]:
    r"""Return the templates of one file.

    Args:
        text: The file's text.
        where: Its name, for messages and as the note type.
        problems: Where what is wrong is noted, and the template left out; without it the first is raised.

    Raises:
        TemplateError: A slot with an unknown category or form, a slug twice, text before the first head.

    >>> parse("%% a | caps\nSeen by Dr. [[STAFF:last]].\n", "ed.txt")[0].parts[1]
    Slot(category='STAFF', number=0, form='last', case='')
    """
    kind = where.rsplit("/", 1)[-1].removesuffix(".txt")
    found: list[Template] = []
    slugs: set[str] = set()
    lines = text.splitlines()
    heads = [at for at, line in enumerate(lines) if line.startswith("%%")]

    def wrong(line: int, what: str) -> None:
        message = f"{where}:{line + 1}: {what}"
        if problems is None:
            raise TemplateError(message)
        problems.append(message)

    first = heads[0] if heads else len(lines)
    if any(line.strip() and not line.startswith("#") for line in lines[:first]):
        wrong(0, "text before the first line that begins with %%")
    for head, end in zip(heads, [*heads[1:], len(lines)], strict=True):
        match = _HEAD.fullmatch(lines[head].rstrip())
        if match is None or match[1] in slugs:
            wrong(head, "expected '%% slug | style' with a slug of its own in this file")
            continue
        slugs.add(match[1])
        try:
            parts = _parts(lines[head + 1 : end], where, head + 1)
        except TemplateError as error:
            if problems is None:
                raise
            problems.append(str(error))
            continue
        found.append(Template(kind, match[1], (match[2] or "").strip(), parts))
    return found


def _parts(lines: Sequence[str], where: str, first: int) -> tuple[str | Slot, ...]:
    parts: list[str | Slot] = []
    literal = ""
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    for number, line in enumerate(lines):
        at = 0
        for match in _SLOT.finditer(line):
            category, index, form, case = match.groups()
            if category not in FORMS:
                raise TemplateError(f"{where}:{first + number + 1}: no category {category}")
            if form and form not in FORMS[category]:
                raise TemplateError(f"{where}:{first + number + 1}: {category} has no form {form}")
            literal += line[at : match.start()]
            if literal:
                parts.append(literal)
            literal = ""
            parts.append(Slot(category, int(index or 0), form or "", case or ""))
            at = match.end()
        rest = line[at:]
        if "[[" in rest or "]]" in rest:
            raise TemplateError(
                f"{where}:{first + number + 1}: a slot that is not closed, or not of the form [[X#2:y|z]]"
            )
        literal += rest + "\n"
    if literal:
        parts.append(literal)
    return tuple(parts)


def load(folder: Path | None = None, problems: list[str] | None = None) -> list[Template]:
    """Return the templates of all files of a folder, in the order of their names.

    Args:
        folder: Where they lie; those of the project by default.
        problems: As for `parse`.

    Raises:
        TemplateError: See `parse`.
    """
    folder = folder or assets.path("schemas", "phi", "training")
    found: list[Template] = []
    for path in sorted(folder.glob("*.txt")):
        found += parse(path.read_text(encoding="utf-8"), path.name, problems)
    return found
