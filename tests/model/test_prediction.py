"""A prediction sees what was knowable, is recorded, and leads back to the lines of the source."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import mayo_data as md
from mayo_data.lineage import inputs
from mayo_data.lineage.ledger import Ledger
from mayo_data.model import access
from mayo_data.store.layout import Store


def last(store: Path, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = list(Ledger(Store.open(store).ledger).records(kind))[-1]["body"]
    return found


def test_it_says_what_training_would_have_said(own: Path) -> None:
    """The history of a prediction and of a training sample are one and the same."""
    from mayo_data.model.features import COLUMNS, Reading

    predictor = md.predictor(own / "model", own / "store")
    data = md.open(own / "store")
    labels = md.label(own / "store", own / "back_90d.toml")
    samples = data.reader("held_out", labels=labels, consumer="test", columns=list(COLUMNS)).samples()
    for sample in list(samples)[:5]:
        reading = Reading()
        assert sample.prediction_time is not None
        history = reading.history(sample.subject_id, sample.prediction_time, sample.events)
        expected = predictor.loaded.model.predict([history], reading)[0]
        assert predictor.predict(sample.subject_id, sample.prediction_time).probability == expected


def test_it_is_recorded_and_leads_back_to_the_source(own: Path) -> None:
    predictor = md.predictor(own / "model", own / "store")
    subject = md.open(own / "store").subjects("held_out")[0]
    said = predictor.predict(subject, "2024-01-01T00:00:00")
    body = last(own / "store", "inference")
    assert (body["prediction_id"], body["output"]) == (said.prediction_id, said.probability)
    assert body["model_digest"] == predictor.loaded.digest
    assert inputs.read(Store.open(own / "store").ledger.parent, body["inputs"]).num_rows == said.events
    found = md.trace(own / "store", said.prediction_id)
    assert found["kind"] == "prediction"
    assert found["counts"]["events"] == said.events
    assert all(len(line["sha256"]) == 64 for line in found["lines"])


def test_the_future_changes_nothing(own: Path) -> None:
    predictor = md.predictor(own / "model", own / "store")
    data = md.open(own / "store")
    subject = data.subjects("held_out")[0]
    times = data.timeline(subject)["time"].dropna()
    at = times.iloc[len(times) // 2].to_pydatetime()
    now = predictor.predict(subject, at)
    later = predictor.predict(subject, at + timedelta(days=4000))
    assert now.events < later.events
    assert predictor.predict(subject, at).probability == now.probability


def test_without_output_the_ledger_holds_its_digest_alone(own: Path) -> None:
    subject = md.open(own / "store").subjects()[0]
    md.predictor(own / "model", own / "store", keep_output=False).predict(subject, "2024-01-01")
    body = last(own / "store", "inference")
    assert body["output"] is None
    assert len(body["output_sha256"]) == 64


@pytest.mark.parametrize(("subject", "at", "error"), [(1, "2024-01-01", md.StoreError), (0, "noon", md.ConfigError)])
def test_what_is_not_there_is_refused(own: Path, subject: int, at: str, error: type[md.MayoDataError]) -> None:
    asked = subject or md.open(own / "store").subjects()[0]
    with pytest.raises(error):
        md.predictor(own / "model", own / "store").predict(asked, at)


def test_a_model_of_withdrawn_data_is_refused_unless_overridden(own: Path) -> None:
    """A server that runs already notices it too; what is trained anew is not refused."""
    gone = md.label(own / "store", own / "back_90d.toml").table.column("subject_id").to_pylist()
    train = md.open(own / "store").subjects("train")
    subject = next(one for one in gone if one in train)
    other = md.open(own / "store").subjects("held_out")[0]
    running = md.predictor(own / "model", own / "store")
    running.predict(other, "2024-01-01")
    md.withdraw(own / "store", subject, "asked for it")
    with pytest.raises(md.StoreError, match="withdrawn since"):
        running.predict(other, "2024-01-01")
    with pytest.raises(md.StoreError, match="withdrawn since"):
        md.predictor(own / "model", own / "store")
    with pytest.raises(md.ConfigError, match="reason"):
        md.predictor(own / "model", own / "store", override=" ")
    overridden = md.predictor(own / "model", own / "store", override="until the new one is trained")
    assert last(own / "store", "override")["reason"] == "until the new one is trained"
    assert 0 < overridden.predict(other, "2024-01-01").probability < 1
    with pytest.raises(md.StoreError, match="withdrawn"):
        overridden.predict(subject, "2024-01-01")
    md.train(own / "train.toml", own / "store", own / "again")
    assert 0 < md.predictor(own / "again", own / "store").predict(other, "2024-01-01").probability < 1


@pytest.mark.parametrize("text", ["", "k7Qz", "with a space in the middle", "x" * 600, "schlüssel-schlüssel"])
def test_a_key_that_is_none_is_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(access.ENVIRONMENT, text)
    (tmp_path / "key").write_text(text)
    for path in (None, tmp_path / "key", tmp_path / "nowhere"):
        with pytest.raises(md.KeyMissingError) as caught:
            access.load(path)
        assert not text or text not in f"{caught.value} {caught.value.hint}"


def test_a_key_is_never_shown() -> None:
    assert "0123456789abcdef" not in repr(vars(access.Access("0123456789abcdef")))
