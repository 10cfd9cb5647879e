"""Self-contained web pages: everything is in the file, nothing is fetched."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from sempic import extras
from sempic.errors import InputError


def need(*packages: str) -> None:
    """Raise `InputError` for the first of these packages that is not here."""
    for package in packages:
        if find_spec(package) is None:
            raise InputError(f"Reports need the package {package}: {extras.install('bench')}.")


def render(template: str, **values: Any) -> str:
    """Return a page from a template in `templates`; texts among the values are escaped. Needs jinja2."""
    need("jinja2")
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("sempic.bench"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {}  # which would sort the keys, and with them the codecs
    return environment.get_template(template).render(**values)
