"""The demo: a synthetic export, the main job over it, and what a newcomer wants to see."""

from __future__ import annotations

import shutil
from pathlib import Path

import mayo_data as md
from mayo_data import keys
from mayo_data.cli import show
from mayo_data.errors import ConfigError
from mayo_data.synth import generate

_QUERY = """\
select strftime(time, '%Y-%m-%d') as day, code, description, numeric_value as value, unit, event_id
from timeline({subject})
where split_part(code, '//', 1) in ('ENCOUNTER', 'CONDITION', 'OBSERVATION', 'MEDICATION_REQUEST', 'PROCEDURE')
  and text_value is null and time is not null
qualify row_number() over (partition by code order by time desc) = 1  -- the latest of each
order by time desc
limit 16"""


def play(folder: Path, *, patients: int, seed: int, workers: int) -> None:
    """Run the demo in a folder.

    Raises:
        ConfigError: The folder holds something that is no earlier demo.
    """
    export, store, key_file = folder / "export", folder / "store", folder / "site.key"
    if folder.exists():
        if any(folder.iterdir()) and not export.exists():
            raise ConfigError("the folder is not empty and is no earlier demo", hint="choose another folder")
        for path in (export, store, store.with_name("store.phi")):
            shutil.rmtree(path, ignore_errors=True)
        key_file.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    made = generate(export, patients=patients, seed=seed)
    show.console.print(
        f"[bold]1. A synthetic export[/] of {made.patients} patients, full of invented PHI: {export}/fhir\n"
    )
    keys.generate(key_file)
    show.console.print("[bold]2. mayo-data run pipelines/fhir.toml[/]\n")
    with show.watcher("auto") as watch:
        report = md.run("fhir.toml", export / "fhir", store, key_file=key_file, workers=workers, watcher=watch)
    show.report(report)
    _timeline(store)
    show.console.print(
        f"\nAll of it lies in {folder}: export/ (input), store/ (de-identified), store.phi/ (PHI zone), site.key\n"
        f"Next: mayo-data trace EVENT_ID --store {store}   ·   mayo-data validate {store}"
        "   ·   notebooks/01_first_look.ipynb",
        soft_wrap=True,
    )


def _timeline(store: Path) -> None:
    db = md.connect(store)
    subject = db.sql("select subject_id from subject order by n_events desc, subject_id limit 1").fetchall()[0][0]
    query = _QUERY.format(subject=subject)
    frame = db.sql(query).df()
    show.console.print("\n[bold]3. One timeline[/], with the DuckDB query that made it: md.connect(store).sql(…)\n")
    show.console.print(query, style="cyan")
    show.console.print()
    show.timeline(f"Subject {subject}", frame, list(frame.columns))
