"""Find what a dataset loads, and name the file where loading fails.

Works for every dataset of images and label maps (mmseg's BaseSegDataset and what wraps it), and for the loaders of any
pipeline: the transforms named ``Load*``, also inside of others such as TestTimeAug.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset, Compose
from mmengine.fileio import list_dir_or_file
from mmseg.datasets import BaseSegDataset

from ..errors import UserError, one_line


class BadFile(UserError):
    """Report a file that cannot be trained on or tested with, by name, also where a data worker met it."""

    def __init__(self, message: str):
        if 'Original Traceback' in message:  # torch hands on what a worker raised as a text, message last
            message = message.strip().splitlines()[-1].partition(': ')[2]
        super().__init__(message)


def leaves(dataset: object) -> list[BaseDataset]:
    """Find the datasets that have files, below what repeats them or strings them together.

    Example:
        >>> from mmengine.dataset import RepeatDataset
        >>> leaf = BaseSegDataset(lazy_init=True)
        >>> leaves(RepeatDataset(leaf, times=2, lazy_init=True)) == [leaf]
        True
    """
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    return [leaf for each in inner if each is not None for leaf in leaves(each)] or [dataset]


def samples(dataset: BaseDataset) -> list[dict]:
    """List what a dataset knows of each image file before it is loaded: ``img_path``, ``seg_map_path``, ..."""
    found = _infos(dataset)
    if not all('img_path' in each for each in found) or len(found) < len(dataset):
        raise UserError(f'{type(dataset).__name__} is no dataset of images and label maps')
    return found


def _infos(dataset: BaseDataset) -> list[dict]:
    return [dataset.get_data_info(index) for index in range(len(dataset))] if hasattr(dataset, 'get_data_info') else []


def loaders(pipeline: object) -> tuple[list[Callable], list[Callable]]:
    """Find the transforms of a pipeline that load images, and those that load labels.

    Example:
        >>> from mmcv.transforms import LoadImageFromFile
        >>> from mmengine.dataset import Compose
        >>> from mmseg.datasets.transforms import LoadAnnotations
        >>> images, labels = loaders(Compose([LoadImageFromFile(), LoadAnnotations()]))
        >>> [type(each).__name__ for each in images + labels]
        ['LoadImageFromFile', 'LoadAnnotations']
    """
    found = [steps[index] for steps, index in _loading_steps(pipeline)]
    found = [each.load if isinstance(each, CheckedLoad) else each for each in found]
    labels = [each for each in found if _loads_labels(each)]
    return [each for each in found if each not in labels], labels


def makes_one_size(pipeline: Compose) -> bool:
    """Tell whether a pipeline brings images to one size, by what it makes of two sizes; True where it cannot be tried.

    Example:
        >>> from mmcv.transforms import CenterCrop
        >>> from mmseg.datasets.transforms import PackSegInputs
        >>> makes_one_size(Compose([PackSegInputs()])), makes_one_size(Compose([CenterCrop(8), PackSegInputs()]))
        (False, True)
    """
    loading = [steps[index] for steps, index in _loading_steps(pipeline)]
    sizes = set()
    for size in ((1000, 1100), (1200, 900)):  # larger than any crop
        sample = dict(img=np.zeros((*size, 3), np.uint8), img_shape=size, ori_shape=size, gt_label=0)
        try:
            for step in pipeline.transforms:
                sample = sample if step in loading else step(sample)
            sizes.add(tuple(sample['inputs'].shape))
        except Exception:  # it needs what only its loading gives
            return True
    return len(sizes) == 1


def missing_files(dataset: BaseDataset) -> list[str]:
    """List the files that a dataset's pipeline loads and that are not there. Folders are listed, no file is opened.

    Not looked at is a dataset of another place than this machine's disks, or one that keeps its images as arrays.
    """
    if getattr(dataset, 'backend_args', None):
        return []
    keys = ('img_path', 'seg_map_path') if loaders(dataset.pipeline)[1] else ('img_path',)
    paths = [str(sample[key]) for sample in _infos(dataset) for key in keys if sample.get(key)]
    paths = [path for path in paths if '://' not in path]
    folders = {os.path.dirname(path) for path in paths}
    names = {each: set(os.listdir(each or '.')) if os.path.isdir(each or '.') else set() for each in folders}
    return [path for path in paths if os.path.basename(path) not in names[os.path.dirname(path)]]


def orphans(dataset: object) -> list[str]:
    """List the label maps without an image, where whole folders are listed in mmseg's way."""
    found = []
    for leaf in leaves(dataset):
        if getattr(type(leaf), 'load_data_list', None) is not BaseSegDataset.load_data_list:
            continue
        folder = leaf.data_prefix.get('seg_map_path')
        if folder and Path(folder).is_dir() and not (leaf.ann_file or leaf._indices):
            labels = list_dir_or_file(folder, list_dir=False, suffix=leaf.seg_map_suffix, recursive=True)
            known = {Path(sample['seg_map_path']) for sample in samples(leaf)}
            found += sorted(str(path) for label in labels if (path := Path(folder, label)) not in known)
    return found


