"""Tries to link the subjects of a store to the people of the raw export, without the key; the key only keeps score.

    python benchmarks/attack.py EXPORT STORE --key-file site.key
    python benchmarks/attack.py EXPORT STORE --key-file site.key --copy SCRUBBED

EXPORT is FHIR (ndjson) or OMOP (CSV), and SCRUBBED what `mayo-data scrub` made of it. What an attacker can do who has
both a store and the identified export, attack by attack: SECURITY.md says what follows from it.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import attack_copies
import attack_order
from attack_sides import People, Person, raw, stored

from mayo_data import keys
from mayo_data.lineage.ledger import Ledger
from mayo_data.store.layout import Store
from mayo_data.store.write import sha256

KNOWN = 3  # facts that an acquaintance knows


def by_signature(ours: People, theirs: People, signature: Callable[[Person], Hashable]) -> dict[Any, Any]:
    """Link who has a signature that nobody else has, on either side."""
    return dict(
        _alike({who: signature(one) for who, one in ours.items()}, {who: signature(one) for who, one in theirs.items()})
    )


def _alike(ours: Mapping[Any, Hashable], theirs: Mapping[Any, Hashable]) -> Iterator[tuple[Any, Any]]:
    found: dict[Hashable, list[Any]] = defaultdict(list)
    for who, said in theirs.items():
        found[said].append(who)
    once = Counter(ours.values())
    for who, said in ours.items():
        if len(found.get(said, ())) == 1 and once[said] == 1:
            yield who, found[said][0]


def by_line(ours: People, theirs: People) -> dict[Any, Any]:
    """Link by the number of file and line that lineage keeps."""
    where = {line: who for who, one in theirs.items() for line in one.lines}
    links = {}
    for who, one in ours.items():
        votes = Counter(where[line] for line in one.lines if line in where)
        if votes:
            links[who] = votes.most_common(1)[0][0]
    return links


def by_order(ours: People, theirs: People) -> dict[Any, Any]:
    """Link the first to the first, the second to the second: ids in order against lines in order."""
    return dict(zip(sorted(ours), sorted(theirs, key=lambda who: theirs[who].first), strict=False))


def by_codes(ours: People, theirs: People) -> dict[Any, Any]:
    """Link whose codes are most alike: how often each occurs."""
    links = {}
    for who, one in ours.items():
        best = max(theirs, key=lambda other: _overlap(one.codes, theirs[other].codes))
        links[who] = best
    return links


def _overlap(one: Counter[str], other: Counter[str]) -> float:
    shared = sum(min(count, other[code]) for code, count in one.items() if code in other)
    return shared / (one.total() + other.total() - shared or 1)


def intervals(person: Person) -> Hashable:
    """Days between the encounters: what a moved date keeps."""
    days = sorted(person.days)
    return tuple((later - first).days for first, later in pairwise(days)) or None


def by_three_facts(ours: People, theirs: People, dice: random.Random) -> dict[Any, Any]:
    """Link who is the only one with three facts of a person: codes, and the days between them."""
    days: dict[Any, dict[str, set[date]]] = {who: defaultdict(set) for who in ours}
    for who, one in ours.items():
        for code, day in one.dated:
            days[who][code].add(day)
    links = {}
    for other, one in theirs.items():
        facts = dice.sample(sorted(one.dated), min(KNOWN, len(one.dated)))
        if len(facts) < KNOWN:
            continue
        (code, first), *more = facts
        fits = [
            who
            for who, held in days.items()
            if any(
                all(any((day - start).days == (at - first).days for day in held.get(what, ())) for what, at in more)
                for start in held.get(code, ())
            )
        ]
        if len(fits) == 1:
            links[fits[0]] = other
    return links


def inputs_found(store: Store, files: Mapping[int, Path]) -> int:
    """How many input files the digests in the ledger name."""
    noted = {one["sha256"] for record in Ledger(store.ledger).records("run") for one in record["body"]["inputs"]}
    return sum(sha256(path) in noted for path in files.values())


def main() -> None:
    """The command."""
    given = argparse.ArgumentParser(description="Try to link subjects to people without the key.")
    given.add_argument("export", type=Path)
    given.add_argument("store", type=Path)
    given.add_argument("--key-file", type=Path, required=True, help="keeps score; no attack uses it")
    given.add_argument("--copy", type=Path, help="the de-identified copy that `mayo-data scrub` made of the export")
    words = given.parse_args()
    store = Store.open(words.store)
    theirs, files = raw(words.export, store.current())
    ours = stored(store.current())
    secret = keys.load(words.key_file)
    truth = {secret.subject_id(who): who for who in theirs}
    dice = random.Random(0)
    attacks: dict[str, Callable[[], dict[Any, Any]]] = {
        "order of ids against order of lines": lambda: by_order(ours, theirs),
        "number of resources": lambda: by_signature(ours, theirs, lambda one: one.resources),
        "frequency of codes": lambda: by_codes(ours, theirs),
        "intervals between encounters": lambda: by_signature(ours, theirs, intervals),
        f"{KNOWN} dated facts that somebody knows": lambda: by_three_facts(ours, theirs, dice),
        "file and line, as lineage keeps them": lambda: by_line(ours, theirs),
        **{
            f"order of {name}": lambda found=found: attack_order.first_to_first(found, theirs)
            for name, found in attack_order.orders(store.current()).items()
        },
        "rank by size": lambda: attack_order.by_size(attack_order.sizes(store.current()), theirs),
    }
    if words.copy:
        attacks |= attack_copies.attacks(words.copy, words.export, theirs)
    sys.stdout.write(f"{len(ours)} subjects, {len(theirs)} people, {len(files)} files; ")
    sys.stdout.write(f"{inputs_found(store, files)} files named by their digest in the ledger\n")
    for name, attack in attacks.items():
        links = attack()
        right = sum(truth.get(who) == other for who, other in links.items())
        sys.stdout.write(f"{name}: {right} right of {len(links)} links, {right / max(1, len(ours)):.1%} of all\n")
    for name, pairs in attack_order.ranks(store.current(), ours, theirs, truth).items():
        sys.stdout.write(f"{name}: {attack_order.agreement(pairs):.1%} of pairs in the same order, by chance 50%\n")
    if words.copy:
        attack_copies.tell_order(words.copy, words.export, sys.stdout.write)
    upward = attack_order.upward(store.current())
    sys.stdout.write(f"neighbours of one moment: {upward:.1%} in the order of the export\n")
    for name, (few, all_of_them) in attack_order.nights(store).items():
        sys.stdout.write(f"{name}: {few} of {all_of_them} subjects have changed\n")
    same = attack_order.touched(store.current(), files)
    sys.stdout.write(f"times of files: {same} files of the snapshot bear the time of an input file\n")


if __name__ == "__main__":
    main()
