"""Ways to run the library where there is no network, and under a guard that ends whoever tries to reach one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

REACHED_OUT = 77
GUARD = (
    "import sys\n"
    "def guard(event, arguments):\n"
    " if event in ('socket.connect', 'socket.getaddrinfo', 'socket.gethostbyname', 'socket.gethostbyaddr',\n"
    "              'socket.sendto', 'socket.sendmsg', 'urllib.Request', 'http.client.connect', 'ftplib.connect'):\n"
    f"  import os; os.write(2, b'REACHED OUT ' + event.encode()); os._exit({REACHED_OUT})\n"
    "sys.addaudithook(guard)\n"
)


def guarded(*arguments: str | Path, script: str = "") -> list[str]:
    """Return the words that run the command line under the guard, or a script with these arguments."""
    words = [str(argument) for argument in arguments]
    script = script or "from mayo_data.cli import main\nmain()\n"
    return [sys.executable, "-c", f"{GUARD}sys.argv[1:] = {words!r}\n{script}"]


def alone(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run in a network namespace of its own, in which not even loopback is up."""
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED: this user may not make a network namespace (unshare -rn)")
    return subprocess.run(["unshare", "-rn", *words], capture_output=True, text=True, timeout=300, check=False)
