"""What a report says is right: planted gains are found, planted nulls are not, intervals cover as often as they say."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mmseg_sr.metrics.groups import group_names
from mmseg_sr.metrics.intervals import Interval, holm, mean_std, over_images, over_seeds
from mmseg_sr.metrics.power import least_gain, power, seeds_needed
from mmseg_sr.metrics.tasks import accuracies_of, areas_of, hits_of, metrics_of

numbers = st.lists(st.floats(-50, 50, allow_nan=False).map(lambda x: round(x, 3)), min_size=2, max_size=9)


def assert_right_rate(hits: int, draws: int, rate: float) -> None:
    """``hits`` of ``draws`` are what chance makes of ``rate``; a right rate fails once in 10,000."""
    low, high = stats.binom.interval(0.9999, draws, rate)
    assert low <= hits <= high, f'{hits} of {draws}'


def test_metrics_are_of_summed_pixels_never_means_over_images():
    confusion = np.array([[[3, 1], [0, 4]], [[2, 0], [2, 0]]])
    mean_iou, mean_acc, overall, iou = metrics_of(areas_of(confusion).sum(0))
    # Summed: [[5, 1], [2, 4]]. IoU 5/8 and 4/7, accuracy 5/6 and 4/6, 9 of 12 pixels.
    assert iou == pytest.approx([100 * 5 / 8, 100 * 4 / 7])
    assert (mean_iou, mean_acc, overall) == pytest.approx((100 * (5 / 8 + 4 / 7) / 2, 75, 75))
    of_images = metrics_of(areas_of(confusion))[0]
    assert of_images == pytest.approx([100 * (3 / 4 + 4 / 5) / 2, 25])
    assert abs(of_images.mean() - mean_iou) > 5, 'a case in which the two differ'


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(40, 90), st.floats(-1, 1)), min_size=2, max_size=10))
def test_the_interval_over_seeds_is_that_of_the_paired_t_test(pairs):
    baseline = np.array([mean for mean, _ in pairs])
    ours = baseline + [gain for _, gain in pairs]
    result = over_seeds(ours, baseline)
    if np.ptp(ours - baseline) < 1e-6:
        return
    test = stats.ttest_rel(ours, baseline)
    expected = test.confidence_interval(0.95)
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert result.p_value == pytest.approx(test.pvalue, rel=1e-9)
    wide = over_seeds(ours, baseline, level=0.99)
    expected = test.confidence_interval(0.99)
    assert (wide.low, wide.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_a_case_worked_by_hand():
    # Differences 1, 2, 3: mean 2, standard deviation 1, standard error 0.57735, t(0.975, 2) = 4.30265.
    result = over_seeds([11, 22, 33], [10, 20, 30])
    assert (result.difference, result.low, result.high) == pytest.approx((2, 2 - 2.48414, 2 + 2.48414), abs=1e-5)
    # t = 3.46410 with 2 degrees of freedom: p = 1 - t / sqrt(t^2 + 2).
    assert result.p_value == pytest.approx(1 - 3.4641016 / math.sqrt(14), abs=1e-6)
    assert mean_std([10, 20, 30]) == (20, 10)


def test_one_seed_has_no_interval_and_no_standard_deviation():
    result = over_seeds([77.5], [77.0])
    assert result == Interval(0.5)
    assert mean_std([77.5]) == (77.5, None)


def test_seeds_in_which_a_class_is_absent_are_left_out():
    assert over_seeds([1, 2, math.nan, 4], [0, 0, 0, 1]) == over_seeds([1, 2, 4], [0, 0, 1])
    nothing = over_seeds([math.nan], [1.0])
    assert math.isnan(nothing.difference) and nothing.low is None


def test_equal_differences_tell_no_spread_and_none_at_all_is_no_difference():
    assert over_seeds([1.5, 2.5, 7.5], [1, 2, 7]) == Interval(0.5)
    nearly = over_seeds([50.05, 60.05, 40.1], [50.0, 60.0, 40.05])  # in floats they differ
    assert (nearly.difference, nearly.low, nearly.p_value) == (pytest.approx(0.05), None, None)
    assert over_seeds([1, 2], [1, 2]) == Interval(0, 0, 0, 1)


@pytest.mark.parametrize('gain', [0.0, 0.4])
def test_intervals_over_seeds_cover_the_planted_gain_at_their_rate(gain):
    generator = np.random.default_rng(1)
    draws, covered, called_shown = 1000, 0, 0
    for _ in range(draws):
        quality = generator.normal(77, 0.5, 5)  # shared by a pair
        ours = quality + gain + generator.normal(0, 0.15, 5)
        baseline = quality + generator.normal(0, 0.15, 5)
        result = over_seeds(ours, baseline)
        covered += result.low <= gain <= result.high
        called_shown += not result.low <= 0 <= result.high
    assert_right_rate(covered, draws, 0.95)
    if gain:
        assert called_shown / draws > 0.8, 'a gain of three standard deviations is mostly found'
    else:
        assert_right_rate(called_shown, draws, 0.05)


@pytest.mark.parametrize('arms', [1, 3])
def test_seeds_needed_reach_the_power_that_they_promise(arms):
    generator = np.random.default_rng(2)
    gain, std = 0.2, 0.127
    needed = seeds_needed(gain, std, arms)
    draws = 4000

    def found(seeds: int) -> int:
        repeated = generator.normal(gain, std, (draws, seeds))
        return int((stats.ttest_1samp(repeated, 0, axis=1).pvalue < 0.05 / arms).sum())

    assert needed == {1: 6, 3: 8}[arms]
    assert found(needed) > 0.78 * draws and found(needed - 1) < 0.8 * draws
    assert_right_rate(found(5), draws, float(power(gain, std, 5, arms)))
    assert power(least_gain(std, 5, arms), std, 5, arms) == pytest.approx(0.8)


def test_seeds_needed_of_the_papers_gain():
    # Cohen's tables: an effect of half a standard deviation needs 34 pairs.
    assert seeds_needed(0.5, 1) == seeds_needed(-0.5, 1) == 34
    assert seeds_needed(0, 1) is None
    assert seeds_needed(0.0005, 1) is None, 'millions'
    assert seeds_needed(1, 0) == 3, 'two make no verdict'


def random_areas(generator, seeds=3, images=12, classes=4, present=4) -> np.ndarray:
    confusion = generator.integers(0, 40, (seeds, images, classes, classes))
    confusion += 60 * np.eye(classes, dtype=int)
    confusion[..., present:, :] = confusion[..., :, present:] = 0
    return areas_of(confusion)


def test_the_jackknife_is_a_plain_loop():
    generator = np.random.default_rng(3)
    baseline = random_areas(generator, present=3)
    ours = baseline + generator.integers(0, 4, baseline.shape) * (np.arange(4) < 3)  # pairs are alike
    ours[:, :, 1, 1] += 15
    groups = list('abcdefabcdef')
    got, resampling = over_images(ours, baseline, groups)

    def gain(images: list[int]) -> np.ndarray:
        gains = []
        for seed in range(3):
            sides = []
            for areas in (ours, baseline):
                total = sum(areas[seed, image] for image in images)
                union = total[1] + total[2] - total[0]
                iou = [100 * total[0][k] / union[k] for k in range(3)]
                accuracy = [100 * total[0][k] / total[2][k] for k in range(3)]
                sides.append([np.mean(iou), np.mean(accuracy), 100 * total[0].sum() / total[2].sum(), *iou])
            gains.append(np.subtract(*sides))
        return np.mean(gains, axis=0)

    whole = gain(list(range(12)))
    without = [gain([image for image in range(12) if groups[image] != name]) for name in 'abcdef']
    half = stats.t.ppf(0.975, 5) * np.sqrt(5 / 6 * sum((each - whole) ** 2 for each in without))
    assert len(got) == 7 and (resampling.by, resampling.count) == ('groups', 6)
    for index in range(6):
        expected = [whole[index], whole[index] - half[index], whole[index] + half[index]]
        assert [got[index].difference, got[index].low, got[index].high] == pytest.approx(expected), index
    assert math.isnan(got[6].difference) and got[6].low is None, 'a class without pixels'
    order = np.argsort(groups, kind='stable')
    influence = np.array([gain([i for i in range(12) if i != image])[0] for image in range(12)])[order]
    assert resampling.correlation == pytest.approx(np.corrcoef(influence[:-1:2], influence[1::2])[0, 1])


def test_few_groups_are_cut_into_blocks_of_neighbours():
    generator = np.random.default_rng(6)
    pair = [random_areas(generator, images=20) for _ in range(2)]
    blocks = [str(image // 4) for image in range(20)]
    for groups in (None, ['one'] * 20):
        assert over_images(*pair, groups)[0] == over_images(*pair, blocks)[0]
        assert over_images(*pair, groups)[1].by == 'blocks of neighbours'
    two = ['a'] * 12 + ['b'] * 8
    blocks = [str(image // 4) for image in range(12)] + ['x'] * 4 + ['y'] * 4
    assert over_images(*pair, two)[0] == over_images(*pair, blocks)[0], 'no block lies in two groups'
    few = [areas[:, :3] for areas in pair]
    assert over_images(*few)[1].count == 3 and over_images(*few)[0][0].low is not None
    alone = [areas[:, :1] for areas in pair]
    assert over_images(*alone)[0][0].low is None, 'one image has no interval'


def test_the_interval_over_single_images_is_that_of_paired_hits_and_takes_little_memory():
    """As ImageNet's 50,000 of 1,000 classes: no matrix of image by image, no sums without each of them at once."""
    generator = np.random.default_rng(11)
    label, ours, baseline = generator.integers(0, 200, (3, 4000))
    tracemalloc.start()
    counts = [hits_of(label, predicted, label == predicted, 200)[None] for predicted in (ours, baseline)]
    result, resampling = over_images(*counts, [str(image) for image in range(4000)], accuracies_of)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    gain = 100.0 * (ours == label) - 100.0 * (baseline == label)
    assert result[0].difference == pytest.approx(gain.mean())
    half = stats.t.ppf(0.975, 3999) * stats.sem(gain)  # the jackknife of a mean is its standard error
    assert result[0].high - result[0].difference == pytest.approx(half, rel=1e-3)
    assert resampling.count == 4000 and len(result) == 2 + 200
    assert peak < 60e6, 'image by image in float64 is 128 MB, and sums of each are 19 MB'


