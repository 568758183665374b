"""Areas so large that they say nothing of who: states and countries."""

from __future__ import annotations

from functools import cache

from mayo_data import assets


@cache
def states() -> frozenset[str]:
    """Return the states of the United States, by folded name and postal code."""
    listed = assets.toml("schemas", "phi", "us_states.toml")["states"]
    return frozenset(text.casefold() for pair in listed.items() for text in pair)


@cache
def countries() -> frozenset[str]:
    """Return all countries, by folded name and ISO 3166-1 code."""
    codes = assets.toml("schemas", "phi", "countries.toml")
    named = assets.toml("schemas", "phi", "words", "places.toml")["countries"].replace("\n", "").split("|")
    listed = (*codes["alpha2"].split(), *codes["alpha3"].split(), *codes["also"], *named)
    return frozenset(name.strip().casefold() for name in listed)
