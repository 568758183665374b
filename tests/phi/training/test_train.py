from __future__ import annotations

import numpy as np
import spacy

from mayo_data.phi.network import Network, Shape
from mayo_data.phi.tokens import Places
from mayo_data.phi.training.learn import Example, Learner, Settings
from mayo_data.phi.training.train import lexicon, train

SMALL = Shape(2048, 16, (1, 2), ("O", "B-NAME", "I-NAME"))


def example(text: str, names: set[str]) -> Example:
    tokens = Places(SMALL.rows).split(text)
    return Example(tokens.words, tokens.around, [1 if word in names else 0 for word in tokens.words])


def test_the_slopes_are_those_of_the_loss():
    settings = Settings(dropout=0, forget_word=0, forget_lists=0, forget_place=0, smooth=0)
    learner = Learner(SMALL, {}, settings, 1)
    learner.parameters = {name: value.astype(np.float64) for name, value in learner.parameters.items()}
    rng = np.random.default_rng(5)
    learner.parameters["out.weight"] += rng.normal(0, 1, learner.parameters["out.weight"].shape)
    batch = [example("Dr. Okafor saw 3/4 the pt", {"Okafor"}), example("pain", set())]
    kept: dict[str, np.ndarray] = {}
    learner._update = lambda slopes, rate: kept.update(slopes)
    learner.step(batch, 0)
    slopes = dict(kept)
    checked = 0
    for name, value in learner.parameters.items():
        for at in [tuple(row) for row in np.argwhere(np.abs(slopes[name]) > 1e-4)[:200:40]]:
            old = value[at]
            value[at] = old + 1e-4
            above = learner.step(batch, 0)
            value[at] = old - 1e-4
            below = learner.step(batch, 0)
            value[at] = old
            assert abs((above - below) / 2e-4 - slopes[name][at]) < 0.01 + 0.05 * abs(slopes[name][at]), name
            checked += 1
    assert checked > 20


def test_a_network_learns_and_reads_as_it_was_trained():
    learner = Learner(SMALL, {}, Settings(dropout=0, warm=5), 1)
    batch = [example("seen by Dr. Okafor today", {"Okafor"}), example("no pain today, see Foley care", set())]
    losses = [learner.step(batch, 1) for _ in range(60)]
    assert losses[-1] < losses[0] / 3
    network = Network(SMALL, learner.parameters, {})
    tokens = network.places.split("seen by Dr. Okafor today")
    (chances,) = network.probabilities([tokens])
    assert [tokens.words[at] for at in np.flatnonzero(chances[:, 0] < 0.5)] == ["Okafor"]


def test_a_text_reads_the_same_alone_and_among_others():
    learner = Learner(SMALL, {}, Settings(), 1)
    learner.parameters["out.weight"] += np.random.default_rng(1).normal(0, 1, (16, 3)).astype(np.float32)
    network = Network(SMALL, learner.parameters, {})
    texts = [network.places.split(text) for text in ("Ann saw Bob", "", "x " * 50, "RN: Li\nMD: Wu")]
    together = network.probabilities(texts)
    for text, chances in zip(texts, together, strict=True):
        assert np.allclose(network.probabilities([text])[0], chances, atol=1e-5)


def test_training_writes_a_pipeline_that_spacy_reads_and_the_same_seed_the_same_one(tmp_path):
    shape = Shape(1024, 16, (1,), train.__globals__["SHAPE"].labels)
    for name in ("a", "b"):
        train(tmp_path / name, seed=3, steps=3, shape=shape)
    one, two = (Network.load(tmp_path / name / "phi_tagger") for name in ("a", "b"))
    assert all(np.array_equal(one.parameters[key], two.parameters[key]) for key in one.parameters)
    doc = spacy.load(tmp_path / "a")("Seen  by Dr. Li\n")
    assert doc.text == "Seen  by Dr. Li\n"
    assert "phi" in doc.spans


def test_the_lexicon_tells_names_from_other_words():
    words = lexicon()
    assert words["lisinopril"] != words["smith"]
    assert "will" in words
