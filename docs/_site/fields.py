"""The fields that a docstring describes, one after another as `name: what it is`, as a list."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Fields(griffe.Extension):
    """Rewrites the docstrings of classes for the reference; what stands in the code stays as plain text."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Make a list item of each line that begins with the name of one of the class's fields."""
        if cls.docstring:
            names = "|".join(map(re.escape, cls.members)) or "(?!)"
            cls.docstring.value = re.sub(rf"^({names}): ", r"- **\1**: ", cls.docstring.value, flags=re.MULTILINE)
