"""A view with Pathling, for `peers.py`: run by the Python of an environment of its own, which has Pathling and a JDK.

    VENV/bin/python pathling_view.py VIEW.json FOLDER THREADS OUT.parquet

FOLDER holds ndjson, a file a type of resource. Exit code 3: no Spark session, most often because the jars of Pathling
are not there; Pathling lets Spark fetch them from a Maven repository when it is first used.
"""

import sys
from pathlib import Path

from pathling import PathlingContext


def main() -> None:
    view, folder, threads, out = sys.argv[1:]
    conf = {"spark.master": f"local[{threads}]", "spark.ui.enabled": "false"}
    try:
        context = PathlingContext.create(spark_conf=conf, enable_terminology=False)
    except Exception as error:
        print(f"no session: {type(error).__name__}", file=sys.stderr)
        sys.exit(3)
    gateway = context.spark.sparkContext._gateway  # noqa: SLF001 - the Java process, to wait for
    table = context.read.ndjson(folder).view(json=Path(view).read_text(encoding="utf-8"))
    table.write.option("compression", "zstd").parquet(out)
    context.spark.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()  # its processor time counts once it has ended
    gateway.proc.wait()


if __name__ == "__main__":
    main()
