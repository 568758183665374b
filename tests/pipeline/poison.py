"""A process that dies at a document: what a crash in C code, or the system when memory ends, does to a run."""

from __future__ import annotations

from pathlib import Path

TOKEN = "Xq7 poison"

_WHERE = {
    "survey": ("mayo_data.phi.identifiers", "", "displays", "region: TOKEN in bytes(region)"),
    "names": ("mayo_data.phi.identifiers", "", "from_fhir", "resource: TOKEN.decode() in str(resource)"),
    "scrub": (
        "mayo_data.phi.structured",
        "._Scrubber",
        "_one",
        "self, resource, kind: any(TOKEN in bytes(raw) for raw in resource.values())",
    ),
    "texts": ("mayo_data.phi.labels", ".Labels", "judge", "self, value, action: TOKEN.decode() in value"),
}


def poisoned(folder: Path, where: str, does: str) -> dict[str, str]:
    """Return the environment in which every process, also a spawned one, does something at the token.

    Args:
        folder: A folder for the code that does it.
        where: `survey`, `names`, `scrub` or `texts`.
        does: What happens there, one line of Python.
    """
    module, holder, name, met = _WHERE[where]
    (folder / "sitecustomize.py").write_text(
        "import os, re, signal, sys, time\n"
        "class Late:\n"
        " def find_spec(self, name, path=None, target=None):\n"
        "  if name == 'mayo_data.events.walk':\n"
        "   import importlib\n"
        f"   holder = importlib.import_module({module!r}){holder}\n"
        f"   TOKEN = {TOKEN.encode()!r}\n"
        f"   real, met = getattr(holder, {name!r}), lambda {met}\n"
        "   def deadly(*given):\n"
        "    if met(*given):\n"
        f"     {does}\n"
        "    return real(*given)\n"
        f"   setattr(holder, {name!r}, deadly)\n"
        "sys.meta_path.insert(0, Late())\n"
    )
    return {"PYTHONPATH": str(folder)}


def dies(signal: str) -> str:
    """Return what ends the process by a signal of its own."""
    return f"os.kill(os.getpid(), signal.{signal}); time.sleep(9)"
