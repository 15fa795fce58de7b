"""MagicEraser with the interface `Eraser`, for `benchmark run --method magiceraser` and others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from baselines.checkpoints import license_of
from baselines.eraser import Eraser, EraserInfo, EraserSpec, Hints, WeightsMissingError
from magiceraser_ref.erase.choices import OF_THE_MODEL, Choices
from magiceraser_ref.erase.segmentation import KINDS
from magiceraser_ref.extras import EXTRA
from magiceraser_ref.model.checkpoint import DTYPES
from magiceraser_ref.model.locate import SHIPPED, Located, locate
from magiceraser_ref.model.settings import Settings
from magiceraser_ref.refocus.settings import Refocus
from olrd.arrays import Image, Mask
from olrd.errors import UsageError
from olrd.models.checkpoints import check_installed, choose_device
from olrd.options import Bound, check, option, options_of
from olrd.registry import checked_options

NAME = "magiceraser"
PROMPTS = ("short", "caption", "labels")
SWITCH = {"on": True, "off": False}
LATER = ("refine", "refine_strength", "residual", "resolution")
"""Options that earlier records do not have. They are left out of new ones at their defaults, so that equal runs have equal
records."""


@dataclass(frozen=True)
class EraserOptions:
    """Options of the eraser `magiceraser` in addition to the fields of `Choices` and `Refocus`.

    They come from `--option KEY=VALUE` of `benchmark run`; `magiceraser erase` offers most of them too.
    """

    model: str = option(SHIPPED, "folder of a model, or the id of one in the hub's cache", metavar="MODEL")
    revision: str = option("", "commit of a model from the hub", metavar="COMMIT")
    initializer: str | None = option(
        None, "eraser that fills the hole roughly first", metavar="ERASER", shown_default=OF_THE_MODEL
    )
    refocus: str | None = option(
        None, "attention refocusing, on or off", metavar="WORD", choices=tuple(SWITCH), shown_default=OF_THE_MODEL
    )
    segmenter: str = option(
        "given", "where panoptic maps come from: given, mask2former or none", metavar="NAME", choices=KINDS
    )
    prompt: str = option(
        "short",
        "prompt: short (the sample's, else from the map), caption (the sample's) or labels (from the map)",
        metavar="NAME",
        choices=PROMPTS,
    )
    lora: bool = option(True, "leave the model's LoRA out")
    dtype: str = option("auto", "number format of the networks", metavar="NAME", choices=DTYPES)
    batch: int = option(
        1, "windows that the model erases at a time; above 1 results change by rounding", metavar="N", least=1
    )

    def __post_init__(self) -> None:
        check(self)


BOUNDS = {bound.name: bound for kind in (EraserOptions, Choices) for bound in options_of(kind)}
"""Every option of the eraser by its name."""


def default_text(bound: Bound) -> str:
    """Return an option's default as text. Empty: as the model's settings say."""
    if bound.default is None or bound.described.shown_default is not None:
        return ""
    if bound.is_switch:
        return "on" if bound.default else "off"
    return str(bound.kind.write(bound.default))


def _values(options: Mapping[str, str], kind: type[Any]) -> dict[str, Any]:
    """Parse those of a dataclass's options that are not empty."""
    values: dict[str, Any] = {}
    for bound in options_of(kind):
        if len(bound.path) > 1 or not (text := options[bound.name]):
            continue
        if bound.is_switch and text not in SWITCH:
            raise UsageError(f"{bound.name} is on or off, not '{text}'")
        values[bound.name] = SWITCH[text] if bound.is_switch else bound.kind.parse(bound.name, text)
    return values


