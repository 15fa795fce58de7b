"""Licence codes and what --licenses means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_coco import licenses

from olrd.errors import UsageError
from olrd.licenses import COCO_IDS, UNKNOWN, is_permissive, license_allowed, license_code, license_patterns

CODES = {
    1: "CC-BY-NC-SA-2.0",
    2: "CC-BY-NC-2.0",
    3: "CC-BY-NC-ND-2.0",
    4: "CC-BY-2.0",
    5: "CC-BY-SA-2.0",
    6: "CC-BY-ND-2.0",
    7: "no-known-copyright",
    8: "US-government-work",
}
OTHERS = ["CC0-1.0", "PDM-1.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-NC-4.0", UNKNOWN]


@pytest.mark.parametrize("entry", licenses(), ids=lambda entry: str(entry["id"]))
def test_each_coco_licence_has_its_code(entry: dict[str, str]) -> None:
    expected = CODES[int(entry["id"])]
    assert COCO_IDS[str(entry["id"])] == expected
    for url in (entry["url"], entry["url"].replace("http://", "https://"), entry["url"].upper()):
        assert license_code(url) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/legalcode", "CC0-1.0"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "PDM-1.0"),
        ("https://creativecommons.org/licenses/by/4.0/", "CC-BY-4.0"),
        ("https://creativecommons.org/licenses/by/4.0/deed.en", "CC-BY-4.0"),
        ("http://creativecommons.org/licenses/by-sa/3.0/de/", "CC-BY-SA-3.0"),
        ("https://creativecommons.org/licenses/sampling+/1.0/", UNKNOWN),
        ("https://example.org/licenses/by/4.0/", UNKNOWN),
        ("CC BY", UNKNOWN),
        ("", UNKNOWN),
        (None, UNKNOWN),
    ],
)
def test_other_licences(url: str | None, expected: str) -> None:
    assert license_code(url) == expected


def allowed(text: str) -> set[str]:
    patterns = license_patterns(text)
    return {code for code in [*CODES.values(), *OTHERS] if license_allowed(code, patterns)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("any", {*CODES.values(), *OTHERS}),
        ("4", {CODES[4]}),
        ("4, 7", {CODES[4], CODES[7]}),
        ("cc-by", {"CC-BY-2.0", "CC-BY-4.0"}),
        ("CC-BY-2.0", {"CC-BY-2.0"}),
        ("cc-by-nc", {"CC-BY-NC-2.0", "CC-BY-NC-4.0"}),
        ("cc-by-sa", {"CC-BY-SA-2.0", "CC-BY-SA-3.0"}),
        ("cc0,pdm", {"CC0-1.0", "PDM-1.0"}),
        ("cc0-1.0", {"CC0-1.0"}),
        ("no-known-copyright", {CODES[7]}),
        ("us-government-work", {CODES[8]}),
        ("unknown", {UNKNOWN}),
        ("4,unknown", {CODES[4], UNKNOWN}),
    ],
)
def test_what_a_list_allows(text: str, expected: set[str]) -> None:
    assert allowed(text) == expected


def test_permissive_is_what_may_be_published_and_sold() -> None:
    """No NC, no ND, nothing unknown."""
    assert allowed("permissive") == {
        "CC-BY-2.0",
        "CC-BY-4.0",
        "CC-BY-SA-2.0",
        "CC-BY-SA-3.0",
        "CC0-1.0",
        "PDM-1.0",
        "no-known-copyright",
        "US-government-work",
    }
    for code in [*CODES.values(), *OTHERS]:
        assert is_permissive(code) == (code in allowed("permissive"))


@given(st.permutations(["nc", "nd", "sa"]).flatmap(lambda p: st.integers(1, 3).map(lambda n: p[:n])))
def test_no_order_of_the_terms_makes_nc_or_nd_permissive(terms: list[str]) -> None:
    code = license_code(f"https://creativecommons.org/licenses/by-{'-'.join(terms)}/2.0/")
    assert is_permissive(code) == (terms == ["sa"])


@pytest.mark.parametrize(("word", "near"), [("permisive", "permissive"), ("cc-bi", "cc-by"), ("unknow", "unknown")])
def test_a_typing_error_gets_the_nearest_name(word: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"Did you mean '{near}'"):
        license_patterns(f"4,{word}")


@pytest.mark.parametrize("word", ["9", "0", "*", "[a-z]", "cc-by-2"])
def test_other_words_are_refused(word: str) -> None:
    with pytest.raises(UsageError, match="no licence is called"):
        license_patterns(word)
