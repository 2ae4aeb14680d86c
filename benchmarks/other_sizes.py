"""Measure what testing at other sizes than the trained one does: resized whole images, windows, memories moved on load.

    python benchmarks/other_sizes.py results/other_sizes.json
    python benchmarks/other_sizes.py results/other_sizes.json --images 64 --work-dir work_dirs/other_sizes

Streets are drawn at 256x512 pixels (height x width), twice the side that the mini-Cityscapes networks were trained at,
and shown to them at several sizes; labels stay what they are, so that all sizes are scored on the same pixels. Two
networks: `released` is the SR network in checkpoints/, whose memory does little. `larger memory` is that network
trained for 300 more iterations with the memory's learning rate times 512, the number of its cells: its memory counts,
so that what resizing does to it can be seen.

For each way of testing: `mIoU`; `block`, what mIoU loses when the block is taken out, with the 95 % interval over the
images; `labels`, the share of the pixels that are labelled otherwise then; `shift`, the norm of what the block adds
relative to that of the map; `weights`, how far the softmax weights are from those at the trained size: the largest of
the memory blocks, the mean over the images. For a memory that was moved on loading `moved` is the share of pixels that
are labelled otherwise than by the memory as trained, at the same size. A run that was stopped goes on.
"""

import argparse
import copy
import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch import nn

from mmseg_sr.atomic import write_text
from mmseg_sr.config import load_config
from mmseg_sr.datasets.build import load_split
from mmseg_sr.datasets.cityscapes import prepare
from mmseg_sr.errors import UserError, command
from mmseg_sr.memory.interventions import without
from mmseg_sr.memory.probe import probe
from mmseg_sr.metrics.confusion import areas_of, confusion_of, metrics_of
from mmseg_sr.metrics.intervals import over_images
from mmseg_sr.mini_cityscapes import draw_mini_cityscapes
from mmseg_sr.models.find import sr_blocks
from mmseg_sr.progress import Bar
from mmseg_sr.provenance import provenance
from mmseg_sr.runs.models import load_sr_model

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs/mini_cityscapes/fcn_r18-w16-d8-sr_1xb4-2k_mini-cityscapes-128x256.py'
TRAINED, MEMORY = (128, 256), (16, 32)
ITERATIONS, CELLS = 300, MEMORY[0] * MEMORY[1]
WHOLE = [(64, 128), (96, 192), TRAINED, (192, 384), (256, 512)]
MOVED = [(8, 16), (32, 64)]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, metavar='FILE.json', help='where the numbers go')
    parser.add_argument('--images', type=int, default=32, help='streets to draw (default: %(default)s)')
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/other_sizes'), help='data and training (default: %(default)s)'
    )
    return parser.parse_args()


def draw(data: Path, train: int, val: int, size: tuple[int, int]) -> None:
    """Draw streets, with their label maps."""
    draw_mini_cityscapes(data, train, val, size)
    prepare([data], data, subset=True)


def train_larger(released: Path, folder: Path) -> Path:
    """Train the released network on, with a memory that learns faster; and give its checkpoint."""
    checkpoint = folder / f'larger/iter_{ITERATIONS}.pth'
    if not checkpoint.exists():
        draw(folder / 'train', 192, 16, (256, 128))
        options = {
            'load_from': released,
            'train_cfg.max_iters': ITERATIONS,
            'train_cfg.val_interval': ITERATIONS,
            'default_hooks.checkpoint.interval': ITERATIONS,
            'optim_wrapper.paramwise_cfg.custom_keys.memory.lr_mult': CELLS,
            **{f'{split}_dataloader.dataset.data_root': folder / 'train' for split in ('train', 'val')},
        }
        command = [sys.executable, ROOT / 'tools/train.py', CONFIG, '--seed', 0, '--work-dir', checkpoint.parent]
        words = map(str, [*command, '--cfg-options', *(f'{key}={value}' for key, value in options.items())])
        subprocess.run(list(words), check=True, stdout=sys.stderr)
    return checkpoint


def ways() -> list[dict]:
    """List how to test: the size of the image, whole or in windows, the size of the memory."""
    whole = [dict(size=size, mode='whole', memory_size=MEMORY) for size in WHOLE]
    slide = [dict(size=WHOLE[-1], mode='slide', memory_size=MEMORY)]
    moved = [dict(size=size, mode='whole', memory_size=memory) for memory in MOVED for size in (TRAINED, WHOLE[-1])]
    return whole + slide + moved


