"""How often 95 % intervals of a mean hold the true mean, by method and number of photos.

    python -m perf.coverage [--draws 4000] [--resamples 1000] [--json]

A data set of n photos is drawn many times. A photo has several masks, as in triplets of COCO photos, and its samples are
alike. The score is the mean over samples: a ratio of two sums over photos. The shapes of the scores are those of 155
triplets of 33 COCO photos (`leaderboards/recipes/olrd-coco-sample`): quantiles, share of the variance that lies between
photos, and how the score goes with the number of masks. `heavy` is a log-normal distribution, which is more skewed than
all of them.

The first table has the coverage over the measured shapes, and in brackets that of `heavy`, and the median length
relative to `cluster t`. The random error of one coverage is 0.3 points at 4,000 draws. The second table has `RARE`, a
score that is next to nothing in nine photos of ten, as the change outside the mask may be: how long the intervals are.
The lines below have the grouped jackknife of a set score, and the bootstrap of a median. It asserts that the interval of
`benchmark.statistics` is the one here.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from benchmark.metrics.fidelity import paired_kernel_distance
from benchmark.statistics import FEWEST, estimate, jackknife, median_interval

Floats = npt.NDArray[np.float64]

PHOTOS = (4, 6, 10, 21, 50)
MASKS = {1: 1, 2: 3, 3: 13, 4: 1, 6: 7, 7: 1, 8: 7}
"""Number of photos by their number of masks."""
LEVELS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
FEW_DRAWS = 400
"""Data sets for what takes long."""


class Population(NamedTuple):
    """A distribution of scores.

    Attributes:
        quantiles: at `levels`; values between are interpolated. Without them it is log-normal.
        between: share of the variance (of the normal scores) that lies between photos.
        with_masks: correlation of a photo's score with its number of masks.
        levels: the shares of the scores below each quantile.
    """

    quantiles: tuple[float, ...]
    between: float
    with_masks: float
    levels: tuple[float, ...] = LEVELS


POPULATIONS = {
    "PSNR, Telea": Population((9.472, 15.148, 18.666, 21.825, 26.459, 38.987, 45.12), 0.49, -0.15),
    "PSNR, difference": Population((-10.333, -4.709, -0.434, 0.861, 1.708, 2.367, 3.154), 0.31, -0.36),
    "SSIM, Telea": Population((0.103, 0.127, 0.325, 0.519, 0.717, 0.921, 0.98), 0.74, -0.03),
    "LPIPS, PatchMatch": Population((0.001, 0.007, 0.061, 0.152, 0.261, 0.438, 0.653), 0.50, -0.13),
    "LPIPS, difference": Population((-0.122, 0.002, 0.071, 0.167, 0.425, 0.673, 0.844), 0.82, -0.22),
    "heavy": Population((), 0.5, 0.0),
}
RARE = Population((0.0, 0.0003, 0.0006, 0.0008, 0.001, 4.0, 6.0), 0.9, 0.0, levels=(0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 1.0))


class Drawn(NamedTuple):
    """Data sets, float64 [draws, photos]: the sum and the number of the scores of each photo."""

    sums: Floats
    counts: Floats


Interval = tuple[Floats, Floats]


def draw(population: Population, draws: int, photos: int, seed: int) -> Drawn:
    """Draw data sets."""
    generator = np.random.default_rng(seed)
    sizes, weights = np.array(list(MASKS)), np.array(list(MASKS.values()))
    counts = generator.choice(sizes, (draws, photos), p=weights / weights.sum())
    usual, spread = np.average(sizes, weights=weights), np.sqrt(np.cov(sizes, fweights=weights, ddof=0))
    slope = population.with_masks
    photo = slope * (counts - usual) / spread + np.sqrt(1 - slope**2) * generator.normal(size=counts.shape)
    sums = np.zeros(counts.shape)
    for mask in range(int(sizes.max())):
        own = generator.normal(size=counts.shape)
        normal = np.sqrt(population.between) * photo + np.sqrt(1 - population.between) * own
        sums += np.where(mask < counts, scores_of(population, normal), 0)
    return Drawn(sums, counts.astype(np.float64))


def scores_of(population: Population, normal: Floats) -> Floats:
    """Scores with the population's distribution from standard normal numbers."""
    if not population.quantiles:
        return np.exp(normal)
    return np.interp(stats.norm.cdf(normal), population.levels, population.quantiles)


