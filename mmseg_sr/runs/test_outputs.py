"""Let a test write more than its numbers: predictions, confusion matrices, drawings.

Each function takes a config and returns another one: the caller's stays as it was.
"""

import copy
import inspect
from pathlib import Path

from mmengine.config import Config
from mmseg.datasets import CityscapesDataset

from ..config import dataset_of, evaluators, leaf_datasets, require
from ..datasets.build import check_pictures, load_split
from ..errors import UserError
from ..kinds import is_kind, kind_of


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
    cfg = copy.deepcopy(cfg)
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
    """Let the first IoUMetric of the config write each image's confusion matrix to ``path``."""
    cfg = copy.deepcopy(cfg)
    for evaluator in evaluators(cfg):
        if is_kind(evaluator, 'METRICS', 'IoUMetric', 'ClassIoUMetric'):
            evaluator.update(type='ClassIoUMetric', confusion_file=str(path))
            return cfg
    raise UserError('--confusion: there is no IoUMetric among the evaluators of the config')


def with_drawings(cfg: Config, folder: Path) -> Config:
    """Let mmseg's visualization hook draw every prediction below ``folder``."""
    if cfg.get('test_dataloader'):
        check_pictures(load_split(cfg, 'test'))
    cfg = copy.deepcopy(cfg)
    hooks = cfg.get('default_hooks') or {}
    # Upstream's hook draws an image in `interval`.
    drawing = {'type': 'SegVisualizationHook', **hooks.get('visualization', {}), 'draw': True, 'interval': 1}
    cfg.default_hooks = {**hooks, 'visualization': drawing}
    visualizer = {'type': 'SegLocalVisualizer', **(cfg.get('visualizer') or {}), 'save_dir': str(folder)}
    cfg.visualizer = {'vis_backends': [dict(type='LocalVisBackend')], **visualizer}
    return cfg
