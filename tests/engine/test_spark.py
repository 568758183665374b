"""Runs on a real Spark: two executors, processes of their own, with speculation on; Java is needed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import mayo_data as md
from mayo_data import keys
from mayo_data.engine.exchange import width
from mayo_data.engine.spark import SparkEngine
from mayo_data.errors import LeakError, SourceError
from mayo_data.lineage.ledger import Ledger, verify

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]  # sockets of py4j

_SECRET_VALUE = "Zebedee-4711"


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    pyspark = pytest.importorskip("pyspark", reason="PySpark is not installed: nothing of Spark is tested")
    if shutil.which("java") is None:
        pytest.skip("Java is not installed: nothing of Spark is tested")
    from pyspark.sql import SparkSession

    os.environ.setdefault("SPARK_HOME", str(Path(pyspark.__file__).parent))
    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = SparkSession.builder.master("local-cluster[2,1,2048]").appName("mayo_data_tests").config(map={
        "spark.executor.memory": "1g", "spark.ui.enabled": "false", "spark.io.encryption.enabled": "true",
        "spark.network.crypto.enabled": "true", "spark.authenticate": "true", "spark.authenticate.secret": "tests",
        "spark.local.dir": str(tmp_path_factory.mktemp("spark")), "spark.task.maxFailures": "8",
        "spark.speculation": "true", "spark.speculation.interval": "50ms", "spark.speculation.multiplier": "1.01",
        "spark.speculation.quantile": "0.1", "spark.speculation.minTaskRuntime": "100ms",
    }).getOrCreate()  # fmt: skip
    session.sparkContext.setLogLevel("OFF")
    from pyspark import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # executors cannot import the tests
    yield session
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    session.stop()


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "site.key"
    keys.generate(path)
    return path


def double(number: int) -> int:
    return 2 * number


def refuse(number: int) -> int:
    if number == 3:
        raise LeakError("shard 3 has a leak", hint="see the report")
    return number


@dataclass(frozen=True)
class Once:
    """A task that takes its process with it, the first time."""

    number: int
    marks: Path


def fall(task: Once) -> int:
    mark = task.marks / f"{task.number}"
    if task.number % 2 and not mark.exists():
        mark.touch()
        os._exit(17)
    return task.number


def test_tasks_give_their_results_in_order(spark: SparkSession) -> None:
    with SparkEngine(spark) as engine:
        assert engine.workers == 2
        assert list(engine.map(double, range(7))) == [0, 2, 4, 6, 8, 10, 12]
        assert list(engine.beside(double, [4])) == [8]
        assert list(engine.map(double, [])) == []
    assert spark.range(3).count() == 3  # the user's session stays open


def test_an_error_of_ours_keeps_its_kind_and_hint(spark: SparkSession) -> None:
    with pytest.raises(LeakError, match="shard 3 has a leak") as caught:
        list(SparkEngine(spark).map(refuse, range(5)))
    assert caught.value.hint == "see the report"
    assert caught.value.exit_code == 5


_STUMBLING = f"""
import sys
from pyspark import cloudpickle
from pyspark.sql import SparkSession
from mayo_data.engine.spark import SparkEngine
def stumble(number):
    raise ValueError("{_SECRET_VALUE}")
engine = SparkEngine(SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate())
try:
    list(engine.map(stumble, [1]))
except Exception as error:
    print("told:", type(error).__name__, error, error.hint)
