from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mayo_data.engine.alone import Died, alone
from mayo_data.engine.local import LocalEngine, cores, in_front, threaded
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


def once(task: tuple[int, Path]) -> int:
    """Some end their process the first time that they are tried."""
    number, folder = task
    if number % 4 == 3:
        try:
            (folder / str(number)).touch(exist_ok=False)
        except FileExistsError:
            return number
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)
    return number


def test_workers_that_die_are_replaced_and_every_task_is_done_once(tmp_path: Path) -> None:
    with LocalEngine(2) as engine:
        assert sorted(engine.map(once, [(number, tmp_path) for number in range(17)])) == list(range(17))
        assert sorted(engine.map(square, range(3))) == [0, 1, 4]
    assert len(list(tmp_path.iterdir())) == 4


def test_what_a_thread_leaves_to_the_front_is_done_there_and_its_error_comes_back() -> None:
    here = threading.current_thread()
    assert in_front(threading.current_thread) is here
    found = threaded(
        lambda number: (number, in_front(threading.current_thread), threading.current_thread()), range(9), 3
    )
    for _, front, behind in found:
        assert front is here
        assert behind is not here
    with pytest.raises(ZeroDivisionError):
        list(threaded(lambda number: in_front(lambda: 1 / number), [1, 0, 2], 2))


def test_a_reader_that_goes_away_leaves_no_thread_waiting() -> None:
    before = threading.active_count()
    results = threaded(lambda number: in_front(lambda: number), range(50), 4)
    next(results)
    results.close()
    assert threading.active_count() == before


def test_a_process_of_its_own_answers_raises_or_dies() -> None:
    assert alone(square, 3) == 9
    assert alone(_where, 0) != os.getpid()
    with pytest.raises(SourceError, match="no 3") as caught:
        alone(refuse, 3)
    assert caught.value.hint == "try 4"
    with pytest.raises(Died) as died:
        alone(die, 2)
    assert died.value.code == -signal.SIGKILL


def test_a_process_leaves_no_image_of_its_memory() -> None:
    assert alone(_image, 0) == 0


def _image(task: int) -> int:
    return resource.getrlimit(resource.RLIMIT_CORE)[0]


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


def test_workers_that_rest_hold_nothing_and_come_back() -> None:
    with LocalEngine(2) as engine:
        before = set(engine.map(_where, range(9)))
        engine.rest()
        assert not any(Path(f"/proc/{process}").exists() for process in before)
        assert before.isdisjoint(engine.map(_where, range(9)))
        engine.rest()
        engine.rest()
    with LocalEngine(1) as engine:
        engine.rest()
        assert list(engine.map(_where, [0])) == [os.getpid()]


def test_an_error_in_a_thread_is_the_caller_s() -> None:
    with LocalEngine(2) as engine, pytest.raises(ZeroDivisionError):
        list(engine.beside(_divided, [1, 0, 2]))


def _where(task: int) -> int:
    return os.getpid()


def _divided(task: int) -> float:
    return 1 / task
