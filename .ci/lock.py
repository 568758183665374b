"""Writes `requirements.lock`: every package of the job image by version and hash, as pip resolves it on this machine.

Run it with the Python of the image (3.11 on Linux, x86-64), since a hash belongs to one file for one platform:
`make lock`. pip then installs these files and no others: `pip install --require-hashes -r requirements.lock`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Resolve, and write."""
    words = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    report = json.loads(
        subprocess.run(  # noqa: S603 - our own words
            [*words, str(ROOT)], check=True, capture_output=True, text=True
        ).stdout
    )
    lines = []
    for item in report["install"]:
        about, archive = item["metadata"], item["download_info"].get("archive_info")
        if archive is None:
            continue  # this project
        name = about["name"].lower().replace("_", "-").replace(".", "-")
        lines.append(f"{name}=={about['version']} \\\n    --hash=sha256:{archive['hashes']['sha256']}\n")
    where = report["environment"]
    head = (
        "# Every package of the job image: Python {python_version}, {sys_platform}, {platform_machine}.\n"
        "# Made by `make lock`; do not edit.\n"
    ).format(**where)
    (ROOT / "requirements.lock").write_text(head + "".join(sorted(lines)))


if __name__ == "__main__":
    main()
