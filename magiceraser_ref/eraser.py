"""MagicEraser behind the `Eraser` protocol, for `benchmark run --method magiceraser` and others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from baselines import open_eraser
from baselines.checkpoints import license_of
from baselines.eraser import Eraser, EraserInfo, EraserSpec, Hints, WeightsMissingError
from magiceraser_ref.erase.painting import Choices
from magiceraser_ref.erase.segmentation import KINDS
from magiceraser_ref.extras import need
from magiceraser_ref.model.checkpoint import DTYPES
from magiceraser_ref.model.locate import SHIPPED, Located, locate
from magiceraser_ref.model.settings import Settings
from magiceraser_ref.refocus.settings import Refocus
from olrd.arrays import Image, Mask
from olrd.errors import UsageError
from olrd.models.checkpoints import choose_device
from olrd.registry import checked_options

NAME = "magiceraser"
DEFAULTS = {
    "model": SHIPPED,
    "revision": "",
    "initializer": "",
    "steps": "",
    "guidance": "",
    "strength": "",
    "negative": "",
    "refocus": "",
    "lambda_pos": "",
    "lambda_neg": "",
    "rule": "similar",
    "segmenter": "given",
    "prompt": "short",
    "content": "on",
    "token": "on",
    "lora": "on",
    "composite": "on",
    "margin": "",
    "dilate": "0",
    "dtype": "auto",
    "batch": "1",
}
"""Empty: as the model's own settings say."""
PROMPTS = ("short", "caption", "labels")
SWITCH = ("on", "off")


def open_magiceraser(spec: EraserSpec, progress: bool = False) -> RegisteredMagicEraser:
    """Options: model (folder or hub id; `small`, the shipped one), revision (of a hub id), initializer (an
    eraser's name), steps, guidance, strength, negative, refocus (`on`, `off`), lambda_pos, lambda_neg,
    rule (`similar`, `rest`), segmenter (`given`, `mask2former`, `none`), prompt (`short`: the sample's,
    else from the map; `caption`; `labels`: from the map), content, token, lora, composite (`on`, `off`), margin,
    dilate, dtype, batch (windows at a time; above 1 results change by rounding)."""
    for library in ("diffusers", "peft", "transformers"):
        need(library, f"the eraser {NAME}")
    options = checked_options(spec, DEFAULTS)
    for name, known in (
        ("refocus", ("", *SWITCH)),
        ("segmenter", KINDS),
        ("prompt", PROMPTS),
        ("content", SWITCH),
        ("token", SWITCH),
        ("lora", SWITCH),
        ("composite", SWITCH),
        ("dtype", DTYPES),
    ):
        if options[name] not in known:
            words = [word for word in known if word]
            raise UsageError(f"{NAME}: {name} is one of {words}, not '{options[name]}'")
    batch: int = _number(options, "batch", int)
    if batch < 1:
        raise UsageError(f"{NAME}: batch is a whole number of at least 1, not '{options['batch']}'")
    located = _located(options)
    settings = located.settings or Settings(token=None, lora=None)
    try:
        choices = _choices(options, settings)
    except UsageError as error:
        raise UsageError(f"{NAME}: {error}") from error
    initializer = _initializer(options["initializer"] or settings.initializer, spec.device)
    return RegisteredMagicEraser(
        spec, options, located=located, choices=choices, initializer=initializer, batch=batch, progress=progress
    )


def _located(options: Mapping[str, str]) -> Located:
    try:
        return locate(options["model"], options["revision"] or None)
    except WeightsMissingError as error:
        raise WeightsMissingError(f"{NAME}: {error} (--option model=FOLDER)") from error


def _initializer(name: str, device: str) -> Eraser:
    if name == NAME:
        raise UsageError(f"{NAME}: it cannot be its own initializer; opencv-telea needs no weights")
    try:
        return open_eraser(name, device=device)
    except WeightsMissingError as error:
        raise WeightsMissingError(
            f"{NAME}: its initializer {name} cannot run: {error}; or choose another with --option "
            "initializer=opencv-telea"
        ) from error


def _number(options: Mapping[str, str], name: str, kind: type[float] = float) -> Any:
    try:
        return kind(options[name])
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise UsageError(f"{NAME}: {name} is {what}, not '{options[name]}'") from None


