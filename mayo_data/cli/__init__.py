"""The command line: `mayo-data`.

Exit codes: 0 committed, 1 bug, 2 configuration, 3 source or store, 4 a gate stopped the run, 5 PHI leak found.
"""

from __future__ import annotations

import sys
import traceback
from typing import NoReturn

from mayo_data.errors import MayoDataError

BUG = 1
INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line and exit with one code a cause."""
    from mayo_data.cli.commands import app

    try:
        app(standalone_mode=False)
        sys.exit(0)
    except MayoDataError as error:
        _say(f"{type(error).__name__}: {error}", error.hint)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _say("interrupted; finished parts are kept, run again to resume", "")
        sys.exit(INTERRUPTED)
    except Exception as error:
        usage = getattr(error, "exit_code", None)
        if hasattr(error, "show") and isinstance(usage, int):  # a usage error of the command line itself
            error.show()
            sys.exit(usage)
        # Its message could hold a value of the PHI zone, so only where it happened is printed.
        frames = traceback.extract_tb(error.__traceback__)
        where = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames[-4:]))
        _say(f"bug: {type(error).__name__} at {where}", "please report this line; it holds no patient data")
        sys.exit(BUG)


def _say(text: str, hint: str) -> None:
    sys.stderr.write(f"mayo-data: {text}\n" + (f"  hint: {hint}\n" if hint else ""))
