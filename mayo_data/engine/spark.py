"""Spark as an engine: the tasks of a run on the executors of a cluster.

Spark moves tasks and brings back receipts; what a task does, it does with the very code of the local engine, so that
both give the same digest. Files are not Spark's: executors read splits of the input, and write the exchange and the
shards, under names of their own first, on storage that they share with the driver. A task that runs twice (a retry, a
speculative copy, an executor that was lost) leaves the same files twice, and the driver believes receipts only.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import pyarrow as pa

from mayo_data import errors
from mayo_data.engine.local import cores
from mayo_data.errors import ConfigError, MayoDataError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

T = TypeVar("T")
R = TypeVar("R")

_RECEIPTS = pa.schema([("id", pa.int64()), ("error", pa.string()), ("receipt", pa.binary())])
_FAILED = re.compile(r"a task failed \((\w+)\)")
_MISSING = 'pip install "mayo-data[spark]"'
_GUARDED = {"spark.authenticate": "true", "spark.network.crypto.enabled": "true"}  # where Spark makes the secret itself
_SETTINGS = {
    "spark.io.encryption.enabled": "true",  # what Spark puts on the disks of executors
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.task.maxFailures": "8",
}


class SparkEngine:
    """Runs tasks on the executors of a Spark session that the user brings.

    Everything that tasks name must be reachable under the same path from the driver and from every executor: the
    input, the PHI zone and the store (a mount such as `/lakehouse`, `/Volumes`, `/dbfs` or NFS). The site's key
    travels with the tasks: switch on `spark.network.crypto.enabled` (or TLS) and `spark.io.encryption.enabled`.

    Args:
        spark: The session; it stays open.
        workers: Tasks at a time; by default the parallelism of the session.

    Raises:
        ConfigError: PySpark is not installed, or older than 4.

    >>> SparkEngine.__name__  # with SparkEngine(spark) as engine: md.run(..., engine=engine)
    'SparkEngine'
    """

    def __init__(self, spark: SparkSession, workers: int = 0) -> None:
        if int(_pyspark().__version__.partition(".")[0]) < 4:
            raise ConfigError("PySpark 4 or newer is needed", hint=_MISSING)
        self._spark = spark
        self._ours = False
        self.workers = workers or _parallelism(spark)
        self.threads = cores()

    @classmethod
    def start(cls, master: str = "", workers: int = 0) -> SparkEngine:
        """Start a session of one's own: `mayo-data run --engine spark`; it ends with the engine.

        Args:
            master: URL of the cluster, for example `yarn` or `local[4]`; empty for what `spark-submit` or the
                environment says.
            workers: Tasks at a time.

        Raises:
            ConfigError: PySpark is not installed, or the session cannot be started.
        """
        _pyspark()
        from pyspark.sql import SparkSession

        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        builder = SparkSession.builder.appName("mayo_data").config(map=_SETTINGS)
        if master:
            builder = builder.master(master)
        if master.startswith(("local", "yarn", "k8s")):
            builder = builder.config(map=_GUARDED)
        try:
            spark = builder.getOrCreate()
        except Exception as error:
            raise ConfigError(
                f"Spark does not start ({type(error).__name__})", hint="Java 17 or newer? check --master"
            ) from None
        engine = cls(spark, workers)
        engine._ours = True
        return engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ours:
            self._spark.stop()

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """Yield the results of a function over tasks, in their order, once all are done.

        Raises:
            MayoDataError: What a task raised; or Spark gave up. Finished tasks are kept: run again to resume.
        """
        given = list(tasks)
        if not given:
            return
        work = _mapped(function, given)
        numbers = self._spark.range(0, len(given), 1, len(given))  # a partition a task
        try:
            rows = numbers.mapInArrow(work, "id bigint, error string, receipt binary").collect()
        except Exception as error:
            said = _FAILED.search(str(error))
            raise MayoDataError(
                f"Spark gave up on a task ({said[1] if said else type(error).__name__})",
                hint="see the logs of its executors. Run again: finished parts are kept",
            ) from None
        failed = sorted(row["error"] for row in rows if row["error"])
        if failed:
            raise _error(failed[0])
        load = _serializer().loads
        for row in sorted(rows, key=lambda row: int(row["id"])):
            yield load(bytes(row["receipt"]))

    def beside(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """As `map`: the executors have the cores."""
        yield from self.map(function, tasks)

    def rest(self) -> None:
        """Do nothing: what executors hold is the session's."""


def _mapped(
    function: Callable[[T], R], tasks: Sequence[T]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """What an executor does: numbers of tasks in, receipts out."""

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        dump = _serializer().dumps
        for batch in batches:
            for number in batch.column(0).to_pylist():
                said, receipt = None, None
                try:
                    receipt = dump(function(tasks[number]))
                except MayoDataError as error:  # it would fail again: no retry
                    said = "\n".join((type(error).__name__, str(error), error.hint or ""))
                except Exception as error:
                    raise MayoDataError(f"a task failed ({type(error).__name__})") from None
                made = {"id": number, "error": said, "receipt": receipt}
                yield pa.RecordBatch.from_pylist([made], schema=_RECEIPTS)

    return work


def _error(said: str) -> MayoDataError:
    """The error that a task reported."""
    name, message, hint = said.split("\n", 2)
    kind = getattr(errors, name, MayoDataError)
    return kind(message, hint=hint) if issubclass(kind, MayoDataError) else MayoDataError(message)


def _parallelism(spark: SparkSession) -> int:
    try:
        return int(spark.sparkContext.defaultParallelism)
    except Exception:
        return int(spark.conf.get("spark.sql.shuffle.partitions") or 2)


def _serializer() -> Any:
    """Spark's own way to bring objects from executors."""
    from pyspark.serializers import CPickleSerializer

    return CPickleSerializer()


def _pyspark() -> Any:
    try:
        import pyspark
    except ImportError as error:
        raise ConfigError("PySpark is not installed", hint=_MISSING) from error
    return pyspark
