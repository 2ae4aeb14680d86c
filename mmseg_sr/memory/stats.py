"""Compute the numbers that say what a memory does: arrays in, arrays out.

Shape letters: N images, K groups of them (classes, cities, drives), P memory blocks, (h, w) size of a map.
What is not defined is NaN, never 0: the weights of a class that is in no image, the direction of a zero block.
"""

from collections import namedtuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr

# Softmax weights by group: mean and standard deviation (K, P), and the number of images that show it (K,).
GroupWeights = namedtuple('GroupWeights', 'mean std images')
Usage = namedtuple('Usage', 'in_use per_image distinct')  # see usage()


def class_shares(labels: ArrayLike, num_classes: int) -> NDArray:
    """Compute each class's share (K,) of the labelled pixels of an image; all 0 where no pixel is labelled.

    Any value of ``labels`` (h, w) but 0 .. K - 1 counts as unlabelled.

    Example:
        >>> class_shares([[0, 0], [2, 255]], num_classes=3)
        array([0.66666667, 0.        , 0.33333333])
    """
    labels = np.asarray(labels)
    labelled = labels[(labels >= 0) & (labels < num_classes)].astype(np.int64)
    return np.bincount(labelled, minlength=num_classes) / max(labelled.size, 1)


def weights_by_group(weights: ArrayLike, shares: ArrayLike) -> GroupWeights:
    """Compute mean and standard deviation of the softmax weights of each group; NaN for a group without a share.

    An image has one weight vector w and shows many classes. With s[n, k], the share of its pixels that class k
    has, ``mean[k] = sum_n s[n, k] w[n] / sum_n s[n, k]``, and std is the square root of the mean square distance
    from it, weighted alike. With shares of 1 and 0 these are the plain mean and population standard deviation.

    Args:
        weights: Softmax weights (N, P).
        shares: Share of each group in each image (N, K), not negative.

    Raises:
        ValueError: For arrays that do not fit, or a share that is negative or not finite.

    Example:
        >>> weights_by_group([[1, 0], [0, 1]], [[0.75, 0], [0.25, 0]]).mean
        array([[0.75, 0.25],
               [ nan,  nan]])
    """
    weights, shares = _matrix(weights, 'weights'), _matrix(shares, 'shares')
    if len(weights) != len(shares):
        raise ValueError(f'weights are of {len(weights)} images and shares of {len(shares)}')
    if not np.all(np.isfinite(shares) & (shares >= 0)):
        raise ValueError('shares must be finite and not negative')
    with np.errstate(invalid='ignore', divide='ignore'):
        shares_of_sum = shares / shares.sum(0)  # (N, K), NaN for a group without a share
    mean = shares_of_sum.T @ weights  # (K, P)
    squares = [share @ (weights - center) ** 2 for share, center in zip(shares_of_sum.T, mean, strict=True)]
    return GroupWeights(mean, np.sqrt(squares), (shares > 0).sum(0))


def entropy(weights: ArrayLike, normalised: bool = False) -> NDArray:
    """Compute the Shannon entropy of weight vectors (..., P) in nats: 0 where one block has all, log P at the most.

    ``normalised`` divides by log P, so that the range is 0 to 1; NaN for P = 1, where there is nothing to choose.

    Example:
        >>> entropy([[1.0, 0.0], [0.5, 0.5]], normalised=True)
        array([0., 1.])
    """
    weights = np.asarray(weights, dtype=np.float64)
    values = entr(weights).sum(-1) + 0.0  # not -0.0
    if not normalised:
        return values
    return values / np.log(weights.shape[-1]) if weights.shape[-1] > 1 else np.full_like(values, np.nan)


def usage(weights: ArrayLike) -> Usage:
    """Compute effective numbers of memory blocks from weights (N, P), each the exponential of an entropy: 1 to P.

    * ``in_use`` = exp(H(mean of the weights)): blocks that the images use together.
    * ``per_image`` = exp(mean of H(weights of an image)): blocks that one image mixes.
    * ``distinct`` = in_use / per_image: how many different weight vectors there are, in effect. 1 when the weights do
      not depend on the image: the block adds a constant then, as one with P = 1 does.

    Example:
        >>> tuple(round(value, 6) for value in usage([[1, 0, 0], [0, 1, 0]]))
        (2.0, 1.0, 2.0)
        >>> tuple(round(value, 6) for value in usage([[0.5, 0.5, 0], [0.5, 0.5, 0]]))
        (2.0, 2.0, 1.0)
    """
    weights = _matrix(weights, 'weights')
    together, alone = entropy(weights.mean(0)), entropy(weights).mean()
    return Usage(float(np.exp(together)), float(np.exp(alone)), float(np.exp(together - alone)))


def dead_blocks(weights: ArrayLike, threshold: float = 0.01) -> NDArray:
    """Find the memory blocks (P,) to which no image gives a weight of ``threshold`` or more, of weights (N, P).

    Example:
        >>> dead_blocks([[0.995, 0.005], [0.999, 0.001]])
        array([False,  True])
    """
    return _matrix(weights, 'weights').max(0) < threshold


def norms(memory: ArrayLike) -> NDArray:
    """Compute the Euclidean norm (P,) of each memory block (P, ...)."""
    memory = np.asarray(memory, dtype=np.float64)
    return np.linalg.norm(memory.reshape(len(memory), -1), axis=1)


def similarity(memory: ArrayLike) -> NDArray:
    """Compute the cosine (P, P) between memory blocks (P, ...): 1 for the same direction, NaN with a zero block.

    Example:
        >>> similarity([[3.0, 0.0], [0.0, 2.0], [-1.0, 0.0]]).round(6) + 0.0
        array([[ 1.,  0., -1.],
               [ 0.,  1.,  0.],
               [-1.,  0.,  1.]])
    """
    memory = np.asarray(memory, dtype=np.float64)
    with np.errstate(invalid='ignore', divide='ignore'):
        directions = memory.reshape(len(memory), -1) / norms(memory)[:, None]
        return np.clip(directions @ directions.T, -1, 1)


def mean_shift(before: ArrayLike, after: ArrayLike) -> NDArray:
    """Compute how far a block moves the channel-mean activation, relative to its size: the paper reports 0.02 to 0.10.

    The mean over the positions of ``|after - before|``, divided by the mean of ``|before|``. Of a channel mean
    only: what is added to some channels and taken from others does not show in it, but does in the norm of the shift.

    Args:
        before: Channel-mean maps (..., h, w); the ratios (...) are NaN where they are zero all over.
        after: The same after the block.

    Example:
        >>> mean_shift([[2.0, -2.0]], [[2.2, -2.0]]).round(6)
        np.float64(0.05)
    """
    before, after = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    size = np.abs(before).mean((-2, -1))
    change = np.abs(after - before).mean((-2, -1))
    return np.divide(change, size, out=np.full_like(change, np.nan), where=size > 0)[()]


def _matrix(values: ArrayLike, name: str) -> NDArray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or not len(values):
        raise ValueError(f'{name} must have two axes and at least one image, got shape {values.shape}')
    return values
