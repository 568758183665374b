from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mayo_data.phi.tokens import Places
from mayo_data.phi.training.corpus import KINDS, LABELS, Corpus, Counts, fixed, label, weight
from mayo_data.phi.training.templates import FORMS, PLAIN, Slot, Template, load

NOTE = Template(
    "t", "s", "", ("Seen by Dr. ", Slot("STAFF", 0, "full", ""), " on ", Slot("DATE", 0, "", ""), ".\n" * 1)
)


def test_every_category_that_identifies_has_a_kind():
    assert set(KINDS) == set(FORMS) - PLAIN
    assert len(LABELS) == 2 * len(set(KINDS.values())) + 1


@given(st.integers(0, 2**30))
def test_labels_lie_where_the_spans_are(seed):
    ((text, spans),) = fixed([NOTE], seed, clean=True)
    tokens = Places(64).split(text)
    labels = label(tokens.starts, tokens.words, spans)
    for start, word, name in zip(tokens.starts, tokens.words, labels, strict=True):
        inside = [c for s, e, c in spans if s <= start and start + len(word) <= e]
        assert (LABELS[name][2:] == KINDS[inside[0]]) if inside else name == 0
    assert sum(LABELS[name].startswith("B-") for name in labels) == 2


def test_a_span_that_ends_inside_a_token_is_counted():
    counts = Counts()
    assert label([0, 5], ["Smiths", "pt"], [(0, 5, "PATIENT")], counts) == [LABELS.index("B-NAME"), 0]
    assert (counts.spans, counts.misaligned) == (1, 1)


def test_of_the_projects_templates_nearly_every_span_ends_with_a_token():
    counts = Counts()
    places = Places(64)
    for text, spans in fixed(load(), 3, clean=True):
        tokens = places.split(text)
        label(tokens.starts, tokens.words, spans, counts)
    assert counts.spans > 2000
    assert counts.misaligned / counts.spans < 0.005


def test_the_same_seed_makes_the_same_corpus():
    one, two, other = (Corpus([NOTE], 1024, seed) for seed in (1, 1, 2))
    first = [one.text() for _ in range(20)]
    assert first == [two.text() for _ in range(20)] != [other.text() for _ in range(20)]


def test_batches_hold_about_the_tokens_asked_for_and_short_templates_weigh_less():
    batch = next(Corpus([NOTE], 1024, 1).batches(200))
    assert 200 <= sum(len(example.words) for example in batch) < 300
    assert all(len(e.around) == 8 * len(e.words) == 8 * len(e.labels) for e in batch)
    assert weight(NOTE) < weight(Template("t", "l", "", ("word " * 200,)))
