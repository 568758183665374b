"""A training leaves a folder that its record seals, the same for the same data, and figures that are not chance."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mayo_data as md
from mayo_data.lineage import consumption
from mayo_data.lineage.ledger import Ledger, verify
from mayo_data.model import folder, plan
from mayo_data.store.layout import Store


def records(store: Path, kind: str) -> list[dict[str, Any]]:
    return [record["body"] for record in Ledger(Store.open(store).ledger).records(kind)]


def test_the_record_seals_the_files(trained: Path) -> None:
    sealed = records(trained / "store", "training")[-1]
    about = json.loads((trained / "model" / "model.json").read_text())
    assert {one["name"] for one in sealed["files"]} == {"model.json", "profile.json", "report.json", "weights.npz"}
    assert sealed["lineage_ids"] == about["lineage_ids"]
    reads = {body["lineage_id"]: body for body in records(trained / "store", "read")}
    assert [reads[one]["split"] for one in about["lineage_ids"]] == ["train", "tuning", "held_out"]
    assert sealed["labels"]["digest"] == about["task"]["digest"]
    loaded = folder.load(trained / "model", Store.open(trained / "store").ledger)
    assert loaded.digest == sealed["model_digest"]
    assert verify(Store.open(trained / "store").ledger) == []


def test_it_learns_and_the_control_does_not(report: dict[str, Any]) -> None:
    assert report["test"]["auroc"]["low"] > 0.5
    control = report["control"]
    assert control["holds"]
    assert control["low"] <= 0.5 <= control["high"]
    assert control["high"] < report["test"]["auroc"]["value"]
    assert set(report["groups"]) == {"age", "sex", "race", "ethnicity"}


def test_a_leak_would_show_in_the_control(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that sees the labels of the test split scores above chance on shuffled labels too."""
    from mayo_data.model import training

    class Leaking:
        def predict(self, histories: list[Any], reading: Any) -> Any:
            return np.array([one.value for one in histories])

    asked = plan.load(trained / "train.toml")
    part = training._Part(
        [training.History(n, None, float(n % 2), 0.0, *[np.zeros(0)] * 3) for n in range(40)],
        "L",  # type: ignore[arg-type]
    )
    trial = training._on_test(part, part, lambda truth, seed: Leaking(), training.Reading())  # type: ignore[arg-type, return-value]
    assert not training._control(asked, trial, trial.scored(1))["holds"]


def test_the_same_data_give_the_same_model(own: Path) -> None:
    made = md.train(own / "train.toml", own / "store", own / "again")
    for name in ("weights.npz", "profile.json"):
        assert (own / "again" / name).read_bytes() == (own / "model" / name).read_bytes()
    before, after = (json.loads((own / one / "model.json").read_text()) for one in ("model", "again"))
    assert before.pop("lineage_ids") != after.pop("lineage_ids")
    assert before == after
    assert made.folder == own / "again"
    with pytest.raises(md.ConfigError, match="not empty"):
        md.train(own / "train.toml", own / "store", own / "again")


def test_no_small_cell_and_no_path_leaves_in_the_folder(trained: Path) -> None:
    profile = json.loads((trained / "model" / "profile.json").read_text())
    assert all(count >= 5 for one in profile["values"].values() for count in one["counts"])
    assert all(count >= 5 for one in profile["groups"].values() for count in one.values())
    for path in (trained / "model").iterdir():
        assert str(trained).encode() not in path.read_bytes(), path.name


def test_race_is_measured_and_not_a_feature(trained: Path) -> None:
    words = json.loads((trained / "model" / "model.json").read_text())["vocabulary"]
    kinds = {code.split("//")[0] for code in (*words["facts"], *words["codes"])}
    assert kinds.isdisjoint(plan.FeaturesPlan().leave_out)
    assert "SEX" in kinds


