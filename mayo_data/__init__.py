"""FHIR and OMOP exports in, de-identified longitudinal patient timelines with provenance lineage out.

    import mayo_data as md

    md.run("pipelines/fhir.toml", source="export/", store="store/", key_file="site.key")
    md.connect("store/").sql("select count(*) from event")
    md.open("store/").timeline(subject_id)
    md.trace("store/", "3.1042.0")

Names are loaded on first use: importing the package costs nothing and pulls in no engine.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# name → (module, attribute)
_FRONT = {
    "run": ("mayo_data.pipeline", "run_file"),
    "connect": ("mayo_data.dataset", "connect"),
    "open": ("mayo_data.dataset", "open_store"),
    "trace": ("mayo_data.dataset", "trace"),
    "impact": ("mayo_data.dataset", "impact"),
    "verify": ("mayo_data.dataset", "verify"),
    "withdraw": ("mayo_data.pipeline.withdraw", "withdraw"),
    "erase": ("mayo_data.pipeline.erase", "erase"),
    "reidentify": ("mayo_data.pipeline.reidentify", "reidentify"),
    "validate": ("mayo_data.dataset", "validate"),
    "view": ("mayo_data.dataset", "view"),
    "plot": ("mayo_data", "plot"),
    "completeness": ("mayo_data.dataset", "completeness"),
    "label": ("mayo_data.dataset", "label"),
    "training_run": ("mayo_data.dataset", "training_run"),
    "inference_log": ("mayo_data.dataset", "inference_log"),
    "risk": ("mayo_data.dataset", "risk"),
    "export": ("mayo_data.dataset.standards", "export"),
    "coverage": ("mayo_data.dataset", "coverage"),
    "write_report": ("mayo_data.report.write", "write_report"),
    "audit": ("mayo_data.report.audit", "audit"),
    "scrub": ("mayo_data.pipeline", "scrub"),
    "inspect": ("mayo_data.pipeline.quality", "inspect"),
    "snapshots": ("mayo_data.store.history", "snapshots"),
    "diff": ("mayo_data.store.history", "diff"),
    "rollback": ("mayo_data.pipeline.snapshots", "rollback"),
    "prune": ("mayo_data.pipeline.snapshots", "prune"),
    "ScrubReport": ("mayo_data.pipeline", "ScrubReport"),
    "train": ("mayo_data.model.training", "train"),
    "predictor": ("mayo_data.model.prediction", "Predictor"),
    "drift": ("mayo_data.model.drift", "drift"),
    "Dataset": ("mayo_data.dataset", "Dataset"),
    "RunReport": ("mayo_data.pipeline", "RunReport"),
    "publish": ("mayo_data.store.remote", "publish"),
    "fetch": ("mayo_data.dataset.elsewhere", "fetch"),
    "SparkEngine": ("mayo_data.engine.spark", "SparkEngine"),
    "Detector": ("mayo_data.phi.detector", "Detector"),
    "PhiPolicy": ("mayo_data.phi.policy", "PhiPolicy"),
    "Stage": ("mayo_data.stage", "Stage"),
    "Step": ("mayo_data.types", "Step"),
    "Verdict": ("mayo_data.types", "Verdict"),
    "Identifier": ("mayo_data.types", "Identifier"),
    "PhiSpan": ("mayo_data.types", "PhiSpan"),
    "Secret": ("mayo_data.keys", "Secret"),
    "MayoDataError": ("mayo_data.errors", "MayoDataError"),
    "ConfigError": ("mayo_data.errors", "ConfigError"),
    "KeyMissingError": ("mayo_data.errors", "KeyMissingError"),
    "SourceError": ("mayo_data.errors", "SourceError"),
    "StoreError": ("mayo_data.errors", "StoreError"),
    "GateError": ("mayo_data.errors", "GateError"),
    "LeakError": ("mayo_data.errors", "LeakError"),
}

__all__ = [*sorted(_FRONT), "__version__"]  # noqa: PLE0604 - a plain list of names, built from the table above

if TYPE_CHECKING:
    from mayo_data import plot as plot
    from mayo_data.dataset import Dataset as Dataset
    from mayo_data.dataset import completeness as completeness
    from mayo_data.dataset import connect as connect
    from mayo_data.dataset import coverage as coverage
    from mayo_data.dataset import impact as impact
    from mayo_data.dataset import inference_log as inference_log
    from mayo_data.dataset import label as label
    from mayo_data.dataset import open_store
    from mayo_data.dataset import risk as risk
    from mayo_data.dataset import trace as trace
    from mayo_data.dataset import training_run as training_run
    from mayo_data.dataset import validate as validate
    from mayo_data.dataset import verify as verify
    from mayo_data.dataset import view as view
    from mayo_data.dataset.elsewhere import fetch as fetch
    from mayo_data.dataset.standards import export as export
    from mayo_data.engine.spark import SparkEngine as SparkEngine
    from mayo_data.errors import ConfigError as ConfigError
    from mayo_data.errors import GateError as GateError
    from mayo_data.errors import KeyMissingError as KeyMissingError
    from mayo_data.errors import LeakError as LeakError
    from mayo_data.errors import MayoDataError as MayoDataError
    from mayo_data.errors import SourceError as SourceError
    from mayo_data.errors import StoreError as StoreError
    from mayo_data.keys import Secret as Secret
    from mayo_data.model.drift import drift as drift
    from mayo_data.model.prediction import Predictor
    from mayo_data.model.training import train as train
    from mayo_data.phi.detector import Detector as Detector
    from mayo_data.phi.policy import PhiPolicy as PhiPolicy
    from mayo_data.pipeline import RunReport as RunReport
    from mayo_data.pipeline import ScrubReport as ScrubReport
    from mayo_data.pipeline import run_file
    from mayo_data.pipeline import scrub as scrub
    from mayo_data.pipeline.erase import erase as erase
    from mayo_data.pipeline.quality import inspect as inspect
    from mayo_data.pipeline.reidentify import reidentify as reidentify
    from mayo_data.pipeline.snapshots import prune as prune
    from mayo_data.pipeline.snapshots import rollback as rollback
    from mayo_data.pipeline.withdraw import withdraw as withdraw
    from mayo_data.report.audit import audit as audit
    from mayo_data.report.write import write_report as write_report
    from mayo_data.stage import Stage as Stage
    from mayo_data.store.history import diff as diff
    from mayo_data.store.history import snapshots as snapshots
    from mayo_data.store.remote import publish as publish
    from mayo_data.types import Identifier as Identifier
    from mayo_data.types import PhiSpan as PhiSpan
    from mayo_data.types import Step as Step
    from mayo_data.types import Verdict as Verdict

    open = open_store  # noqa: A001 - read as md.open
    predictor = Predictor
    run = run_file


def __getattr__(name: str) -> Any:
    try:
        module, attribute = _FRONT[name]
    except KeyError:
        raise AttributeError(f"module 'mayo_data' has no attribute {name!r}") from None
    if module == __name__:  # a module of its own
        return importlib.import_module(f"{module}.{attribute}")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_FRONT])
