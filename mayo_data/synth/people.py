"""Invents hospitals, their staff, and patients with everything that identifies them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

from mayo_data import assets
from mayo_data.synth.dice import Dice, decimal, identify
from mayo_data.synth.facts import Address, Contact, Hospital, Name, Person, Place, Staff, When

TODAY = date(2025, 6, 30)  # the day of the export; nothing happens later
_SPECIALTIES = [
    ("MD", "Family medicine"),
    ("MD", "Internal medicine"),
    ("MD", "Emergency medicine"),
    ("MD", "Diagnostic radiology"),
    ("MD", "General surgery"),
    ("DO", "Orthopaedic surgery"),
    ("MD", "Pathology"),
    ("MD", "Cardiology"),
    ("MD", "Psychiatry"),
    ("MD", "Obstetrics and gynecology"),
    ("RN", "Nursing"),
    ("LPN", "Nursing"),
    ("LICSW", "Social work"),
    ("PharmD", "Pharmacy"),
    ("PT", "Physical therapy"),
    ("PA-C", "Family medicine"),
    ("MD", "Medical oncology"),
    ("NP", "Pediatrics"),
]
_MAIL = ["mailbox.example", "postbox.example.com", "quickmail.example"]
_WARDS = ["4 North", "5 East", "Medical ICU", "7 Tower", "Emergency Department", "Family Birth Center"]


@dataclass(frozen=True, slots=True)
class _Tradition:
    race: str
    ethnicity: str
    tongue: str
    family_first: bool
    given: dict[str, list[str]]
    middle: dict[str, list[str]]
    family: list[str]


@cache
def _traditions() -> tuple[list[_Tradition], list[float], dict[str, str]]:
    data = assets.toml("schemas", "synth", "names.toml")
    kinds, shares = [], []
    for entry in data["tradition"]:
        given = {sex: _list(entry[sex]) for sex in ("female", "male")}
        middle = {sex: _list(entry.get(f"middle_{sex}", entry[sex])) for sex in ("female", "male")}
        kinds.append(
            _Tradition(
                entry["race"],
                entry.get("ethnicity", "other"),
                entry["tongue"],
                bool(entry.get("family_first", False)),
                given,
                middle,
                entry["family"].split("|"),
            )
        )
        shares.append(float(entry["share"]))
    return kinds, shares, data["nicknames"]


def _list(text: str) -> list[str]:
    return text.split("|") if "|" in text else text.split(" ")


@cache
def places() -> dict[str, Any]:
    """Return the towns, facilities and word lists of `schemas/synth/places.toml`."""
    return assets.toml("schemas", "synth", "places.toml")


def ascii_fold(text: str) -> str:
    """Return a name as a mail system spells it.

    >>> ascii_fold("Núñez-O'Hara")
    'nunezohara'
    """
    flat = unicodedata.normalize("NFKD", text)
    return "".join(char for char in flat if char.isalnum() and char.isascii()).lower()


def phone(dice: Dice, area: str) -> str:
    """Return a phone number as people write it; the exchange 555 belongs to nobody."""
    line = f"01{dice.between(10, 99)}" if dice.chance(0.5) else dice.digits(4)
    form = dice.pick(["({a}) 555-{n}", "{a}-555-{n}", "{a}.555.{n}", "+1 {a} 555 {n}", "1-{a}-555-{n}", "{a}555{n}"])
    return form.format(a=area, n=line)


def _name(dice: Dice, tradition: _Tradition, sex: str) -> Name:
    given = dice.pick(tradition.given[sex])
    middle = dice.pick(tradition.middle[sex]) if tradition.family_first or dice.chance(0.75) else ""
    if middle and not tradition.family_first and dice.chance(0.35):
        middle = middle[0]
    suffix = dice.pick(["Jr.", "III", "Sr.", "II"]) if sex == "male" and dice.chance(0.08) else ""
    middle = "" if middle == given else middle
    return Name(given, middle, dice.pick(tradition.family), suffix, tradition.family_first and dice.chance(0.7))


def _address(dice: Dice, town: dict[str, Any]) -> Address:
    words = places()["words"]
    street = f"{dice.between(2, 9899)} {dice.pick(words['streets'])} {dice.pick(words['kinds'])}"
    if dice.chance(0.08):
        street = f"P.O. Box {dice.between(11, 4999)}"
    elif dice.chance(0.3):
        street += f", {dice.pick(words['units'])}"
    zip_code = dice.pick(town["zips"])
    if dice.chance(0.15):
        zip_code += f"-{dice.digits(4)}"
    return Address(street, town["city"], town["county"], town["state"], zip_code)


def npi(dice: Dice) -> str:
    """Return a National Provider Identifier with its Luhn check digit (45 CFR 162.406; prefix 80840).

    >>> len(npi(Dice(1)))
    10
    """
    body = "1" + "".join(str(dice.between(0, 9)) for _ in range(8))
    total = 24
    for index, char in enumerate(reversed(body)):
        digit = int(char) * (2 if index % 2 == 0 else 1)
        total += digit - 9 if digit > 9 else digit
    return body + str(-total % 10)


def _dea(dice: Dice, family: str) -> str:
    body = [dice.between(0, 9) for _ in range(6)]
    check = (body[0] + body[2] + body[4] + 2 * (body[1] + body[3] + body[5])) % 10
    return f"{dice.pick('BFM')}{ascii_fold(family)[:1].upper() or 'X'}{''.join(map(str, body))}{check}"


def _staff(seed: int, dice: Dice, number: int, title: str, specialty: str, hospital: Hospital, area: str) -> Staff:
    kinds, shares, _ = _traditions()
    sex = dice.pick(["female", "male"])
    name = _name(dice, dice.weighed(kinds, shares), sex)
    login = (ascii_fold(name.given)[:1] + ascii_fold(name.family))[:9] + str(dice.between(1, 9))
    return Staff(
        identify(seed, "staff", number),
        number,
        name,
        sex,
        title,
        specialty,
        npi(dice),
        _dea(dice, name.family),
        phone(dice, area),
        dice.digits(5),
        f"{ascii_fold(name.given)}.{ascii_fold(name.family)}@{hospital.domain}",
        login,
        hospital,
    )


def hospitals(seed: int) -> list[Hospital]:
    """Return the hospitals of a seed, with wards, rooms and staff; the same however many patients are made.

    >>> len(hospitals(7))
    4
    """
    return [_hospital(seed, number, spec) for number, spec in enumerate(places()["facility"], 1)]


def _hospital(seed: int, number: int, spec: dict[str, str]) -> Hospital:
    dice = Dice(seed, "hospital", number)
    town = next(town for town in places()["town"] if town["city"] == spec["town"])
    area = town["areas"][0]
    address = replace(_address(dice, town), street=f"{dice.between(100, 900)} {spec['short']} Drive")
    top = Place(identify(seed, "place", number), number * 1000, spec["name"], "hospital")
    hospital = Hospital(
        identify(seed, "organization", number),
        number,
        spec["name"],
        spec["short"],
        spec["initials"],
        spec["domain"],
        address,
        int(town["zone"]),
        phone(dice, area),
        phone(dice, area),
        top,
    )
    for index, ward in enumerate(_WARDS):
        place = Place(identify(seed, "place", number, ward), number * 1000 + 10 + index, ward, "ward", top)
        hospital.wards.append(place)
        for bed in range(3):
            label = dice.pick([f"{index + 3}{bed:02d}-A", f"{index + 3}1{bed}B", f"{ward[0]}-{dice.between(10, 69)}"])
            hospital.rooms.append(
                Place(
                    identify(seed, "place", number, ward, bed),
                    number * 1000 + 100 + index * 10 + bed,
                    label,
                    "room",
                    place,
                )
            )
    for index, (title, specialty) in enumerate(_SPECIALTIES):
        hospital.staff.append(_staff(seed, dice, number * 100 + index, title, specialty, hospital, area))
    return hospital


def local(zone: int, moment: datetime) -> When:
    """Return a local time with its offset; daylight saving by the US rule of 2007, none in Arizona (zone -7).

    >>> local(-5, datetime(2024, 7, 1)).offset
    -240
    """
    march, november = date(moment.year, 3, 8), date(moment.year, 11, 1)
    start = march + timedelta(days=(6 - march.weekday()) % 7)
    stop = november + timedelta(days=(6 - november.weekday()) % 7)
    summer = zone != -7 and start <= moment.date() < stop
    return When(moment, (zone + summer) * 60)


def _contacts(dice: Dice, seed: int, number: int, name: Name, sex: str, age: int, home: Address) -> list[Contact]:
    kinds, shares, _ = _traditions()
    words, towns = places()["words"], places()["town"]
    if age < 18:
        relations = ["mother", "father"]
    elif age < 45:
        relations = [
            dice.pick(["husband" if sex == "female" else "wife", "partner"]),
            dice.pick(["mother", "sister"]),
        ]
    else:
        relations = ["husband" if sex == "female" else "wife", dice.pick(["daughter", "son"])]
    if dice.chance(0.4):
        relations.append(dice.pick(["brother", "neighbor", "friend", "aunt"]))
    found = []
    for index, relation in enumerate(relations):
        other = "female" if relation in ("mother", "sister", "wife", "daughter", "aunt") else "male"
        if relation in ("partner", "neighbor", "friend"):
            other = dice.pick(["female", "male"])
        person = _name(dice, dice.weighed(kinds, shares), other)
        if relation in ("father", "wife", "husband", "son", "brother") and dice.chance(0.8):
            person = replace(person, family=name.family, family_first=name.family_first)
        town = dice.pick(towns)
        lives = home if relation in ("husband", "wife", "partner", "mother", "father") else _address(dice, town)
        found.append(
            Contact(
                identify(seed, "contact", number, index),
                person,
                relation,
                other,
                phone(dice, dice.pick(town["areas"])),
                f"{ascii_fold(person.given)}{dice.between(10, 99)}@mailbox.example",
                lives,
                dice.pick(words["employers"]),
            )
        )
    return found


def person(seed: int, number: int, sites: list[Hospital]) -> Person:
    """Return patient `number` of a seed; no other patient matters for it.

    Args:
        seed: Seed of the whole export.
        number: Patient number, from 0.
        sites: What `hospitals(seed)` returned.
    """
    dice = Dice(seed, "person", number)
    kinds, shares, nicknames = _traditions()
    tradition = dice.weighed(kinds, shares)
    hospital = dice.pick(sites)
    town = dice.pick([town for town in places()["town"] if town["state"] == hospital.address.state])
    area, words = dice.pick(town["areas"]), places()["words"]
    sex = dice.pick(["female", "male"])
    age = (
        90 + dice.between(0, 9)
        if number % 12 == 5
        else dice.weighed([dice.between(3, 15), dice.between(18, 44), dice.between(45, 89)], [2, 4, 6])
    )
    days = dice.between(0, 350)
    born = datetime(TODAY.year - age, 1, 1) + timedelta(days=days - 180 if age else 0)  # noqa: DTZ001  a birthday has no zone
    name = _name(dice, tradition, sex)
    home = _address(dice, town)
    home.since = TODAY - timedelta(days=dice.between(300, 3000))
    old = [_address(dice, dice.pick(places()["town"])) for _ in range(dice.between(0, 2))]
    until = home.since
    for address in old:
        address.until = until
        until = address.since = until - timedelta(days=dice.between(400, 2500))
    if age < 18:
        marital = "S"
    else:
        marital = dice.weighed(["M", "S", "D", "W"], [5, 3, 2, 3 if age > 70 else 0.2])
    maiden = dice.pick(dice.weighed(kinds, shares).family) if sex == "female" and marital in "MDW" else ""
    first, last = ascii_fold(name.given), ascii_fold(name.family)
    return Person(
        seed=seed,
        number=number,
        id=identify(seed, "patient", number),
        sex=sex,
        name=name,
        nickname=nicknames.get(name.given, name.given[:4] if len(name.given) > 5 and dice.chance(0.3) else ""),
        maiden=maiden,
        birth=When(born, 0, "day"),
        race=tradition.race if dice.chance(0.9) else dice.pick(["unknown", "other"]),
        ethnicity=tradition.ethnicity,
        tongue=tradition.tongue if dice.chance(0.5) else "en",
        marital=marital,
        address=home,
        old_addresses=old,
        home_phone=phone(dice, area),
        mobile=phone(dice, area),
        work_phone=phone(dice, area),
        fax=phone(dice, area),
        email=f"{first}.{last}{born.year % 100:02d}@{dice.pick(_MAIL)}",
        url=f"https://{last}family.example/{first}",
        ip=dice.weighed(
            [
                ".".join(
                    [
                        dice.pick(["10", "172"]),
                        *map(str, (dice.between(16, 31), dice.between(0, 255), dice.between(2, 254))),
                    ]
                ),
                f"2001:db8:{dice.between(16, 9999):x}::{dice.between(2, 250):x}",
            ],
            [4, 1],
        ),
        username=f"{first[:6]}{dice.pick(['_', '.', ''])}{last[:5]}{dice.between(2, 99)}",
        mrn=f"{dice.digits(8)}",
        old_mrn=f"{hospital.initials[0]}{dice.digits(6)}",
        ssn=f"{dice.between(100, 665):03d}-{dice.between(10, 99)}-{dice.digits(4)}",
        licence=f"{dice.letters(1)}{dice.digits(8)}",
        member=f"{dice.letters(3)}{dice.digits(9)}",
        group_number=f"{dice.digits(5)}-{dice.between(10, 99)}",
        account=f"{dice.digits(10)}",
        plate=dice.pick([f"{dice.digits(3)} {dice.letters(3)}", f"{dice.letters(3)}-{dice.digits(4)}"]),
        vin=f"1{dice.letters(4)}{dice.digits(3)}{dice.letters(3)}{dice.digits(6)}".replace("Q", "X"),
        car=dice.pick(words["cars"]),
        employer=dice.pick(words["employers"]),
        school=dice.pick(words["schools"]),
        church=dice.pick(words["churches"]),
        occupation=dice.pick(
            ["welder", "teacher", "truck driver", "accountant", "line cook", "farm worker", "nurse aide"]
        ),
        insurer=dice.pick(words["insurers"]),
        pharmacy=dice.pick(words["pharmacies"]),
        birth_city=dice.pick(places()["town"])["city"],
        birth_country="US" if tradition.tongue == "en" else dice.pick(words["countries"]),
        mother_maiden=dice.pick(tradition.family),
        hospital=hospital,
        gp=hospital.staff[17 if age < 16 else dice.pick([0, 1, 15])],
        contacts=_contacts(dice, seed, number, name, sex, age, home),
        smoker=dice.weighed(["never_smoker", "former_smoker", "smoker"], [6, 3, 2]) if age > 17 else "never_smoker",
        height=float(decimal(dice.around(163 if sex == "female" else 176, 14), 1)) if age > 15 else 80.0 + 6 * age,
    )