def options_of(way: dict, data: Path) -> dict:
    """Give the options by which a way of testing changes the config."""
    options = {
        'val_dataloader.dataset.data_root': str(data),
        'val_dataloader.dataset.pipeline.1.scale': way['size'][::-1],
        'model.backbone.sr.memory_size': way['memory_size'],
    }
    if way['mode'] == 'slide':
        half = tuple(side // 2 for side in TRAINED)
        options |= {'model.test_cfg': dict(mode='slide', crop_size=TRAINED, stride=half)}
        options |= {'model.backbone.sr.resize': False}
    return options


@torch.no_grad()
def predict(model: nn.Module, samples: list[dict], removed: bool = False) -> dict[str, np.ndarray]:
    """Predict all images: areas (N, 3, K), labels, softmax weights (N, P) and relative shifts (N,)."""
    seen = {'areas': [], 'labels': [], 'weights': [], 'shift': []}
    with ExitStack() as stack:
        for block in sr_blocks(model).values() if removed else ():
            stack.enter_context(without(block))
        for sample in samples:
            with probe(model) as passes:
                (result,) = model.test_step(pseudo_collate([copy.deepcopy(sample)]))
            ((_, seen_block),) = passes.items()
            truth, labels = (each.data.cpu().numpy() for each in (result.gt_sem_seg, result.pred_sem_seg))
            seen['areas'].append(areas_of(confusion_of(truth, labels, model.out_channels)))
            seen['labels'].append(labels)
            seen['weights'].append(torch.cat(seen_block.weights).mean(0).numpy())
            seen['shift'].append(torch.cat(seen_block.shift).mean().item())
    return {name: np.stack(values) for name, values in seen.items()}


def row(way: dict, ours: dict, removed: dict, plain: dict, trained: dict) -> dict:
    """Compute the numbers of a way, ``plain`` with the memory as trained at this size, ``trained`` at its own size."""
    interval = over_images(ours['areas'][None], removed['areas'][None])[0][0]
    moved = way['memory_size'] != MEMORY
    return {
        **way,
        'mIoU': float(metrics_of(ours['areas'].sum(0))[0]),
        'block': {'mIoU': interval.difference, 'low': interval.low, 'high': interval.high},
        'labels': float((ours['labels'] != removed['labels']).mean()),
        'shift': float(ours['shift'].mean()),
        'weights': float(np.abs(ours['weights'] - trained['weights']).max(1).mean()),
        'moved': float((ours['labels'] != plain['labels']).mean()) if moved else None,
    }


def measure(checkpoint: Path, data: Path, name: str) -> list[dict]:
    """Measure the rows of a network."""
    seen, removed, found = {}, {}, []
    order = sorted(ways(), key=lambda way: way['size'] != TRAINED or way['memory_size'] != MEMORY)  # the trained first
    for way in Bar(order, name, unit='way'):
        cfg = load_config(CONFIG, options_of(way, data))
        model, samples = load_sr_model(cfg, checkpoint), list(load_split(cfg, 'val'))
        ours = predict(model, samples)
        seen.setdefault((way['size'], way['mode']), ours)
        removed.setdefault((way['size'], way['mode']), predict(model, samples, removed=True))
        at = way['size'], way['mode']
        found.append(row(way, ours, removed[at], seen[at], seen[TRAINED, 'whole']))
    return [row for way in ways() for row in found if all(row[key] == way[key] for key in way)]


@command
def main() -> None:
    args = parse_args()
    if args.images < 1:
        raise UserError(f'--images must be at least 1, got {args.images}')
    torch.manual_seed(0)
    (released,) = (ROOT / 'checkpoints').glob('*-sr_*.safetensors')
    folder = args.work_dir.resolve()
    data = folder / f'test{args.images}'
    draw(data, 1, args.images, WHOLE[-1][::-1])
    checkpoints = {'released': released, 'larger memory': train_larger(released, folder)}
    document = {
        'command': ' '.join(['python', *sys.argv]),
        'config': str(CONFIG.relative_to(ROOT)),
        'images': args.images,
        'trained': {'size': TRAINED, 'memory_size': MEMORY},
        'networks': {name: measure(checkpoint, data, name) for name, checkpoint in checkpoints.items()},
        'torch': torch.__version__,
        **provenance(),
    }
    write_text(args.out, json.dumps(document, indent=1) + '\n')
    print(json.dumps(document))


if __name__ == '__main__':
    main()
