"""The options of the source images, checked against what its annotations were made with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from olrd.errors import UsageError, did_you_mean
from olrd.licenses import COCO_IDS, UNKNOWN, license_code
from olrd.models.mask2former import CHECKPOINT, THRESHOLD
from olrd.progress import say

_DEFAULTS: dict[str, Any] = {
    "checkpoint": CHECKPOINT,
    "revision": None,
    "threshold": THRESHOLD,
    "things": None,
    "license": None,
    "source_url_prefix": None,
}
_DECLARED = ("license", "source_url_prefix")
_SPECIAL_URLS = {
    "no-known-copyright": "https://www.flickr.com/commons/usage/",
    "us-government-work": "https://www.usa.gov/copyright.shtml",
}


@dataclass(frozen=True)
class ImagesOptions:
    """device, batch and panoptic (the annotations' folder) say how to run and where.

    given: the options that the annotations depend on (keys of `_DEFAULTS`), those named only.
    """

    given: Mapping[str, Any]
    device: str = "auto"
    batch: int = 1
    panoptic: str | None = None

    @classmethod
    def parse(cls, options: Mapping[str, str]) -> ImagesOptions:
        """From `--source-option KEY=VALUE`. Raises `UsageError` for a bad key or value."""
        known = {*_DEFAULTS, "device", "batch", "panoptic"}
        for key in options:
            if key not in known:
                raise did_you_mean("option of the source images", key, known)
        given: dict[str, Any] = {key: options[key] for key in options if key in _DEFAULTS}
        if "threshold" in given:
            given["threshold"] = _number("threshold", options["threshold"], 0.0, 1.0)
        if "things" in given:
            given["things"] = _names(options["things"])
        if "license" in given:
            given["license"] = license_url(options["license"])
        batch = _number("batch", options.get("batch", "1"), 1, 1024)
        if batch != int(batch):
            raise UsageError(f"source option batch: expected a whole number, got '{options['batch']}'")
        return cls(given, options.get("device", "auto"), int(batch), options.get("panoptic"))

    def settings(self, before: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Everything the annotations depend on: what is given, else what they have, else defaults.

        A licence or address may be declared anew at any time. Raises `UsageError` if anything that
        decides the segments differs from what the annotations in `folder` were made with.
        """
        for key, value in self.given.items():
            if before and key not in _DECLARED and before.get(key) != value:
                raise UsageError(
                    f"the annotations in {folder} were made with {key}={before.get(key)}, and "
                    f"{key}={value} is asked for: leave the option out, or keep the new ones apart "
                    "with the source option panoptic=FOLDER"
                )
        return _DEFAULTS | dict(before) | dict(self.given)

    def declared(self) -> dict[str, Any]:
        """The licence and address given now: they describe the photos, not the segments."""
        return {key: value for key, value in self.given.items() if key in _DECLARED}

    def redeclares(self, before: Mapping[str, Any]) -> bool:
        """Whether the licence or address given now is not the one that the annotations have."""
        return any(before.get(key) != value for key, value in self.declared().items())


def license_url(text: str) -> str:
    """The address of a licence given as an address or as a code such as `cc-by-4.0`."""
    code = text.strip().lower()
    if code.startswith(("http://", "https://")):
        if license_code(text) == UNKNOWN:
            say(f"the licence {text} is not one that olrd knows: it counts as '{UNKNOWN}'")
        return text.strip()
    if code in _SPECIAL_URLS:
        return _SPECIAL_URLS[code]
    if found := re.fullmatch(r"cc-(by(?:-nc)?(?:-sa|-nd)?)-(\d\.\d)", code):
        return f"https://creativecommons.org/licenses/{found[1]}/{found[2]}/"
    if found := re.fullmatch(r"(cc0|pdm)-(\d\.\d)", code):
        kind = "zero" if found[1] == "cc0" else "mark"
        return f"https://creativecommons.org/publicdomain/{kind}/{found[2]}/"
    examples = {"CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0", "PDM-1.0", *COCO_IDS.values()}
    raise did_you_mean("licence", text, examples)


def _number(key: str, text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise UsageError(f"source option {key}: expected a number from {low} to {high}, got '{text}'")
    return value


def _names(text: str) -> list[str]:
    """Names separated by commas, or the lines of a file."""
    try:
        lines = Path(text).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = text.split(",")
    return sorted({line.strip() for line in lines} - {""})