def test_groups_are_read_off_names():
    names = ['frankfurt/frankfurt_000000_000294.png', '0016E5_07959.png', '548_0001440.png', '7.png']
    assert group_names(names) == ['frankfurt/', '0016E5_', '548_', '']
    assert group_names(['a-1-x.png', 'a-2-y.png'], '[^-]*-[^-]*') == ['a-1', 'a-2']


def test_seeds_that_share_their_images_do_not_make_the_interval_smaller():
    generator = np.random.default_rng(4)
    one = [random_areas(generator, seeds=1, images=30) for _ in range(2)]
    five = [np.repeat(areas, 5, axis=0) for areas in one]
    once, repeated = over_images(*one)[0][0], over_images(*five)[0][0]
    assert (once.low, once.high) == pytest.approx((repeated.low, repeated.high))


def test_equal_networks_are_equal():
    areas = random_areas(np.random.default_rng(5))
    intervals, resampling = over_images(areas, areas)
    assert set(intervals) == {Interval(0, 0, 0)} and resampling.correlation is None


def test_a_class_of_one_group_alone_has_no_interval():
    generator = np.random.default_rng(7)
    ours, baseline = random_areas(generator), random_areas(generator)
    for areas in (ours, baseline):
        areas[:, 1:, :, 3] = 0
    ours[:, 0, :, 3], baseline[:, 0, :, 3] = [50, 50, 100], [20, 20, 100]
    assert over_images(ours, baseline)[0][6] == Interval(30)


