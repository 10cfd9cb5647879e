"""A process of its own for work that may take too long, run out of memory, or be cancelled."""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, NamedTuple

from sempic.errors import InputError, SempicError, sentence
from sempic.pool import depend_on_parent

LIMIT_S = 120
"""The longest time that a piece of work may take, in seconds."""
_POLL_S = 0.2


class _Running(NamedTuple):
    """A process, and the pipe to it."""

    process: SpawnProcess
    pipe: Connection

    @classmethod
    def start(cls) -> _Running:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()  # so that the end of the process is the end of what can be read
        return cls(process, ours)

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Worker:
    """Runs generator functions in another process, which is kept for the next piece of work.

    So what the process has loaded or cached is there the next time. The process is killed, and another one started
    later, when a piece of work is cancelled, takes too long or ends the process.
    """

    def __init__(self) -> None:
        self._idle: _Running | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, if it is idle."""
        if self._idle:
            self._idle.stop()
            self._idle = None

    def run(self, work: Callable[..., Iterator[Any]], *arguments: Any, limit_s: float = LIMIT_S) -> Iterator[Any]:
        """Yield what a generator function yields in the process, and None from time to time meanwhile.

        Closing this generator before it is used up cancels the work.

        Raises:
            InputError: the work takes longer than `limit_s` seconds.
            SempicError: an error in the process, as a sentence.
        """
        idle, self._idle = self._idle, None
        running = idle if idle and idle.process.is_alive() else _Running.start()
        deadline, is_done = time.monotonic() + limit_s, False
        try:
            running.pipe.send((work, arguments))
            while not is_done:
                if running.pipe.poll(_POLL_S):
                    found, error = running.pipe.recv()
                    is_done = found is None
                    if error:
                        raise SempicError(error)
                    if not is_done:
                        yield found
                elif time.monotonic() > deadline:
                    raise InputError(
                        f"This took more than {limit_s:g} seconds and was stopped; a smaller picture takes less."
                    )
                else:
                    yield None
        except (EOFError, BrokenPipeError):
            raise SempicError(
                "The work ended too early, for want of memory perhaps; a smaller picture takes less."
            ) from None
        finally:
            if is_done:
                self._idle = running
            else:
                running.stop()


def _serve(pipe: Connection) -> None:
    """Do one piece of work after another: send what it yields, as pairs with an error's sentence, and None at its end.

    An error that is a mistake of our own is printed.
    """
    depend_on_parent()
    while True:
        work, arguments = pipe.recv()
        words = ""
        try:
            for found in work(*arguments):
                pipe.send((found, ""))
        except Exception as error:
            words = sentence(error) or f"{type(error).__name__}, a fault of Sempic's."
            if sentence(error) is None:
                traceback.print_exc()
        pipe.send((None, words))
