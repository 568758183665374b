"""Serves a model over HTTP on this machine (extra `serve`)."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from mayo_data.errors import ConfigError
from mayo_data.model import access
from mayo_data.model.prediction import Predictor


def serve(
    model: Path | str,
    store: Path | str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key_file: Path | None = None,
    override: str | None = None,
    keep_output: bool = True,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve a model until interrupted: what `mayo-data serve` calls.

    It speaks plain HTTP. Behind another address than this machine's own, put a proxy with TLS before it.

    Args:
        model: Folder of the model.
        store: Folder of the store that it was trained on.
        host: Address to listen on.
        port: Port; 0 for any that is free.
        api_key_file: File with the key that clients must show; else `MAYO_DATA_API_KEY`.
        override: Why a model that was trained on withdrawn data is served; goes into the ledger.
        keep_output: Whether probabilities stand in the ledger.
        ready: Is told the address.

    Raises:
        ConfigError: The extra is missing, the address is taken, or there is no model.
        KeyMissingError: There is no API key.
        StoreError: The model is refused: see `Predictor`.
    """
    try:
        import uvicorn

        from mayo_data.model import app
    except ImportError as error:
        raise ConfigError("serving needs FastAPI and uvicorn", hint='pip install "mayo-data[serve]"') from error
    guard = access.load(api_key_file)
    made = app.make(Predictor(model, store, override=override, keep_output=keep_output), guard)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
        except OSError as error:
            raise ConfigError(f"the address cannot be listened on: {error.strerror}", hint="choose another") from error
        if ready is not None:
            place = f"[{host}]" if ":" in host else host
            ready(f"http://{place}:{listener.getsockname()[1]}")
        # No access log: an address line could hold what a client put into a query.
        config = uvicorn.Config(
            made, log_level="error", access_log=False, server_header=False, limit_concurrency=64, timeout_keep_alive=30
        )
        uvicorn.Server(config).run(sockets=[listener])
