"""The app's page: what is on it, and which step each button takes."""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from baselines.app.addresses import cleaned
from baselines.app.steps import (
    MOST_ERASERS,
    Proposal,
    Shelf,
    about,
    caption,
    decided,
    drawn,
    listed,
    marked,
    new_folder,
    opened,
    proposed,
    results,
    smaller,
    stem_of,
    with_proposal,
    write_mask,
)
from baselines.photos.choosing import best_ready
from baselines.photos.objects import Mapped, ObjectFinder
from olrd.errors import OlrdError
from olrd.sources.panoptic.coco import DEMO_ROOT
from olrd.trust import PICTURE_FORMATS, counted

TITLE = "Erase objects from photos"
EXAMPLES = DEMO_ROOT / "demo"
TAKE, DROP = "erase it too", "drop it"
WIDEST = 64
"""End of the slider for the growth, in pixels."""
# The widths are definite from the start: the editor measures its own once, when the photo arrives.
STYLE = """
.gradio-container {width: 100% !important; max-width: 1280px !important; margin: 0 auto !important}
@media (min-width: 768px) {#left {flex: 0 0 calc(60% - 8px) !important}}
footer {display: none !important}
"""
SUFFIXES = [f".{name.lower()}" for name in PICTURE_FORMATS] + [".jpg", ".tif"]


def style() -> Any:
    """A theme with the system's fonts: others would be loaded from the network."""
    fonts = ["system-ui", "sans-serif"]
    return gr.themes.Default(font=fonts, font_mono=["ui-monospace", "monospace"])


def answering(step: Callable[..., Any]) -> Callable[..., Any]:
    """Show what goes wrong as a message in the page, without folders of this machine."""

    @functools.wraps(step)
    def run(*args: Any) -> Any:
        try:
            return step(*args)
        except OlrdError as error:
            raise gr.Error(cleaned(error), duration=None, print_exception=False) from None
        except gr.Error:
            raise
        except MemoryError:
            raise gr.Error(
                "there is not enough memory for this photo: take a smaller one", print_exception=False
            ) from None
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            raise gr.Error(
                f"failed: {type(error).__name__}; the server's log says more", print_exception=False
            ) from None

    return run


