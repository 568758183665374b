"""What others made for MEDS opens our data: meds_reader, ACES, MEDS-Tab, MEDS-Transforms.

The last three pin what they need, so each lives in an environment of its own. `MAYO_DATA_MEDS_TOOLS` names their `bin`
folders, parted by colons; a tool that is not found is skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from clinic import hospital

import mayo_data as md
from mayo_data.dataset import Labels

TOOLS = os.environ.get("MAYO_DATA_MEDS_TOOLS", "")
IN = "ENCOUNTER//ACT//IMP"


def run(tool: str, *arguments: str, folder: Path) -> None:
    found = shutil.which(tool, path=os.pathsep.join([TOOLS, str(Path(sys.executable).parent)]))
    if found is None:
        pytest.skip(f"{tool} is not installed: name its bin folder in MAYO_DATA_MEDS_TOOLS")
    path = os.pathsep.join([str(Path(found).parent), os.environ["PATH"]])
    done = subprocess.run(
        [found, *arguments], cwd=folder, capture_output=True, text=True, env={**os.environ, "PATH": path}
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def plain(ward: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return md.open(ward).meds(tmp_path_factory.mktemp("meds") / "dataset")


def test_the_plain_dataset_is_valid_and_whole(ward: Path, plain: Path) -> None:
    assert md.validate(plain) == []
    assert sorted(path.name for path in (plain / "data").iterdir()) == ["held_out", "train", "tuning"]
    rows = pq.read_table(plain / "data")
    assert rows.column_names == ["subject_id", "time", "code", "numeric_value", "text_value"]
    assert rows.num_rows == len(hospital())
    splits = dict(zip(*pq.read_table(plain / "metadata" / "subject_splits.parquet").to_pydict().values(), strict=True))
    for path in (plain / "data").glob("*/*.parquet"):
        subjects = pc.unique(pq.read_table(path).column("subject_id")).to_pylist()
        assert {splits[subject] for subject in subjects} == {path.parent.name}


def test_the_plain_dataset_is_one_read(clinic: Path, tmp_path: Path) -> None:
    import orjson

    from mayo_data.lineage.ledger import Ledger

    folder = md.open(clinic).meds(tmp_path / "out", consumer="aces", purpose="cohorts")
    (read,) = Ledger(clinic / "ledger" / "ledger.jsonl").records("read")
    about = orjson.loads((folder / "metadata" / "lineage.json").read_bytes())
    assert about["lineage_id"] == read["body"]["lineage_id"]
    assert read["body"]["consumer"] == "aces"
    with pytest.raises(md.ConfigError, match="not empty"):
        md.open(clinic).meds(folder)


def test_large_splits_become_several_files(ward: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mayo_data.dataset.plain_meds._ROWS", 40)
    monkeypatch.setattr("mayo_data.dataset.reader._ROWS", 10)
    folder = md.open(ward).meds(tmp_path / "out")
    assert len(list((folder / "data" / "train").iterdir())) > 2
    assert md.validate(folder) == []


@pytest.mark.slow
def test_meds_reader_opens_the_snapshot_and_the_plain_dataset(ward: Path, plain: Path, tmp_path: Path) -> None:
    import meds_reader

    for name, source in {"ours": md.open(ward).path, "plain": plain}.items():
        run("meds_reader_convert", str(source), str(tmp_path / name), "--num_threads", "1", folder=tmp_path)
        with meds_reader.SubjectDatabase(str(tmp_path / name)) as database:
            events = [event for subject in database for event in database[subject].events]
        assert len(events) == len(hospital())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ours", "plain"])
def test_aces_finds_the_cohort_that_our_task_finds(ward: Path, plain: Path, tmp_path: Path, kind: str) -> None:
    """Death and readmission aside, a stay and what follows in 30 days, said in both languages."""
    (tmp_path / "task.yaml").write_text(
        f"""
predicates:
  admission: {{code: {IN}}}
trigger: admission
windows:
  input: {{start: null, end: trigger, start_inclusive: true, end_inclusive: true, index_timestamp: end}}
  target: {{start: input.end, end: start + 45d, start_inclusive: false, end_inclusive: true, label: admission}}
"""
    )
    folder = md.open(ward).path / "data" if kind == "ours" else plain / "data" / "train"
    found = []
    for number, path in enumerate(sorted(folder.glob("*.parquet"))):
        out = tmp_path / "out" / f"{number}.parquet"
        settings = [f"data.path={path}", f"config_path={tmp_path / 'task.yaml'}", f"output_filepath={out}"]
        run("aces-cli", "cohort_name=task", f"cohort_dir={tmp_path}", "data.standard=meds", *settings, folder=tmp_path)
        found += Labels.of(out).table.to_pylist()
    ours = md.label(
        ward,
        {
            "name": "again",
            "index": {"codes": [IN]},
            "outcome": {"codes": [IN], "window": "45d"},
            "censoring": {"until": "none"},
        },
    ).table.to_pylist()
    train = set(md.open(ward).subjects("train"))
    expected = [it for it in ours if kind == "ours" or it["subject_id"] in train]

    def key(it: dict[str, object]) -> tuple[object, ...]:
        return it["subject_id"], it["prediction_time"], bool(it.get("boolean_value", it.get("integer_value")))

    assert sorted(map(key, found)) == sorted(map(key, expected))


@pytest.mark.slow
def test_meds_tab_makes_its_features(plain: Path, tmp_path: Path) -> None:
    places = [f"input_dir={plain / 'data'}", f"output_dir={tmp_path / 'out'}"]
    run("meds-tab-describe", *places, folder=tmp_path)
    run(
        "meds-tab-tabularize-static",
        *places,
        "do_overwrite=False",
        "tabularization.min_code_inclusion_count=1",
        "tabularization.aggs=[static/present,code/count]",
        "tabularization.window_sizes=[365d]",
        folder=tmp_path,
    )
    assert len(list((tmp_path / "out").rglob("static/present.npz"))) == 3


@pytest.mark.slow
def test_meds_transforms_runs_a_pipeline(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text(
        f"""
input_dir: {plain}
output_dir: {tmp_path / "out"}
stages:
  - add_time_derived_measurements: {{age: {{DOB_code: MEDS_BIRTH, age_code: AGE, age_unit: years}}}}
  - aggregate_code_metadata:
      aggregations: [code/n_occurrences, code/n_subjects, values/n_occurrences, values/sum, values/sum_sqd]
  - fit_vocabulary_indices
  - normalization
"""
    )
    run("MEDS_transform-pipeline", "pipeline.yaml", folder=tmp_path)
    made = list((tmp_path / "out" / "data").rglob("*.parquet")) or list((tmp_path / "out").rglob("normalization/*/*"))
    assert sorted({path.parent.name for path in made}) == ["held_out", "train", "tuning"]
