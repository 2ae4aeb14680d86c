"""What a report says is right: planted gains are found, planted nulls are not, intervals cover as often as they say."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mmseg_sr.metrics.confusion import areas_of, metrics_of
from mmseg_sr.metrics.intervals import Interval, holm, mean_std, over_images, over_seeds, seeds_needed

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


def test_a_class_without_pixels_is_nan_and_not_in_the_mean():
    mean_iou, mean_acc, overall, iou = metrics_of(areas_of([[2, 0, 0], [1, 1, 0], [0, 0, 0]]))
    assert iou[:2] == pytest.approx([200 / 3, 50]) and np.isnan(iou[2])
    assert (mean_iou, mean_acc, overall) == pytest.approx(((200 / 3 + 50) / 2, 75, 75))


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
    less = stats.ttest_rel(ours, baseline, alternative='greater').pvalue
    assert result.probability == pytest.approx(1 - less, abs=1e-9)


def test_a_case_worked_by_hand():
    # Differences 1, 2, 3: mean 2, standard deviation 1, standard error 0.57735, t(0.975, 2) = 4.30265.
    result = over_seeds([11, 22, 33], [10, 20, 30])
    assert (result.difference, result.low, result.high) == pytest.approx((2, 2 - 2.48414, 2 + 2.48414), abs=1e-5)
    assert result.verdict == 'not shown'
    # t = 3.46410 with 2 degrees of freedom: P = 1/2 + t / (2 sqrt(t^2 + 2)).
    assert result.probability == pytest.approx(0.5 + 3.4641016 / (2 * math.sqrt(14)), abs=1e-6)
    assert mean_std([10, 20, 30]) == (20, 10)


def test_one_seed_has_no_interval_and_no_standard_deviation():
    result = over_seeds([77.5], [77.0])
    assert (result.difference, result.low, result.high, result.probability) == (0.5, None, None, None)
    assert result.verdict == 'no interval'
    assert mean_std([77.5]) == (77.5, None)
    assert seeds_needed([77.5], [77.0]) is None


def test_seeds_in_which_a_class_is_absent_are_left_out():
    assert over_seeds([1, 2, math.nan, 4], [0, 0, 0, 1]) == over_seeds([1, 2, 4], [0, 0, 1])
    nothing = over_seeds([math.nan], [1.0])
    assert math.isnan(nothing.difference) and nothing.low is None


@pytest.mark.parametrize(('gain', 'probability', 'verdict'), [(0.5, 1, 'gain shown'), (0, 0.5, 'not shown')])
def test_equal_differences_make_a_point(gain, probability, verdict):
    result = over_seeds([1 + gain, 2 + gain], [1, 2])
    assert (result.low, result.high, result.probability, result.verdict) == (gain, gain, probability, verdict)


def test_an_interval_that_touches_zero_shows_nothing():
    assert Interval(0.1, 0.0, 0.2).verdict == 'not shown'
    assert Interval(-0.1, -0.2, 0.0).verdict == 'not shown'
    assert Interval(-0.1, -0.2, -0.01).verdict == 'loss shown'
    assert Interval(0.1, 1e-9, 0.2).verdict == 'gain shown'


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
        called_shown += result.verdict != 'not shown'
    assert_right_rate(covered, draws, 0.95)
    if gain:
        assert called_shown / draws > 0.8, 'a gain of three standard deviations is mostly found'
    else:
        assert_right_rate(called_shown, draws, 0.05)


def test_seeds_needed_reach_the_power_that_they_promise():
    generator = np.random.default_rng(2)
    differences = np.array([0.35, 0.05, 0.30, 0.10, 0.20])  # mean 0.2, standard deviation 0.127
    needed = seeds_needed(differences, np.zeros(5))
    draws = 4000

    def found(seeds: int) -> int:
        repeated = generator.normal(differences.mean(), differences.std(ddof=1), (draws, seeds))
        return int((stats.ttest_1samp(repeated, 0, axis=1).pvalue < 0.05).sum())

    assert needed == 6
    assert found(needed) > 0.78 * draws and found(needed - 1) < 0.8 * draws


def test_seeds_needed_of_the_papers_gain():
    # Cohen's tables: an effect of half a standard deviation needs 34 pairs.
    differences = stats.zscore(np.arange(40.0), ddof=1) + 0.5
    assert seeds_needed(differences, np.zeros(40)) == 34
    assert seeds_needed(-differences, np.zeros(40)) == 34
    assert seeds_needed([1.0, -1.0], [0, 0]) is None
    assert seeds_needed([1.0, -0.999], [0, 0]) is None, 'millions'
    assert seeds_needed([1.0, 1.0], [0, 0]) == 2


def random_areas(generator, seeds=3, images=12, classes=4, present=4) -> np.ndarray:
    confusion = generator.integers(0, 40, (seeds, images, classes, classes))
    confusion += 60 * np.eye(classes, dtype=int)
    confusion[..., present:, :] = confusion[..., :, present:] = 0
    return areas_of(confusion)


def test_the_bootstrap_is_a_plain_loop():
    generator = np.random.default_rng(3)
    baseline = random_areas(generator, present=3)
    ours = baseline + generator.integers(0, 4, baseline.shape) * (np.arange(4) < 3)  # pairs are alike
    ours[:, :, 1, 1] += 15
    got = over_images(ours, baseline, draws=4000)
    drawn = []
    for _ in range(4000):
        chosen = generator.integers(0, 12, 12)  # the same images for both networks and every seed
        gains = []
        for seed in range(3):
            sides = []
            for areas in (ours, baseline):
                total = sum(areas[seed, image] for image in chosen)
                union = total[1] + total[2] - total[0]
                iou = [100 * total[0][k] / union[k] for k in range(3)]
                accuracy = [100 * total[0][k] / total[2][k] for k in range(3)]
                sides.append([np.mean(iou), np.mean(accuracy), 100 * total[0].sum() / total[2].sum(), *iou])
            gains.append(np.subtract(*sides))
        drawn.append(np.mean(gains, axis=0))
    drawn = np.array(drawn)
    spread = drawn.std(0)
    assert len(got) == 7
    for index in range(6):
        ends = np.quantile(drawn[:, index], [0.025, 0.975])
        assert np.abs(np.subtract([got[index].low, got[index].high], ends)).max() < 0.2 * spread[index], index
        assert got[index].probability == pytest.approx((drawn[:, index] > 0).mean(), abs=0.05)
    assert math.isnan(got[6].difference) and got[6].low is None, 'a class without pixels'
    point = [metrics_of(areas.sum(1))[0].mean() for areas in (ours, baseline)]
    assert got[0].difference == pytest.approx(point[0] - point[1])


def test_seeds_that_share_their_images_do_not_make_the_interval_smaller():
    generator = np.random.default_rng(4)
    one = [random_areas(generator, seeds=1, images=30) for _ in range(2)]
    five = [np.repeat(areas, 5, axis=0) for areas in one]
    once, repeated = over_images(*one, draws=500)[0], over_images(*five, draws=500)[0]
    assert (once.low, once.high) == pytest.approx((repeated.low, repeated.high))


def test_equal_networks_are_equal_and_equal_calls_give_the_same_interval():
    generator = np.random.default_rng(5)
    areas, other = random_areas(generator), random_areas(generator)
    for result in over_images(areas, areas, draws=200):
        assert (result.difference, result.low, result.high, result.probability) == (0, 0, 0, 0.5)
        assert (result.verdict, result.p_value) == ('not shown', 1)
    assert over_images(areas, other, draws=300) == over_images(areas, other, draws=300)


def test_a_rare_class_is_judged_by_the_draws_that_have_it():
    generator = np.random.default_rng(7)
    ours, baseline = random_areas(generator), random_areas(generator)
    for areas in (ours, baseline):
        areas[:, 1:, :, 3] = 0
    ours[:, 0, :, 3], baseline[:, 0, :, 3] = [50, 50, 100], [20, 20, 100]
    result = over_images(ours, baseline, draws=500)[6]
    assert (result.low, result.high, result.probability) == pytest.approx((30, 30, 1))


def test_a_class_that_one_seed_lacks_is_judged_by_the_others():
    generator = np.random.default_rng(10)
    pair = [random_areas(generator) for _ in range(2)]
    others = [areas[1:] for areas in pair]
    for areas in pair:
        areas[0, :, :, 3] = 0
    assert over_images(*pair, draws=200)[6] == over_images(*others, draws=200)[6]


def test_areas_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match=r'\(1, 2, 3, 4\) and \(1, 3, 3, 4\)'):
        over_images(np.ones((1, 2, 3, 4)), np.ones((1, 3, 3, 4)))


@pytest.mark.parametrize('gain', [0.0, 0.06])
def test_intervals_over_images_cover_the_planted_gain_at_their_rate(gain):
    """Networks that are right in a share of an image's pixels, which differs from image to image."""
    generator = np.random.default_rng(8)
    draws, covered, called_shown, images, pixels = 300, 0, 0, 60, 200

    def areas(share: np.ndarray) -> np.ndarray:
        right = generator.binomial(pixels, share, (2, 2, images))  # (classes, seeds, images)
        wrong = pixels - right
        confusion = np.stack([np.stack([right[0], wrong[0]], -1), np.stack([wrong[1], right[1]], -1)], -2)
        return areas_of(confusion)

    # What infinitely many images would give: accuracy p in both classes makes an IoU of p / (2 - p).
    truth = 100 * ((0.7 + gain) / (1.3 - gain) - 0.7 / 1.3)
    for _ in range(draws):
        hard = generator.uniform(-0.12, 0.12, (1, 1, images))  # shared by both networks and their seeds
        ours, baseline = areas(0.7 + gain + hard), areas(0.7 + hard)
        result = over_images(ours, baseline, draws=300)[0]
        covered += result.low <= truth <= result.high
        called_shown += result.verdict != 'not shown'
    # The percentile interval of 60 images covers about one point less than it says.
    assert stats.binom.ppf(0.0001, draws, 0.93) <= covered <= stats.binom.ppf(0.9999, draws, 0.95)
    assert called_shown > 0.95 * draws if gain else called_shown < stats.binom.ppf(0.9999, draws, 0.07)


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
