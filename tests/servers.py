"""Object stores on loopback for the tests: moto's server for S3, Azurite for Azure."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

AZURE_ACCOUNT = "devstoreaccount1"  # account and key that Azurite's documentation gives to everybody
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def served(words: list[str], port: int, folder: Path) -> Iterator[None]:
    """Run a server until the tests are done with it."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, cwd=folder, start_new_session=True)
        try:
            for _ in range(600):
                with socket.socket() as one:
                    if one.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.wait(20)


@contextmanager
def s3(folder: Path) -> Iterator[str]:
    """Run a server of S3, with its credentials in the environment; yield its endpoint."""
    pytest.importorskip("moto.server", reason="NOT TESTED: S3. pip install 'moto[server]'")
    port = free_port()
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        with served(words, port, folder):
            yield f"http://127.0.0.1:{port}"


@contextmanager
def azure(folder: Path) -> Iterator[str]:
    """Run Azurite, with its key in the environment; yield its endpoint."""
    here = Path(sys.prefix) / "azurite" / "node_modules" / ".bin"  # where `make test` installs it
    azurite = os.environ.get("AZURITE") or shutil.which("azurite-blob", path=f"{here}{os.pathsep}{os.environ['PATH']}")
    if azurite is None or shutil.which("node") is None:
        pytest.skip("NOT TESTED: Azure. It takes node, and npm's azurite; $AZURITE names its azurite-blob")
    port = free_port()
    words = [azurite, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder), "--silent",
             "--skipApiVersionCheck", "--disableTelemetry"]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZURE_STORAGE_KEY", AZURE_KEY)
        patch.delenv("AZURE_STORAGE_SAS_TOKEN", raising=False)
        with served(words, port, folder):
            yield f"http://127.0.0.1:{port}"
