"""Train and compare a small FCN without and with an SR block on drawn street scenes: the main job, in minutes.

    python scripts/demo.py
    python scripts/demo.py --out demo --experiment experiments/mini_cityscapes.yaml

Draws mini-Cityscapes and tests the released networks on it: a table and a picture in the first minute. Then trains a
pair of them anew from the same seed for the same number of steps, tests both single-scale and multi-scale + flip, and
prints one table more. Everything is in the folder: data/, released.png, runs/ (logs, checkpoints, tests), results.json,
results.md, report/ (what the difference is worth), predictions.png and report.html, a page with all of it to open in a
browser. Run again it reuses what is there.

The networks are tiny, the streets are drawn and there is one seed: the numbers say that everything runs. They mean
nothing for Cityscapes.
"""

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import mmcv
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mmengine.config import Config

import mmseg_sr  # noqa: F401  (before mmseg: it lets torchvision be imported)

# isort: split
from mmseg.apis import inference_model, init_model
from mmseg.utils import get_classes, get_palette

from mmseg_sr.atomic import write_text
from mmseg_sr.config import load_config, prepare
from mmseg_sr.datasets.cityscapes import find_frames
from mmseg_sr.datasets.cityscapes import prepare as prepare_cityscapes
from mmseg_sr.errors import UserError, command
from mmseg_sr.experiments import markdown
from mmseg_sr.experiments.plan import Experiment, load
from mmseg_sr.experiments.results import rows as rows_of
from mmseg_sr.experiments.results import training_dir
from mmseg_sr.experiments.run import run
from mmseg_sr.metrics.tasks import SEGMENTATION
from mmseg_sr.mini_cityscapes import draw_mini_cityscapes
from mmseg_sr.openmmlab import HOME
from mmseg_sr.progress import Bar
from mmseg_sr.report.collect import experiment_page
from mmseg_sr.report.page import write
from mmseg_sr.report.pictures import colour
from mmseg_sr.runs.launch import test

METRICS = SEGMENTATION.metrics
WARNING = 'Drawn streets, tiny networks, one seed: these numbers mean nothing for Cityscapes.'
PICTURES = 4
RELEASED = {'FCN': '', 'FCN+SR': '-sr', 'FCN+SR, memory of the scene': '-sr-scene-rank16'}


def table(rows: list[dict], baseline: str) -> str:
    """One Markdown line a network and test mode; overhead is of the parameters, over the baseline's."""
    base = next(row['parameters']['total'] for row in rows if row['arm'] == baseline)
    lines = []
    for row in rows:
        total = row['parameters']['total']
        line = [row['arm'], row['mode'], *(f'{row["metrics"][name]:.2f}' for name in METRICS)]
        line += [f'{total:,}', f'+{100 * (total - base) / base:.2f} %']
        lines.append([*line, f'{row["train_seconds"]:.0f}', f'{row["test_seconds"]:.0f}'])
    head = ['network', 'test', *METRICS, 'parameters', 'overhead', 'train s', 'test s']
    return f'{markdown.table(head, lines)}\n\n{WARNING}\n'


def released(data: Path, out: Path) -> str:
    """Test the released networks on the drawn streets and draw what they predict: a table in the first minute."""
    lines, networks = [], {}
    for name, part in RELEASED.items():
        model = f'fcn_r18-w16-d8{part}_1xb4-2k_mini-cityscapes-128x256'  # of the model index: config and weights
        networks[name] = load_config(model, {'work_dir': str(out / 'released'), 'log_level': 'ERROR'}), model
        metrics = test(*networks[name])
        lines.append([name, *(f'{metrics[metric]:.2f}' for metric in METRICS)])
    draw_predictions(networks, data, out / 'released.png')
    return markdown.table(['released network', *METRICS], lines)


def trained(exp: Experiment) -> dict[str, tuple[Config, Path]]:
    """Find the config and the last checkpoint of each network of an experiment."""
    found = {}
    for arm in exp.arms.values():
        cfg = load_config(arm.config, dict(arm.options))
        found[arm.name] = cfg, training_dir(exp, arm, exp.seeds[0]) / f'iter_{cfg.train_cfg.max_iters}.pth'
    return found


