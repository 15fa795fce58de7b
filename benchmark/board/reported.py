"""The numbers that the MagicEraser paper reports, as the page `reported.md` shows them.

They are second-hand and unverified, and the paper's protocol (sizes, compositing, metric networks, sample counts) is
not known. The page shows them beside the measured tables. They never enter a ranking, and no test compares with them.
"""

from __future__ import annotations

from magiceraser_ref.ablation.rows import LADDER
from olrd.trust import escape_markdown

Numbers = tuple[str, ...]
"""PSNR, SSIM, LPIPS and FID with the digits of the paper; empty where the paper has none."""

ABLATION: dict[str, Numbers] = {
    r.label: (f"{r.psnr:.3f}", f"{r.ssim:.3f}", f"{r.lpips:.3f}", f"{r.fid:.2f}")
    for r in (row.reported for row in LADDER)
    if r is not None
}
OPENIMAGES: dict[str, Numbers] = {
    "MAT": ("26.994", "0.949", "0.030", "31.30"),
    "Co-Mod": ("26.446", "0.941", "0.033", "30.40"),
    "LaMa": ("21.618", "0.936", "0.055", "37.10"),
    "SD-Inpainting": ("26.096", "0.942", "0.036", "31.10"),
    "MagicEraser": ("28.123", "0.947", "0.032", "30.02"),
}
REALHM: dict[str, Numbers] = {
    "MAT": ("21.484", "0.843", "0.107", "51.73"),
    "SD-Inpainting": ("21.758", "0.846", "0.116", "45.05"),
    "MagicEraser": ABLATION["all"],
    "Photoshop Generative Fill": ("22.913", "", "", ""),
    "Google Photos eraser": ("20.310", "", "", ""),
}
PREFACE = """\
# Reported by the paper, not measured here

These numbers are from the MagicEraser paper (ECCV 2024, arXiv 2410.10207). They were taken from a secondary source and not
verified. It is not known how they were measured: picture size, compositing, metric networks and sample counts are missing.
They cannot be compared with any number in the other tables of this folder, and are never ranked with them. An empty cell
means that the paper reports no number.
"""


def reported() -> str:
    """The page `reported.md`."""
    parts = [PREFACE]
    for title, rows in (
        ("OpenImages", OPENIMAGES),
        ("RealHM", REALHM),
        ("Ablation (its last row equals the RealHM row)", ABLATION),
    ):
        parts += [
            f"\n## {title}, reported by the paper\n",
            "| method | PSNR, dB ↑ | SSIM ↑ | LPIPS ↓ | FID ↓ |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        parts += [f"| {escape_markdown(name)} | {' | '.join(n)} |" for name, n in rows.items()]
    return "\n".join(parts) + "\n"
