"""Licences: one short code per licence, however a dataset writes it.

The codes are those of SPDX where it has one (CC-BY-2.0, CC0-1.0). A composite is a derivative of its two photos, so
these codes decide what may be published.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from olrd.errors import UsageError, did_you_mean
from olrd.progress import say

UNKNOWN = "unknown"
PERMISSIVE = ("CC0-*", "PDM-*", "CC-BY-[0-9]*", "CC-BY-SA-[0-9]*", "no-known-copyright", "US-government-work")
# The eight ids in COCO's list `licenses`, for --licenses 4,7.
COCO_IDS = {
    "1": "CC-BY-NC-SA-2.0",
    "2": "CC-BY-NC-2.0",
    "3": "CC-BY-NC-ND-2.0",
    "4": "CC-BY-2.0",
    "5": "CC-BY-SA-2.0",
    "6": "CC-BY-ND-2.0",
    "7": "no-known-copyright",
    "8": "US-government-work",
}
_NAMES = {"cc-by", "cc-by-sa", "cc-by-nd", "cc-by-nc", "cc-by-nc-sa", "cc-by-nc-nd", "cc0", "pdm"}
_SPECIAL = {"flickr.com/commons/usage": "no-known-copyright", "usa.gov/copyright": "US-government-work"}


def license_code(url: str | None) -> str:
    """The code for a licence URL; `unknown` when the URL is empty or not recognised."""
    url = (url or "").lower()
    for part, code in _SPECIAL.items():
        if part in url:
            return code
    if found := re.search(r"creativecommons\.org/licenses/([a-z-]+)/(\d\.\d)", url):
        return f"CC-{found[1].upper()}-{found[2]}"
    if found := re.search(r"creativecommons\.org/publicdomain/(zero|mark)/(\d\.\d)", url):
        return ("CC0-" if found[1] == "zero" else "PDM-") + found[2]
    return UNKNOWN


def license_patterns(text: str) -> tuple[str, ...]:
    """What `--licenses` means, as patterns over codes.

    Comma-separated: a code (`CC-BY-2.0`), a family (`cc-by`: any version), a COCO id (`4`),
    `permissive` (derivatives may be published, also commercially), `unknown`, or `any`.

    Raises:
        UsageError: a name is unknown, or there is none: then every photo would be refused.
    """
    patterns: list[str] = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        lower = word.lower()
        if lower == "any":
            patterns.append("*")
        elif lower == "permissive":
            patterns.extend(PERMISSIVE)
        elif lower in COCO_IDS:
            patterns.append(COCO_IDS[lower])
        elif lower in _NAMES:
            patterns.append(f"{lower.upper()}-[0-9]*")
        elif lower == UNKNOWN or lower in (v.lower() for v in COCO_IDS.values()):
            patterns.append(next((v for v in COCO_IDS.values() if v.lower() == lower), UNKNOWN))
        elif re.fullmatch(r"(cc-[a-z-]+|cc0|pdm)-\d\.\d", lower):
            patterns.append(lower.upper())
        else:
            raise did_you_mean("licence", word, {"any", "permissive", UNKNOWN, *_NAMES, *COCO_IDS.values()})
    if not patterns:
        raise UsageError("--licenses names no licence, so every photo would be refused; 'any' allows all")
    return tuple(patterns)


def license_allowed(code: str, patterns: tuple[str, ...]) -> bool:
    """Whether a licence code matches one of the patterns."""
    return any(fnmatchcase(code, pattern) for pattern in patterns)


def is_permissive(code: str) -> bool:
    """Whether derivatives of a photo under this licence may be published, also commercially."""
    return license_allowed(code, PERMISSIVE)


_SPECIAL_URLS = {
    "no-known-copyright": "https://www.flickr.com/commons/usage/",
    "us-government-work": "https://www.usa.gov/copyright.shtml",
}


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
