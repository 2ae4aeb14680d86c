"""Check every image and its label, a map or the number of a class, against the classes and the other splits.

Files are read as mmseg and mmpretrain read them: each dataset's own list, loaded by the transforms of its own pipeline.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.pool import ThreadPool

from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import BaseDataset

from ..progress import Bar
from .classes import listed
from .loading import leaves, loaders, makes_one_size, orphans, samples
from .look import Look, Problem, look, pair_of

MAX_THREADS = 256  # more would wait for one another and for the disk


@dataclass
class Split:
    """The images and labels that one data loader reads, or several, and what was found in all of them."""

    pairs: dict[tuple[str, str], Callable[[], Look]]  # how to look at (image, label map or class or '')
    problems: list[Problem]
    counts: Counter = field(default_factory=Counter)  # as those of a Look


def check(
    datasets: Mapping[str, BaseDataset],
    classes: int | None,
    ignored: int,
    channels: int,
    workers: int = 1,
    trained: int | None = None,
) -> dict[str, Split]:
    """Check every file of some datasets.

    Args:
        datasets: By the name of their split. Those that read the same files are one, 'val+test', but for 'train'.
        classes: Number of classes; None for what the datasets say.
        ignored: The label id that counts as no class.
        channels: Of the images, as the network takes them.
        workers: Number of threads.
        trained: Number of classes in 'train', where a head that is trained only has fewer.
    """
    splits = _splits(datasets, (trained or classes, classes), ignored, channels)
    calls = [call for split in splits.values() for call in split.pairs.values()]
    files = ((name, image) for name, split in splits.items() for image, _ in split.pairs)
    images: dict[str, dict[str, str]] = {}  # sha256 of a file -> split -> the file
    sizes: dict[str, dict[str, tuple[int, int]]] = {}
    # Threads: what decodes and hashes lets go of Python's lock, and a process would first import for seconds.
    with ThreadPool(min(workers, MAX_THREADS)) as pool:
        looks = Bar(pool.imap(lambda call: call(), calls), 'check', total=len(calls), unit='image')
        for (problems, digest, counts, size), (name, image) in zip(looks, files, strict=True):
            splits[name].problems += problems
            splits[name].counts.update(counts)
            if digest:
                images.setdefault(digest, {}).setdefault(name, image)
            if size:
                sizes.setdefault(name, {})[image] = size
    for name, of_images in sizes.items():
        splits[name].problems += _odd_sizes(of_images)
    for twins in images.values():
        (first, file), *others = twins.items()
        for other, twin in others:
            splits[other].problems.append(Problem('duplicate', twin, f'the same image as {file} in {first}'))
    return splits


def _odd_sizes(sizes: Mapping[str, tuple[int, int]]) -> list[Problem]:
    """Name the images that have another size than most, where one batch takes one size."""
    ((most, _),) = Counter(sizes.values()).most_common(1)
    usual = f'most have {most[1]}x{most[0]}, and nothing makes them one size'
    odd = {image: size for image, size in sizes.items() if size != most}
    return [Problem('wrong size', image, f'{width}x{height} pixels, {usual}') for image, (height, width) in odd.items()]


def _splits(datasets: Mapping[str, BaseDataset], classes: tuple, *expected: int) -> dict[str, Split]:
    splits: dict[str, Split] = {}
    for name, dataset in datasets.items():
        pairs = _pairs(dataset, classes[name != 'train'], *expected)
        unused = [Problem('missing', label, 'it has no image') for label in orphans(dataset)]
        twin = next((each for each in splits if each != 'train' and splits[each].pairs.keys() == pairs.keys()), None)
        splits[f'{twin}+{name}' if twin else name] = splits.pop(twin) if twin else Split(pairs, unused)
    return splits


def _pairs(dataset: BaseDataset, classes: int | None, *expected: int) -> dict[tuple[str, str], Callable[[], Look]]:
    """Find how to look at each pair of a dataset, once, also where the dataset repeats it."""
    pairs = {}
    for leaf in leaves(dataset):
        known = samples(leaf)
        images, labels = loaders(getattr(leaf, 'pipeline', None))
        load = (images or [LoadImageFromFile()])[0], (labels or [None])[0]
        count = classes or len(listed(leaf.metainfo).get('classes', [])) or None
        alike = 'gt_label' in known[0] and not makes_one_size(leaf.pipeline)  # a batch of classifiers' has one size
        look_at = partial(look, alike=alike)
        pairs |= {pair_of(sample, load[1]): partial(look_at, sample, *load, count, *expected) for sample in known}
    return pairs