def label_fault(labels: np.ndarray, size: tuple[int, int], classes: int | None, ignored: int) -> tuple[str, str] | None:
    """Say what keeps a label map, as loaded, from being used: a kind and what was found; None where nothing does.

    Args:
        labels: (height, width) of ids; other shapes are a fault. Sides of one pixel may be dropped, as mmseg does.
        size: (height, width) of its image.
        classes: Number of classes; None where it is not known.
        ignored: The id that counts as no class.

    Example:
        >>> label_fault(np.array([[0, 3], [7, 255]], np.uint8), (2, 2), 3, 255)
        ('label ids', 'label ids 3, 7, and the classes are 0 to 2 (255: void)')
        >>> label_fault(np.zeros((2, 4), np.uint8), (2, 3), 3, 255)
        ('wrong size', '4x2 pixels, its image has 3x2')
    """
    if labels.ndim > 2:
        return 'channels', f'{labels.shape[-1]} channels, a label map has one'
    if labels.squeeze().shape != tuple(side for side in size if side > 1):
        return 'wrong size', f'{"x".join(map(str, labels.shape[::-1]))} pixels, its image has {size[1]}x{size[0]}'
    if classes is None:
        return None
    ids = np.unique(labels[(labels >= classes) & (labels != ignored)]).tolist()
    if not ids:
        return None
    named = ', '.join(map(str, ids[:5])) + (f' and {len(ids) - 5} more' if len(ids) > 5 else '')
    return 'label ids', f'label ids {named}, and the classes are 0 to {classes - 1} ({ignored}: void)'


class CheckedLoad:
    """Wrap a loading transform: say which file it cannot load, and what :func:`label_fault` finds, by a BadFile."""

    def __init__(self, load: Callable[[dict], dict | None], classes: int | None, ignored: int):
        self.load, self.classes, self.ignored = load, classes, ignored

    def __call__(self, sample: dict) -> dict | None:
        labelled = _loads_labels(self.load)
        path = (labelled and sample.get('seg_map_path')) or sample.get('img_path')
        try:
            loaded = self.load(sample)
        except FileNotFoundError as error:
            raise BadFile(f'no such file: {path}') from error
        except Exception as error:  # each library that decodes has its own
            kind = 'label map' if labelled else 'image'
            raise BadFile(f'cannot read the {kind} {path}: {one_line(error)}') from error
        if labelled and loaded and 'gt_seg_map' in loaded and 'ori_shape' in loaded:
            # After a resize, as in a test, the labels still belong to the image as it was loaded.
            size = tuple(loaded['ori_shape'][:2])
            fault = label_fault(loaded['gt_seg_map'], size, self.classes, self.ignored)
            if fault:
                raise BadFile(f'{path}: {fault[1]}')
            loaded['gt_seg_map'] = loaded['gt_seg_map'].reshape(size)  # mmseg drops sides of one pixel
        return loaded

    def __repr__(self) -> str:
        return repr(self.load)


def check_loads(pipeline: object, classes: int | None, ignored: int) -> None:
    """Let a pipeline name the file that cannot be loaded, by a :class:`BadFile`. A second call changes nothing."""
    for steps, index in _loading_steps(pipeline):
        if not isinstance(steps[index], CheckedLoad):
            steps[index] = CheckedLoad(steps[index], classes, ignored)


def _loads_labels(step: object) -> bool:
    return 'Annotation' in type(step).__name__


def _loading_steps(step: object) -> Iterator[tuple[list, int]]:
    """Yield each place (list of transforms, index) of a loading transform below one that holds others."""
    inner = getattr(step, 'transforms', None) or getattr(step, 'subroutines', None) or []
    inner = inner if isinstance(inner, list) else [inner]
    for index, each in enumerate(inner):
        if isinstance(each, CheckedLoad) or type(each).__name__.startswith('Load'):
            yield inner, index
        else:
            yield from _loading_steps(each)
