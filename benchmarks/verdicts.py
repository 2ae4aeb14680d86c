"""Simulate what the verdicts are worth: how often they are false, how often they find a gain, what intervals cover.

    python benchmarks/verdicts.py results/verdicts.json
    python benchmarks/verdicts.py results/verdicts.json --draws 20000

Thousands of experiments are drawn whose truth is known. Spread and pairing are those of our own runs: from the reports
in results/ come the standard deviations of networks over seeds, as a share of their baseline's, and the correlation of
an arm and its baseline, seed by seed. Written beside the numbers are a figure of the power (.png) and what these were.

* methods: false verdicts and power of the ways to correct for several arms.
* forms: how often the headline has each of its forms, by what is true.
* seeds: what the interval over seeds covers, for differences that are normal, t3 and skewed.
* images: what the interval over images covers, for images that are alike in a drive, and in several.
"""

import argparse
import json
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.random import Generator
from scipy import stats

from mmseg_sr.atomic import replacing, write_text
from mmseg_sr.experiments.verdict import Trained, verdicts
from mmseg_sr.metrics.intervals import holm, over_images, over_seeds
from mmseg_sr.metrics.power import least_gain, power
from mmseg_sr.metrics.tasks import areas_of
from mmseg_sr.progress import Bar
from mmseg_sr.provenance import provenance

RESULTS = Path(__file__).resolve().parents[1] / 'results'
KINDS = {
    'normal': lambda random, size: random.normal(size=size),
    't3': lambda random, size: random.standard_t(3, size) / 3**0.5,
    'skewed': lambda random, size: random.exponential(size=size) - 1,
}
GAIN = 2.0  # true gain in the runs for power, in standard deviations of the baseline over seeds


def seen() -> dict[str, list[float]]:
    """What our own runs vary by: quartiles of the ratio of spreads, and of the correlation of pairs."""
    ratios, correlations = [], []
    for path in sorted(RESULTS.glob('*/report.json')):
        rows = [row for row in json.loads(path.read_text(encoding='utf-8'))['results'] if 'mIoU' in row]
        scores = {(row['arm'], row['mode']): np.array(row['mIoU']['values']) for row in rows if len(row['seeds']) > 2}
        for row in rows:
            ours, theirs = (scores.get((row[side], row['mode'])) for side in ('arm', 'baseline'))
            if row['arm'] != row['baseline'] and ours is not None and theirs is not None:
                ratios.append(ours.std() / theirs.std())
                correlations.append(np.corrcoef(ours, theirs)[0, 1])
    quartiles = [np.quantile(each, [0.25, 0.5, 0.75]).round(2).tolist() for each in (ratios, correlations)]
    return dict(zip(('ratio of standard deviations', 'correlation of pairs'), quartiles, strict=True))


@cache
def dunnett_threshold(arms: int, freedom: int) -> float:
    """The 95 % point of the largest |t| of several arms that share a baseline, as in Dunnett's test."""
    random = np.random.default_rng(1)
    normal = random.normal(size=(200_000, arms)) + random.normal(size=(200_000, 1))
    scale = np.sqrt(random.chisquare(freedom, (200_000, 1)) / freedom)
    return float(np.quantile(np.abs(normal / 2**0.5 / scale).max(1), 0.95))


def shown(scores: np.ndarray) -> dict[str, np.ndarray]:
    """Which arms each method calls different, of scores (draws, seeds, 1 + arms), the baseline first."""
    seeds, arms = scores.shape[1], scores.shape[2] - 1
    gains = scores[..., 1:] - scores[..., :1]
    p_values = stats.ttest_1samp(gains, 0, axis=1).pvalue
    left = scores - scores.mean(1, keepdims=True)
    pooled = np.sqrt((left**2).sum((1, 2)) / ((arms + 1) * (seeds - 1)) * 2 / seeds)[:, None]
    left = left - left.mean(2, keepdims=True)
    blocked = np.sqrt((left**2).sum((1, 2)) / (arms * (seeds - 1)) * 2 / seeds)[:, None]
    mean = np.abs(gains.mean(1))
    return {
        'none': p_values < 0.05,
        'Holm': np.array([[p < 0.05 for p in holm(row)] for row in p_values]),
        'Dunnett': mean > dunnett_threshold(arms, (arms + 1) * (seeds - 1)) * pooled,
        'Dunnett, paired': mean > dunnett_threshold(arms, arms * (seeds - 1)) * blocked,
    }


def drawn(random: Generator, kind: str, draws: int, seeds: int, arms: int, ratio: float, pairing: float) -> np.ndarray:
    """Draw scores (draws, seeds, 1 + arms); the first arm's spread is ``ratio`` times the baseline's, at random."""
    shared, own = KINDS[kind](random, (draws, seeds, 1)), KINDS[kind](random, (draws, seeds, 1 + arms))
    own[..., 1] *= ratio
    return pairing**0.5 * shared + (1 - pairing) ** 0.5 * own


