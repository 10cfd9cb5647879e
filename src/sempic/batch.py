"""A tree of files into a tree of files, by many processes; what an earlier run has finished is not done again.

    SOURCE/a/b.jpg ─ Encoding ─▷ DEST/a/b.jpg.smp
    SOURCE/a/b.jpg.smp ─ Decoding ─▷ DEST/a/b.jpg.png
    SOURCE/a/b.smp ─ Decoding ─▷ DEST/a/b.decoded.png

A file's name only ever grows a suffix or changes `.smp` for another, so no two files can meet in one; and the picture
`b.png` that `b.smp` may have been made of is never in the way. SOURCE and DEST are folders or addresses of fsspec, such
as `s3://bucket/streets`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
from PIL import Image

from sempic import api, container, runtime
from sempic.codecs.spec import Spec
from sempic.errors import BudgetError, InputError, SempicError, StreamError, sentence
from sempic.files import saved
from sempic.link import protection
from sempic.pixels import Picture, PixelSize, is_picture_name, opened, read_picture
from sempic.pool import pools
from sempic.rate import Target, Written
from sempic.tree import Tree, is_hidden

STREAM, PICTURE, DECODED = ".smp", ".png", ".decoded.png"
"""The suffixes of what is written: the last one where a stream's name has no other suffix of a picture."""

_PNG = b"\x89PNG\r\n\x1a\n"
_AHEAD = 4096
"""So many files are handed out at a time: enough for a large cluster, and a list of any length fits into memory."""


class Task(Protocol):
    """What is done to each file of a tree."""

    @property
    def takes(self) -> str:
        """What kind of file it takes, in the plural."""

    def output(self, name: str) -> str | None:
        """Return the name that a file's result gets; None for a file of another kind."""

    def check(self) -> None:
        """Raise at once what would fail with every file."""

    def is_finished(self, made: bytes) -> bool:
        """Whether a result that exists is whole; raise `InputError` for a file that cannot be of this task."""

    def convert(self, data: bytes, name: str) -> tuple[bytes, tuple[str, ...]]:
        """Return the result for a file's bytes, with a warning for each part of them that could not be used."""


@dataclass(frozen=True)
class Encoding:
    """Pictures to streams, each under the same codec and settings, and to the same target.

    `within` is the size to which larger pictures are scaled down.
    """

    spec: Spec
    target: Target = field(default_factory=Target)
    within: PixelSize | None = None

    takes = "pictures"

    def output(self, name: str) -> str | None:
        """Add `.smp`, for files with the suffix of a format that Pillow reads."""
        return name + STREAM if is_picture_name(posixpath.basename(name)) else None

    def check(self) -> None:
        """Try it on a black picture; a size that is too small for that one may do for others."""
        with suppress(BudgetError):
            self._encoded(np.zeros((container.MIN_SIDE, container.MIN_SIDE, 3), np.uint8))

    def is_finished(self, made: bytes) -> bool:
        """Read the stream's header and sections; one that protection had to mend is not whole."""
        try:
            recovered = protection.recover(made)
            stream = container.read(recovered.stream)
        except StreamError:
            if made and not protection.may_start(made):
                raise InputError("There is a file that is no stream; name another DEST, or --force.") from None
            return False
        if recovered.mended or recovered.warnings or stream.warnings:
            return False
        header, codec, outside = stream.header, self.spec.codec, self.spec.outside
        is_outside = outside is not None and header.codec == outside.id
        other = not (header.codec == codec.id or is_outside) or bool(recovered.detail) != bool(self.spec.protect)
        if codec.learnt and not is_outside:
            model = runtime.model(self.spec.model or "", codec.name)
            other |= header.fingerprint != model.card.fingerprint
        limit = self.target.limit(header.width * header.height)
        above = limit is not None and len(made) > limit
        above |= self.within is not None and not (
            header.width <= self.within.width and header.height <= self.within.height
        )
        if above or other:
            raise InputError(
                "There is a stream of another codec, model or protection, or above this size; "
                "name another DEST, or --force."
            )
        return True

    def convert(self, data: bytes, name: str) -> tuple[bytes, tuple[str, ...]]:
        """Encode a picture."""
        picture, warnings = read_picture(data, name)
        made, more = self._encoded(self.within.shrink(picture) if self.within else picture)
        return made, (*warnings, *more)

    def _encoded(self, picture: Picture) -> Written:
        return self.target.write(api.analyse(picture, self.spec, self.target, self.spec.protect))


