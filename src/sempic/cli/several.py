"""Commands that take several inputs: names and patterns, where each result goes, and what became of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import Any

import typer

from sempic.cli import common
from sempic.errors import InputError, sentence
from sempic.files import expanded

Work = Callable[[str, "str | None"], tuple[dict[str, Any], str]]
"""What is done to an input: from its name, and that of the output where it is given, to a report as values and text."""

_SLASHES = ("/", os.sep)


@dataclass(frozen=True)
class Jobs:
    """Inputs, each with the name of its output, or None for a name that follows from the input's.

    alone: whether one input was given by its own name: what is printed is then about that one.
    folder: where the outputs go; None for files beside the inputs, or for one file.
    """

    outputs: dict[str, str | None]
    alone: bool
    folder: Path | None = None

    @classmethod
    def of(cls, given: Sequence[str], output: str | None, suffix: str) -> Jobs:
        """Return the inputs that names and patterns stand for.

        Args:
            given: names, `-` for standard input, or patterns such as `photos/*.jpg`. The name of a file is no pattern.
            output: a file; or a folder, if it ends with a slash or if more than one input may be meant.
            suffix: what the outputs have in place of the inputs' suffix.

        Raises:
            InputError: nothing has such a name, several results have no folder, or two of them would have one name.
        """
        inputs = list(dict.fromkeys(name for one in given for name in _named(one)))
        alone = len(given) == 1 and not _is_pattern(given[0])
        if alone and (output is None or not output.endswith(_SLASHES)):
            return cls({inputs[0]: output}, alone)
        if "-" in inputs:
            raise InputError("Standard input has no name that its output could have; give it alone, with -o FILE.")
        folder = None if output is None else _folder(output)
        outputs, sources = dict[str, str | None](), dict[str, str]()
        for source in inputs:
            outputs[source] = None
            if not os.path.isdir(source):
                beside = Path(source).with_suffix(suffix)
                outputs[source] = made = str(folder / beside.name if folder else beside)
                other = sources.setdefault(os.path.normcase(os.path.abspath(made)), source)
                if other != source:
                    raise InputError(f"'{other}' and '{source}' would both become '{made}'; use sempic batch for them.")
        return cls(outputs, alone, folder)

    def only_alone(self, **given: Any) -> None:
        """Refuse options (by name, None where not given) that are for one input, if there are several."""
        for name in (name for name, value in given.items() if value is not None and not self.alone):
            raise typer.BadParameter(f"A {name} is that of one input, and there are several.")

    def run(self, work: Work, as_json: bool, quiet: bool) -> None:
        """Do the work to each input and report it; one that fails stops no other, and leads to exit code 1."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        reports, failed = list[dict[str, Any]](), False
        for source, output in self.outputs.items():
            try:
                if os.path.isdir(source):
                    raise InputError(f"'{source}' is a folder; sempic batch takes folders.")
                report, text = work(source, output)
            except Exception as error:
                why = sentence(error)
                if self.alone or why is None:
                    raise
                common.say(f"failed: {common.about(source, why)}")
                reports.append({"input": source, "error": why})
                failed = True
                continue
            common.warn([one if self.alone else common.about(source, one) for one in report["warnings"]])
            reports.append({"input": source} | report)
            if self.alone or not as_json:
                target = "-" if "-" in report.values() else report["output"]
                common.report(reports[-1], text, as_json, target, quiet)
        if as_json and not self.alone:
            print(json.dumps(reports))
        if failed:
            raise typer.Exit(1)


def _is_pattern(given: str) -> bool:
    return has_magic(given) and not os.path.lexists(given)


def _named(given: str) -> list[str]:
    """Return the files that an argument stands for; shells of Windows leave patterns and `~` to the program."""
    if not given:
        raise InputError("The name of an input is empty.")
    path = str(expanded(given)) if given.startswith("~") and not os.path.lexists(given) else given
    if not _is_pattern(given):
        return [path]
    found = sorted(filter(os.path.isfile, glob(path, recursive=True)))
    if not found:
        raise InputError(f"No file has a name like '{given}'.")
    return found


def _folder(output: str) -> Path:
    """Return the folder for several results; raise `InputError` for what looks like the name of one file."""
    folder = Path(output)
    is_new = not folder.is_dir()
    if output == "-" or (is_new and (folder.exists() or (folder.suffix and not output.endswith(_SLASHES)))):
        raise InputError(f"'{output}' cannot take several results; name a folder, with a slash at its end.")
    return folder
