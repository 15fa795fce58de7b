"""How to erase: what can be switched or set at each call, and the options of the command line that follow from it.

Importing this module loads no network library, so that `--help` is quick.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from magiceraser_ref.model.settings import DEFAULT_STRENGTH, Settings
from magiceraser_ref.refocus.settings import VOIDS, Refocus
from olrd.errors import UsageError, did_you_mean
from olrd.options import check, option
from olrd.trust import counted

MARGIN = 0.5
"""Default of `Choices.margin` (inferred)."""
OF_THE_MODEL = "the model's"


@dataclass(frozen=True)
class Choices:
    """How to erase. Each field is also an option of `magiceraser erase` and of the eraser `magiceraser`.

    Raises `UsageError` for a value that is out of its range.

    Attributes:
        content: Start from the filled hole, noised by `strength`. Without it, start from pure noise.
        refocus: Settings of attention refocusing; None is ordinary attention.
        rule: Which segments make up the regions, see `regions_of`.
        void: What becomes of unlabelled pixels, see `regions_of`.
        token: Use the learned token R*, if the model has one.
        composite: Keep every pixel outside the mask as it is in the photo.
        strength: Where denoising starts.
        steps: Sampling steps.
        guidance: Weight of classifier-free guidance.
        negative: Negative prompt.
        margin: Context on each side of the mask's box, as a share of its longer side.
        resolution: Short side in pixels of the windows that the model paints; None is the model's own.
        refine: Whether large holes are painted once more at the photo's own scale, see `refining.py`: `auto`, `on` or
            `off`.
        refine_strength: Where denoising of these passes starts.
        residual: Share of the fill's detail that autoencoder and resizing took away and that is put back (`residual.py`); 0
            pastes the model's picture as it is.
        dilate: Pixels by which the mask of the initialiser is larger.
    """

    content: bool = option(True, "start from noise instead of a filled hole")
    refocus: Refocus | None = field(default_factory=Refocus)
    rule: str = option(
        "similar",
        "what refocusing avoids: similar (segments that resemble the object) or rest (all other things)",
        metavar="NAME",
        choices=("similar", "rest"),
        what="region rule",
    )
    void: str = "neutral"
    token: bool = option(True, "leave the learned token R* out of prompts")
    composite: bool = option(True, "use the model's own pixels outside the mask too")
    strength: float = option(
        DEFAULT_STRENGTH,
        f"noise level at which denoising starts: 1 is pure noise; {DEFAULT_STRENGTH:g} in the paper",
        metavar="SHARE",
        least=0.01,
        most=1,
        shown_default=OF_THE_MODEL,
    )
    steps: int = option(50, "sampling steps", metavar="N", least=1, most=1000, shown_default=OF_THE_MODEL)
    guidance: float = option(
        7.5, "weight of the prompt", metavar="WEIGHT", least=0, most=50, shown_default=OF_THE_MODEL
    )
    negative: str = option("", "negative prompt", metavar="TEXT", shown_default=OF_THE_MODEL)
    margin: float = option(
        MARGIN,
        "context on each side of the mask's box, as a share of its longer side",
        metavar="SHARE",
        least=0,
        most=10,
        shown_default=f"{MARGIN:g}",
    )
    resolution: int | None = option(
        None,
        "short side in pixels of the windows that the model paints",
        metavar="PX",
        least=16,
        most=4096,
        shown_default=OF_THE_MODEL,
    )
    refine: str = option(
        "off",
        "paint details of large holes in a second pass: on, off, or auto (if the window was reduced by a factor over 1.5)",
        metavar="WORD",
        choices=("auto", "on", "off"),
        what="word for refine",
    )
    refine_strength: float = option(
        0.3, "noise level at which the second pass starts: 1 is pure noise", metavar="SHARE", least=0.01, most=1
    )
    residual: float = option(
        0.0,
        "share of the fill's detail, lost in the autoencoder, that is put back (ours, not part of the paper)",
        metavar="SHARE",
        least=0,
        most=1,
        shown_default=OF_THE_MODEL,
    )
    dilate: int = option(0, "pixels by which the initialiser's mask is enlarged", metavar="PX", least=0, most=1000)

    def __post_init__(self) -> None:
        check(self)
        if self.void not in VOIDS:
            raise did_you_mean("treatment of void", self.void, VOIDS)
        if int(self.steps * self.start) < 1:
            leave = counted(
                self.steps, f"step at strength {self.strength} leaves", f"steps at strength {self.strength} leave"
            )
            raise UsageError(f"{leave} none to run: take more steps")

    @property
    def start(self) -> float:
        """The strength that is run: 1, pure noise, without content initialisation (section 3)."""
        return self.strength if self.content else 1.0

    @classmethod
    def of(cls, settings: Settings) -> Choices:
        """Return the choices that a model's settings make."""
        return cls(
            refocus=settings.refocus,
            strength=settings.strength,
            steps=settings.steps,
            guidance=settings.guidance,
            negative=settings.negative,
            residual=settings.residual,
        )
