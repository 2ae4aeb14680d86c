"""Numbers of the memory: worked out by hand, and compared with slow loops that follow the definitions."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmseg_sr.memory import stats
from mmseg_sr.memory.summary import plain

SIZES = st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 5))  # N, K, P
few = settings(max_examples=40, deadline=None)


@st.composite
def weights_and_shares(draw) -> tuple[np.ndarray, np.ndarray]:
    images, groups, blocks = draw(SIZES)
    raw = draw(arrays(float, (images, blocks), elements=st.floats(0.01, 1)))
    shares = draw(arrays(float, (images, groups), elements=st.sampled_from([0, 0.1, 0.25, 1])))
    return raw / raw.sum(1, keepdims=True), shares


def test_class_shares_of_an_image():
    labels = [[0, 0, 1], [255, 3, 0]]
    assert stats.class_shares(labels, 4).tolist() == [0.6, 0.2, 0, 0.2]
    assert stats.class_shares(np.array(labels, dtype=np.uint8), 2).tolist() == [0.75, 0.25]
    assert stats.class_shares([[-1, 255]], 3).tolist() == [0, 0, 0]


@few
@given(weights_and_shares())
@example((np.array([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]]), np.array([[0.5, 0.5, 0], [0.25, 0.75, 0], [0, 1, 0]])))
def test_weights_by_group_against_a_loop(case):
    weights, shares = case
    found = stats.weights_by_group(weights, shares)
    for group in range(shares.shape[1]):
        assert found.images[group] == sum(share > 0 for share in shares[:, group])
        total = sum(shares[:, group])
        for block in range(weights.shape[1]):
            if total == 0:  # a class that is absent is not 0
                assert math.isnan(found.mean[group, block]) and math.isnan(found.std[group, block])
                continue
            mean = sum(s * w for s, w in zip(shares[:, group], weights[:, block], strict=True)) / total
            squares = sum(s * (w - mean) ** 2 for s, w in zip(shares[:, group], weights[:, block], strict=True))
            assert found.mean[group, block] == pytest.approx(mean)
            assert found.std[group, block] == pytest.approx(math.sqrt(squares / total), abs=1e-9)


def test_a_share_that_makes_no_sense_is_refused():
    for shares in ([[-0.1]], [[math.nan]]):
        with pytest.raises(ValueError, match='finite and not negative'):
            stats.weights_by_group([[1.0]], shares)
    with pytest.raises(ValueError, match='of 1 images and shares of 2'):
        stats.weights_by_group([[1.0]], [[1], [1]])
    for empty in (np.zeros((0, 3)), [0.5, 0.5]):
        with pytest.raises(ValueError, match='at least one image'):
            stats.usage(empty)


def test_entropy_by_hand():
    assert stats.entropy([1.0, 0, 0]) == 0 and str(stats.entropy([1.0, 0])) == '0.0'
    assert stats.entropy([0.25] * 4) == pytest.approx(math.log(4))
    assert stats.entropy([0.5, 0.25, 0.25]) == pytest.approx(1.5 * math.log(2))
    assert stats.entropy([0.5, 0.25, 0.25], normalised=True) == pytest.approx(1.5 * math.log(2) / math.log(3))
    assert np.isnan(stats.entropy([[1.0]], normalised=True)).all() and stats.entropy([[1.0]]) == 0


@few
@given(weights_and_shares())
def test_usage_against_loops_and_its_bounds(case):
    weights, _ = case
    images, blocks = weights.shape
    means = [sum(weights[n, p] for n in range(images)) / images for p in range(blocks)]
    together = -sum(mean * math.log(mean) for mean in means)
    alone = sum(-sum(w * math.log(w) for w in row) for row in weights) / images
    found = stats.usage(weights)
    assert found == pytest.approx((math.exp(together), math.exp(alone), math.exp(together - alone)))
    assert 1 - 1e-9 <= found.per_image <= found.in_use + 1e-9 <= blocks + 2e-9
    assert found.distinct <= min(images, blocks) + 1e-9


def test_dead_blocks():
    weights = [[0.98, 0.009, 0.011], [0.995, 0.0, 0.005]]
    assert stats.dead_blocks(weights).tolist() == [False, True, False]
    assert stats.dead_blocks(weights, threshold=0.02).tolist() == [False, True, True]


def test_norms_and_similarity():
    memory = np.zeros((3, 2, 1, 2))
    memory[0, :, 0] = [[3, 0], [0, 4]]
    memory[1, :, 0] = [[-6, 0], [0, 8]]
    assert stats.norms(memory).tolist() == [5, 10, 0]
    cosine = stats.similarity(memory)
    np.testing.assert_allclose(cosine[:2, :2], [[1, 0.28], [0.28, 1]])
    assert np.isnan(cosine[2]).all() and np.isnan(cosine[:, 2]).all(), 'a zero block has no direction'


@few
@given(arrays(float, (3, 2, 2, 2), elements=st.floats(-5, 5)))
def test_similarity_against_a_loop(memory):
    found = stats.similarity(memory)
    for i, first in enumerate(memory):
        for j, second in enumerate(memory):
            sizes = math.sqrt((first**2).sum()) * math.sqrt((second**2).sum())
            if sizes > 1e-100:
                assert found[i, j] == pytest.approx((first * second).sum() / sizes, abs=1e-9)


@few
@given(arrays(float, (2, 3, 4), elements=st.floats(-3, 3)), arrays(float, (2, 3, 4), elements=st.floats(-3, 3)))
@example(np.zeros((2, 3, 4)), np.ones((2, 3, 4)))
def test_mean_shift_against_a_loop(before, after):
    for x, y, found in zip(before, after, stats.mean_shift(before, after), strict=True):
        size = sum(abs(value) for value in x.ravel())
        change = sum(abs(b - a) for a, b in zip(x.ravel(), y.ravel(), strict=True))
        assert math.isnan(found) if size == 0 else found == pytest.approx(change / size)


def test_plain_values_for_json():
    given_ = {'a': np.float32(0.1), 'b': [np.nan, np.inf, 1], 'c': np.array([[1e-9]]), 'd': True, 'e': 'x'}
    assert plain(given_) == {'a': 0.1, 'b': [None, None, 1], 'c': [[1e-9]], 'd': True, 'e': 'x'}
