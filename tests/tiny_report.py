"""A small experiment as its runs leave it, without running any: rows, confusion matrices, logs and checkpoints."""

import json
from pathlib import Path

import numpy as np
import torch
import yaml
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from tiny_config import CLASSES, SR, write_config

from mmseg_sr.config import load_config, prepare
from mmseg_sr.experiments.plan import Experiment, load
from mmseg_sr.experiments.results import cells, training_dir
from mmseg_sr.metrics.tasks import areas_of, metrics_of
from mmseg_sr.models.find import sr_blocks

HOSTILE = '<img src=x onerror=alert(1)> & "tree"'  # the name of a class
NAMES = f"""
for loader in (train_dataloader, val_dataloader, test_dataloader):
    loader['dataset']['metainfo'] = dict(
        classes=('road', 'car', {HOSTILE!r}, 'train'), palette=[[128, 64, 128], [0, 0, 142], [107, 142, 35], [9, 9, 9]]
    )
"""


def write_experiment(folder: Path, seeds: tuple[int, ...] = (0, 1)) -> Experiment:
    """Write configs, data and the YAML file of a baseline and two SR networks, one with figures of a paper."""
    write_config(folder, 'base.py', NAMES)
    for name in ('sr.py', 'small.py'):
        write_config(folder, name, NAMES + SR)
    document = {
        'name': 'tiny',
        'baseline': 'FCN',
        'seeds': list(seeds),
        'arms': {
            'FCN': {'config': 'base.py', 'paper': {'mIoU': [77.33, 0.16]}},
            'FCN+SR': {'config': 'sr.py', 'paper': {'mIoU': [77.53, 0.23]}},
            'small': {'config': 'small.py'},
        },
    }
    path = folder / 'tiny.yaml'
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return load(path, folder / 'my work')


def write_rows(exp: Experiment) -> Experiment:
    """Write all rows of an experiment, with made-up confusion matrices that belong to them."""
    generator = np.random.default_rng(0)
    names = [f'IoU.{HOSTILE if name == "tree" else name}' for name in CLASSES]
    for cell in cells(exp):
        confusion = generator.integers(5, 50, (6, 4, 4)).astype(np.int32) + 90 * np.eye(4, dtype=np.int32)
        mean_iou, mean_acc, overall, iou = metrics_of(areas_of(confusion).sum(0))
        document = {
            'metrics': {'mIoU': mean_iou, 'mAcc': mean_acc, 'aAcc': overall, **dict(zip(names, iou, strict=True))},
            'seconds': 3.0,
            'machine': {'cpu': 'a <processor>', 'cores': 2, 'gpu': None, 'platform': 'an OS'},
            'versions': {'torch': '2.13.0'},
            'commit': 'c0ffee',
            'date': f'2024-01-0{cell.seed + 1}T00:00:00',
        }
        cell.test.parent.mkdir(parents=True, exist_ok=True)
        cell.test.write_text(json.dumps(document))
        np.savez(cell.confusion, confusion=confusion, images=[f'{index}.png' for index in range(6)])
    return exp


def write_trainings(exp: Experiment) -> None:
    """Write logs of all trainings, and checkpoints of the first seed: random weights, memories that are not zero."""
    for arm in exp.arms.values():
        for seed in exp.seeds:
            folder = training_dir(exp, arm, seed)
            (folder / 'now/vis_data').mkdir(parents=True)
            lines = [{'loss': 2 / step + 0.1 * seed, 'lr': 0.1, 'time': 25.0, 'step': step} for step in (1, 2, 3, 4)]
            lines += [{'mIoU': 10.0 * step, 'step': step} for step in (2, 4)]
            (folder / 'now/vis_data/scalars.json').write_text('\n'.join(map(json.dumps, lines)))
        write_checkpoint(arm.config, training_dir(exp, arm, exp.seeds[0]) / 'iter_4.pth')


def write_checkpoint(config: Path, path: Path) -> None:
    """Write random weights of a config's network."""
    cfg = prepare(load_config(config))
    torch.manual_seed(len(config.name))
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(cfg.model)
    for block in sr_blocks(model).values():
        torch.nn.init.normal_(block.memory, std=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, path)
