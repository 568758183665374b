"""The composition root: it alone introduces the rooms to each other."""

from mayo_data.pipeline.place import Place
from mayo_data.pipeline.report import RunReport, ScrubReport, Watcher
from mayo_data.pipeline.scrubbed import scrub
from mayo_data.pipeline.start import run, run_file

__all__ = ["Place", "RunReport", "ScrubReport", "Watcher", "run", "run_file", "scrub"]
