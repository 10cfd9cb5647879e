"""The page of the studio: what is on it, and which button does what."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from sempic.codecs.layered import MAX_LAYERS
from sempic.codecs.spic import MAX_STEPS, STEPS
from sempic.errors import InputError, SempicError
from sempic.studio import work
from sempic.studio.work import LIMIT_BYTES, Seen, Shown, Step, Upload, View, Wish
from sempic.taxonomy import CAMVID11

try:
    import gradio as gr
except ImportError:
    raise InputError("The studio needs the package gradio: pip install 'sempic[studio]'.") from None

_INTRODUCTION = """# Sempic studio
A picture becomes a few hundred bytes that keep what it means: a map of classes and what else matters most. A network
paints the picture from them. Choose a picture and how many bytes it may take, and compare."""

_LEAST, _USUAL_BPP, _MOST, _MOST_BPP = 400, 0.028, 5000, 0.5  # bytes at first and at most, and those of large pictures
_UNTOUCHED = 0.5  # the weight of a class that matters as much as any other

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

# A reader of the screen is told what the status says; it has to be asked to listen before that changes.
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
    """Show the page until Ctrl-C. What is uploaded passes through a folder that goes with the program.

    `models` are used instead of the codecs' own. Raises `ModelError` or `InputError` for one that cannot be.
    """
    usable = work.usable(models)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # which lets the folder go
    with tempfile.TemporaryDirectory(prefix="sempic-studio-") as folder:
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        page = build(usable).queue(max_size=8)
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


def build(usable: Mapping[str, str]) -> gr.Blocks:
    """Return the page for the codecs that `work.usable` found."""
    with gr.Blocks(title="Sempic studio", analytics_enabled=False) as page:
        upload, stream, shown_codec = gr.State(None), gr.State(b""), gr.State("")
        gr.Markdown(_INTRODUCTION)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                file = gr.File(label="A picture, or a stream (.smp) to decode", height=180, elem_id="file")
                street = gr.Button("Take a drawn street", elem_id="street")
                codec = gr.Dropdown(
                    list(usable),
                    label="Codec",
                    info="The first ones draw the picture from its meaning; hevc and those after it are conventional.",
                    filterable=False,
                    elem_id="codec",
                )
                size = gr.Slider(100, _MOST, 600, step=10, label="At most so many bytes", elem_id="size")
                sent_layers = gr.Slider(
                    1, MAX_LAYERS, 1, step=1, label="Enhancement layers", visible=False, elem_id="layers"
                )
                with gr.Accordion("What matters more (1) or less (0)", open=False, elem_id="keep") as keep:
                    weights = [gr.Slider(0, 1, _UNTOUCHED, step=0.1, label=name) for name in CAMVID11.classes]
                protect = gr.Checkbox(label="Protect from lost packets, within these bytes", elem_id="protect")
                with gr.Row():
                    encode = gr.Button("Encode", variant="primary", scale=2, min_width=120, elem_id="encode")
                    cancel = gr.Button("Cancel", interactive=False, min_width=80, elem_id="cancel")
            with gr.Column(scale=3, min_width=300):
                status = gr.HTML(_said("Choose a picture, or take the drawn street."), elem_id="status")
                layers = gr.Slider(
                    0, 1, 1, step=1, label="Layers shown on top of the base", visible=False, elem_id="shown-layers"
                )
                steps = gr.Slider(0, MAX_STEPS, STEPS, step=1, label="Diffusion steps", visible=False, elem_id="steps")
                result = gr.HTML(elem_id="result")

        alone: dict[str, Any] = {"concurrency_id": "work", "concurrency_limit": 1, "show_progress": "hidden"}
        told = [status, cancel, result, stream, shown_codec, layers, size]
        models = tuple(filter(None, usable.values()))
        events = [
            file.upload(partial(_receive, models), [file], [upload, file, *told], **alone),
            street.click(work.drawn_street, None, [upload]).then(_look, [upload], told, **alone),
            encode.click(
                partial(_encode, usable),
                [upload, codec, size, sent_layers, protect, steps, *weights],
                told,
                **alone,
            ),
            # Of what is asked while work goes on, only the last is done, so that sliders may be dragged.
            gr.on(
                [layers.input, steps.input],
                partial(_show, models),
                [stream, layers, steps, upload],
                told[:3],
                trigger_mode="always_last",
                **alone,
            ),
        ]
        cancel.click(
            lambda: (_said("Cancelled."), gr.Button(interactive=False)),
            None,
            [status, cancel],
            cancels=events,
            queue=False,
        )
        codec.change(_offer, [codec], [keep, sent_layers])
        gr.on([codec.change, shown_codec.change], _offer_steps, [codec, shown_codec], [steps])
    return page


def _receive(models: tuple[str, ...], path: str | None) -> Iterator[tuple[Any, ...]]:
    """Take in a file, which does not stay on the disk: a picture to encode, or a stream to show."""
    if path is None:
        return
    given = Path(path)
    data = given.read_bytes()
    given.unlink()
    upload = Upload(given.name, data)
    if work.is_stream(data):
        for outputs in _told(work.show, data, View(models=models)):
            yield None, None, *outputs
    else:
        for outputs in _look(upload):
            yield upload, None, *outputs


def _look(upload: Upload) -> Iterator[tuple[Any, ...]]:
    """Show a new picture; what is shown of the one before goes."""
    for status, cancel, result, *_, size in _told(work.look, upload):
        yield status, cancel, result, b"", "", gr.Slider(visible=False), size


def _encode(
    usable: Mapping[str, str],
    upload: Upload | None,
    codec: str,
    size: float,
    layers: float,
    protect: bool,
    steps: float,
    *weights: float,
) -> Iterator[tuple[Any, ...]]:
    if upload is None:
        yield _said("Choose a picture first, or take the drawn street.", failed=True), *[gr.skip()] * 6
        return
    keep = {name: weight for name, weight in zip(CAMVID11.classes, weights, strict=True) if weight != _UNTOUCHED}
    wish = Wish(codec, int(size), keep, int(layers), protect, usable[codec])
    yield from _told(work.encode, upload, wish, View(steps=int(steps)))


def _show(
    models: tuple[str, ...], stream: bytes, layers: float, steps: float, upload: Upload | None
) -> Iterator[tuple[Any, ...]]:
    if not stream:
        return
    for status, cancel, result, *_ in _told(work.show, stream, View(int(layers), int(steps), models), upload):
        yield status, cancel, result


def _told(function: Any, *arguments: Any) -> Iterator[tuple[Any, ...]]:
    """Yield what the page shows while work goes on: status, whether it can be cancelled, result, stream, codec, layers
    and the range of sizes."""
    nothing, ended = [gr.skip()] * 5, gr.Button(interactive=False)
    try:
        for found in work.run(function, *arguments):
            if isinstance(found, Step):
                yield _said(found.text, share=found.share), gr.Button(interactive=True), *nothing
            elif isinstance(found, Seen):
                picture = f'<img src="{found.picture}" alt="The picture to encode">'
                least, most = found.pixels * _USUAL_BPP / 8, found.pixels * _MOST_BPP / 8
                size = gr.Slider(maximum=max(round(most, -1), _MOST), value=max(round(least, -1), _LEAST))
                yield _said(found.text), ended, picture, *nothing[:3], size
            elif isinstance(found, Shown):
                layers = gr.Slider(maximum=max(found.layers, 1), value=found.layers, visible=found.layers > 0)
                frame = f'<iframe title="Result" srcdoc="{escape(found.page)}" onload="{escape(_GROW)}"></iframe>'
                yield _said(f"Done. {found.title}"), ended, frame, found.stream, found.codec, layers, gr.skip()
            else:  # nothing new, but a chance to be cancelled
                yield gr.skip(), gr.skip(), *nothing
    except SempicError as error:
        yield _said(str(error), failed=True), ended, *nothing


def _said(text: str, failed: bool = False, share: float = 1.0) -> str:
    bar = f'<progress max="1" value="{share:.2f}" aria-label="progress"></progress>' if share < 1 else ""
    return f'<p class="{"failed" if failed else "said"}">{escape(text)}</p>{bar}'


def _offer(codec: str) -> tuple[Any, Any]:
    return gr.Accordion(visible=work.knows(codec, "keep")), gr.Slider(visible=work.knows(codec, "layers"))


def _offer_steps(chosen: str, shown: str) -> Any:
    return gr.Slider(visible=any(work.knows(codec, "steps") for codec in (chosen, shown) if codec))
