"""Measures the time of attention refocusing: one step of Stable Diffusion 1.5's UNet without it, with the fast and with
the plain implementation, and the share that it adds to a whole run. It asserts nothing.

The UNet has SD 1.5's inpainting architecture with random weights and batch 2 (guidance), of which the conditional half
is refocused. A whole run has 50 steps at strength 0.9: 45 steps are run, and 13 of them are refocused. The goal is to
add at most 10 % to a whole run on a GPU. A CPU needs smaller settings, or the self-attention alone:

    python -m perf.refocusing --device cuda --dtype float16
    python -m perf.refocusing --channels 64 --latents 32
    python -m perf.refocusing --part attention
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from magiceraser_ref.refocus.attention import Weights, fast, plain, tokens_of
from magiceraser_ref.refocus.regions import Regions, at_resolution
from magiceraser_ref.refocus.unet import Refocus, refocused

EXECUTED = 45
HEADS = 8
LAYERS = {1: 5, 2: 5, 4: 5, 8: 1}
"""Number of SD 1.5's self-attention layers, by how many times smaller than the latents they are."""
WIDTHS = {1: 1, 2: 2, 4: 4, 8: 4}
"""Their channels as multiples of the first block's."""

Step = Callable[[], object]


def drawn_regions(side: int) -> Regions:
    """Draw regions of [side, side]: the hole covers 10 % of the picture, n 11 %, neutral 8 %, and p the rest."""
    codes = np.ones((side, side), np.uint8)
    codes[:, -side // 9 :] = 2
    codes[-side // 12 :] = 3
    codes[side // 4 : int(side * 0.57), side // 4 : int(side * 0.57)] = 0
    return Regions(codes == 0, codes == 1, codes == 2)


@contextmanager
def unet_step(args: argparse.Namespace, kind: str, unet: Any) -> Iterator[Step]:
    """Yield one call of the whole UNet."""
    at: dict[str, Any] = {"device": args.device, "dtype": getattr(torch, args.dtype)}
    sample = torch.randn(2, 9, args.latents, args.latents, **at)
    text = torch.randn(2, 77, 768, **at)
    with ExitStack() as stack:
        if kind != "off":
            where = [drawn_regions(8 * args.latents)]
            settings = Refocus(share=1.0, implementation=kind)
            stack.enter_context(refocused(unet, where, settings, timesteps=[901]))
        yield lambda: unet(sample, 901, text).sample


@contextmanager
def attention_step(args: argparse.Namespace, kind: str, unet: Any) -> Iterator[Step]:
    """Yield the self-attention of one call, from queries to outputs, layer by layer."""
    regions, layers = drawn_regions(8 * args.latents), []
    for level, count in LAYERS.items():
        side = -(-args.latents // level)
        shape = (2, HEADS, side * side, args.channels * WIDTHS[level] // HEADS)
        at: dict[str, Any] = {"device": args.device, "dtype": getattr(torch, args.dtype)}
        tokens = tokens_of(at_resolution(regions, (side, side)).classes, args.device)
        layers += [(*(torch.randn(shape, **at) for _ in range(3)), tokens)] * count

    def step() -> None:
        for q, k, v, tokens in layers:
            if kind == "off":
                functional.scaled_dot_product_attention(q, k, v)
            else:
                functional.scaled_dot_product_attention(q[:1], k[:1], v[:1])
                chosen = fast if kind == "fast" else plain
                chosen(q[1:], k[1:], v[1:], tokens, Weights())

    yield step


def small_or_full_unet(args: argparse.Namespace) -> Any:
    """Build SD 1.5's inpainting UNet. Its first block has `args.channels` channels (320 in the original)."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    with torch.device(args.device):
        unet = UNet2DConditionModel(
            sample_size=64,
            in_channels=9,
            cross_attention_dim=768,
            attention_head_dim=HEADS,
            block_out_channels=[args.channels * WIDTHS[level] for level in LAYERS],
        )
    # Converted only if needed, because diffusers warns about conversions.
    return (unet if args.dtype == "float32" else unet.to(getattr(torch, args.dtype))).eval()


def seconds_of(step: Step, device: str) -> float:
    """Return the seconds of a step after a first one.

    On a CPU, the process's own time: other processes disturb it less.
    """
    step()
    if device == "cpu":
        started = time.process_time()
        step()
        return time.process_time() - started
    torch.cuda.synchronize()
    started = time.perf_counter()
    step()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def peak_mb(device: str) -> float:
    """Return the device's peak memory since the last reset.

    On a CPU it is the peak of the process so far, so the kinds must be measured from the smallest to the largest.
    """
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    peak = torch.cuda.max_memory_allocated() / 2**20
    torch.cuda.reset_peak_memory_stats()
    return float(peak)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else "")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu or cuda (default %(default)s)")
    parser.add_argument("--dtype", default="float32", choices=("float16", "bfloat16", "float32"))
    parser.add_argument("--part", default="unet", choices=("unet", "attention"))
    parser.add_argument(
        "--latents", type=int, default=64, metavar="N", help="side of the latents: pixels / 8 (default %(default)s)"
    )
    parser.add_argument(
        "--channels",
        type=int,
        default=320,
        metavar="N",
        help="channels of the first block, a multiple of 32 (default %(default)s)",
    )
    parser.add_argument(
        "--repeat",
        type=int,
        default=3,
        metavar="N",
        help="rounds, of which the median is reported (default %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    args = parser.parse_args()
    if args.channels % 32:
        parser.error(f"--channels must be a multiple of 32, got {args.channels}")
    unet = small_or_full_unet(args) if args.part == "unet" else None
    build = unet_step if args.part == "unet" else attention_step
    if args.device == "cpu":
        torch.set_num_threads(1)
    share = Refocus().active_steps(EXECUTED)
    times: dict[str, list[float]] = {"off": [], "fast": [], "plain": []}
    peaks: dict[str, float] = {}
    with torch.inference_mode():
        for number in range(args.repeat):  # the kinds alternate, so that other load affects all of them
            for kind, found in times.items():
                print(f"round {number + 1} of {args.repeat}: {kind}", file=sys.stderr)
                with build(args, kind, unet) as step:
                    found.append(seconds_of(step, args.device))
                peaks.setdefault(kind, peak_mb(args.device))
    rows = {kind: {"seconds": median(times[kind]), "peak_mb": peaks[kind]} for kind in times}
    for row in rows.values():
        extra = row["seconds"] - rows["off"]["seconds"]
        row["added_to_run"] = share * extra / (EXECUTED * rows["off"]["seconds"])
    if args.json:
        given = {"threads": torch.get_num_threads(), "torch": torch.__version__}
        print(json.dumps({"settings": vars(args) | given, "rows": rows}, indent=1))
        return
    what = f"{args.part}, {args.latents} x {args.latents} latents, {args.channels} channels"
    print(f"{what}, {args.device}, {args.dtype}, {torch.get_num_threads()} thread(s)")
    print(f"{'refocusing':<12}{'s a step':>10}{'peak MB':>10}{'added to a run':>16}")
    for kind, row in rows.items():
        print(f"{kind:<12}{row['seconds']:>10.3f}{row['peak_mb']:>10.0f}{row['added_to_run']:>15.1%}")
    print(f"a run: {EXECUTED} steps executed, {share} of them refocused")


if __name__ == "__main__":
    main()