def means_of(data: Drawn) -> Floats:
    """The mean over samples of each data set."""
    return np.asarray(data.sums.sum(1) / data.counts.sum(1))


def around(data: Drawn, variance: Floats, freedom: float | Floats) -> Interval:
    """mean +- t sqrt(variance)."""
    reach = stats.t.ppf(0.975, freedom) * np.sqrt(variance)
    return means_of(data) - reach, means_of(data) + reach


def residuals(data: Drawn) -> tuple[Floats, Floats, Floats]:
    """Per photo s - mean c and its share of the samples; per data set the number of samples."""
    total = data.counts.sum(1)
    return data.sums - means_of(data)[:, None] * data.counts, data.counts / total[:, None], total


def cluster_t(data: Drawn) -> Interval:
    """The linearised ratio (CR1): g / (g - 1) sum (s - mean c)^2 / n^2, with g - 1 degrees of freedom."""
    rest, _, total = residuals(data)
    g = data.sums.shape[1]
    return around(data, g / (g - 1) * (rest**2).sum(1) / total**2, g - 1)


def cr2(data: Drawn) -> Interval:
    """Residuals over sqrt(1 - share), with g - 1 degrees of freedom (Bell & McCaffrey, 2002)."""
    rest, share, total = residuals(data)
    return around(data, (rest**2 / (1 - share)).sum(1) / total**2, data.sums.shape[1] - 1)


def cr2_satterthwaite(data: Drawn) -> Interval:
    """The same with Satterthwaite's degrees of freedom."""
    rest, share, total = residuals(data)
    return around(data, (rest**2 / (1 - share)).sum(1) / total**2, freedom_of(share, 1 / (1 - share)))


def cr3_satterthwaite(data: Drawn) -> Interval:
    """Residuals over 1 - share (CR3, the jackknife around the mean), with Satterthwaite's degrees of freedom.

    This is the interval of the benchmark.
    """
    rest, share, total = residuals(data)
    return around(data, ((rest / (1 - share)) ** 2).sum(1) / total**2, freedom_of(share, 1 / (1 - share) ** 2))


def freedom_of(share: Floats, weight: Floats) -> Floats:
    """Satterthwaite's degrees of freedom of sum weight (s - mean c)^2, if all samples of a photo are equal.

    Then a residual s - mean c is (in units of the samples' deviation times n) u_i - p_i sum u with independent u_i of the
    variance p_i^2, p being the photos' shares of the samples. Its covariance matrix S is built here as a whole.
    """
    turned = np.eye(share.shape[1]) - share[:, :, None]
    covariance = np.einsum("aij,aj,akj->aik", turned, share**2, turned)
    product = weight[:, :, None] * covariance
    traces = np.trace(product, axis1=1, axis2=2) ** 2, np.einsum("aij,aji->a", product, product)
    return np.asarray(traces[0] / traces[1])


def jackknifed(data: Drawn) -> Interval:
    """Each photo left out once (CR3), with g - 1 degrees of freedom."""
    g = data.sums.shape[1]
    left = without_one(data)
    return around(data, (g - 1) / g * ((left - left.mean(1, keepdims=True)) ** 2).sum(1), g - 1)


def without_one(data: Drawn) -> Floats:
    """The mean without each photo, [draws, photos]."""
    rest, share, total = residuals(data)
    return np.asarray(means_of(data)[:, None] - rest / (total[:, None] * (1 - share)))


