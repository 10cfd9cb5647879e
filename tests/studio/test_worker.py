"""The process in which the studio works: what comes out of it, and what ends it."""

from __future__ import annotations

import multiprocessing
import os
import time

import pytest

from sempic.errors import InputError, SempicError
from sempic.studio.worker import Worker


def some(*found):
    yield from found


def sleep(seconds):
    yield os.getpid()
    time.sleep(seconds)


def pid():
    yield os.getpid()


def fail(error):
    yield "before"
    raise error


def end():
    yield "before"
    os._exit(9)


@pytest.fixture
def worker():
    with Worker() as worker:
        yield worker
    assert multiprocessing.active_children() == []


def results(worker, *arguments, **options):
    return [found for found in worker.run(*arguments, **options) if found is not None]


def test_work_comes_from_one_process_that_is_kept(worker):
    assert results(worker, some, 1, "two", [3]) == [1, "two", [3]]
    (first,), (second,) = results(worker, pid), results(worker, pid)
    assert first == second != os.getpid()


@pytest.mark.parametrize(
    ("function", "arguments", "says"),
    [
        (fail, [InputError("Something is wrong.")], "^Something is wrong.$"),
        (fail, [ZeroDivisionError("by 0")], "^ZeroDivisionError, a fault of Sempic's.$"),
        (end, [], "ended too early"),
    ],
)
def test_what_goes_wrong_there_is_a_sentence_here(worker, function, arguments, says):
    with pytest.raises(SempicError, match=says):
        results(worker, function, *arguments)
    assert results(worker, some, 1) == [1]


def test_the_clock_stops_it(worker):
    with pytest.raises(InputError, match=r"more than 0\.5 seconds"):
        results(worker, sleep, 60, limit_s=0.5)
    assert multiprocessing.active_children() == []


def test_whoever_asked_may_stop_it(worker):
    running = worker.run(sleep, 60)
    process = next(found for found in running if found)
    os.kill(process, 0)
    running.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    (other,) = results(worker, pid)
    assert other != process


def test_an_idle_process_that_has_ended_is_replaced(worker):
    (process,) = results(worker, pid)
    os.kill(process, 9)
    for child in multiprocessing.active_children():
        child.join()
    (other,) = results(worker, pid)
    assert other != process
