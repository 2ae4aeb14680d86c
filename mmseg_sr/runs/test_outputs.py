"""Let a test write more than its numbers: predictions, confusion matrices, drawings.

Each function takes a config and returns another one: the caller's stays as it was.
"""

import copy
import inspect
import os
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend
from mmseg.datasets import CityscapesDataset
from mmseg.engine import SegVisualizationHook
from mmseg.evaluation import CityscapesMetric

from ..config import dataset_of, evaluators, leaf_datasets, require, require_segmentor
from ..datasets.build import check_pictures, load_split
from ..datasets.classes import write_legend
from ..errors import UserError
from ..kinds import is_kind, kind_of
from ..processes import is_first_process


def with_predictions(cfg: Config, out: Path) -> Config:
    """Let every evaluator that can write predictions write them: the first below ``out``, others in a folder there."""
    cfg = copy.deepcopy(cfg)
    first = True
    for evaluator in evaluators(cfg):
        metric = kind_of(evaluator, 'METRICS')
        if metric is None:
            raise UserError(f'--out: there is no metric {evaluator["type"]}')
        takes = {name for base in inspect.getmro(metric) for name in inspect.signature(base.__init__).parameters}
        if 'output_dir' in takes:
            evaluator['output_dir'] = str(out if first else out / metric.__name__)
            evaluator.update({'keep_results': True} if 'keep_results' in takes else {})
            first = False
    if first:
        raise UserError('--out: no evaluator of the config writes predictions')
    return cfg


def for_submission(cfg: Config, out: Path) -> Config:
    """Write predictions below ``out`` and evaluate nothing: the images need no labels.

    Files are named after the images. Datasets of Cityscapes' kind get its label ids, as its server and
    cityscapesscripts take them; any other gets the ids of its classes.
    """
    require(cfg, 'test_dataloader')
    cfg = copy.deepcopy(require_segmentor(cfg))
    leaves = leaf_datasets(dataset_of(cfg, 'test_dataloader'))
    for place in (*leaves, cfg):
        for key in {'pipeline', 'tta_pipeline'} & place.keys():
            place[key] = _without_labels(place[key])
    writer = dict(type='ClassIoUMetric', output_dir=str(out), format_only=True, collect_device='gpu')
    dataset = kind_of(leaves[0], 'DATASETS')
    if dataset is not None and issubclass(dataset, CityscapesDataset):
        writer.update(type='CityscapesMetric', keep_results=True)
    cfg.test_evaluator = writer
    return cfg


def _without_labels(step: object) -> object:
    """Take LoadAnnotations out of a pipeline, also out of the choices of TestTimeAug."""
    if isinstance(step, dict):
        return type(step)({key: _without_labels(value) for key, value in step.items()})
    if isinstance(step, (list, tuple)) and any(isinstance(child, (dict, list, tuple)) for child in step):
        kept = [_without_labels(child) for child in step if not is_kind(child, 'TRANSFORMS', 'LoadAnnotations')]
        return [child for child in kept if child != []]  # a choice of nothing would leave no choice at all
    return step


def with_confusion(cfg: Config, path: Path) -> Config:
    """Let the first IoUMetric of the config write each image's confusion matrix to ``path``.

    Of a classifier that is what a ClassAccuracy says of each image.
    """
    cfg = copy.deepcopy(cfg)
    for evaluator in evaluators(cfg):
        if is_kind(evaluator, 'METRICS', 'IoUMetric', 'ClassIoUMetric'):
            evaluator.update(type='ClassIoUMetric', confusion_file=str(path))
            return cfg
        if is_kind(evaluator, 'METRICS', 'ClassAccuracy'):
            evaluator['images_file'] = str(path)
            return cfg
    raise UserError('--confusion: there is no IoUMetric or ClassAccuracy among the evaluators of the config')


