"""What stands in for PHI: invented values of the same form, the same for the same thing everywhere.

Everything is a keyed HMAC of what was replaced, so every worker agrees and no codebook exists. A patient's
and relatives' names are keyed within the subject (a frequent real name does not become a frequent surrogate),
clinicians, places and numbers within the site.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING

from mayo_data import assets
from mayo_data.keys import Secret
from mayo_data.phi import dates
from mayo_data.phi.words import NAME_FRAME, PARTICLES, RUNS, all_given_names, family_names, fold, full_names

if TYPE_CHECKING:
    from mayo_data.phi.known import Known

_NAME = re.compile(r"[^\W\d_]+(?:['’‘][^\W\d_]{2,})*|\d+")
_KEEP_IN_NAMES = NAME_FRAME | (PARTICLES - {"du", "le"}) | {"and", "dpm", "lcsw", "lpn", "pharmd"}
_STREET_WORDS = frozenset(
    [
        "street",
        "st",
        "avenue",
        "ave",
        "av",
        "road",
        "rd",
        "drive",
        "dr",
        "lane",
        "ln",
        "boulevard",
        "blvd",
        "court",
        "ct",
        "place",
        "pl",
        "way",
        "circle",
        "cir",
        "terrace",
        "ter",
        "parkway",
        "pkwy",
        "highway",
        "hwy",
        "route",
        "rte",
        "trail",
        "trl",
        "square",
        "sq",
        "loop",
        "plaza",
        "crossing",
        "alley",
        "pike",
        "apt",
        "apartment",
        "suite",
        "ste",
        "unit",
        "floor",
        "fl",
        "building",
        "bldg",
        "room",
        "rm",
        "box",
        "po",
        "p",
        "o",
        "rural",
        "rr",
        "lot",
        "n",
        "s",
        "e",
        "w",
        "ne",
        "nw",
        "se",
        "sw",
        "north",
        "south",
        "east",
        "west",
        "th",
        "rd",
        "nd",
        "st",
    ]
)
_PLACE_KIND = re.compile(
    r"(?:\s(?:university|community|general|regional|memorial|children['’]s|veterans|county))*"
    r"\s(?:hospital|medical (?:center|centre|group)|health (?:center|system|services)|clinics?|nursing home"
    r"|hospice|pharmacy|rehabilitation(?: center)?|(?:senior|assisted) living|care center|surgery center"
    r"|cancer center|cent(?:er|re)|health"
    r"|healthcare|laboratory|laboratories|imaging|school|university|college|church|company|inc\.?|llc)\s*$",
    re.IGNORECASE,
)
_MEMORY = 20_000


@cache
def _list(file: str, key: str) -> tuple[str, ...]:
    text = assets.toml("schemas", "phi", "surrogates", f"{file}.toml")[key]
    parts = text.split("|") if "|" in text else text.split()
    return tuple(" ".join(part.split()) for part in parts)


def cased(new: str, old: str) -> str:
    """Write a word in the case of another.

    >>> cased("Hartley", "DOE"), cased("Hartley", "doe"), cased("Hartley", "Doe")
    ('HARTLEY', 'hartley', 'Hartley')
    """
    if old.isupper() and (len(old) > 1 or len(new) == 1):
        return new.upper()
    return new.lower() if old.islower() else new


def _token(word: str) -> str:
    return fold(word).replace("'", "")


def _named(text: str) -> tuple[list[re.Match[str]], list[re.Match[str]], bool]:
    """Return the words of a name, those that are names, and whether the family name comes first."""
    words = list(_NAME.finditer(text))
    named = [m for m in words if not m.group().isdigit() and fold(m.group()) not in _KEEP_IN_NAMES]
    turned = len(named) > 1 and bool(re.match(r"\s*[,^]", text[named[0].end() :]))
    return words, named, turned


def roles(names: Iterable[tuple[str, bool]]) -> dict[str, bool]:
    """Return each word of some names and whether it is a family name, so that it is one wherever it stands alone.

    Args:
        names: Names of a document, and whether a title stands before each: one word after it is a family name.

    >>> roles([("Lee Thomas", False), ("Chandra", True), ("Ann", False)])
    {'lee': False, 'thomas': True, 'chandra': True}
    """
    found: dict[str, bool] = {}
    for text, titled in names:
        _, named, turned = _named(text)
        for index, match in enumerate(named):
            if len(named) > 1 or titled:
                found.setdefault(_token(match.group()), index == (0 if turned else len(named) - 1))
    return found


class Surrogates:
    """Makes surrogates. One per worker; remembers what it made, up to a bound.

    Args:
        secret: The site's key.
        given_of: Tells the given name of a clinician from family name and initial, where there is just one.
    """

    def __init__(
        self, secret: Secret, given_of: Callable[[str, str], str | None] = lambda _family, _initial: None
    ) -> None:
        self._secret = secret
        self._given_of = given_of
        self._memory: dict[tuple[str, str, str], str] = {}
        self._kinds: dict[str, Callable[[str, Known], str]] = {
            "id": self._code, "phone": self._phone, "ssn": self._ssn, "zip": self._code, "email": self._email,
            "url": self._url, "ip": self._ip, "street": self._street, "age": lambda _text, _known: "90+",
            "city": partial(self._place, "city"), "county": partial(self._place, "county"),
            "facility": partial(self._place, "facility"), "org": partial(self._place, "org"),
        }  # fmt: skip

    def make(
        self,
        category: str,
        kind: str,
        text: str,
        known: Known,
        sex: str | None = None,
        roles: Mapping[str, bool] | None = None,
    ) -> str:
        """Return what stands in for a text.

        Args:
            category: PHI category.
            kind: How it is made, `kind` in `categories.toml`; not `date` and not `tag`.
            text: What is replaced.
            known: The subject.
            sex: `F` or `M` where the words around say so (Mr., Mrs.).
            roles: What `roles` says of the names of the document.
        """
        if kind == "name":
            return self._person(category, text, known, sex, roles or {})
        return self._kinds[kind](text, known)

    def _stream(self, domain: str, value: str) -> int:
        return int.from_bytes(self._secret.digest(f"surrogate/{domain}", value), "big")

    def _pick(self, domain: str, value: str, choices: tuple[str, ...], known: Known) -> str:
        """Choose from a list, the same each time, and never a word that the subject really bears."""
        key = (domain, value, "")
        choice = self._memory.get(key)
        if choice is None:
            if len(self._memory) > _MEMORY:
                self._memory.clear()
            choice = self._memory[key] = choices[self._stream(domain, value) % len(choices)]
        attempt = 0
        while not known.tokens.isdisjoint(RUNS.findall(fold(choice))) and attempt < 16:
            attempt += 1
            choice = choices[self._stream(domain, f"{value}\x00{attempt}") % len(choices)]
        return choice

    # Names

    def _person(self, category: str, text: str, known: Known, sex: str | None, roles: Mapping[str, bool]) -> str:
        words, named, turned = _named(text)
        last = named[0 if turned else -1] if named else None
        out: list[str] = []
        at = 0
        for match in words:
            word = match.group()
            out.append(text[at : match.start()])
            at = match.end()
            if word.isdigit():
                out.append(self._digits("name", word))
            elif match not in named:
                out.append(word)
            else:
                index = named.index(match)
                if len(named) == 1:
                    token = _token(word)
                    given = token in all_given_names() or (category == "RELATIVE" and token not in family_names())
                    family = roles.get(token, not given)
                else:
                    family = index == 0 if turned else index == len(named) - 1
                if len(word) == 1 and category == "STAFF" and last is not None:
                    full = self._given_of(fold(last.group()), fold(word))
                    if full is not None:
                        out.append(cased(self._part(category, full, False, known, sex)[:1], word))
                        continue
                out.append(self._name(category, word, family, known, sex))
        out.append(text[at:])
        return "".join(out)

    def _name(self, category: str, word: str, family: bool, known: Known, sex: str | None) -> str:
        token = _token(word)
        entry = known.canonical(token)
        if entry is not None:
            category, family, token, sex = entry.category, entry.family, entry.canonical, entry.sex or sex
        if len(token) == 1:
            return cased("ABCDEFGHJKLMNPRSTW"[self._stream(self._scope(category, known), token) % 18], word)
        new = self._part(category, token, family, known, sex)
        return cased(new[:1] if len(word) == 1 else new, word)

    def _part(self, category: str, token: str, family: bool, known: Known, sex: str | None) -> str:
        scope = self._scope(category, known)
        if family:
            return self._pick(f"{scope}/family", token, _list("names", "family"), known)
        fulls = full_names().get(token)
        names = all_given_names()
        if fulls and known.canonical(token) is None:
            token = fulls[0]
        sex = names.get(token) or sex
        if sex not in ("F", "M"):
            sex = "F" if self._stream(f"{scope}/sex", token) & 1 else "M"
        lists = _list("names", "given_female" if sex == "F" else "given_male")
        return self._pick(f"{scope}/given/{sex}", token, lists, known)

    def _scope(self, category: str, known: Known) -> str:
        return "staff" if category == "STAFF" else f"subject/{known.subject_id}"

    # Numbers

    def _digits(self, domain: str, digits: str) -> str:
        number = self._stream(domain, digits)
        out = []
        for index, old in enumerate(digits):
            number, digit = divmod(number, 9 if index == 0 and old != "0" else 10)
            out.append(str(digit + 1 if index == 0 and old != "0" else digit))
        return "".join(out)

    def _code(self, text: str, known: Known) -> str:
        """Keep the form: digit for digit, letter for letter, separators and leading zeros as they are."""
        plain = re.sub(r"[\W_]+", "", fold(text))
        bare = plain.lstrip("0") or plain
        letters = "abcdef" if re.fullmatch(r"[0-9a-f]{16,}", plain) else "abcdefghjkmnpqrstuvwxyz"
        for attempt in range(8):
            number = self._stream("code", f"{bare}\x00{attempt}" if attempt else bare)
            number |= self._stream("code2", bare) << 256
            out: list[str] = []
            leading = True
            for char in text:
                if char.isdecimal():
                    if leading and char == "0":
                        out.append("0")
                        continue
                    number, digit = divmod(number, 9 if leading else 10)
                    out.append(str(digit + 1 if leading else digit))
                    leading = False
                elif char.isalpha():
                    number, index = divmod(number, len(letters))
                    out.append(letters[index].upper() if char.isupper() else letters[index])
                else:
                    out.append(char)
            made = "".join(out)
            if re.sub(r"[\W_]+", "", fold(made)) not in known.numbers and (made != text or not plain):
                return made
        return made

    def _fill(self, text: str, digits: str) -> str:
        """Write digits into the places of the digits of a form, from the right."""
        rest = list(digits)
        out = [rest.pop() if char.isdecimal() and rest else char for char in reversed(text)]
        return "".join(reversed(out))

    def _phone(self, text: str, known: Known) -> str:
        main = re.split(r"(?i)(?<!\s)\s*(?:x|ext)", text, maxsplit=1)[0]
        tail = text[len(main) :]
        digits = "".join(filter(str.isdecimal, main))
        if text.lstrip().startswith("+") and not digits.startswith("1"):
            # Keep the country, change the rest.
            keep = len(digits) - 2 if len(digits) > 8 else len(digits)
            made = self._fill(main, self._digits("phone", digits)[-keep:])
        elif len(digits) in (7, 10, 11):
            local = digits[-10:]
            number = self._stream("phone", digits[-7:])
            for attempt in range(100):
                area = self._digits("area", local[:3]) if len(local) == 10 else ""
                area = area.replace("1", "3", 1) if area.startswith("1") else area
                new = f"{area}55501{(number + attempt) % 100:02d}"
                if new not in known.numbers:
                    break
            made = self._fill(main, new)
        else:
            made = self._code(main, known)
        return made + (self._fill(tail, self._digits("ext", re.sub(r"\D", "", tail))) if tail else "")

    def _ssn(self, text: str, known: Known) -> str:
        digits = "".join(filter(str.isdecimal, text))
        whole = digits
        if len(digits) < 9:
            whole = next((n for n in known.numbers if len(n) == 9 and n.isdecimal() and n.endswith(digits)), digits)
        new = "9" + f"{self._stream('ssn', whole) % 10**8:08d}"
        if new[-4:] == whole[-4:]:
            new = new[:-1] + str((int(new[-1]) + 1) % 10)
        return self._fill(text, new[-len(digits) :] if digits else "")

    # Places and nets

    def _place(self, kind: str, text: str, known: Known) -> str:
        flat = " ".join(fold(text).split())
        tail = _PLACE_KIND.search(" " + text) if kind in ("facility", "org") else None
        if kind == "facility" and tail is None and re.fullmatch(r"[A-Z]{2,6}", text):
            return self._code(text, known)
        new = self._pick(kind, flat, _list("places", kind), known)
        if kind == "county" and (suffix := re.search(r"(?i)\s+(county|parish|borough)$", text)):
            return cased(new, text[: suffix.start()]) + suffix.group()
        if kind == "facility":
            end = (
                tail.group().strip() if tail else self._pick(kind, f"{flat}/", _list("places", "facility_kind"), known)
            )
            return f"{cased(new, text)} {cased(end, text)}"
        return cased(new, text)

    def _street(self, text: str, known: Known) -> str:
        flat = " ".join(fold(text).split())
        out: list[str] = []
        at = 0
        named = False
        for match in re.finditer(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+", text):
            word, gap = match.group(), text[at : match.start()]
            at = match.end()
            if word.isdigit():
                out += [gap, self._digits("street", word)]
            elif fold(word) in _STREET_WORDS or len(word) == 1:
                out += [gap, word]
            elif not named:
                named = True
                out += [gap, cased(self._pick("street", flat, _list("places", "street"), known), word)]
        out.append(text[at:])
        return "".join(out)

    def _email(self, text: str, known: Known) -> str:
        return f"user{self._stream('email', fold(text)) % 16**6:06x}@example.org"

    def _url(self, text: str, known: Known) -> str:
        scheme = text.split("://", 1)[0] + "://" if "://" in text else ""
        return f"{scheme}example.org/{self._stream('url', fold(text)) % 16**8:08x}"

    def _ip(self, text: str, known: Known) -> str:
        number = self._stream("ip", fold(text))
        if "." in text and ":" not in text:
            return f"192.0.2.{number % 254 + 1}"
        if re.fullmatch(r"(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}", text):
            return f"02:00:5e:10:{number % 256:02x}:{number // 256 % 256:02x}"
        return f"2001:db8::{number % 65535 + 1:x}"


def moved(text: str, mode: str, offset_days: int) -> tuple[str, str]:
    """Return what stands in for a date, and the action: `shift`, `generalise` or `tag`.

    >>> moved("March 4, 2021", "year", 0), moved("2021-03-04T10:15:00Z", "shift", 1)
    (('2021', 'generalise'), ('2021-03-05T10:15:00Z', 'shift'))
    """
    if mode == "shift":
        new = dates.move(text, offset_days)
        if new is not None:
            return new, "shift"
    if mode == "year":
        year = dates.year_only(text)
        if year is not None:
            return year, "generalise"
    return "[DATE]", "tag"