def methods(random: Generator, draws: int) -> list[dict]:
    """False verdicts (in percent of experiments) and power (of the first arm), by seeds, arms and method."""
    cases = [
        ('normal', 1, 0),
        ('normal', 1, 0.5),
        ('normal', 2, 0),
        ('normal', 0.5, 0.5),
        ('t3', 1, 0),
        ('skewed', 1, 0),
    ]
    rows = []
    for seeds, arms in Bar([(seeds, arms) for seeds in (3, 5, 10) for arms in (1, 3, 9)], 'methods'):
        worst, found = Counter(), Counter()
        for kind, ratio, pairing in cases:
            scores = drawn(random, kind, draws, seeds, arms, ratio, pairing)
            for name, calls in shown(scores).items():
                worst[name] = max(worst[name], 100 * calls.any(1).mean())
            scores[..., 1] += GAIN
            for name, calls in shown(scores).items():
                found[name] += 100 * calls[:, 0].mean() / len(cases)
        rows += [
            {'seeds': seeds, 'arms': arms, 'method': name, 'false': worst[name], 'power': found[name]} for name in worst
        ]
    return rows


def forms(random: Generator, draws: int) -> list[dict]:
    """How often, in percent, one of three arms has each form at five seeds, by what is true: gains are of four std."""
    rows = []
    truths = {'nothing': (0, 0), 'a gain by something else': (4, 0), 'a gain by the block': (4, 4)}
    for truth, (gain, block) in truths.items():
        count = Counter()
        for scores in Bar(drawn(random, 'normal', draws, 5, 3, 1, 0.5), truth):
            arms = {
                str(arm): Trained(scores[:, arm] + gain, scores[:, 0], scores[:, arm] + gain - block)
                for arm in (1, 2, 3)
            }
            count.update({answer.form for answer in verdicts(arms, 3).values()})
        rows.append({'truth': truth, **{form: 100 * hits / draws for form, hits in sorted(count.items())}})
    return rows


def coverage_of_seeds(random: Generator, draws: int) -> list[dict]:
    rows = []
    for seeds in (3, 5, 10):
        row = {'seeds': seeds}
        for kind, draw in KINDS.items():
            hits = [over_seeds(each, np.zeros(seeds)) for each in Bar(draw(random, (draws, seeds)), kind)]
            row[kind] = 100 * np.mean([each.low <= 0 <= each.high for each in hits])
        rows.append(row)
    return rows


def coverage_of_images(random: Generator, draws: int) -> list[dict]:
    """Of 100 images in drives: ``neighbours`` is the correlation of two that follow each other."""
    rows = []
    for drives, neighbours in ((1, 0), (1, 0.5), (1, 0.73), (1, 0.9), (3, 0.5), (5, 0.73), (10, 0.73), (20, 0.73)):
        hits, lengths = {'jackknife': 0, 'single images': 0}, np.arange(100) * drives // 100
        for _ in Bar(range(draws), f'{drives} drives, {neighbours}'):
            own = random.normal(size=100)
            for image in range(1, 100):
                if lengths[image] == lengths[image - 1]:
                    own[image] = neighbours * own[image - 1] + (1 - neighbours**2) ** 0.5 * own[image]
            right = np.stack([1000 * (0.7 + 0.03 * own), np.full(100, 700)])
            confusion = np.stack([np.stack([right, 1000 - right], -1), np.stack([1000 - right, right], -1)], -2)
            ours, baseline = areas_of(confusion.round())[:, None]
            for name, groups in (('jackknife', map(str, lengths)), ('single images', map(str, range(100)))):
                interval = over_images(ours, baseline, list(groups))[0][0]
                hits[name] += interval.low <= 0 <= interval.high
        rows.append(
            {'drives': drives, 'neighbours': neighbours} | {name: 100 * hit / draws for name, hit in hits.items()}
        )
    return rows


def power_figure() -> Figure:
    """Draw the probability of a verdict against the true gain, by seeds, for one arm and for nine."""
    figure = Figure(figsize=(7, 3), dpi=150, layout='constrained')
    gains = np.linspace(0.01, 4, 100)
    for axes, arms in zip(figure.subplots(1, 2, sharey=True), (1, 9), strict=True):
        for seeds, style in ((3, ':'), (5, '-'), (10, '--'), (20, '-.')):
            axes.plot(gains, [100 * power(gain, 1, seeds, arms) for gain in gains], style, label=f'{seeds} seeds')
        axes.set_title(f'{arms} arm{"s" * (arms > 1)} in the question', fontsize='medium')
        axes.grid(alpha=0.4)
    figure.supxlabel('true gain / standard deviation of the difference', fontsize='medium')
    figure.axes[0].set_ylabel('experiments that show it, %')
    figure.axes[0].legend()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, metavar='OUT.json', help='where the numbers go')
    parser.add_argument('--draws', type=int, default=4000, help='experiments of each kind (default: 4000)')
    args = parser.parse_args()
    random = np.random.default_rng(0)
    document = {'command': f'python benchmarks/verdicts.py {args.out} --draws {args.draws}', 'seen': seen()}
    document |= {'methods': methods(random, args.draws), 'forms': forms(random, args.draws)}
    document |= {'seeds': coverage_of_seeds(random, args.draws), 'images': coverage_of_images(random, args.draws)}
    document['least_gain'] = [
        {'seeds': seeds, **{f'{arms} arms': least_gain(1, seeds, arms) for arms in (1, 3, 9)}}
        for seeds in (3, 5, 10, 20)
    ]
    write_text(args.out, json.dumps({**document, **provenance()}, indent=1) + '\n')
    with replacing(args.out.with_suffix('.png')) as partial:
        power_figure().savefig(partial, format='png')


if __name__ == '__main__':
    main()