def test_the_weights_are_plain_arrays(trained: Path) -> None:
    with np.load(trained / "model" / "weights.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"weights", "intercept"}


@pytest.mark.parametrize(("name", "change"), [("weights.npz", b"\0"), ("report.json", b" "), ("model.json", b" ")])
def test_a_changed_file_is_refused(own: Path, name: str, change: bytes) -> None:
    path = own / "model" / name
    path.write_bytes(path.read_bytes() + change)
    with pytest.raises(md.StoreError, match="not those of its training record"):
        md.predictor(own / "model", own / "store")


def test_a_model_of_another_store_is_refused(trained: Path, synthetic_store: Path) -> None:
    with pytest.raises(md.StoreError, match="no training record"):
        folder.load(trained / "model", Store.open(synthetic_store).ledger)


@pytest.mark.parametrize(
    ("name", "body"),
    [("model.json", b"[]"), ("model.json", b"{"), ("model.json", b'{"format": 99}'), ("weights.npz", b"PK\x03\x04")],
)
def test_a_damaged_model_that_was_sealed_says_so(own: Path, name: str, body: bytes) -> None:
    """Even where somebody seals rubbish, it is named, not run."""
    (own / "model" / name).write_bytes(body)
    reads = records(own / "store", "read")[-1]["lineage_id"]
    files = folder.sealed_files(own / "model", "logistic")
    from mayo_data import dataset

    dataset.training_run(own / "store", name="x", reads=[reads], files=files, config={})
    with pytest.raises(md.ConfigError):
        folder.load(own / "model", Store.open(own / "store").ledger)


def test_a_pickle_is_not_loaded(own: Path) -> None:
    from mayo_data import dataset

    evil = np.array([{"a": 1}], dtype=object)
    with (own / "model" / "weights.npz").open("wb") as file:
        np.savez(file, weights=evil, intercept=np.float64(0))
    reads = records(own / "store", "read")[-1]["lineage_id"]
    files = folder.sealed_files(own / "model", "logistic")
    dataset.training_run(own / "store", name="x", reads=[reads], files=files, config={})
    with pytest.raises(md.ConfigError, match="cannot be read"):
        folder.load(own / "model", Store.open(own / "store").ledger)


def test_the_digest_is_that_of_the_contract(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    found = consumption.model_digest(
        [consumption.ModelFile("a", "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b", 1)]
    )
    assert folder.digest_of([tmp_path / "a"]) == found


def test_too_small_a_store_says_so(synthetic_store: Path, tmp_path: Path, trained: Path) -> None:
    shutil.copytree(synthetic_store, tmp_path / "store")
    shutil.copy(trained / "back_90d.toml", tmp_path)
    (tmp_path / "train.toml").write_text('name = "back"\ntask = "back_90d.toml"\n')
    with pytest.raises(md.ConfigError, match="fewer than 11 subjects"):
        md.train(tmp_path / "train.toml", tmp_path / "store", tmp_path / "model")


def test_a_task_that_asks_for_a_number_is_refused(own: Path) -> None:
    task = (own / "back_90d.toml").read_text().replace('window = "90d"', 'window = "90d"\nvalue = "count"')
    (own / "back_90d.toml").write_text(task)
    with pytest.raises(md.ConfigError, match="yes or no"):
        md.train(own / "train.toml", own / "store", own / "counted")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ('name = "A b"', "name"),
        ('name = "a"\nseeed = 1', "the top level"),
        ('name = "a"\n[features]\nwindows = []', "features.windows"),
        ('name = "a"\n[model]\nkind = "forest"', "model.kind"),
        ('name = "a"\n[report]\nsmallest_cell = 1', "report.smallest_cell"),
        ("name = ", "not TOML"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, body: str, where: str) -> None:
    (tmp_path / "train.toml").write_text(body)
    with pytest.raises(md.ConfigError, match=where):
        plan.load(tmp_path / "train.toml")


def test_without_a_plan_or_store_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(md.ConfigError, match="does not exist"):
        plan.load(tmp_path / "none.toml")
    with pytest.raises(md.ConfigError, match="no store"):
        md.train("pipelines/train.toml", out=tmp_path / "model")


def test_folds_stand_in_for_a_small_test_split(own: Path) -> None:
    text = (own / "train.toml").read_text().replace("smallest_cell = 5", "smallest_cell = 11\nfolds = 3")
    text += '[splits]\ntest = "tuning"\n'  # a tenth of 44 people
    (own / "train.toml").write_text(text)
    report = md.train(own / "train.toml", own / "store", own / "folded").report
    assert report["measured_on"].startswith("3 folds")
    assert report["test"]["subjects"] == report["splits"]["fit"]["subjects"]
    assert report["control"]["holds"]


def test_a_transformer_trains_and_comes_back(own: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[torch]'")
    pytest.importorskip("safetensors", reason="safetensors is not installed: pip install -e '.[torch]'")
    text = (
        (own / "train.toml").read_text().replace("penalties = [0.1]", 'kind = "transformer"\nepochs = 1\nevents = 32')
    )
    (own / "train.toml").write_text(text.replace("controls = 8", "controls = 5"))
    made = md.train(own / "train.toml", own / "store", own / "network")
    assert made.report["parameters"] == sum(
        weight.numel() for weight in md.predictor(own / "network", own / "store").loaded.model.network.parameters()
    )
    subject = md.open(own / "store").subjects("held_out")[0]
    said = [md.predictor(own / "network", own / "store").predict(subject, "2024-01-01").probability for _ in range(2)]
    assert said[0] == said[1]
    assert 0 < said[0] < 1


def test_without_torch_a_transformer_names_the_extra(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    text = (own / "train.toml").read_text().replace("penalties = [0.1]", 'kind = "transformer"')
    (own / "train.toml").write_text(text)
    with pytest.raises(md.ConfigError, match="torch") as caught:
        md.train(own / "train.toml", own / "store", own / "network")
    assert "mayo-data[torch]" in caught.value.hint
