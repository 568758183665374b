from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mayo_data.engine.local import LocalEngine, cores
from mayo_data.errors import MayoDataError, SourceError


def square(number: int) -> int:
    return number * number


def refuse(number: int) -> int:
    if number == 3:
        raise SourceError(f"no {number}", hint="try 4")
    return number


def die(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.01)
    return number


def test_one_worker_runs_here() -> None:
    with LocalEngine(1) as engine:
        assert sorted(engine.map(square, range(5))) == [0, 1, 4, 9, 16]
        with pytest.raises(SourceError):
            list(engine.map(refuse, range(5)))


def test_two_workers_give_the_same_and_stay_few_tasks_ahead() -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(40):
            taken.append(number)
            yield number

    with LocalEngine(2) as engine:
        results = engine.map(square, tasks())
        first = next(results)
        assert len(taken) <= 8
        assert sorted([first, *results]) == [number * number for number in range(40)]
        with pytest.raises(SourceError, match="no 3") as caught:
            list(engine.map(refuse, range(9)))
        assert caught.value.hint == "try 4"  # an error keeps its hint on the way home
        assert sorted(engine.map(square, range(3))) == [0, 1, 4]  # and the pool lives on
        with pytest.raises(MayoDataError, match="worker process died"):
            list(engine.map(die, range(9)))


def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    """The first script that a newcomer writes calls the library at the top level."""
    script = tmp_path / "first.py"
    script.write_text(
        "print('once')\n"
        "from mayo_data.engine.local import LocalEngine\n"
        "with LocalEngine(2) as engine:\n"
        "    print(sorted(engine.map(abs, [-2, 1])))\n"
        "assert __file__.endswith('first.py')\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "once\n[1, 2]\n"), done.stderr


def test_there_is_a_core() -> None:
    assert cores() >= 1
    assert LocalEngine().workers == cores()


def test_threads_are_taken_while_no_process_was_started() -> None:
    with LocalEngine(2) as engine:
        assert set(engine.beside(_where, [0, 1, 2])) == {os.getpid()}
        assert os.getpid() not in set(engine.map(_where, [0, 1, 2]))
        assert os.getpid() not in set(engine.beside(_where, [0, 1, 2]))


def test_an_error_in_a_thread_is_the_caller_s() -> None:
    with LocalEngine(2) as engine, pytest.raises(ZeroDivisionError):
        list(engine.beside(_divided, [1, 0, 2]))


def _where(task: int) -> int:
    return os.getpid()


def _divided(task: int) -> float:
    return 1 / task