class Steps:
    """What the buttons do. It holds what all users share: the erasers, the network that finds objects, and the folder.

    Args:
        shelf: The erasers.
        finder: Finds objects by name; None if its weights are not on this machine.
        folder: Where results are kept for their download.
    """

    def __init__(self, shelf: Shelf, finder: ObjectFinder | None, folder: Path) -> None:
        self.shelf, self.finder, self.folder = shelf, finder, folder

    def example(self, index: int) -> str:
        """The path of an example."""
        return str(example_photos()[index])

    def load(self, path: str | None) -> tuple[Any, ...]:
        """A new photo: the editor shows it, and everything about the last one goes away."""
        value = None
        if path:
            shown = smaller(opened(path).pixels)
            value = {"background": shown, "layers": [], "composite": None}
        return gr.ImageEditor(value=value), None, _choices([]), *self.forget(), *self.empty()

    def find(self, path: str | None) -> tuple[Mapped, Any]:
        """Find the photo's objects, for the field that names them."""
        photo = opened(path)
        if self.finder is None:
            raise gr.Error("objects cannot be found by name here", print_exception=False)
        mapped = self.finder.map_of(photo.pixels)
        things = listed(mapped)
        if not things:
            gr.Info("No countable object was found: brush over it.")
        return mapped, _choices(things)

    def look(
        self, wanted: bool, path: str | None, editor: Any, mapped: Mapped | None, names: list[str] | None
    ) -> tuple[Any, ...]:
        """Look for the shadow and the reflection, and draw them over the photo."""
        if not wanted:
            return self.forget()
        photo = opened(path)
        mask = marked(photo, _layers(editor), mapped, names or [])
        proposal = proposed(photo, mask)
        picture = drawn(photo, mask, proposal.effects)
        return (
            gr.Checkbox(value=True),
            proposal,
            gr.Image(value=picture, visible=proposal.found),
            gr.Markdown(value=about(proposal), visible=True),
            gr.Radio(value=TAKE, visible=proposal.found),
            gr.Button(visible=True),
        )

    def forget(self) -> tuple[Any, ...]:
        """Drop the proposal."""
        hidden = gr.update(visible=False)
        return gr.Checkbox(value=False), None, gr.Image(value=None, visible=False), hidden, hidden, hidden

    def erase(
        self,
        path: str | None,
        editor: Any,
        mapped: Mapped | None,
        names: list[str] | None,
        proposal: Proposal | None,
        decision: str,
        chosen: list[str] | None,
        automatic: bool,
        growth: float,
        progress: Any = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> list[Any]:
        """Erase with the chosen erasers: the mask's download, and a slider, a caption and a download for each."""
        photo = opened(path)
        assert path is not None
        mask = with_proposal(marked(photo, _layers(editor), mapped, names or []), proposal, decision == TAKE)
        chosen = list(chosen or [])
        what = decided(photo, mask, None if automatic else int(growth), chosen)
        folder, stem = new_folder(self.folder), stem_of(path)
        before = smaller(photo.pixels)
        shown: list[Any] = []
        progress((0, len(chosen)), desc=chosen[0], unit="erasers")
        for done, one in enumerate(results(photo, what, chosen, self.shelf, folder, stem), 1):
            shown += [
                gr.Column(visible=True),
                gr.ImageSlider(value=(before, smaller(one.erased.pixels))),
                gr.Markdown(value=caption(one)),
                gr.DownloadButton(value=str(one.path)),
            ]
            progress((done, len(chosen)), desc=chosen[min(done, len(chosen) - 1)], unit="erasers")
        hidden = [
            gr.Column(visible=False),
            gr.ImageSlider(value=None),
            gr.Markdown(value=""),
            gr.DownloadButton(value=None),
        ]
        shown += hidden * (MOST_ERASERS - len(chosen))
        width = f"the mask grew by {counted(what.growth, 'pixel')}" if what.growth else "the mask is as it was drawn"
        said = f"{100 * float(what.hole.mean()):.1f} % of the photo was erased; {width}. Pixels outside are unchanged."
        mask_file = write_mask(what, folder, stem)
        return [gr.Markdown(value=said, visible=True), gr.DownloadButton(value=str(mask_file), visible=True), *shown]

    def empty(self) -> list[Any]:
        """No results."""
        hidden = gr.update(visible=False)
        return [hidden, gr.DownloadButton(value=None, visible=False), *[hidden, None, "", None] * MOST_ERASERS]


def build(steps: Steps, without_names: str = "") -> Any:
    """Build the page.

    Args:
        steps: What the buttons do.
        without_names: Why objects cannot be named; shown if `steps.finder` is None.

    Returns:
        A `gradio.Blocks`.
    """
    best = best_ready().name
    ready = steps.shelf.ready()
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as page:
        mapped, proposal = gr.State(None), gr.State(None)
        gr.Markdown(f"# {TITLE}\nPhotos stay on the machine that runs this page.")
        with gr.Row():
            with gr.Column(scale=3, min_width=320, elem_id="left"):
                photo = gr.File(
                    label="1. Photo (JPEG, PNG, WebP, TIFF or BMP, at most 64 megapixels)",
                    file_types=SUFFIXES, type="filepath", height=110, elem_id="photo",
                )  # fmt: skip
                examples = gr.Dataset(
                    components=[gr.Image(visible=False, render=False, type="filepath")],
                    samples=[[str(one)] for one in example_photos()],
                    type="index", label="or an example", samples_per_page=15, elem_id="examples",
                )  # fmt: skip
                editor = gr.ImageEditor(
                    label="2. Brush", type="numpy", image_mode="RGBA", format="png",
                    sources=(), transforms=(), layers=False, height=460, elem_id="editor",
                    brush=gr.Brush(default_size=24, colors=["rgba(230, 40, 40, 0.6)"], color_mode="fixed"),
                    eraser=gr.Eraser(default_size=24),
                )  # fmt: skip
            with gr.Column(scale=2, min_width=300):
                with gr.Accordion("Or name the object", open=steps.finder is not None, elem_id="by-name"):
                    if steps.finder is None:
                        gr.Markdown(f"Not available here: {cleaned(without_names)}.", elem_id="no-names")
                    find = gr.Button("Find objects", visible=steps.finder is not None, elem_id="find")
                    names = gr.CheckboxGroup([], label="Objects, the largest first", visible=False, elem_id="names")
                chosen = gr.Dropdown(
                    ready, value=[best], multiselect=True, max_choices=MOST_ERASERS, elem_id="erasers",
                    label="3. Erasers", info=f"Up to {MOST_ERASERS}, compared side by side.",
                )  # fmt: skip
                automatic = gr.Checkbox(True, label="Grow the mask automatically", elem_id="automatic",
                                        info="By 4 % of the object's size, for its soft edge.")  # fmt: skip
                growth = gr.Slider(
                    0, WIDEST, value=0, step=1, visible=False, label="Grow by (pixels)", elem_id="growth",
                    info="0 erases exactly what is marked.",
                )  # fmt: skip
                wish = gr.Checkbox(False, label="Look for shadow and reflection", elem_id="look",
                                   info="What is found is shown first.")  # fmt: skip
                preview = gr.Image(visible=False, interactive=False, label="Proposal", buttons=[], elem_id="preview")
                found = gr.Markdown(visible=False, elem_id="found")
                decision = gr.Radio([TAKE, DROP], value=TAKE, visible=False, show_label=False, elem_id="decision")
                again = gr.Button("Look again", visible=False, size="sm", elem_id="again")
                erase = gr.Button("Erase", variant="primary", elem_id="erase")
        said = gr.Markdown(visible=False, elem_id="said")
        fields: list[Any] = []
        with gr.Row(elem_id="results"):
            for number in range(MOST_ERASERS):
                with gr.Column(visible=False, min_width=320) as column:
                    fields += [
                        column,
                        gr.ImageSlider(
                            label="Before, after", interactive=False, buttons=["fullscreen"], elem_id=f"slider-{number}"
                        ),
                        gr.Markdown(elem_id=f"caption-{number}"),
                        gr.DownloadButton("Download the result (PNG)", size="sm", elem_id=f"download-{number}"),
                    ]
        mask = gr.DownloadButton("Download the mask (PNG)", size="sm", visible=False, elem_id="mask")

        shown = [wish, proposal, preview, found, decision, again]
        outcome = [said, mask, *fields]
        marks = [photo, editor, mapped, names]
        link = functools.partial(_link, concurrency_id="work")
        link(examples.click, steps.example, [examples], [photo])
        link(photo.change, steps.load, [photo], [editor, mapped, names, *shown, *outcome])
        link(find.click, steps.find, [photo], [mapped, names])
        link(wish.input, steps.look, [wish, *marks], shown)
        link(again.click, lambda *given: steps.look(True, *given), marks, shown)
        automatic.change(None, [automatic], [growth], js="(on) => ({visible: !on, __type__: 'update'})")
        link(erase.click, steps.erase, [*marks, proposal, decision, chosen, automatic, growth], outcome)
    return page.queue(default_concurrency_limit=1, max_size=32, api_open=False)


def _link(event: Any, step: Callable[..., Any], inputs: list[Any], outputs: list[Any], concurrency_id: str) -> None:
    event(
        answering(step), inputs, outputs, concurrency_limit=1, concurrency_id=concurrency_id, api_visibility="private"
    )


def example_photos() -> list[Path]:
    """The embedded photos."""
    return sorted(EXAMPLES.glob("*.jpg"))


def _choices(things: list[tuple[str, str]]) -> Any:
    return gr.CheckboxGroup(choices=things, value=[], visible=bool(things))


def _layers(editor: Any) -> list[Any]:
    return (editor or {}).get("layers") or []