def with_drawings(cfg: Config, folder: Path) -> Config:
    """Let mmseg's visualization hook draw every prediction below ``folder``."""
    require_segmentor(cfg)
    if cfg.get('test_dataloader'):
        check_pictures(load_split(cfg, 'test'))
    cfg = copy.deepcopy(cfg)
    hooks = cfg.get('default_hooks') or {}
    # Upstream's hook draws an image in `interval`; None switches a default hook off.
    drawing = {'type': 'SegVisualizationHook', **(hooks.get('visualization') or {}), 'draw': True, 'interval': 1}
    cfg.default_hooks = {**hooks, 'visualization': drawing}
    visualizer = {'type': 'SegLocalVisualizer', **(cfg.get('visualizer') or {}), 'save_dir': str(folder)}
    cfg.visualizer = {'vis_backends': [dict(type='LocalVisBackend')], **visualizer}
    return cfg


class KeepFolders(Hook):
    """Let what a test writes of an image lie below the output's folder as the image lies below the one all share.

    mmseg names it after the image alone: of two images of one name the second overwrites the first. What a
    CityscapesMetric writes lies in one folder, as its server and everybody's scripts know it, where the names differ.
    Beside what is drawn lies a legend of the classes.

    Raises:
        UserError: Where two images have one name in one folder.
    """

    def before_test(self, runner: Runner) -> None:
        writers = [each for each in runner.test_evaluator.metrics if getattr(each, 'output_dir', None)]
        drawing = [hook for hook in runner.hooks if isinstance(hook, SegVisualizationHook) and hook.draw]
        dataset = runner.test_dataloader.dataset
        if not (writers or drawing) or not hasattr(dataset, 'get_data_info'):
            return
        paths = [dataset.get_data_info(index)['img_path'] for index in range(len(dataset))]
        folders = _folders(paths)
        has_own_names = len({Path(path).stem for path in paths}) == len(folders)
        for metric in writers:
            if not (isinstance(metric, CityscapesMetric) and has_own_names):
                metric.process = _apart(metric.process, metric, 'output_dir', folders)
        for hook in drawing:
            for backend in hook._visualizer._vis_backends.values():
                if isinstance(backend, LocalVisBackend):
                    _ = backend.experiment  # which makes the folder's name
                    known = [hook._visualizer.dataset_meta.get(key) for key in ('classes', 'palette')]
                    if is_first_process(runner.cfg) and not any(each is None for each in known):
                        write_legend(Path(backend._img_save_dir), *known)
                    draw = _apart(hook.after_test_iter, backend, '_img_save_dir', folders)
                    hook.after_test_iter = partial(_by_place, draw)


def _by_place(draw: Callable, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence) -> None:
    draw(runner, batch_idx, data_batch, outputs)


def _folders(paths: Sequence[str]) -> dict[str, str]:
    """The folder of each image below the one they share; '.' for images that share none, on servers say."""
    try:
        shared = os.path.commonpath([os.path.dirname(path) for path in paths])
        folders = {path: os.path.relpath(os.path.dirname(path), shared) for path in paths if '://' not in path}
    except ValueError:
        folders = {}
    named = {}
    for path in paths:
        folder = folders.setdefault(path, '.')
        other = named.setdefault((folder, Path(path).stem), path)
        if other != path:
            raise UserError(f'the predictions of {other} and {path} would have the same name')
    return folders


def _apart(write: Callable, owner: object, name: str, folders: dict[str, str]) -> Callable:
    """Let ``write``, which takes samples last, find in ``owner.name`` a folder for each folder of their images."""
    top = getattr(owner, name)

    def write_apart(*arguments: object) -> None:
        *others, samples = arguments
        for folder, group in groupby(samples, key=lambda sample: folders.get(sample.get('img_path'), '.')):
            place = os.path.normpath(os.path.join(top, folder))
            os.makedirs(place, exist_ok=True)
            setattr(owner, name, place)
            write(*others, list(group))
        setattr(owner, name, top)

    return write_apart