def test_a_class_that_one_seed_lacks_is_judged_by_the_others():
    generator = np.random.default_rng(10)
    pair = [random_areas(generator) for _ in range(2)]
    others = [areas[1:] for areas in pair]
    for areas in pair:
        areas[0, :, :, 3] = 0
    assert over_images(*pair)[0][6] == over_images(*others)[0][6]


def test_areas_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match=r'\(1, 2, 3, 4\) and \(1, 3, 3, 4\)'):
        over_images(np.ones((1, 2, 3, 4)), np.ones((1, 3, 3, 4)))


@pytest.mark.parametrize(
    ('correlation', 'groups', 'rate'), [(0, 1, 0.95), (0.73, 1, 0.94), (0, 8, 0.95)], ids=['alone', 'drive', 'cities']
)
def test_intervals_over_images_cover_the_planted_gain_at_their_rate(correlation, groups, rate):
    """Networks that are right in a share of an image's pixels, which differs from drive to drive and image to image."""
    generator = np.random.default_rng(8)
    draws, covered, images, pixels, gain = 400, 0, 100, 400, 0.03
    # What infinitely many images would give: accuracy p in both classes makes an IoU of p / (2 - p).
    truth = 100 * ((0.7 + gain) / (1.3 - gain) - 0.7 / 1.3)
    names = [str(image * groups // images) for image in range(images)]
    for _ in range(draws):
        steps = generator.normal(0, 0.05, images)
        own = np.copy(steps)  # neighbours differ less than others
        for image in range(1, images):
            own[image] = correlation * own[image - 1] + np.sqrt(1 - correlation**2) * steps[image]
        own += generator.normal(0, 0.05 * (groups > 1), groups)[np.arange(images) * groups // images]
        sides = []
        for share in (0.7 + gain + own, np.full(images, 0.7)):
            right = np.round(pixels * share)
            wrong = pixels - right
            confusion = np.stack([np.stack([right, wrong], -1), np.stack([wrong, right], -1)], -2)
            sides.append(areas_of(confusion)[None])
        result = over_images(*sides, names)[0][0]
        covered += result.low <= truth <= result.high
    assert stats.binom.ppf(0.0001, draws, rate - 0.01) <= covered <= stats.binom.ppf(0.9999, draws, rate + 0.01)


def test_holm_worked_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.5 times 4, 3, 2, 1; none below the one before it.
    assert holm([0.02, 0.5, 0.01, 0.03]) == pytest.approx([0.06, 0.5, 0.04, 0.06])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([None, math.nan]) == [None, None]
    assert holm([None, 0.04]) == [None, 0.04]


@settings(max_examples=50, deadline=None)
@given(numbers)
def test_holm_lies_between_no_correction_and_bonferronis(values):
    p_values = [abs(value) / 50 for value in values]
    corrected = holm(p_values)
    for p_value, each in zip(p_values, corrected, strict=True):
        assert p_value <= each <= min(1, p_value * len(p_values)) + 1e-12
    assert (np.diff(np.array(corrected)[np.argsort(p_values)]) >= 0).all(), 'the order stays'


def test_of_many_equal_classes_one_is_called_different_in_one_report_of_twenty():
    generator = np.random.default_rng(9)
    draws = 600
    values = generator.normal(0, 1, (draws, 19, 5))
    p_values = stats.ttest_1samp(values, 0, axis=2).pvalue
    assert ((p_values < 0.05).any(1)).mean() > 0.5, 'without a correction most reports would name one'
    assert_right_rate(sum(min(holm(row)) < 0.05 for row in p_values), draws, 0.05)
