"""Which model reads a text: by name, or by its folder."""

from __future__ import annotations

from pathlib import Path

from mayo_data import assets
from mayo_data.phi.model import ModelRecognizer
from mayo_data.phi.transformer import ABOUT, GATE, Transformer


def load(model: str) -> ModelRecognizer:
    """Return the recognizer that a detector asks for by name.

    Args:
        model: `default` for the shipped network and transformer, `fast` for the network alone, else the folder of a
            transformer or the folder or package name of a spaCy pipeline.

    Raises:
        ConfigError: A transformer's folder is not whole.
        FileNotFoundError: The installation has no model.
    """
    if model == "fast":
        return ModelRecognizer()
    folder = assets.path("schemas", "phi", "transformer") if model == "default" else Path(model)
    if (folder / ABOUT).is_file():
        return Transformer(folder, network="default", gate=GATE)
    return ModelRecognizer(model)
