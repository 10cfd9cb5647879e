"""The page of the studio: what is on it, and which button does what."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from sempic import codecs
from sempic.errors import InputError, SempicError
from sempic.studio import work
from sempic.studio.work import LIMIT_BYTES, Shown, Step, Upload, View, Wish
from sempic.taxonomy import CAMVID11

try:
    import gradio as gr
except ImportError:
    raise InputError("The studio needs the package gradio: pip install 'sempic[studio]'.") from None

_INTRODUCTION = """# Sempic studio
A picture becomes a few hundred bytes that keep what it means: a map of classes and the tokens that matter most. A
network paints the picture from them. Choose a picture and how many bytes it may take, and compare."""

_UNTOUCHED = 0.5  # the weight of a class that matters as much as any other
_MOST_LAYERS = 8
_MOST_STEPS = 50

_STYLE = """
#status progress { width: 100%; }
#status .failed { border-left: 4px solid #c0392b; padding-left: .6rem; }
#result iframe { width: 100%; border: 0; display: block; }
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


def serve(host: str, port: int | None, open_browser: bool) -> None:
    """Show the page until Ctrl-C. What is uploaded passes through a folder that goes with the program."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # which lets the folder go
    with tempfile.TemporaryDirectory(prefix="sempic-studio-") as folder:
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        page = build().queue(max_size=8)
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
            theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        )
        print(f"The studio is at {address} until Ctrl-C.", flush=True)
        page.block_thread()


def build() -> gr.Blocks:
    """Return the page."""
    with gr.Blocks(title="Sempic studio", analytics_enabled=False) as page:
        upload, stream, shown_codec = gr.State(None), gr.State(b""), gr.State("")
        gr.Markdown(_INTRODUCTION)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                file = gr.File(label="A picture, or a stream (.smp) to decode", type="filepath", elem_id="file")
                street = gr.Button("Take a drawn street", elem_id="street")
                codec = gr.Dropdown(list(codecs.CODECS), value="sqgan", label="Codec", elem_id="codec")
                size = gr.Slider(100, 30_000, 600, step=10, label="At most so many bytes", elem_id="size")
                sent_layers = gr.Slider(
                    1, _MOST_LAYERS, 1, step=1, label="Enhancement layers", visible=False, elem_id="layers"
                )
                protect = gr.Checkbox(label="Protect from lost packets, within these bytes", elem_id="protect")
                with gr.Accordion("What matters more (1) or less (0)", open=False, elem_id="keep") as keep:
                    weights = [gr.Slider(0, 1, _UNTOUCHED, step=0.1, label=name) for name in CAMVID11.classes]
                with gr.Row():
                    encode = gr.Button("Encode", variant="primary", elem_id="encode")
                    cancel = gr.Button("Cancel", variant="stop", elem_id="cancel")
            with gr.Column(scale=3, min_width=300):
                status = gr.HTML(_said("Choose a picture, or take the drawn street."), elem_id="status")
                layers = gr.Slider(
                    0, 1, 1, step=1, label="Layers shown on top of the base", visible=False, elem_id="shown-layers"
                )
                steps = gr.Slider(0, _MOST_STEPS, 8, step=1, label="Diffusion steps", visible=False, elem_id="steps")
                result = gr.HTML(elem_id="result")

        alone: dict[str, Any] = {"concurrency_id": "work", "concurrency_limit": 1, "show_progress": "hidden"}
        seen = [status, result, stream, shown_codec, layers]
        events = [
            file.upload(_receive, [file], [upload, *seen], **alone),
            street.click(lambda: (work.drawn_street(), None), None, [upload, file]).then(
                _look, [upload], seen, **alone
            ),
            encode.click(_encode, [upload, codec, size, sent_layers, protect, steps, *weights], seen, **alone),
            # Of what is asked while work goes on, only the last is done, so that sliders may be dragged.
            gr.on(
                [layers.input, steps.input],
                _show,
                [stream, layers, steps, upload],
                [status, result],
                trigger_mode="always_last",
                **alone,
            ),
        ]
        cancel.click(lambda: _said("Cancelled."), None, [status], cancels=events, queue=False)
        codec.change(_offer, [codec], [keep, sent_layers])
        gr.on([codec.change, shown_codec.change], _offer_steps, [codec, shown_codec], [steps])
    return page


def _receive(path: str | None) -> Iterator[tuple[Any, ...]]:
    """Take in a file, which does not stay on the disk: a picture to encode, or a stream to show."""
    if path is None:
        return
    given = Path(path)
    data = given.read_bytes()
    given.unlink()
    upload = Upload(given.name, data)
    if work.is_stream(data):
        for outputs in _told(work.show, data, View()):
            yield None, *outputs
    else:
        for outputs in _look(upload):
            yield upload, *outputs


def _look(upload: Upload) -> Iterator[tuple[Any, ...]]:
    """Say what a new picture is; what is shown of the one before goes."""
    for status, *_ in _told(work.look, upload):
        yield status, "", b"", "", gr.Slider(visible=False)


def _encode(
    upload: Upload | None, codec: str, size: float, layers: float, protect: bool, steps: float, *weights: float
) -> Iterator[tuple[Any, ...]]:
    if upload is None:
        yield _said("Choose a picture first, or take the drawn street.", failed=True), *[gr.skip()] * 4
        return
    keep = {name: weight for name, weight in zip(CAMVID11.classes, weights, strict=True) if weight != _UNTOUCHED}
    yield from _told(work.encode, upload, Wish(codec, int(size), keep, int(layers), protect), View(steps=int(steps)))


def _show(stream: bytes, layers: float, steps: float, upload: Upload | None) -> Iterator[tuple[Any, ...]]:
    if not stream:
        return
    for status, result, *_ in _told(work.show, stream, View(int(layers), int(steps)), upload):
        yield status, result


def _told(function: Any, *arguments: Any) -> Iterator[tuple[Any, ...]]:
    """Run work, and yield status, result, stream, codec and layers as the page shows them while it goes on."""
    nothing = [gr.skip()] * 4
    try:
        for found in work.run(function, *arguments):
            if isinstance(found, Step):
                yield _said(found.text, share=found.share), *nothing
            elif isinstance(found, Shown):
                layers = gr.Slider(maximum=max(found.layers, 1), value=found.layers, visible=found.layers > 0)
                frame = f'<iframe title="Result" srcdoc="{escape(found.page)}" onload="{escape(_GROW)}"></iframe>'
                yield _said("Done."), frame, found.stream, found.codec, layers
            else:  # nothing new, but a chance to be cancelled
                yield gr.skip(), *nothing
    except SempicError as error:
        yield _said(str(error), failed=True), *nothing


def _said(text: str, failed: bool = False, share: float = 1.0) -> str:
    bar = f'<progress max="1" value="{share:.2f}" aria-label="progress"></progress>' if share < 1 else ""
    return f'<p class="{"failed" if failed else "said"}">{escape(text)}</p>{bar}'


def _offer(codec: str) -> tuple[Any, Any]:
    return gr.Accordion(visible=work.knows(codec, "keep")), gr.Slider(visible=work.knows(codec, "layers"))


def _offer_steps(chosen: str, shown: str) -> Any:
    return gr.Slider(visible=any(work.knows(codec, "steps") for codec in (chosen, shown) if codec))
