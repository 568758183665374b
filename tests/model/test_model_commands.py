"""The commands print what the library returns, and their errors have one exit code a cause."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mayo_data as md
from mayo_data.cli.commands import app


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False, standalone_mode=False)
    return done.output


def test_train_prints_json_and_writes_papers(own: Path) -> None:
    made = json.loads(
        run("train", str(own / "train.toml"), "--store", str(own / "store"), "--out", str(own / "new"), "--json")
    )
    assert made["training_id"] == json.loads((own / "new" / "training.json").read_text())["training_id"]
    assert made["report"] == json.loads((own / "new" / "report.json").read_text())
    page, text = ((own / "new" / f"report.{kind}").read_text() for kind in ("html", "md"))
    for paper in (page, text):
        assert made["training_id"] in paper
        assert "the plumbing, not medicine" in paper
    assert "<script" not in page
    assert "src=" not in page


def test_drift_prints_a_table_json_and_a_page(trained: Path, tmp_path: Path) -> None:
    words = ("drift", str(trained / "model"), "--store", str(trained / "store"))
    assert "mix of codes" in run(*words)
    assert json.loads(run(*words, "--json")) == md.drift(trained / "model", trained / "store")
    run(*words, "--html", str(tmp_path / "drift.html"))
    assert "the plumbing, not medicine" in (tmp_path / "drift.html").read_text()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("train", "none.toml", "--store", "STORE", "--out", "OUT"), md.ConfigError),
        (("train", "train.toml", "--store", "nowhere", "--out", "OUT"), md.StoreError),
        (("drift", "nowhere", "--store", "STORE"), md.ConfigError),
        (("drift", "MODEL", "--store", "STORE", "--html", "no/such/folder/page.html"), md.ConfigError),
    ],
)
def test_what_is_wrong_has_its_own_error(
    trained: Path, tmp_path: Path, words: tuple[str, ...], error: type[md.MayoDataError]
) -> None:
    places = {"STORE": trained / "store", "MODEL": trained / "model", "OUT": tmp_path / "out"}
    with pytest.raises(error) as caught:
        run(*(str(places.get(word, word)) for word in words))
    assert caught.value.hint
