"""A verdict can be trusted: nothing is called a gain, a gain is put down to the block only where it is the block's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mmseg_sr.experiments.verdict import Trained, verdicts
from mmseg_sr.metrics.intervals import over_seeds

BLOCKS, NOT_BLOCKS = "gain shown, and the block's", "gain shown, but not shown to be the block's"


def drawn(generator, seeds: int = 5, gain: float = 0.0, block: float = 0.0, drift: float = 0.3, **more) -> Trained:
    """Draw networks: ``gain`` is what an arm has above its baseline, ``block`` what it loses without its SR blocks.

    ``drift`` is what two trainings of one seed differ by, though nothing but rounding is different.
    """
    seed = generator.normal(40, 0.5, seeds)
    baseline, ours = (seed + generator.normal(0, drift, seeds) for _ in range(2))
    ours = ours + gain
    return Trained(ours, baseline, ours - block + generator.normal(0, 0.002, seeds), **more)


def forms(asked: int = 1, draws: int = 300, seed: int = 0, **network) -> list[str]:
    """The first form but *not shown*, or that, in each of many experiments, whose arms are drawn alike."""
    generator, found = np.random.default_rng(seed), []
    for _ in range(draws):
        answers = verdicts({str(arm): drawn(generator, **network) for arm in range(asked)}, asked)
        shown = [answer.form for answer in answers.values() if answer.form != 'not shown']
        found.append(shown[0] if shown else 'not shown')
    return found


def assert_at_most(hits: int, draws: int, rate: float) -> None:
    assert hits <= stats.binom.ppf(0.9999, draws, rate), f'{hits} of {draws}'


@pytest.mark.parametrize(('seeds', 'asked'), [(3, 1), (5, 1), (5, 9)])
def test_of_networks_that_are_alike_one_experiment_in_twenty_shows_something(seeds, asked):
    """With nine arms, too: without a correction a third of the experiments would."""
    for drift in (0.01, 0.8):  # nothing moves; a training that drifts
        found = forms(asked, draws=100 if asked > 1 else 300, seeds=seeds, drift=drift)
        assert_at_most(sum(form != 'not shown' for form in found), len(found), 0.05)


def test_two_seeds_are_no_verdict_whatever_they_show():
    ours, baseline = [40.32, 41.41], [40.00, 41.00]
    answer = verdicts({'SR': Trained(ours, baseline, [30.0, 31.0])}, asked=1)['SR']
    assert (answer.form, answer.p_corrected) == ('2 seeds: no verdict', None)
    assert (answer.interval.low, answer.removal.difference) == (over_seeds(ours, baseline).low, pytest.approx(10.365))
    assert verdicts({'SR': Trained([40.0], [41.0], None)}, asked=1)['SR'].form == '1 seed: no verdict'
    with_gap = Trained([40.0, 41.0, np.nan], [39.0, 40.1, 38.0], None)
    assert verdicts({'SR': with_gap}, asked=1)['SR'].form == '2 seeds: no verdict'


def test_seeds_that_all_differ_by_one_image_show_nothing():
    """A score counts images, so a few of them more at every seed is no sign that nothing varies."""
    answer = verdicts({'SR': Trained([70.05, 71.05, 69.05], [70.0, 71.0, 69.0], [60.0, 60.0, 60.0])}, asked=2)['SR']
    assert (answer.form, answer.p_corrected, answer.interval.low) == ('not shown', 1, None)
    assert 'the same number' in answer.reason


def test_a_planted_gain_of_the_block_is_the_blocks():
    found = forms(gain=2.0, block=2.0)
    assert found.count(BLOCKS) > 0.9 * len(found)


def test_a_planted_gain_of_something_else_is_not_the_blocks():
    """Of another learning rate, say: the trained networks keep it without their blocks."""
    for block in (0.0, 0.02, 0.9):
        found = forms(gain=2.0, block=block)
        assert found.count(NOT_BLOCKS) > 0.9 * len(found)
        assert_at_most(found.count(BLOCKS), len(found), 0.05)


def test_a_gain_that_a_control_arm_has_too_is_not_the_blocks():
    generator, found = np.random.default_rng(1), []
    for _ in range(300):
        trained = drawn(generator, gain=2.0, block=3.0)
        control = drawn(generator, gain=2.0).ours
        found.append(verdicts({'SR': Trained(**{**vars(trained), 'controls': {'SE': control}})}, asked=1)['SR'])
    assert_at_most(sum(answer.form == BLOCKS for answer in found), len(found), 0.05)
    assert {answer.reason for answer in found if answer.form == NOT_BLOCKS} == {'the control arm SE has it too, or may'}
    worse = Trained(**{**vars(trained), 'controls': {'SE': np.asarray(trained.ours) - [2.0, 2.1, 2.0, 1.9, 2.0]}})
    assert verdicts({'SR': worse}, asked=1)['SR'].form == BLOCKS


def test_a_gain_without_a_look_without_the_block_is_not_the_blocks():
    trained = drawn(np.random.default_rng(2), gain=5.0, block=5.0)
    for removed, reason in ((None, 'the network has no SR block'), ([np.nan] * 5, 'was not tested without')):
        answer = verdicts({'SR': Trained(trained.ours, trained.baseline, removed)}, asked=1)['SR']
        assert answer.form == NOT_BLOCKS and reason in answer.reason


def test_a_loss_is_a_gain_below_zero():
    trained = drawn(np.random.default_rng(3), gain=-5.0, block=-5.0)
    assert verdicts({'SR': trained}, asked=1)['SR'].form == "loss shown, and the block's"
    same = Trained(trained.ours, trained.baseline, trained.ours)
    assert verdicts({'SR': same}, asked=1)['SR'].form == "loss shown, but not shown to be the block's"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1, 3), min_size=1, max_size=6), st.integers(0, 3), st.integers(0, 99))
def test_interval_p_and_words_agree_and_arms_not_yet_run_count(gains, missing, seed):
    generator = np.random.default_rng(seed)
    arms = {str(place): drawn(generator, gain=gain) for place, gain in enumerate(gains)}
    answers = verdicts(arms, asked=len(arms) + missing)
    smallest = min(over_seeds(arm.ours, arm.baseline).p_value for arm in arms.values())
    assert min(answer.p_corrected for answer in answers.values()) == pytest.approx(
        min(1, smallest * (len(arms) + missing))
    )
    for answer in answers.values():
        outside = not answer.interval.low <= 0 <= answer.interval.high
        assert outside == (answer.p_corrected < 0.05) == (answer.form != 'not shown')
        assert answer.p_corrected >= answer.interval.p_value