def open_magiceraser(spec: EraserSpec, progress: bool = False) -> RegisteredMagicEraser:
    """Open the eraser. Its options are the fields of `EraserOptions`, `Choices` and `Refocus`.

    progress: show the steps on stderr. `benchmark run` does without, because it has a progress bar.
    """
    check_installed(("diffusers", "peft", "transformers"), f"the eraser {NAME}", EXTRA)
    from magiceraser_ref.erase.initialization import open_initializer  # imports OpenCV, which `--help` does without

    texts = checked_options(spec, {name: default_text(bound) for name, bound in BOUNDS.items()})
    try:
        options = EraserOptions(**_values(texts, EraserOptions))
        located = _located(options)
        settings = located.settings or Settings(token=None, lora=None)
        choices = _choices(texts, options.refocus, settings)
        initializer = open_initializer(options.initializer, settings.initializer, spec.device)
    except WeightsMissingError:
        raise
    except UsageError as error:
        raise UsageError(f"{NAME}: {error}") from error
    return RegisteredMagicEraser(
        spec, texts, options, located=located, choices=choices, initializer=initializer, progress=progress
    )


def _as_before(name: str, text: str) -> bool:
    """Whether an option is one of `LATER` with its default."""
    return name in LATER and text == default_text(BOUNDS[name])


def _located(options: EraserOptions) -> Located:
    try:
        return locate(options.model, options.revision or None)
    except WeightsMissingError as error:
        raise WeightsMissingError(f"{NAME}: {error} (--option model=FOLDER)") from error


def _choices(options: Mapping[str, str], switch: str | None, settings: Settings) -> Choices:
    """Return the model's own choices, changed by the options. switch: turns refocusing on or off."""
    own = Choices.of(settings)
    refocus = None if switch == "off" else own.refocus
    if switch == "on":
        refocus = refocus or Refocus()
    if refocus is not None:
        refocus = replace(refocus, **_values(options, Refocus))
    return replace(own, refocus=refocus, **_values(options, Choices))


class RegisteredMagicEraser:
    """MagicEraser with the interface `Eraser`. Its files are checked; the first call of `erase` loads the networks."""

    def __init__(
        self,
        spec: EraserSpec,
        texts: Mapping[str, str],
        options: EraserOptions,
        *,
        located: Located,
        choices: Choices,
        initializer: Eraser,
        progress: bool,
    ) -> None:
        """texts: all options as texts, for the results. The other arguments hold the same values, parsed."""
        self._texts, self._options, self._located, self._choices = dict(texts), options, located, choices
        self._initializer, self._seed, self._progress = initializer, spec.seed, progress
        self.device = choose_device(spec.device, f"the eraser {NAME}")

    @cached_property
    def info(self) -> EraserInfo:
        """The revision is a hash of the model's files. The initialiser's revision is among the options."""
        settings, filler, model = self._located.settings, self._initializer.info, self._options.model
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
        if self._choices.residual:
            resolved["residual"] = str(self._choices.residual)
        maps = self._choices.refocus is not None or self._options.prompt == "labels"
        wanted = maps and self._options.segmenter == "given"
        return EraserInfo(
            NAME,
            self._located.revision,
            settings.license if settings else license_of(model, self._located.folder),
            "" if model == SHIPPED else f"the model {self._located.folder.name}",
            {name: text for name, text in self._texts.items() if not _as_before(name, text)} | resolved,
            device=self.device,
            wants=frozenset({"panoptic"} if wanted else ()),
        )

    @cached_property
    def _magic(self) -> Any:
        from magiceraser_ref.erase.pipeline import MagicEraser

        return MagicEraser.from_pretrained(
            self._options.model,
            revision=self._options.revision or None,
            device=self.device,
            dtype=self._options.dtype,
            initializer=self._initializer,
            segmenter=self._options.segmenter,
            lora=self._options.lora,
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
            batch_size=self._options.batch,
            progress=self._progress,
        )
        return found

    def _prompt(self, hint: Hints) -> str | None:
        if self._options.prompt == "caption":
            return hint.caption or hint.prompt
        return hint.prompt if self._options.prompt == "short" else None


def _erased(hint: Hints) -> str | None:
    """The erased object's category, if the map's categories know it."""
    names = {category.name for category in (hint.categories or {}).values()}
    return hint.category if hint.category in names else None