"""


def test_any_other_error_says_its_kind_and_no_value(spark: SparkSession) -> None:
    done = subprocess.run([sys.executable, "-c", _STUMBLING], capture_output=True, text=True, check=True)
    assert "told: MayoDataError Spark gave up on a task (ValueError)" in done.stdout
    assert "a task failed (ValueError)" in done.stderr  # the log of Spark says it too
    assert _SECRET_VALUE not in done.stdout + done.stderr


def test_a_worker_that_dies_is_tried_again(spark: SparkSession, tmp_path: Path) -> None:
    tasks = [Once(number, tmp_path) for number in range(4)]
    assert list(SparkEngine(spark).map(fall, tasks)) == [0, 1, 2, 3]
    assert sorted(mark.name for mark in tmp_path.iterdir()) == ["1", "3"]


def of_both(source: Path, pipeline: str, key: Path, spark: SparkSession, folder: Path) -> tuple[Any, Any]:
    here = md.run(pipeline, source, folder / "here", key_file=key, workers=1)
    there = md.run(pipeline, source, folder / "there", key_file=key, engine=SparkEngine(spark))
    assert verify(folder / "there" / "ledger" / "ledger.jsonl") == []
    assert md.validate(folder / "there") == []
    return here, there


@pytest.mark.parametrize(("source", "pipeline"), [("fhir", "fhir.toml"), ("omop_csv", "omop.toml")])
def test_spark_and_the_local_engine_give_one_digest(
    spark: SparkSession, key: Path, synthetic_export: Path, tmp_path: Path, source: str, pipeline: str
) -> None:
    here, there = of_both(synthetic_export / source, pipeline, key, spark, tmp_path)
    assert there.logical_digest == here.logical_digest
    assert there.events == here.events > 0
    assert there.steps == here.steps
    assert not list((tmp_path / "there.phi").rglob("*.writing"))


@pytest.mark.parametrize("export", ["fhir/synthea_notes_79", "fhir/synthea_615", "fhir/mimic_iv_demo", "omop/gibleed"])
def test_real_exports_give_one_digest(
    spark: SparkSession, key: Path, shared: Path, tmp_path: Path, export: str
) -> None:
    kind = export.partition("/")[0]
    here, there = of_both(shared / "data" / export, f"{kind}.toml", key, spark, tmp_path)
    assert there.logical_digest == here.logical_digest


def test_many_shards_are_shuffled_over_lanes(
    spark: SparkSession, key: Path, synthetic_export: Path, tmp_path: Path
) -> None:
    many = tmp_path / "many.toml"
    many.write_text('name = "many"\n[phi]\npolicy = "expert_determination"\nmodel = "none"\n[store]\nshards = 300\n')
    assert width(300) == 2
    few = tmp_path / "few.toml"
    few.write_text(many.read_text().replace("300", "4"))
    here = md.run(few, synthetic_export / "fhir", tmp_path / "here", key_file=key, workers=1)
    there = md.run(many, synthetic_export / "fhir", tmp_path / "there", key_file=key, engine=SparkEngine(spark))
    assert there.logical_digest == here.logical_digest
    assert md.validate(tmp_path / "there") == []


def executors(spark: SparkSession) -> list[int]:
    """Processes of the executors."""
    mine = spark.sparkContext.applicationId.encode()
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = line.read_bytes().split(b"\0")
        except OSError:
            continue
        if mine in words and any(word.endswith(b"CoarseGrainedExecutorBackend") for word in words):
            found.append(int(line.parent.name))
    return found


def test_an_executor_that_is_killed_changes_nothing(
    spark: SparkSession, key: Path, synthetic_export: Path, tmp_path: Path
) -> None:
    source = synthetic_export / "fhir"
    here = md.run("fhir.toml", source, tmp_path / "here", key_file=key, workers=1)
    seen: list[str] = []
    killed: list[int] = []

    def kill() -> None:
        time.sleep(0.3)
        killed.extend(executors(spark)[:1])
        for process in killed:
            os.kill(process, signal.SIGKILL)

    def watch(event: str, **fields: Any) -> None:
        if event == "map" and "map" not in seen:
            threading.Thread(target=kill).start()
        seen.append(event)

    engine = SparkEngine(spark)
    there = md.run("fhir.toml", source, tmp_path / "there", key_file=key, engine=engine, watcher=watch)
    assert killed
    assert there.logical_digest == here.logical_digest
    assert verify(tmp_path / "there" / "ledger" / "ledger.jsonl") == []
    kinds = [record["kind"] for record in Ledger(tmp_path / "there" / "ledger" / "ledger.jsonl").records()]
    assert kinds.count("snapshot") == 1


def test_the_command_starts_a_session_of_its_own(
    spark: SparkSession, key: Path, synthetic_export: Path, tmp_path: Path
) -> None:
    command = [
        sys.executable, "-m", "mayo_data", "run", "fhir.toml", "--input", str(synthetic_export / "fhir"), "--store",
        str(tmp_path / "store"), "--key-file", str(key), "--engine", "spark", "--master", "local[2]", "--log", "json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r'"logical_digest": ?"[0-9a-f]{64}"', done.stdout)
    wrong = subprocess.run([*command[:-4], "--master", "nowhere://x"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "Spark does not start" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_a_missing_input_is_told_as_on_one_machine(spark: SparkSession, key: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        md.run("fhir.toml", tmp_path / "nothing", tmp_path / "store", key_file=key, engine=SparkEngine(spark))
