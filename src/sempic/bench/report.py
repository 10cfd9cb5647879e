"""The report of a bench run: one web page that holds all of it, curves as PNG, and tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from sempic.bench import curves, gallery, html, links, plane, tables
from sempic.bench.results import Result, load_all
from sempic.errors import InputError
from sempic.files import whole_file

BEGIN, END = "<!-- tables -->", "<!-- end of tables -->"


def write_report(folder: Path) -> list[Path]:
    """Write `report.html` and, for each metric, `curves-METRIC.png` into the folder of a bench run; return their paths.

    There are no such curves where every codec has only one point. Where a codec was measured with several settings,
    `plane.png` shows how they trade perception for distortion; where packets were lost, `losses-METRIC.png` shows what
    that did. All else is about points without losses.

    The page needs neither network nor other files. Pictures are taken from the folder `work`; without it the page has
    none and says so. Raises `InputError` for results that are not there or cannot be compared.
    """
    html.need("jinja2", "matplotlib", "bjontegaard")
    from markupsafe import Markup

    measured = [result for result in load_all(folder) if result.points]
    results = [result.lossless for result in measured]
    if not results:
        raise InputError(f"The results in {folder} have no points; none of the pictures could be used.")
    sets = dict.fromkeys(result.data for result in results)
    if len(sets) > 1:
        raise InputError(f"The results in {folder} are of several data sets ({', '.join(sets)}); give each its folder.")
    metrics = curves.drawable(results)
    text = html.render(
        "report.html",
        title=f"Sempic bench: {results[0].data}",
        facts=_facts(results),
        gaps=_gaps(results),
        labels=[result.label for result in results],
        colours=[curves.COLOURS[place % len(curves.COLOURS)] for place in range(len(results))],
        curves=[(name, tables.about(name), Markup(curves.svg(results, name))) for name in metrics],
        tables=tables.all_tables(measured),
        gallery=asdict(gallery.gather(results, folder / "work")),
    )
    written = {"report.html": text.encode()}
    if any(len(result.points) > 1 for result in results):
        written |= {f"curves-{name}.png": curves.png(results, name) for name in metrics}
    drawn = {"plane.png": plane.png(results)} | {f"losses-{name}.png": links.png(measured, name) for name in metrics}
    written |= {name: data for name, data in drawn.items() if data}
    for name, data in written.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in written]


def markdown_tables(results: Sequence[Result]) -> str:
    """Return the tables of the report as Markdown, for `docs/results.md`."""
    html.need("bjontegaard")
    return "\n".join(table.markdown() for table in tables.all_tables([result for result in results if result.points]))


def update_markdown(path: Path, results: Sequence[Result]) -> None:
    """Put the tables into a Markdown file, between the two comments that mark their place.

    Raises `InputError` for a file without `<!-- tables -->` and `<!-- end of tables -->`.
    """
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise InputError(f"{path} has no lines '{BEGIN}' and '{END}' for the tables to stand between.")
    with whole_file(path.resolve()) as file:
        file.write(f"{before}{BEGIN}\n\n{markdown_tables(results)}\n{END}{after}".encode())


def _facts(results: Sequence[Result]) -> list[tuple[str, list[str]]]:
    """Return what the results were measured on and how; what they differ in is listed."""
    versions: dict[str, list[str]] = {}
    for result in results:
        for tool, version in result.versions.items():
            versions[tool] = _distinct([*versions.get(tool, []), version])
    facts = [
        ("Data", _distinct(result.data for result in results)),
        ("Pictures", _distinct(str(result.pictures) for result in results)),
        ("Protocol", _distinct(result.protocol for result in results)),
        ("Judge", _distinct(_about_judge(result) for result in results if result.judge)),
        ("Hardware", _distinct(result.hardware for result in results)),
        ("Command", _distinct(result.command for result in results if result.command)),
        ("Versions", [", ".join(f"{tool} {' / '.join(found)}" for tool, found in versions.items())]),
    ]
    return [(name, texts) for name, texts in facts if texts]


def _about_judge(result: Result) -> str:
    return f"{result.judge}, for the classes of {result.taxonomy['name']}"


def _gaps(results: Sequence[Result]) -> list[str]:
    """Return a sentence for each thing that is missing or makes the comparison unfair."""
    counts = {result.label: result.pictures for result in results}
    gaps = []
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{label} {count}" for label, count in counts.items())
        gaps.append(f"The codecs were not measured on the same pictures ({listed}); run the bench again.")
    for result in results:
        gaps += [f"{metric} was not measured: {why}" for metric, why in result.unavailable.items()]
        gaps += [f"The picture {picture} was left out: {why}" for picture, why in result.unread.items()]
    return _distinct(gaps)


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
