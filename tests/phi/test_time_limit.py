"""A document that takes too long is ended, alone, also in the middle of a regular expression and in a worker."""

from __future__ import annotations

import hashlib
import re
import signal
import threading
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mayo_data.engine.local import LocalEngine, in_front, threaded
from mayo_data.phi.time_limit import TimeLimit, TooSlow

EVIL = re.compile(r"(a+)+$")


def hangs(number: int) -> str:
    """Work on some documents, of which one meets an expression that never ends."""
    ended = []
    with TimeLimit(0.2) as limit:
        for document in (number, 99, number):
            try:
                with limit.of(10):
                    if document == 99:
                        EVIL.match("a" * 60 + "b")
                    ended.append("done")
            except TooSlow:
                ended.append("too slow")
    return " ".join(ended)


def test_an_expression_that_never_ends_is_ended() -> None:
    before = signal.getsignal(signal.SIGPROF)
    assert hangs(1) == "done too slow done"
    assert signal.getsignal(signal.SIGPROF) == before
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_threads_leave_it_to_the_main_one() -> None:
    found = list(threaded(lambda number: in_front(lambda: hangs(number)), [1, 2, 3], 2))
    assert found == ["done too slow done"] * 3


def test_what_other_threads_do_is_not_counted() -> None:
    def busy() -> None:
        hashlib.pbkdf2_hmac("sha256", b"", b"", 4_000_000)  # lets go of Python's lock

    other = threading.Thread(target=busy)
    with TimeLimit(0.1) as limit, limit.of(1):
        other.start()
        other.join()
        assert time.process_time() > 0.2
    with TimeLimit(0.1) as limit, pytest.raises(TooSlow), limit.of(1):
        EVIL.match("a" * 60 + "b")


def test_it_works_in_spawned_workers() -> None:
    with LocalEngine(2) as engine:
        assert list(engine.map(hangs, [1, 2, 3])) == ["done too slow done"] * 3


def test_nothing_on_the_way_swallows_it() -> None:
    def stubborn() -> None:
        try:
            EVIL.match("a" * 60 + "b")
        except Exception:
            raise AssertionError from None

    with TimeLimit(0.1) as limit, pytest.raises(TooSlow), limit.of(1):
        stubborn()


def test_waiting_and_the_time_between_documents_do_not_count() -> None:
    with TimeLimit(0.1) as limit:
        with limit.of(1):
            time.sleep(0.3)  # not the processor's time
        end = time.process_time() + 0.3
        while time.process_time() < end:  # the alarm rings here, for nobody
            pass
        with limit.of(1):
            pass


def test_a_large_document_has_more_time() -> None:
    with TimeLimit(0.1) as limit, limit.of(20 << 20):
        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass


@pytest.mark.parametrize("seconds", [0, 5])
def test_without_a_limit_and_in_a_thread_work_goes_on(seconds: int) -> None:
    done: list[str] = []

    def work() -> None:
        with TimeLimit(seconds) as limit, limit.of(1):
            done.append("done")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    work()
    assert done == ["done", "done"]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from(["fine", "error", "slow"]), max_size=6))
def test_each_document_is_judged_alone(kinds: list[str]) -> None:
    ended: list[Any] = []
    with TimeLimit(0.02) as limit:
        for kind in kinds:
            try:
                with limit.of(1):
                    if kind == "error":
                        int(kind)
                    if kind == "slow":
                        EVIL.match("a" * 60 + "b")
                    ended.append("fine")
            except ValueError:
                ended.append("error")
            except TooSlow:
                ended.append("slow")
    assert ended == kinds
