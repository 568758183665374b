from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st

from mayo_data.phi.known import Known
from mayo_data.phi.model import ModelRecognizer
from mayo_data.phi.models import load
from mayo_data.phi.presidio import ModelEntityRecognizer
from mayo_data.phi.spans import families
from mayo_data.phi.tagger import PhiTokenizer
from mayo_data.phi.transformer import Transformer

NOBODY = Known((), 0, 0)
TOKENIZER = PhiTokenizer(spacy.blank("en").vocab)
NOTE = """Patient: Henrike Falkenrath    DOB: 03/14/1951    MRN: 88213457
Seen by Dr. Okonjo-Adeyemi at Larchwood Regional Hospital on 4/2/2021. Call 507-555-0134.
Foley in place, Murphy's sign negative, BP 120/80, metoprolol 25 mg, strength 3/5, T12-L1 fusion.
"""


def found(text: str, **how) -> list[tuple[str, str]]:
    return [(text[s.start : s.end], s.category) for s in ModelRecognizer(**how).spans(text, NOBODY)]


def test_the_shipped_model_finds_what_identifies_and_leaves_medicine():
    pieces = dict(found(NOTE))
    assert pieces["Henrike Falkenrath"] == "PERSON"
    assert pieces["03/14/1951"] == pieces["4/2/2021"] == "DATE"
    assert pieces["88213457"] == "OTHERID"
    assert pieces["507-555-0134"] == "PHONE"
    assert any("Okonjo" in piece for piece in pieces)
    assert any("Larchwood" in piece for piece in pieces)
    for clinical in ("Foley", "Murphy", "120/80", "25", "3/5", "metoprolol"):
        assert not any(clinical in piece for piece in pieces), clinical


def test_a_lower_threshold_finds_no_less():
    text = NOTE + "tornquill saw may and long about the hunter, back w grace at the manor mid spring. KL 4412 rm 7\n"

    def covered(threshold: float) -> set[int]:
        spans = ModelRecognizer(threshold=threshold).spans(text, NOBODY)
        return {at for span in spans for at in range(span.start, span.end)}

    assert covered(0.99) <= covered(0.5) <= covered(0.01)
    assert len(covered(0.99)) < len(covered(0.01))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=120), max_size=4))
def test_any_text_is_read_and_spans_lie_in_it(texts):
    for text, spans in zip(texts, ModelRecognizer(threshold=0.05).batch(texts), strict=True):
        end = 0
        for span in spans:
            assert end <= span.start < span.end <= len(text)
            assert span.category in families()
            assert 0 < span.score <= 1
            assert text[span.start : span.end].strip() == text[span.start : span.end]
            end = span.end


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("aB3 \t\n\r.,/-'’é_²٣\u00a0\u200b"), max_size=60))
def test_the_tokenizer_gives_every_text_back(text):
    assert TOKENIZER(text).text == text


def test_the_batch_says_what_each_text_says_alone():
    texts = [NOTE, "", "pain\n", "Dr. Wu", NOTE * 3]
    model = ModelRecognizer()
    for text, spans in zip(texts, model.batch(texts), strict=True):
        alone = list(model.spans(text, NOBODY))
        assert [span[:3] for span in spans] == [span[:3] for span in alone]
        assert [span.score for span in spans] == pytest.approx([span.score for span in alone], abs=1e-4)


def test_a_long_text_is_read_in_windows_with_true_offsets():
    text = "No complaint, walks well, eats well.\n" * 1500 + "Attending: Dr. Ilse Brandt\n" + "x" * 40_000 + "\n" + NOTE
    pieces = [text[s.start : s.end] for s in ModelRecognizer().batch([text])[0]]
    assert any("Brandt" in piece for piece in pieces)
    assert "Henrike Falkenrath" in pieces


def test_spacy_reads_the_model_as_a_pipeline_with_scores():
    from mayo_data import assets

    doc = spacy.load(assets.path("schemas", "phi", "model"))(NOTE)
    assert doc.text == NOTE
    group = doc.spans["phi"]
    assert [span.text for span in group] == [ent.text for ent in doc.ents]
    assert len(group.attrs["scores"]) == len(group) > 4
    assert {(span.start_char, span.end_char) for span in group} == {
        (span.start, span.end) for span in ModelRecognizer().spans(NOTE, NOBODY)
    }


def test_a_site_names_its_own_pipeline(tmp_path):
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "GPE", "pattern": "Larchwood"}, {"label": "CARDINAL", "pattern": "two"}])
    nlp.to_disk(tmp_path / "own")
    text = "Came from Larchwood two days ago."
    (span,) = load(str(tmp_path / "own")).spans(text, NOBODY)
    assert (text[span.start : span.end], span.category) == ("Larchwood", "CITY")
    assert found(text, model=tmp_path / "own", categories={"CARDINAL": "OTHERID"})[1] == ("two", "OTHERID")


def test_the_recognizer_can_be_sent_to_a_worker_and_says_what_it_is():
    model = ModelRecognizer(threshold=0.3)
    again = pickle.loads(pickle.dumps(model))
    assert again.name == model.name != ModelRecognizer(threshold=0.4).name
    assert again.batch([NOTE]) == model.batch([NOTE])


def test_presidio_gets_the_model_too():
    results = ModelEntityRecognizer().analyze(NOTE, ["PERSON"])
    assert {NOTE[r.start : r.end] for r in results} >= {"Henrike Falkenrath"}
    assert {r.entity_type for r in results} == {"PERSON"}


def test_nothing_heavy_is_loaded_before_the_first_text():
    code = "import sys, mayo_data.phi.model as m; m.ModelRecognizer(); assert 'spacy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_number_of_threads_changes_no_number() -> None:
    from threadpoolctl import threadpool_limits

    text = NOTE * 40
    with threadpool_limits(1):
        alone = ModelRecognizer().readings([text])[0]
    with threadpool_limits(2):
        assert ModelRecognizer().readings([text])[0] == alone


def test_models_go_by_name(tmp_path: Path) -> None:
    default, fast = load("default"), load("fast")
    assert isinstance(default, Transformer)
    assert type(fast) is ModelRecognizer
    assert fast.name in default.name  # the network works beside the transformer
    text = "Seen by Dr. Ilse Brandt of Orthopaedics."
    for model in (default, fast):
        assert [text[span.start : span.end] for span in model.spans(text, NOBODY)] == ["Ilse Brandt"]
