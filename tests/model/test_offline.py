"""A model is trained and served where there is no network: the server needs loopback, and nothing but loopback."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from offline import alone, guarded

pytest.importorskip("fastapi", reason="FastAPI is not installed: pip install -e '.[serve]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install -e '.[serve]'")

# Brings loopback up, which a new namespace has and does not use, starts the server under the guard, and asks it.
ASKS = """
import fcntl, json, re, socket, struct, subprocess, sys, time, urllib.request
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    name = struct.pack("16sH14s", b"lo", 0, b"")
    flags = struct.unpack("16sH14s", fcntl.ioctl(one, 0x8913, name))[1]
    fcntl.ioctl(one, 0x8914, struct.pack("16sH14s", b"lo", flags | 1, b""))
server = subprocess.Popen(json.loads(sys.argv[1]), stdout=subprocess.PIPE, text=True)
try:
    address = re.search(r"http://127\\.0\\.0\\.1:\\d+", server.stdout.readline())[0]
    for _ in range(300):
        try:
            print(urllib.request.urlopen(address + "/health", timeout=60).read().decode())
            break
        except OSError:
            time.sleep(0.1)
    else:
        sys.exit("it did not answer")
    assert server.poll() is None
finally:
    server.terminate()
    server.wait(30)
"""


def test_a_model_is_trained(own: Path) -> None:
    shutil.rmtree(own / "model")
    done = alone(guarded("train", own / "train.toml", "--store", own / "store", "--out", own / "model"))
    assert done.returncode == 0, done.stderr
    assert (own / "model" / "report.json").exists()


def test_a_model_is_served_on_loopback(own: Path) -> None:
    (own / "key").write_text("a-key-that-is-never-logged-42\n")
    words = ["serve", own / "model", "--store", own / "store", "--port", "0", "--api-key-file", own / "key"]
    done = alone([sys.executable, "-c", ASKS, json.dumps(guarded(*words))])
    assert done.returncode == 0, done.stderr
    assert "ok" in done.stdout
    assert "REACHED OUT" not in done.stderr
