"""Invents towns, streets, facilities and organisations."""

from __future__ import annotations

import random

from mayo_data.phi.training.lists import listed
from mayo_data.phi.training.people import People


def _words(key: str) -> tuple[str, ...]:
    return listed("places", key)


def state(rng: random.Random, form: str) -> str:
    """Return a state's name or its two letters."""
    name, short = rng.choice(_words("states")).split(":")
    return short if form == "abbr" or (not form and rng.random() < 0.5) else name


def country(rng: random.Random) -> str:
    """Return a country."""
    return rng.choice(_words("countries"))


def demonym(rng: random.Random) -> str:
    """Return what the people of a country are called."""
    return rng.choice(_words("demonyms"))


class Spots:
    """Places of one document.

    Args:
        rng: The document's random numbers.
        people: Persons that places are named after.
    """

    def __init__(self, rng: random.Random, people: People) -> None:
        self._rng = rng
        self._people = people

    def city(self) -> str:
        """Return a town."""
        rng = self._rng
        draw = rng.random()
        if draw < 0.3:
            return rng.choice(_words("town_real"))
        made = rng.choice(_words("town_head")) + rng.choice(_words("town_tail"))
        if draw < 0.72:
            return made
        if draw < 0.82:
            head = rng.choice((made, rng.choice(_words("town_head")), self._people.draw().family))
            return f"{head} {rng.choice(_words('town_word'))}"
        if draw < 0.92:
            tail = rng.choice((made, self._people.draw().given, rng.choice(_words("town_real"))))
            return f"{rng.choice(_words('town_lead'))} {tail}"
        return self._people.draw().family.split()[-1] + rng.choice(("", "", "ville", "ton", "burg"))

    def county(self) -> str:
        """Return a county's name without the word County."""
        rng = self._rng
        return rng.choice(
            (
                self._people.draw().family.split()[-1],
                self.city(),
                rng.choice(_words("town_head")),
                rng.choice(("San", "Santa", "Saint")) + " " + self._people.draw().given,
            )
        )

    def zip(self) -> str:
        """Return a postal code."""
        rng = self._rng
        return f"{rng.randint(501, 99950):05}" + (f"-{rng.randrange(10000):04}" if rng.random() < 0.12 else "")

    def street(self, form: str) -> str:
        """Return a street line.

        Args:
            form: See `templates.FORMS`.
        """
        rng = self._rng
        number = (
            rng.choice(
                (
                    str(rng.randint(1, 99)),
                    str(rng.randint(100, 9999)),
                    str(rng.randint(1000, 29999)),
                    f"N{rng.randint(100, 9999)}W{rng.randint(100, 9999)}",
                    f"{rng.randint(1, 99)}-{rng.randint(10, 99)}",
                )
            )
            if rng.random() < 0.2
            else str(rng.randint(1, 19999))
        )
        if form == "pobox":
            return rng.choice(("PO Box ", "P.O. Box ", "P O Box ", "Box ", "POB ", "PO BOX ")) + str(
                rng.randint(1, 99999)
            )
        if form == "rural":
            return rng.choice(
                (
                    f"RR {rng.randint(1, 9)} Box {rng.randint(1, 400)}",
                    f"Rural Route {rng.randint(1, 9)}",
                    f"{rng.randint(1000, 70000)} County Road {rng.randint(1, 250)}",
                    f"HC {rng.randint(1, 90)} Box {rng.randint(1, 999)}",
                    f"{rng.randint(100, 70000)} State Hwy {rng.randint(1, 300)}",
                    f"{rng.randint(100, 9999)} Highway {rng.randint(1, 500)} {rng.choice('NSEW')}",
                    f"Fire Number {rng.randint(1000, 9999)}",
                    f"{rng.randint(100, 9999)} FM {rng.randint(100, 3000)}",
                )
            )
        if form == "intersection":
            return rng.choice(
                (
                    f"{self._road()} and {self._road()}",
                    f"{self._ordinal()} and {rng.choice(_words('street_word'))}",
                    f"{self._road()} & {self._road()}",
                    f"{self._ordinal()} & {self._road()}",
                    f"corner of {self._road()} and {self._road()}"[10:],
                )
            )
        road = (
            self._road()
            if rng.random() < 0.85
            else f"{self._ordinal()} {rng.choice(('St', 'Street', 'Ave', 'Avenue', 'St NW', 'Ave SE', 'St.'))}"
        )
        if form == "street_only":
            return road
        side = (
            rng.choice(("N ", "S ", "E ", "W ", "N. ", "West ", "North ", "South ", "SW ", "NE "))
            if rng.random() < 0.2
            else ""
        )
        end = rng.choice((" N", " S", " NW", " SE", " NE", " SW", " West")) if rng.random() < 0.15 else ""
        unit = (
            rng.choice(
                (
                    f", Apt {rng.randint(1, 400)}",
                    f" Apt {rng.randint(1, 40)}{rng.choice('ABCD')}",
                    f", Unit {rng.randint(1, 99)}",
                    f" #{rng.randint(1, 999)}",
                    f", Suite {rng.randint(100, 900)}",
                    f" Ste {rng.randint(1, 900)}",
                    f", Lot {rng.randint(1, 99)}",
                    f", Apt. {rng.choice('ABCDEFG')}",
                    f" Apt #{rng.randint(1, 30)}",
                    f", {rng.randint(1, 9)}{rng.choice(('st', 'nd', 'rd', 'th'))} floor",
                    f" Trlr {rng.randint(1, 60)}",
                )
            )
            if rng.random() < 0.22
            else ""
        )
        if rng.random() < 0.03:
            first = rng.choice(("One", "Two", "Three", "1", "5"))
            return f"{first} {rng.choice(_words('street_word'))} {rng.choice(_words('plaza'))}"
        return f"{number} {side}{road}{end}{unit}"

    def _ordinal(self) -> str:
        number = self._rng.randint(1, 120)
        return (
            f"{number}" + ("th" if 10 < number % 100 < 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th"))
            if number > 9 or self._rng.random() < 0.7
            else ["First", "Second", "Third", "Fourth", "Fifth", "Sixth", "Seventh", "Eighth", "Ninth"][number - 1]
        )

    def _road(self) -> str:
        rng = self._rng
        draw = rng.random()
        name = (
            rng.choice(_words("street_word"))
            if draw < 0.6
            else self._people.draw().family
            if draw < 0.75
            else rng.choice(_words("town_head")) + rng.choice(_words("town_tail"))
            if draw < 0.85
            else f"{rng.choice(_words('street_word'))} {rng.choice(_words('street_word'))}"
            if draw < 0.95
            else f"{rng.choice(_words('spanish_road'))} {rng.choice(_words('spanish_name'))}"
        )
        return f"{name} {rng.choice(_words('street_kind'))}"

    def facility(self, form: str) -> str:
        """Return the name of a facility.

        Args:
            form: See `templates.FORMS`.
        """
        rng = self._rng
        draw = rng.random()
        if form == "pharmacy":
            name = rng.choice(_words("pharmacy"))
            if draw < 0.25:
                name = f"{rng.choice((self._people.draw().family, self.city()))} {rng.choice(_words('rx_kind'))}"
            tail = rng.choice(
                (
                    "",
                    "",
                    "",
                    f" on {rng.choice(_words('street_word'))}",
                    f" #{rng.randint(10, 19999)}",
                    f" {self.city()}",
                    f" on {self._road()}",
                    f" in {self.city()}",
                    f" ({rng.choice(_words('street_word'))})",
                )
            )
            return name + tail
        saint = rng.choice(("St. ", "St. ", "Saint ", "St ", "Ss. ")) + rng.choice(_words("saint"))
        own = rng.choice(("'s", "", "'s", "’s"))
        if form == "short":
            return (
                saint + own
                if draw < 0.3
                else rng.choice(_words("hospital_head"))
                if draw < 0.65
                else self._people.draw().family
                if draw < 0.75
                else self.city()
                if draw < 0.85
                else rng.choice(
                    (
                        "the U",
                        "the University",
                        "the VA",
                        "County",
                        "General",
                        "Memorial",
                        "Regional",
                        "Children's",
                        "Community",
                        "Northwestern",
                        "the General",
                        "Mercy",
                        "Methodist",
                        "Regions",
                    )
                )
            )
        if form == "abbr":
            letters = "".join(rng.choice("ABCDEFGHJLMNPRSTUVW") for _ in range(rng.choice((1, 2, 2))))
            return letters + rng.choice(("MC", "H", "GH", "RMC", "MH", "CH", "HC", "UH", "RH", "SMC", "CMC", "UMC"))
        if form == "unit":
            name = rng.choice(
                (
                    self._people.draw().family,
                    rng.choice(_words("hospital_head")),
                    f"{self._people.draw().given} {self._people.draw().family}",
                )
            )
            return rng.choice(("the ", "", "the ")) + f"{name} {rng.choice(_words('unit_kind'))}"
        if draw < 0.22:
            head = saint + own
        elif draw < 0.62:
            head = rng.choice(_words("hospital_head"))
        elif draw < 0.8:
            head = self.city()
        elif draw < 0.9:
            head = self._people.draw().family
        else:
            head = f"{rng.choice(_words('hospital_head'))} {self.city()}"
        kinds = "home_kind" if rng.random() < 0.12 else "hospital_kind"
        if rng.random() < 0.05:
            return f"{rng.choice(_words('facility_of'))} {head}"
        tail = (
            rng.choice(
                (
                    f" of {self.city()}",
                    f" - {self.city()}",
                    f", {rng.choice(('North', 'East', 'West', 'Downtown', 'Main'))} Campus",
                    f" at {self.city()}",
                    f" {self.city()}",
                )
            )
            if rng.random() < 0.1
            else ""
        )
        return f"{head} {rng.choice(_words(kinds))}{tail}"

    def organisation(self, form: str) -> str:
        """Return an employer, a school, an insurer or an agency.

        Args:
            form: See `templates.FORMS`.
        """
        rng = self._rng
        form = form or rng.choice(("employer", "employer", "school", "insurer", "agency"))
        family = self._people.draw().family
        head = rng.choice(
            (
                family,
                rng.choice(_words("org_word")),
                self.city(),
                f"{rng.choice(_words('org_word'))} {rng.choice(_words('org_word'))}",
                rng.choice(_words("town_head")) + rng.choice(_words("town_tail")),
            )
        )
        if form == "school":
            if rng.random() < 0.2:
                return f"{rng.choice((head, *_words('church_head')))} {rng.choice(_words('church_kind'))}"
            if rng.random() < 0.1:
                return f"University of {self.city()}"
            return f"{head} {rng.choice(_words('school_kind'))}"
        if form == "insurer":
            if rng.random() < 0.6:
                return rng.choice(_words("insurer_real")).replace("[STATE]", state(rng, rng.choice(("", "abbr"))))
            return f"{head} {rng.choice(_words('insurer_kind'))}"
        if form == "agency":
            return f"{head} {rng.choice(_words('agency_kind'))}"
        draw = rng.random()
        if draw < 0.2:
            return rng.choice(_words("employer_real"))
        if draw < 0.3:
            return f"{family} {rng.choice(('&', 'and', '&'))} {self._people.draw().family}" + rng.choice(
                ("", ", LLP", ", PC", " Inc.", ", Inc.")
            )
        if draw < 0.35:
            return f"{self._people.draw().given}'s {rng.choice(_words('diner'))}"
        kind = rng.choice(_words("employer_kind"))
        return head + (", " if kind in ("Inc.", "LLC") and rng.random() < 0.5 else " ") + kind
