"""The settings of a model, which are stored with it as `magiceraser.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from baselines.eraser import WeightsUnusableError
from magiceraser_ref.model.lora import LARGEST_ALPHA, LARGEST_RANK, TARGETS
from magiceraser_ref.model.token import TOKEN, is_token
from magiceraser_ref.refocus.settings import Refocus
from olrd.errors import UsageError
from olrd.storage.files import to_json
from olrd.trust import one_line, parse_json, printable, shown

FILE = "magiceraser.json"
FORMAT = 1
LONGEST_TEXT = 10_000
DEFAULT_FILLER = "lama"
"""The initialiser of the full model (section 3)."""
DEFAULT_STRENGTH = 0.9
"""The paper's strength (second-hand): denoising starts here, see `Choices.strength`."""
SHAPE_KEYS = (
    "in_channels",
    "out_channels",
    "block_out_channels",
    "layers_per_block",
    "down_block_types",
    "up_block_types",
    "mid_block_type",
    "cross_attention_dim",
    "attention_head_dim",
    "num_attention_heads",
    "transformer_layers_per_block",
)
"""The parts of a UNet's configuration that decide whether a LoRA fits. Other parts depend on diffusers' version."""

_REVISION = re.compile(r"\w[\w.-]{0,99}(?:/\w[\w.-]{0,99}){0,3}")
"""A commit, tag or branch. It never leads out of the hub's cache."""


@dataclass(frozen=True)
class LoraSettings:
    """Settings of a LoRA, see `lora.add_lora`."""

    rank: int = 8
    alpha: float = 8
    targets: tuple[str, ...] = TARGETS


@dataclass(frozen=True)
class Settings:
    """What a model consists of and how it is used.

    Steps, guidance and the empty negative prompt are inferred.

    Attributes:
        format: Version of the file's format.
        base: `.` if the base's weights are in the same folder, otherwise its folder or hub id.
        revision: Commit of a base from the hub.
        base_unet: Fingerprint of the base's UNet configuration (`unet_shape`); an empty one is not checked.
        token: The learned token, or None.
        lora: Settings of the LoRA, or None.
        resolution: Short side in pixels at which the model works.
        initializer: Name of the eraser that fills the hole roughly first.
        strength: See `Choices`, as for steps, guidance and negative.
        refocus: Settings of attention refocusing; None is ordinary attention.
        residual: See `Choices`.
        license: Licence of the weights.
    """

    format: int = FORMAT
    base: str = "."
    revision: str | None = None
    base_unet: Mapping[str, Any] = field(default_factory=dict)
    token: str | None = "R*"
    lora: LoraSettings | None = field(default_factory=LoraSettings)
    resolution: int = 512
    initializer: str = DEFAULT_FILLER
    strength: float = DEFAULT_STRENGTH
    steps: int = 50
    guidance: float = 7.5
    negative: str = ""
    refocus: Refocus | None = field(default_factory=Refocus)
    residual: float = 0.0
    license: str = "unknown"

    def to_json(self) -> str:
        """Return the settings as the text of `magiceraser.json`."""
        # Models without residual paste keep the file that earlier releases read.
        return to_json({key: value for key, value in asdict(self).items() if (key, value) != ("residual", 0)})

    @classmethod
    def from_json(cls, text: str, name: str = FILE) -> Settings:
        """Read the text of `magiceraser.json`. name: Name of the file, for messages. Raises `WeightsUnusableError`."""
        raw = parse_json(text, name, WeightsUnusableError)
        try:
            if raw["format"] != FORMAT:
                raise WeightsUnusableError(
                    f"{name}: expected format {FORMAT}, got {shown(raw['format'])}: it was written by another "
                    "release of magiceraser_ref; use that one, or save the model again"
                )
            unknown = sorted(set(raw) - {f.name for f in fields(cls)})
            if unknown:
                raise WeightsUnusableError(f"{name}: unknown settings {', '.join(map(printable, unknown))}")
            if raw.get("lora") is not None:
                raw["lora"] = LoraSettings(**raw["lora"] | {"targets": tuple(raw["lora"]["targets"])})
            if raw.get("refocus") is not None:
                listed: dict[str, Any] = raw["refocus"]
                tuples = {k: tuple(v) for k, v in listed.items() if isinstance(v, list)}
                raw["refocus"] = Refocus(**listed | tuples)
            found = cls(**raw)
            found._check()
            return found
        except (ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
            raise WeightsUnusableError(
                f"{name} is not a record of a MagicEraser model: {printable(one_line(str(error)))}; save the model again, or "
                "remove the file to use the folder as a plain inpainting model"
            ) from error

    def _check(self) -> None:
        """Raise `ValueError` for a value of a wrong type or out of its range."""
        for name in ("base", "initializer", "negative", "license"):
            text = getattr(self, name)
            if not isinstance(text, str) or len(text) > LONGEST_TEXT or text != printable(text):
                raise ValueError(f"{name} is a text of at most {LONGEST_TEXT:,} characters, not {shown(text)}")
        for name, low, high in (
            ("resolution", 8, 8192),
            ("strength", 0.01, 1),
            ("steps", 1, 1000),
            ("guidance", 0, 50),
            ("residual", 0, 1),
        ):
            _check_number(name, getattr(self, name), low, high, whole=name in ("resolution", "steps"))
        if self.token is not None and not is_token(self.token):
            raise ValueError(f"token is one word, such as {TOKEN}, or null; not {shown(self.token)}")
        if self.revision is not None and not (isinstance(self.revision, str) and _REVISION.fullmatch(self.revision)):
            raise ValueError(f"revision is a commit, or null; not {shown(self.revision)}")
        if not isinstance(self.base_unet, dict):
            raise ValueError(f"base_unet is an object, not {shown(self.base_unet)}")
        if self.lora is not None:
            _check_number("the rank of lora", self.lora.rank, 1, LARGEST_RANK, whole=True)
            _check_number("the alpha of lora", self.lora.alpha, 0, LARGEST_ALPHA)
            _check_texts("the targets of lora", self.lora.targets)
        if self.refocus is not None:
            _check_texts("the layers of refocus", self.refocus.layers)
            for factor in self.refocus.resolutions or ():
                _check_number("a resolution of refocus", factor, 1, 64, whole=True)
            if not isinstance(self.refocus.both_halves, bool):
                raise ValueError(f"both_halves of refocus is true or false, not {shown(self.refocus.both_halves)}")


def _check_number(name: str, value: object, low: float, high: float, whole: bool = False) -> None:
    kinds = (int,) if whole else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} is a {'whole ' if whole else ''}number from {low} to {high}, not {shown(value)}")


def _check_texts(name: str, values: object) -> None:
    if not isinstance(values, tuple) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name} are a list of texts, not {shown(values)}")


def read_settings(folder: Path) -> Settings | None:
    """Read the settings of a model's folder; None for a plain checkpoint. Raises `WeightsUnusableError`."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return Settings.from_json(path.read_text("utf-8"), str(path))
    except (UnicodeDecodeError, OSError) as error:
        raise WeightsUnusableError(f"{path} cannot be read as text: {error}") from error


def unet_shape(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fingerprint of a UNet's configuration: the parts that decide whether a LoRA fits."""
    shape: dict[str, Any] = json.loads(
        json.dumps({key: config[key] for key in SHAPE_KEYS if config.get(key) is not None})
    )
    return shape
