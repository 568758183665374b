from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayo_data.phi.training import noise
from mayo_data.phi.training.slots import Piece, spell

PIECES = st.lists(
    st.tuples(st.text("abc DE.,:1\n", min_size=1, max_size=30), st.sampled_from(["", "PATIENT", "DATE", "STREET"])),
    min_size=1,
    max_size=12,
).map(lambda rows: [Piece(text if not category else text.replace("\n", " "), category) for text, category in rows])
KEEP_ALL = [noise.shout, noise.mumble, noise.shout_names, noise.mumble_names, noise.shout_lines, noise.wrap]


def letters(pieces):
    """What identifies, without case and white space."""
    return ["".join(p.text.lower().split()) for p in pieces if p.category]


@given(PIECES, st.integers(0, 9999))
@pytest.mark.parametrize("step", KEEP_ALL, ids=lambda step: step.__name__)
def test_case_and_line_breaks_change_no_identifier(step, pieces, seed):
    assert letters(step(pieces, random.Random(seed))) == letters(pieces)


@given(PIECES, st.integers(0, 9999))
def test_wrapping_keeps_every_offset(pieces, seed):
    before, after = spell(pieces), spell(noise.wrap(pieces, random.Random(seed)))
    assert len(before[0]) == len(after[0])
    assert before[1] == after[1]


@given(PIECES, st.integers(0, 9999))
def test_cropping_keeps_whole_lines_in_a_row(pieces, seed):
    whole = "".join(p.text for p in pieces)
    part = "".join(p.text for p in noise.crop(pieces, random.Random(seed)))
    assert part in whole
    assert part


@given(PIECES, PIECES, st.integers(0, 9999))
def test_soiled_and_spliced_text_still_marks_only_what_identified(pieces, other, seed):
    rng = random.Random(seed)
    mixed = noise.soil(noise.splice(pieces, other, rng), rng)
    text, spans = spell(mixed)
    assert "".join(p.text for p in mixed) == text
    assert len(spans) <= sum(p.text.count("\n") + 1 for p in pieces + other if p.category)
    assert all(0 <= start < end <= len(text) for start, end, _ in spans)


def test_a_name_can_be_broken_over_two_lines():
    pieces = [Piece("Seen for a long while today by doctor ", ""), Piece("Maria Elena Tochterman", "STAFF")]
    broken = {noise.wrap(pieces, random.Random(seed))[1].text for seed in range(60)}
    assert "Maria\nElena Tochterman" in broken or "Maria Elena\nTochterman" in broken


def test_lines_keep_their_ends():
    pieces = [Piece("a\nb ", ""), Piece("C\nD", "PATIENT"), Piece("\n", "")]
    found = noise.lines(pieces)
    assert ["".join(p.text for p in line) for line in found] == ["a\n", "b C\n", "D\n"]
    assert found[2][0] == Piece("D", "PATIENT")
