"""Invents numbers and logins: phones, identifiers of every alphabet, addresses of the net."""

from __future__ import annotations

import random

from mayo_data.phi.training.lists import listed
from mayo_data.phi.training.people import Person
from mayo_data.phi.words import fold

_ALPHA = "ABCDEFGHJKLMNPRSTUVWXYZ"
_OTHER = ("accession", "order", "specimen", "study", "claim", "case", "auth", "rx", "badge")
_FORMS = {"MRN": ("mrn",), "ACCOUNT": ("account",), "HEALTHPLAN": ("plan",), "OTHERID": _OTHER}
_FORMS |= {"LICENSE": ("npi", "dea", "license", "dl"), "DEVICE": ("serial", "udi", "lot"), "VEHICLE": ("plate", "vin")}


class Numbers:
    """Numbers of one document.

    Args:
        rng: The document's random numbers.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._area = rng.randint(201, 989)
        self._phone = rng.choice((0, 0, 0, 1, 1, 2, 3, 4))

    def pattern(self, pattern: str) -> str:
        """Return a text with `#` for a digit and `@` for a capital filled.

        Args:
            pattern: Such a pattern.
        """
        rng = self._rng
        return "".join(str(rng.randrange(10)) if c == "#" else rng.choice(_ALPHA) if c == "@" else c for c in pattern)

    def _mixed(self) -> str:
        """Any run of letters and digits."""
        rng = self._rng
        size = rng.randint(5, 13)
        share = rng.choice((0, 0, 0.2, 0.5))
        made = "".join("@" if rng.random() < share else "#" for _ in range(size))
        if rng.random() < 0.25:
            cut = rng.randint(1, size - 1)
            made = made[:cut] + rng.choice("--./") + made[cut:]
        made = made if "#" in made else made + "##"
        text = self.pattern(made)
        return text.lower() if rng.random() < 0.1 else text

    def phone(self, form: str) -> str:
        """Return a telephone number.

        Args:
            form: See `templates.FORMS`.
        """
        rng = self._rng
        area = self._area if rng.random() < 0.6 else rng.randint(201, 989)
        mid = "555" if rng.random() < 0.3 else str(rng.randint(200, 999))
        end = f"{rng.randrange(10000):04}"
        if form == "pager":
            return rng.choice(
                (
                    f"{rng.randint(2, 9)}-{end}",
                    f"{rng.randint(10, 99)}-{end}",
                    end,
                    f"{rng.randint(10000, 99999)}",
                    f"{mid}-{end}",
                    f"x{end}",
                    f"#{end}",
                )
            )
        if form == "local":
            return rng.choice((f"{mid}-{end}", f"{mid}-{end}", f"{mid} {end}", f"{mid}.{end}"))
        if form == "intl":
            code = rng.choice(("1", "44", "52", "49", "91", "63", "86", "234", "251", "502"))
            return rng.choice(
                (
                    f"+{code} {area} {mid} {end}",
                    f"+{code}-{area}-{mid}-{end}",
                    f"+{code} ({area}) {mid}-{end}",
                    f"011 {code} {area} {mid}{end}",
                    f"+{code}{area}{mid}{end}",
                    f"1-{area}-{mid}-{end}",
                    f"+{code} {rng.randint(10, 99)} {end} {end[::-1]}",
                )
            )
        style = self._phone if rng.random() < 0.8 else rng.randrange(7)
        text = (
            f"({area}) {mid}-{end}",
            f"{area}-{mid}-{end}",
            f"{area}.{mid}.{end}",
            f"{area} {mid} {end}",
            f"({area}){mid}-{end}",
            f"{area}{mid}{end}",
            f"{area}/{mid}-{end}",
        )[style]
        if form == "ext":
            text += rng.choice((" ext ", " ext. ", " x", "x", ", ext. ", " extension ", " Ext: ")) + str(
                rng.randint(10, 99999)
            )
        return text

    def number(self, category: str, form: str) -> str:
        """Return an identifying number.

        Args:
            category: A category of `templates.FORMS`.
            form: One of its forms or empty.
        """
        rng = self._rng
        if category in ("MRN", "ACCOUNT", "HEALTHPLAN", "OTHERID") and rng.random() < 0.15:
            return self._mixed()
        if category == "SSN":
            end = self.pattern("####")
            if form == "last4":
                return end
            full = (
                f"{self.pattern('###-##')}-{end}",
                self.pattern("### ## ####"),
                self.pattern("#########"),
                f"XXX-XX-{end}",
                f"***-**-{end}",
                f"xxx-xx-{end}",
            )
            return rng.choices(full, (12, 2, 1, 2, 1, 1))[0]
        form = form or rng.choice(_FORMS[category])
        if form == "vin":
            return "".join(rng.choice("ABCDEFGHJKLMNPRSTUVWXYZ0123456789") for _ in range(17))
        return self.pattern(rng.choice(listed("patterns", form)))

    def room(self, form: str) -> str:
        """Return a room, a bed or both."""
        made = self._rng.choice(listed("patterns", form or "room"))
        return made if form == "bed" else self.pattern(made)

    def ip(self) -> str:
        """Return a network or hardware address."""
        rng = self._rng
        if rng.random() < 0.8:
            return ".".join(str(rng.randint(1, 254)) for _ in range(4)) + (
                rng.choice((":8080", ":443", "/24")) if rng.random() < 0.08 else ""
            )
        if rng.random() < 0.5:
            return ":".join(f"{rng.randrange(256):02x}" for _ in range(6))
        return ":".join(f"{rng.randrange(65536):x}" for _ in range(rng.choice((4, 8)))) + rng.choice(("", "::1"))

    def email(self, person: Person) -> str:
        """Return a mail address, often with the name of a person."""
        rng = self._rng
        site = rng.choice(listed("patterns", "mail")) if rng.random() < 0.6 else self._host()
        return f"{self.login(person)}@{site}"

    def _host(self) -> str:
        rng = self._rng
        site = rng.choice(listed("patterns", "site"))
        return f"{self._word()}{rng.choice(('', '', '-'))}{self._word()}.{site}"

    def _word(self) -> str:
        return self._rng.choice(listed("patterns", "word"))

    def url(self) -> str:
        """Return a web address."""
        rng = self._rng
        head = rng.choice(("https://", "https://www.", "www.", "http://", "", "https://portal."))
        tail = rng.choice(
            (
                "",
                "",
                "/",
                f"/{self._word()}",
                f"/{self._word()}/{rng.randint(10, 99999)}",
                f"/visit?id={rng.randint(1000, 999999)}",
                f"/p/{self._mixed().lower()}",
                f"/{self._word()}#{self._word()}",
            )
        )
        return head + self._host() + tail

    def login(self, person: Person) -> str:
        """Return what a person types to sign in."""
        rng = self._rng
        given = "".join(c for c in fold(person.given) if c.isascii() and c.isalpha()) or "jo"
        family = "".join(c for c in fold(person.family) if c.isascii() and c.isalpha()) or "doe"
        number = str(rng.choice((rng.randrange(1, 10), rng.randrange(10, 100), rng.randrange(1950, 2010))))
        return rng.choice(
            (
                given[0] + family,
                f"{given}.{family}",
                f"{given}{number}",
                f"{given}_{family}",
                family + given[0],
                given[0] + family + number,
                f"{given}.{family}{number}",
                given[0] + family[:4] + number,
                self._word() + given + number,
                f"{family}{given[:2]}",
            )
        )

    def user(self, form: str, person: Person) -> str:
        """Return a login, a handle or dictation initials."""
        rng = self._rng
        form = form or rng.choice(("login", "login", "handle", "sig"))
        if form == "login":
            return (
                self.login(person)
                if rng.random() < 0.75
                else self.pattern(rng.choice(("@####", "@@@##", "@######"))).lower()
            )
        if form == "handle":
            text = rng.choice(
                (
                    f"{self.login(person)}",
                    f"{self._word()}_{self._word()}{rng.randint(1, 99)}",
                    f"{self._word()}{self.login(person)}",
                )
            )
            return "@" + text if rng.random() < 0.5 else text
        letters = "".join(
            word[0] for word in (person.given, person.middle or rng.choice(_ALPHA), person.family) if word
        )
        letters = fold(letters)
        other = "".join(rng.choice(_ALPHA) for _ in range(rng.choice((2, 2, 3)))).lower()
        if form == "sig_init":
            return rng.choice((letters, letters[0] + letters[-1])).upper() if rng.random() < 0.7 else letters
        first = rng.choice((letters, letters[0] + letters[-1]))
        return rng.choice(
            (
                f"{first}/{other}",
                f"{first.upper()}:{other}",
                f"{first.upper()}/{other}",
                f"{first.upper()}:{other.upper()}",
                f"{first.upper()}/{other.upper()}",
                f"{first}:{other}",
            )
        )
