"""Tells of which origin a name is, by the lists of names that ship, so that recall can be told by origin.

A detector that finds names of one origin less often protects the people who bear them less. The lists say where a
name is common, not who bears it; what stands in several is told apart as `several`, what stands in none as `unlisted`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

from mayo_data import assets
from mayo_data.phi.words import fold

SEVERAL, UNLISTED = "several", "unlisted"
PEOPLE = frozenset(["PATIENT", "RELATIVE", "STAFF", "PERSON"])
_WORD = re.compile(r"[^\W\d_]+")
_LEAST = 3  # letters: Al and Le stand for too much


def origin(name: str) -> str:
    """Return the origin of a name: the one that all its listed words may have.

    A family name decides where the words agree on nothing: given names travel further.

    Args:
        name: A name as it stands in a text.

    >>> origin("Siobhan O'Shaughnessy"), origin("Q. Zzyzx"), origin("Dr. Darnell Broadnax")
    ('irish_scottish', 'unlisted', 'african_american')
    """
    given, family = _listed()
    words = [match.group() for match in _WORD.finditer(fold(name)) if len(match.group()) >= _LEAST]
    found = [(given.get(word, frozenset()) | family.get(word, frozenset()), word) for word in words]
    known = [(origins, word) for origins, word in found if origins]
    if not known:
        return UNLISTED
    left = frozenset.intersection(*(origins for origins, _ in known))
    if not left:
        left = next((family[word] for _, word in reversed(known) if word in family), frozenset())
    return next(iter(left)) if len(left) == 1 else SEVERAL


@cache
def _listed() -> tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]]:
    """Given and family names, one folded word each, to their origins."""
    given: dict[str, set[str]] = defaultdict(set)
    family: dict[str, set[str]] = defaultdict(set)
    traditions = {one["key"]: one for one in assets.toml("schemas", "synth", "names.toml")["tradition"]}
    lists = assets.toml("schemas", "phi", "slots", "people.toml")
    for name, sources in assets.toml("schemas", "phi", "origins.toml").items():
        tables = [traditions[key] for key in sources["tradition"]] + [lists[key] for key in sources["list"]]
        for table in tables:
            for words, key in ((given, "female"), (given, "male"), (family, "family")):
                for word in _words(table, key):
                    words[word].add(name)
    return ({word: frozenset(of) for word, of in given.items()}, {word: frozenset(of) for word, of in family.items()})


def _words(table: dict[str, Any], key: str) -> Iterator[str]:
    for match in _WORD.finditer(fold(table[key].replace("_", " "))):
        if len(match.group()) >= _LEAST:
            yield match.group()