def draw_predictions(networks: Mapping[str, tuple[Config, str | Path]], data: Path, out: Path) -> None:
    """Draw pictures of val, their ground truth and what each network, a config and a checkpoint, makes of them."""
    frames = [frame for frame in find_frames(data) if frame.split == 'val'][:PICTURES]
    truths = [mmcv.imread(f'{data / "gtFine" / frame.name}_gtFine_labelTrainIds.png', 'unchanged') for frame in frames]
    columns = {'ground truth': truths}
    for name, (cfg, checkpoint) in Bar(networks.items(), 'predict', unit='network'):
        model = init_model(prepare(cfg), str(checkpoint), device='cpu')
        results = [inference_model(model, str(frame.image)) for frame in frames]
        columns[name] = [result.pred_sem_seg.data[0].numpy().astype(np.uint8) for result in results]
    pictures = [mmcv.imread(str(frame.image), channel_order='rgb') for frame in frames]
    prediction_grid(pictures, columns, [truth == 255 for truth in truths]).savefig(out, dpi=100)


def prediction_grid(
    pictures: Sequence[np.ndarray], columns: Mapping[str, Sequence[np.ndarray]], void: Sequence[np.ndarray]
) -> Figure:
    """Draw a row a picture (H, W, 3): itself, and a label map (H, W) for each column, black where its void is true.

    A legend below has the classes that are in a column.
    """
    size = (2 * pictures[0].shape[1] / pictures[0].shape[0] * (len(columns) + 1), 2 * len(pictures) + 0.9)
    figure = Figure(figsize=size, layout='constrained', facecolor='white')
    axes = figure.subplots(len(pictures), len(columns) + 1, squeeze=False)
    for row, picture, mask, *maps in zip(axes, pictures, void, *columns.values(), strict=True):
        row[0].imshow(picture)
        for cell, labels in zip(row[1:], maps, strict=True):
            cell.imshow(colour(np.where(mask, 255, labels), get_palette('cityscapes')), interpolation='nearest')
    for cell, title in zip(axes[0], ('picture', *columns), strict=True):
        cell.set_title(title)
    for cell in axes.flat:
        cell.set_axis_off()
    names, palette = get_classes('cityscapes'), np.divide(get_palette('cityscapes'), 255)
    shown = [np.unique(labels[~mask]) for maps in columns.values() for labels, mask in zip(maps, void, strict=True)]
    present = [index for index in np.unique(np.concatenate(shown)) if index < len(names)]
    handles = [Patch(facecolor=palette[index], edgecolor='black', label=names[index]) for index in present]
    figure.legend(handles=handles, loc='outside lower center', ncols=10, frameon=False)
    return figure


@command
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('demo'), metavar='DIR', help='folder (default: demo)')
    parser.add_argument('--experiment', type=Path, default=HOME / 'experiments/mini_cityscapes.yaml', metavar='YAML')
    parser.add_argument('--frames', type=int, nargs=2, default=(48, 16), metavar=('TRAIN', 'VAL'), help='to draw')
    args = parser.parse_args()
    start = time.monotonic()
    data = args.out.resolve() / 'data'
    draw_mini_cityscapes(data, *args.frames)
    prepare_cityscapes([data], data, subset=True)
    os.environ['MINI_CITYSCAPES_ROOT'] = str(data)

    print(f'\n{released(data, args.out)}\n\nTheir predictions: {args.out / "released.png"}\n')
    print('Now the first two networks are trained anew, on fewer streets and for fewer steps.\n', flush=True)

    # Both networks train at the same time, each on its half of the cores: threads that wait for a busy core crawl.
    jobs = min(2, os.cpu_count() or 1)
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // jobs)))
    exp = load(args.experiment, args.out.resolve() / 'runs')
    failures = run(exp, jobs)
    if failures:
        raise UserError('\n'.join(map(str, failures)))
    rows = rows_of(exp)
    draw_predictions(trained(exp), data, args.out / 'predictions.png')
    document = markdown.write(exp, args.out / 'report')
    document = {**document, 'notes': [*document['notes'], WARNING]}
    write(experiment_page(exp, document), args.out / 'report.html')
    text = table(rows, exp.baseline)
    write_text(args.out / 'results.md', text)
    write_text(args.out / 'results.json', json.dumps(rows, indent=2) + '\n')
    print(f'\n{text}\n{time.monotonic() - start:.0f} s; {args.out}: results.md, results.json, report/, predictions.png')
    print(f'Open this page: {args.out / "report.html"}')
    return 0


if __name__ == '__main__':
    main()
