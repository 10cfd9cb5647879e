"""The page of the studio: its controls, and what each of them does."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from sempic import extras
from sempic.codecs import CODECS
from sempic.codecs.spec import AUTO, PROTECT, about
from sempic.errors import InputError, SempicError
from sempic.studio import tasks
from sempic.studio.tasks import LIMIT_BYTES, DisplayedStream, DisplayRequest, Progress, Upload, UploadInfo
from sempic.studio.worker import Worker

try:
    import gradio as gr
except ImportError:
    raise InputError(f"The studio needs the package gradio: {extras.install('studio')}.") from None

_INTRODUCTION = """# Sempic studio
A picture becomes a few hundred bytes that keep what it means: a segmap and what else matters most. A network draws the
picture from them. Choose a picture and how many bytes it may take, and compare."""

_LEAST, _USUAL_BPP, _MOST, _MOST_BPP = 400, 0.028, 5000, 0.5  # bytes at first and at most, and those of large pictures
_MOST_LAYERS, _MOST_STEPS = 8, 50  # where the sliders end, for codecs that have settings or options of these names
_NEUTRAL = 0.5  # the weight of a class that matters as much as any other

_STYLE = """
#status progress { width: 100%; accent-color: #2f6fbf; }
#status .failed { border-left: 4px solid #c0392b; padding-left: .6rem; }
#status p { font-size: 1.05rem; }
#status .html-container, #result .html-container { padding: 0; }
#result iframe, #result img { width: 100%; border: 0; display: block; }
#result img { max-width: 640px; border-radius: 6px; }
.min_value, .max_value { color: var(--block-info-text-color) !important; }
:focus-visible { outline: 2px solid #2f6fbf !important; outline-offset: 2px; }
"""

# A screen reader reads the status aloud; it has to be asked to before the status changes.
_LISTEN = """() => {
  const status = document.getElementById("status");
  status.setAttribute("role", "status");
  status.setAttribute("aria-live", "polite");
}"""

# The result is a page of its own, with a style of its own, as high as what is on it.
_GROW = (
    "const body = this.contentDocument.body;"
    "new ResizeObserver(() => { this.style.height = `${body.offsetHeight}px`; }).observe(body)"
)


def serve(host: str, port: int | None, open_browser: bool, models: Sequence[str] = ()) -> None:
    """Show the page until Ctrl-C. Uploads pass through a folder that is removed at the end.

    Args:
        host: the address to listen on.
        port: the port; 7860 or the next free one if left out.
        open_browser: whether to open the page in the browser.
        models: models to use in place of the codecs' default ones, by name, folder or address.

    Raises:
        ModelError: a model is not there.
        InputError: a model is of no codec.
    """
    usable = tasks.usable(models)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the folder is removed then, too
    with tempfile.TemporaryDirectory(prefix="sempic-studio-") as folder, Worker() as worker:
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        page = build(usable, worker).queue(max_size=8)
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            inbrowser=open_browser,
            share=False,
            max_file_size=LIMIT_BYTES,
            state_session_capacity=64,
            footer_links=[],
            ssr_mode=False,
            quiet=True,
            prevent_thread_lock=True,
            css=_STYLE,
            js=_LISTEN,
            theme=_theme(),
        )
        print(f"The studio is at {address} until Ctrl-C.", flush=True)
        page.block_thread()


def _theme() -> Any:
    """Fonts that are on every machine, and no pale words: contrasts are 4.5 to 1 and better."""
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    return gr.themes.Default(primary_hue="blue", **fonts).set(
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_800",
    )


def build(usable: Mapping[str, str], worker: Worker) -> gr.Blocks:
    """Return the page.

    Args:
        usable: the codecs and their models, as `tasks.usable` returns them.
        worker: the process in which all work is done.
    """
    classes = {name: tasks.classes(name, model) for name, model in usable.items()}
    every_class = list(dict.fromkeys(known for names in classes.values() for known in names))
    first = next(iter(usable))
    with gr.Blocks(title="Sempic studio", analytics_enabled=False) as page:
        upload, stream, shown_codec = gr.State(None), gr.State(None), gr.State("")
        gr.Markdown(_INTRODUCTION)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                file = gr.File(label="A picture, or a stream (.smp) to decode", height=180, elem_id="file")
                street = gr.Button("Take a drawn street", elem_id="street")
                codec = gr.Dropdown(
                    list(usable),
                    label="Codec",
                    info=_about_codecs(usable),
                    filterable=False,
                    elem_id="codec",
                )
                size = gr.Slider(100, _MOST, 600, step=10, label="At most so many bytes", elem_id="size")
                sent_layers = gr.Slider(
                    1, _MOST_LAYERS, 1, step=1, label="Enhancement layers", visible=False, elem_id="layers"
                )
                with gr.Accordion("What matters more (1) or less (0)", open=False, elem_id="keep") as keep:
                    weights = [
                        gr.Slider(0, 1, _NEUTRAL, step=0.1, label=name, visible=name in classes[first])
                        for name in every_class
                    ]
                protect = gr.Checkbox(label="Protect from lost packets, within these bytes", elem_id="protect")
                with gr.Accordion("Further settings", open=False):
                    text = gr.Textbox(
                        "", label="NAME=VALUE, joined by +", info=_about_settings(first), elem_id="settings"
                    )
                with gr.Row():
                    encode = gr.Button("Encode", variant="primary", scale=2, min_width=120, elem_id="encode")
                    cancel = gr.Button("Cancel", interactive=False, min_width=80, elem_id="cancel")
            with gr.Column(scale=3, min_width=300):
                status = gr.HTML(_sentence("Choose a picture, or take the drawn street."), elem_id="status")
                layers = gr.Slider(
                    0, 1, 1, step=1, label="Layers shown on top of the base", visible=False, elem_id="shown-layers"
                )
                marked = gr.Checkbox(label="Mark what was sent, what is invented, and what was lost", elem_id="marked")
                steps = gr.Slider(
                    0, _MOST_STEPS, _default_steps(), step=1, label="Sampler steps", visible=False, elem_id="steps"
                )
                result = gr.HTML(elem_id="result")

        alone: dict[str, Any] = {"concurrency_id": "work", "concurrency_limit": 1, "show_progress": "hidden"}
        outputs = [status, cancel, result, stream, shown_codec, layers, size]
        models = tuple(filter(None, usable.values()))
        events = [
            file.upload(partial(_receive, worker, models), [file, marked], [upload, file, *outputs], **alone),
            street.click(tasks.drawn_street, None, [upload]).then(partial(_look, worker), [upload], outputs, **alone),
            encode.click(
                partial(_encode, worker, usable, classes, every_class),
                [upload, codec, size, sent_layers, protect, steps, marked, text, *weights],
                outputs,
                **alone,
            ),
            # Of the requests that come in while work goes on, only the last is done, so that sliders may be dragged.
            gr.on(
                [layers.input, steps.input, marked.input],
                partial(_show, worker, models),
                [stream, shown_codec, layers, steps, marked, upload],
                outputs[:3],
                trigger_mode="always_last",
                **alone,
            ),
        ]
        cancel.click(
            lambda: (_sentence("Cancelled."), gr.Button(interactive=False)),
            None,
            [status, cancel],
            cancels=events,
            queue=False,
        )
        codec.change(partial(_offer, classes, every_class), [codec], [keep, sent_layers, text, *weights])
        gr.on([codec.change, shown_codec.change], _offer_steps, [codec, shown_codec], [steps])
    return page


def _about_codecs(usable: Mapping[str, str]) -> str:
    learnt = ", ".join(name for name in usable if about(name).learnt and name != AUTO) or "none here"
    auto = f" {AUTO} is {about(AUTO).about}" if AUTO in usable else ""
    return f"Codecs that draw the picture from its meaning: {learnt}. The others are conventional.{auto}"


def _about_settings(codec: str) -> str:
    """Return what each setting does that can be written as text."""
    return "\n".join(f"`{one.name}={one.default}`: {one.about}" for one in tasks.text_settings(codec))


def _default_steps() -> int:
    """Return the number of sampler steps of the first codec that has some."""
    options = (one for name in CODECS for one in about(name).options)
    return next((int(one.default) for one in options if one.name == "steps"), 0)


def _receive(worker: Worker, models: tuple[str, ...], path: str | None, marked: bool) -> Iterator[tuple[Any, ...]]:
    """Take in a file, which does not stay on the disk: a picture to encode, or a stream to show."""
    if path is None:
        return
    given = Path(path)
    data = given.read_bytes()
    given.unlink()
    upload = Upload(given.name, data)
    if tasks.is_stream(data):
        for outputs in _outputs(worker, tasks.show, data, DisplayRequest(models=models, marked=marked)):
            yield None, None, *outputs
    else:
        for outputs in _look(worker, upload):
            yield upload, None, *outputs


def _look(worker: Worker, upload: Upload) -> Iterator[tuple[Any, ...]]:
    """Show a new picture; what is shown of the one before goes."""
    for status, cancel, result, *_, size in _outputs(worker, tasks.look, upload):
        yield status, cancel, result, None, "", gr.Slider(visible=False), size


def _encode(
    worker: Worker,
    usable: Mapping[str, str],
    classes: Mapping[str, Sequence[str]],
    every_class: Sequence[str],
    upload: Upload | None,
    codec: str,
    size: float,
    layers: float,
    protect: bool,
    steps: float,
    marked: bool,
    text: str,
    *weights: float,
) -> Iterator[tuple[Any, ...]]:
    """Encode the picture with the chosen codec and all controls that the codec has."""
    try:
        if upload is None:
            raise InputError("Choose a picture first, or take the drawn street.")
        chosen = {name: w for name, w in zip(every_class, weights, strict=True) if w != _NEUTRAL}
        keep = {name: weight for name, weight in chosen.items() if name in classes[codec]}
        controls = {"keep": keep, "layers": int(layers), "steps": int(steps), "model": usable[codec]}
        spec = tasks.spec_of(codec, controls | ({PROTECT: True} if protect else {}), text)
    except SempicError as error:
        yield _sentence(str(error), failed=True), *[gr.skip()] * 6
        return
    models = tuple(filter(None, usable.values()))
    yield from _outputs(worker, tasks.encode, upload, spec, int(size), models, marked)


def _show(
    worker: Worker,
    models: tuple[str, ...],
    stream: tuple[bytes, tuple[str, ...]] | None,
    codec: str,
    layers: float,
    steps: float,
    marked: bool,
    upload: Upload | None,
) -> Iterator[tuple[Any, ...]]:
    """Draw the stream that is shown once more, with other layers or steps, or with marks."""
    if stream is None:
        return
    data, warnings = stream
    options = tasks.spec_of(codec, {"steps": int(steps)}).options
    request = DisplayRequest(int(layers), options, models, warnings, marked)
    for status, cancel, result, *_ in _outputs(worker, tasks.show, data, request, upload):
        yield status, cancel, result


def _outputs(worker: Worker, task: Any, *arguments: Any) -> Iterator[tuple[Any, ...]]:
    """Yield what the page shows while a task goes on: status, whether it can be cancelled, result, stream with the
    warnings about it, codec, layers and the range of sizes."""
    nothing, ended = [gr.skip()] * 5, gr.Button(interactive=False)
    try:
        for found in worker.run(task, *arguments):
            if isinstance(found, Progress):
                yield _sentence(found.text, share=found.share), gr.Button(interactive=True), *nothing
            elif isinstance(found, UploadInfo):
                picture = f'<img src="{found.picture}" alt="The picture to encode">'
                least, most = found.pixels * _USUAL_BPP / 8, found.pixels * _MOST_BPP / 8
                size = gr.Slider(maximum=max(round(most, -1), _MOST), value=max(round(least, -1), _LEAST))
                yield _sentence(found.text), ended, picture, *nothing[:3], size
            elif isinstance(found, DisplayedStream):
                layers = gr.Slider(maximum=max(found.layers, 1), value=found.layers, visible=found.layers > 0)
                frame = f'<iframe title="Result" srcdoc="{escape(found.page)}" onload="{escape(_GROW)}"></iframe>'
                stream = found.stream, found.warnings
                yield _sentence(f"Done. {found.title}"), ended, frame, stream, found.codec, layers, gr.skip()
            else:  # nothing new, but a chance to be cancelled
                yield gr.skip(), gr.skip(), *nothing
    except SempicError as error:
        yield _sentence(str(error), failed=True), ended, *nothing


def _sentence(text: str, failed: bool = False, share: float = 1.0) -> str:
    """Return a sentence as HTML, with a bar where a share of the work is done."""
    bar = f'<progress max="1" value="{share:.2f}" aria-label="progress"></progress>' if share < 1 else ""
    return f'<p class="{"failed" if failed else "done"}">{escape(text)}</p>{bar}'


def _offer(classes: Mapping[str, Sequence[str]], every_class: Sequence[str], codec: str) -> tuple[Any, ...]:
    """Return which controls of encoding are shown for a codec."""
    return (
        gr.Accordion(visible=tasks.knows(codec, "keep")),
        gr.Slider(visible=tasks.knows(codec, "layers")),
        gr.Textbox(value="", info=_about_settings(codec)),
        *(gr.Slider(visible=name in classes[codec]) for name in every_class),
    )


def _offer_steps(chosen: str, shown: str) -> Any:
    return gr.Slider(visible=any(tasks.knows(codec, "steps") for codec in (chosen, shown) if codec))