def _choices(options: Mapping[str, str], settings: Settings) -> Choices:
    """The model's own choices with the options over them."""
    own = Choices.of(settings)
    refocus = None if options["refocus"] == "off" else own.refocus
    if options["refocus"] == "on":
        refocus = refocus or Refocus()
    if refocus is not None:
        given = ("lambda_pos", "lambda_neg")
        refocus = replace(refocus, **{k: _number(options, k) for k in given if options[k]})
    numbers: dict[str, Any] = {
        name: _number(options, name) for name in ("guidance", "strength", "margin") if options[name]
    }
    if options["steps"]:
        numbers["steps"] = _number(options, "steps", int)
    return replace(
        own,
        refocus=refocus,
        rule=options["rule"],
        content=options["content"] == "on",
        token=options["token"] == "on",
        composite=options["composite"] == "on",
        negative=options["negative"] or own.negative,
        dilate=_number(options, "dilate", int),
        **numbers,
    )


class RegisteredMagicEraser:
    """MagicEraser behind the protocol. Its files are checked; the first call of `erase` loads the networks."""

    def __init__(
        self,
        spec: EraserSpec,
        options: Mapping[str, str],
        *,
        located: Located,
        choices: Choices,
        initializer: Eraser,
        batch: int,
        progress: bool,
    ) -> None:
        self._options, self._located, self._choices = dict(options), located, choices
        self._initializer, self._batch, self._seed, self._progress = initializer, batch, spec.seed, progress
        self.device = choose_device(spec.device, f"the eraser {NAME}")

    @cached_property
    def info(self) -> EraserInfo:
        """The revision is a hash of the model's files; the initializer's is among the options."""
        settings, filler = self._located.settings, self._initializer.info
        model = self._options["model"]
        resolved = {
            "initializer": filler.name,
            "initializer_revision": filler.revision,
            "seed": str(self._seed),
            "steps": str(self._choices.steps),
            "guidance": str(self._choices.guidance),
            "strength": str(self._choices.strength),
            "negative": self._choices.negative,
            "refocus": "on" if self._choices.refocus else "off",
        }
        maps = self._choices.refocus is not None or self._options["prompt"] == "labels"
        wanted = maps and self._options["segmenter"] == "given"
        return EraserInfo(
            NAME,
            self._located.revision,
            settings.license if settings else license_of(model, self._located.folder),
            "" if model == SHIPPED else f"the model {self._located.folder.name}",
            self._options | resolved,
            device=self.device,
            wants=frozenset({"panoptic"} if wanted else ()),
        )

    @cached_property
    def _magic(self) -> Any:
        from magiceraser_ref.erase.pipeline import MagicEraser

        return MagicEraser.from_pretrained(
            self._options["model"],
            revision=self._options["revision"] or None,
            device=self.device,
            dtype=self._options["dtype"],
            initializer=self._initializer,
            segmenter=self._options["segmenter"],
            lora=self._options["lora"] == "on",
            choices=self._choices,
        )

    def erase(
        self, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None = None
    ) -> list[Image]:
        """See `Eraser.erase`. With composite=on the pixels outside the mask are the photo's own."""
        hints = list(hints) if hints else [Hints()] * len(images)
        if not any(mask.any() for mask in masks):
            return [image.copy() for image in images]
        found: list[Image] = self._magic.erase(
            images,
            masks,
            panoptic=[h.panoptic if h.categories else None for h in hints],
            categories=[h.categories for h in hints],
            erased=[_erased(h) for h in hints],
            prompts=[self._prompt(h) for h in hints],
            keys=[h.key for h in hints],
            seed=self._seed,
            batch_size=self._batch,
            progress=self._progress,
        )
        return found

    def _prompt(self, hint: Hints) -> str | None:
        if self._options["prompt"] == "caption":
            return hint.caption or hint.prompt
        return hint.prompt if self._options["prompt"] == "short" else None


def _erased(hint: Hints) -> str | None:
    """The erased object's category, if the map's categories know it."""
    names = {category.name for category in (hint.categories or {}).values()}
    return hint.category if hint.category in names else None