class Bootstrap:
    """Resamples of photos, the same ones for every data set."""

    def __init__(self, photos: int, resamples: int) -> None:
        drawn = np.random.default_rng(1).integers(0, photos, (resamples, photos))
        self.weights = np.stack([np.bincount(row, minlength=photos) for row in drawn]).astype(np.float64)

    def means(self, data: Drawn) -> Floats:
        """[draws, resamples]."""
        return np.asarray((data.sums @ self.weights.T) / (data.counts @ self.weights.T))

    def percentile(self, data: Drawn) -> Interval:
        """The quantiles of the resamples' means."""
        low, high = np.quantile(self.means(data), [0.025, 0.975], axis=1)
        return low, high

    def bca(self, data: Drawn) -> Interval:
        """Bias-corrected and accelerated (Efron, 1987)."""
        means, left = np.sort(self.means(data), axis=1), without_one(data)
        size = means.shape[1]
        below = ((means < means_of(data)[:, None]).sum(1) + 0.5) / (size + 1)
        bias = stats.norm.ppf(below)
        off = left.mean(1, keepdims=True) - left
        speed = (off**3).sum(1) / (6 * (off**2).sum(1) ** 1.5)
        bounds = []
        for level in (0.025, 0.975):
            at = bias + stats.norm.ppf(level)
            share = stats.norm.cdf(bias + at / (1 - speed * at))
            index = np.clip(np.round(share * (size - 1)), 0, size - 1).astype(int)
            bounds.append(means[np.arange(len(means)), index])
        return bounds[0], bounds[1]

    def studentised(self, data: Drawn) -> Interval:
        """Bootstrap-t: quantiles of (mean* - mean) / error* instead of Student's t."""
        means, turned = self.means(data), self.weights.T
        total = data.counts @ turned
        squares = (data.sums**2) @ turned - 2 * means * ((data.sums * data.counts) @ turned)
        squares += means**2 * ((data.counts**2) @ turned)
        errors = np.sqrt(np.maximum(squares, 0)) / total
        mean = means_of(data)
        rest, _, n = residuals(data)
        error = np.sqrt((rest**2).sum(1)) / n
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(errors > 1e-9 * error[:, None], (means - mean[:, None]) / errors, 0)
        low, high = np.quantile(ratios, [0.025, 0.975], axis=1)
        return mean - high * error, mean - low * error


def methods_for(photos: int, resamples: int) -> dict[str, Callable[[Drawn], Interval]]:
    """The intervals to compare."""
    bootstrap = Bootstrap(photos, resamples)
    return {
        "percentile bootstrap": bootstrap.percentile,
        "BCa bootstrap": bootstrap.bca,
        "bootstrap-t": bootstrap.studentised,
        "cluster t": cluster_t,
        "CR2 t": cr2,
        "CR2 t, Satterthwaite": cr2_satterthwaite,
        "jackknife t": jackknifed,
        "CR3 t, Satterthwaite": cr3_satterthwaite,
    }


def coverage(photos: int, draws: int, resamples: int) -> dict[str, dict[str, tuple[float, float]]]:
    """By method and population: the share of intervals that hold the true mean, and their median length relative to
    that of `cluster t`."""
    result: dict[str, dict[str, tuple[float, float]]] = {}
    for number, (name, population) in enumerate({**POPULATIONS, "rare": RARE}.items()):
        known = draw(population, 1, 2_000_000, seed=1000 + number)
        true = float(means_of(known)[0])
        data = draw(population, draws, photos, seed=number)
        usual = float(np.median(np.subtract(*cluster_t(data)[::-1])))
        for method, interval in methods_for(photos, resamples).items():
            low, high = interval(data)
            held = float(np.mean((low <= true) & (true <= high)))
            result.setdefault(method, {})[name] = held, float(np.median(high - low)) / usual
    return result


def check_against_the_product() -> None:
    """Assert that `cr3_satterthwaite` is the interval that the benchmark computes."""
    data = draw(POPULATIONS["PSNR, Telea"], 20, 12, seed=5)
    low, high = cr3_satterthwaite(data)
    for k in range(20):
        means, photos = data.sums[k] / data.counts[k], np.arange(12).astype(str)
        found = estimate(
            np.repeat(means, data.counts[k].astype(int)), list(np.repeat(photos, data.counts[k].astype(int)))
        )
        np.testing.assert_allclose((found.low, found.high), (low[k], high[k]))