@dataclass(frozen=True)
class Decoding:
    """Streams to pictures. `model` names one that is not installed but that the streams may need."""

    model: str | None = None

    takes = "streams"

    def output(self, name: str) -> str | None:
        """Put `.png` where `.smp` was, or `.decoded.png` if there is no suffix of a picture before it."""
        stem = name.removesuffix(STREAM)
        if stem == name:
            return None
        return stem + (PICTURE if is_picture_name(posixpath.basename(stem)) else DECODED)

    def check(self) -> None:
        """Look for the model, where one was named."""
        if self.model is not None:
            runtime.model(self.model)

    def is_finished(self, made: bytes) -> bool:
        """Read the picture's chunks and their checks."""
        if made and not made.startswith(_PNG):
            raise InputError("There is a file that is no PNG; name another DEST, or --force.")
        try:
            with opened(made, "the picture") as picture:
                picture.verify()
                return True
        except InputError:
            return False

    def convert(self, data: bytes, name: str) -> tuple[bytes, tuple[str, ...]]:
        """Decode a stream."""
        decoded = api.decode(data, model=self.model)
        return saved(Image.fromarray(decoded.image), "PNG"), decoded.warnings


@dataclass(frozen=True)
class Summary:
    """What became of the files: counts, and sentences by file name.

    finished: how many results existed from an earlier run.
    left_out: how many files in SOURCE are hidden or of another kind, pipes and devices among them. Where DEST is the
        same tree, results of the task do not count.
    failed: those that failed, and folders that cannot be read.
    """

    written: int
    finished: int
    left_out: int
    failed: dict[str, str]
    warnings: dict[str, tuple[str, ...]]

    def by_warning(self) -> dict[str, list[str]]:
        """Return the names of the files that each warning is about."""
        found: dict[str, list[str]] = {}
        for name, sentences in self.warnings.items():
            for warning in sentences:
                found.setdefault(warning, []).append(name)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain dicts, lists, strings and numbers, ready for `json.dumps`."""
        return asdict(self) | {"warnings": {name: list(sentences) for name, sentences in self.warnings.items()}}


@dataclass(frozen=True)
class _Outcome:
    """What became of one file."""

    written: bool = False
    failure: str = ""
    warnings: tuple[str, ...] = ()


def run(
    task: Task,
    source: str,
    target: str,
    *,
    workers: int,
    ray_address: str | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Do a task to all files of one tree and put the results into another.

    A result that exists and is whole stays; one that is not whole is replaced. A file that fails stops no other.

    Args:
        source: a folder, or an address of fsspec.
        target: another, which is made if need be.
        workers: the number of processes.
        ray_address: a Ray cluster to run on instead, or "local".
        force: replaces whole results, too.
        progress: is called with the number of files done and the number there are.

    Raises:
        InputError: there are no files to do, or all of them would fail; or a tree is in the memory of this process.
        SempicError: a process died; what is finished by then is kept.
    """
    origin, destination = Tree.at(source), Tree.at(target)
    for tree, address in ((origin, source), (destination, target)):
        if tree.is_in_memory:
            raise InputError(f"'{address}' is in the memory of one process, and gone when it ends; name a folder.")
    found = origin.listing()
    outputs = {name: output for name in found.names if not is_hidden(name) and (output := task.output(name))}
    if not outputs:
        raise InputError(f"There are no {task.takes} in '{source}'.")
    task.check()
    destination.tidy(outputs.values())
    own = set(outputs.values()) if destination == origin else set()
    done, outcomes = SimpleQueue[Future[_Outcome]](), dict[str, _Outcome]()
    pending = dict[Future[_Outcome], str]()

    def settle(at_most: int) -> None:
        """Collect outcomes until at most so many files are handed out."""
        while len(pending) > at_most:
            future = done.get()
            outcomes[pending.pop(future)] = future.result()
            progress(len(outcomes), len(outputs))

    try:
        with pools([workers], ray_address=ray_address) as (pool,):
            for name, output in outputs.items():
                settle(_AHEAD - 1)
                future = pool.submit(_do, task, origin, name, destination, output, force)
                pending[future] = name
                future.add_done_callback(done.put)
            settle(0)
    except BrokenExecutor:
        raise SempicError(
            "A process died, for want of memory perhaps; run the same again, with fewer --workers: "
            f"{len(outcomes)} of {len(outputs)} files are done."
        ) from None
    written = sum(outcome.written for outcome in outcomes.values())
    failed = {name: outcomes[name].failure for name in outputs if outcomes[name].failure}
    return Summary(
        written=written,
        finished=len(outputs) - written - len(failed),
        left_out=len(set(found.names) - outputs.keys() - own) + found.others,
        failed=failed | found.unread,
        warnings={name: outcomes[name].warnings for name in outputs if outcomes[name].warnings},
    )


def _do(task: Task, origin: Tree, name: str, destination: Tree, output: str, force: bool) -> _Outcome:
    """Do a task to one file; nothing that goes wrong leaves this function."""
    try:
        if not force and destination.has(output) and task.is_finished(destination.read(output)):
            return _Outcome()
        made, warnings = task.convert(origin.read(name), name)
        destination.write(output, made)
        return _Outcome(written=True, warnings=warnings)
    except Exception as error:
        return _Outcome(failure=sentence(error) or f"{type(error).__name__}, a fault of Sempic's: {error}.")
