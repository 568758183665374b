"""The same as an Airflow DAG: the run, then the report. An example: put it into the folder of your DAGs.

Exit codes 2 to 5 are nothing that trying again would mend, so there is one retry, for a machine that went away.
"""

from datetime import UTC, datetime, timedelta

from airflow import DAG
from airflow.operators.bash import BashOperator

RUN = """
set -euo pipefail; set -a; . /etc/mayo-data/nightly.env; umask 077
mayo-data run /etc/mayo-data/nightly.toml --input "$EXPORT" --store "$STORE" --phi-zone "$PHI_ZONE" \
  --key-file /etc/mayo-data/site.key --metrics "$METRICS" --log json
"""
REPORT = """
set -euo pipefail; set -a; . /etc/mayo-data/nightly.env
mayo-data ledger verify "$STORE"
mayo-data report "$STORE" --html "$STORE.html" --evidence "$STORE.zip"
"""

with DAG(
    dag_id="mayo_data_nightly",
    schedule="30 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,  # a store has one writer
    default_args={"retries": 1, "retry_delay": timedelta(minutes=10)},
) as dag:
    run = BashOperator(task_id="run", bash_command=RUN, execution_timeout=timedelta(hours=6))
    report = BashOperator(task_id="report", bash_command=REPORT)
    run >> report
