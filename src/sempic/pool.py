"""Processes that share work, on this machine or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from sempic import extras, runtime
from sempic.errors import InputError


class Executor(Protocol):
    """A pool of processes, as far as it is used here."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]: ...


class _RayExecutor:
    """A pool on a Ray cluster. Tasks of another stage run in other processes."""

    def __init__(self, stage: int) -> None:
        variables = {"SEMPIC_STAGE": str(stage), runtime.THREADS: "1"}
        self._options = {"runtime_env": {"env_vars": variables}, "num_cpus": 1}

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        import ray

        future: Future[Any] = ray.remote(function).options(**self._options).remote(*arguments).future()
        return future


@contextmanager
def pools(counts: Sequence[int], threads: int = 1, ray_address: str | None = None) -> Iterator[list[Executor]]:
    """Yield pools that share no process.

    Args:
        counts: the number of processes in each pool.
        threads: the number of threads that a network may use.
        ray_address: a Ray cluster to run on, whose size then counts instead; "local" starts one on this machine with
            as many processes as the largest count.

    Raises:
        InputError: Ray is not installed.
    """
    with ExitStack() as stack:
        if ray_address is not None:
            _start_ray(stack, ray_address, max(counts))
            yield [_RayExecutor(stage) for stage in range(len(counts))]
            return
        stack.enter_context(_environment({runtime.THREADS: str(threads), "OMP_NUM_THREADS": str(threads)}))
        context = multiprocessing.get_context("spawn")
        made = list[Executor]()
        for count in counts:
            pool = ProcessPoolExecutor(count, context, depend_on_parent)
            stack.callback(pool.shutdown, cancel_futures=True)
            made.append(pool)
        yield made


def _start_ray(stack: ExitStack, address: str, processes: int) -> None:
    try:
        import ray
    except ImportError:
        raise InputError(f"--ray needs the package ray: {extras.install('scale')}.") from None
    local = address == "local"
    ray.init(address=address, num_cpus=processes if local else None, log_to_driver=False)
    stack.callback(ray.shutdown)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for processes that are started in the block: libraries read them when imported."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def depend_on_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it has ended, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "only processes that Python has started run this"

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