def set_coverage(photos: int, draws: int) -> float:
    """The share of jackknife intervals of a paired KID that hold the true value."""

    def made(generator: np.random.Generator, count: int) -> tuple[Floats, Floats, list[str]]:
        sizes = generator.choice(list(MASKS), count)
        photo = np.repeat(np.arange(count), sizes)
        truth = generator.normal(size=(count, 4))[photo] + 0.5 * generator.normal(size=(len(photo), 4))
        outputs = 0.7 * truth + 0.3 + 0.3 * generator.normal(size=truth.shape)
        return outputs, truth, [str(k) for k in photo]

    generator = np.random.default_rng(7)
    true = float(np.mean([paired_kernel_distance(*made(generator, 1500)) for _ in range(6)]))
    held = 0
    for number in range(draws):
        outputs, truth, names = made(generator, photos)
        array = np.array(names)

        def score_of(
            kept: npt.NDArray[np.bool_], a: Floats = outputs, b: Floats = truth, array: np.ndarray = array
        ) -> float | None:
            return paired_kernel_distance(a[kept], b[kept], list(array[kept]))

        value = paired_kernel_distance(outputs, truth, names)
        assert value is not None
        low, high, _ = jackknife(score_of, value, names, number)
        held += low is not None and high is not None and low <= true <= high
    return held / draws


def median_coverage(photos: int, draws: int) -> float:
    """The share of intervals of a median time that hold the true one. Times are log-normal and go with the photo."""
    generator = np.random.default_rng(9)
    held = 0
    for number in range(draws):
        sizes = generator.choice(list(MASKS), photos, p=np.array(list(MASKS.values())) / sum(MASKS.values()))
        photo = np.repeat(np.arange(photos), sizes)
        times = np.exp(0.5 * generator.normal(size=photos)[photo] + 0.3 * generator.normal(size=len(photo)))
        low, high = median_interval(pd.Series(times), list(photo.astype(str)), 500, number) or (1.0, 1.0)
        held += low <= 1 <= high
    return held / draws


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=4000, metavar="N", help="data sets (default %(default)s)")
    parser.add_argument("--resamples", type=int, default=1000, metavar="N", help="of bootstraps (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print every coverage as JSON")
    args = parser.parse_args()
    check_against_the_product()
    found = {photos: coverage(photos, args.draws, args.resamples) for photos in PHOTOS}
    draws = min(args.draws, FEW_DRAWS)
    sets = {photos: set_coverage(photos, draws) for photos in PHOTOS if photos >= FEWEST}
    medians = {photos: median_coverage(photos, draws) for photos in PHOTOS if photos >= FEWEST}
    if args.json:
        json.dump({"means": found, "sets": sets, "medians": medians}, sys.stdout, indent=1)
        return
    print(means_table(found))
    print(rare_table(found))
    for what, held in (("set score, grouped jackknife", sets), ("median time, percentile bootstrap", medians)):
        print(f"{what}: " + ", ".join(f"{100 * share:.1f} at {photos} photos" for photos, share in held.items()))


def means_table(found: dict[int, dict[str, dict[str, tuple[float, float]]]]) -> str:
    """Coverage by method and number of photos, as Markdown."""
    lines = [f"| interval | {' | '.join(f'{photos} photos' for photos in found)} | length at 21 |"]
    lines.append("| --- |" + " ---: |" * (len(found) + 1))
    measured = [name for name in POPULATIONS if name != "heavy"]
    for method in next(iter(found.values())):
        cells = []
        for by_method in found.values():
            held = [100 * by_method[method][name][0] for name in measured]
            cells.append(f"{np.mean(held):.1f} ({100 * by_method[method]['heavy'][0]:.1f})")
        length = np.mean([found[21][method][name][1] for name in measured])
        lines.append(f"| {method} | {' | '.join(cells)} | {length:.2f} |")
    return "\n".join(lines) + "\n"


def rare_table(found: dict[int, dict[str, dict[str, tuple[float, float]]]]) -> str:
    """Length and coverage for `RARE`, as Markdown."""
    shown = [photos for photos in found if photos >= FEWEST]
    lines = [f"| rare, length (coverage) | {' | '.join(f'{photos} photos' for photos in shown)} |"]
    lines.append("| --- |" + " ---: |" * len(shown))
    for method in found[shown[0]]:
        both = [found[photos][method]["rare"] for photos in shown]
        lines.append(f"| {method} | " + " | ".join(f"{length:.2f} ({100 * held:.1f})" for held, length in both) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
