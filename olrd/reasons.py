"""Reason codes: why a photo or an object did not become a triplet. Every rejection has one."""

from __future__ import annotations

PHOTO_REASONS: dict[str, str] = {
    "annotation_missing": "the photo is listed, but has no panoptic annotation",
    "license_refused": "its licence is not among --licenses",
    "path_outside_root": "its file name climbs out of the root folder",
    "photo_missing": "the photo's file is not there",
    "photo_unreadable": "the photo is truncated, corrupt or not an image",
    "photo_too_large": "the photo has more pixels than --max-pixels",
    "photo_mode": "the photo is CMYK, 16-bit, has a palette or has an alpha channel",
    "photo_size": "the photo's size is not the annotated one",
    "panoptic_missing": "the panoptic PNG or instance mask is not there",
    "panoptic_unreadable": "the panoptic PNG or instance mask is truncated, corrupt or not 8-bit RGB",
    "panoptic_too_large": "the panoptic PNG or instance mask has more pixels than --max-pixels",
    "panoptic_size": "the panoptic map's size is not the photo's",
    "panoptic_unknown_id": "the PNG holds a segment id that the JSON does not list",
    "panoptic_area": "a segment's area or box in the JSON is not the one in the PNG",
    "category_unknown": "a segment's category is not in the category list",
}

OBJECT_REASONS: dict[str, str] = {
    "photo_rejected": "its photo was rejected",
    "stuff": "it is background (stuff), not a thing",
    "crowd": "it is a group drawn as one region",
    "category_excluded": "its category is not among --categories",
    "too_small": "its area share is under --min-area",
    "too_large": "its area share is over --max-area",
    "truncated": "the frame cuts it (--allow-truncated permits)",
    "fragmented": "it is in several pieces",
    "occluded": "too much of its outline touches other things (--max-contact)",
    "no_surface": "it stands on no background surface (another thing, unlabelled pixels, a wall)",
    "no_position": "no legal position on the allowed background",
    "over_limit": "the photo already gave --max-per-photo triplets",
}

ALL_REASONS: dict[str, str] = PHOTO_REASONS | OBJECT_REASONS
