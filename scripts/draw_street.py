"""Draw what the released networks make of a street, as the README shows it.

python scripts/draw_street.py docs/street.png

The street is one of the drawn ones that they were not trained on. What the memory adds is the mean over the channels of
the map after the block, less that before it.
"""

import argparse
import os
import tempfile
from pathlib import Path

import mmcv
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mmengine.config import Config
from torch import nn

from mmseg_sr.atomic import check_file, replacing
from mmseg_sr.config import load_config
from mmseg_sr.datasets.build import load_images
from mmseg_sr.datasets.cityscapes import find_frames, prepare
from mmseg_sr.errors import command
from mmseg_sr.memory.interventions import without
from mmseg_sr.memory.observe import observe
from mmseg_sr.mini_cityscapes import draw_mini_cityscapes
from mmseg_sr.models.find import sr_blocks
from mmseg_sr.report.pictures import colour
from mmseg_sr.runs.models import class_names, load_model

NAME = 'fcn_r18-w16-d8{}_1xb4-2k_mini-cityscapes-128x256'  # of the model index
FRAME = 3  # of val


def load(variant: str) -> tuple[Config, nn.Module]:
    """Load a released network."""
    cfg = load_config(NAME.format(variant))
    return cfg, load_model(cfg, NAME.format(variant))


def street_figure(data: Path) -> Figure:
    """Draw a street, its classes, and what the networks without and with a memory of the scene predict."""
    frame = [frame for frame in find_frames(data) if frame.split == 'val'][FRAME]
    picture = mmcv.imread(str(frame.image), channel_order='rgb')
    truth = mmcv.imread(f'{data / "gtFine" / frame.name}_gtFine_labelTrainIds.png', 'unchanged')
    (_, baseline), (cfg, model) = load(''), load('-sr-scene-rank16')
    (sample,) = load_images(cfg, [frame.image])
    (block,) = sr_blocks(model).values()
    seen = observe(model, sample, ablate=False)
    with without(block):
        removed = observe(model, sample, ablate=False).prediction
    (result,) = baseline.test_step({'inputs': [sample['inputs']], 'data_samples': [sample['data_samples']]})
    labels = {'ground truth': truth, 'without SR': result.pred_sem_seg.data[0].numpy()}
    labels |= {'with a memory of the scene': seen.prediction, 'the same, its memory off': removed}

    classes, palette = class_names(model)
    (view,) = seen.blocks.values()
    added = view.after - view.before
    figure = Figure(figsize=(12, 4.9), layout='constrained', facecolor='white')
    street, first, adds, *others = figure.subplots(2, 3).flat
    street.imshow(picture)
    for cell, values in zip((first, *others), labels.values(), strict=True):
        cell.imshow(colour(np.where(truth == 255, 255, values), palette), interpolation='nearest')
    limit = np.abs(added).max()
    adds.imshow(added, cmap='PuOr', vmin=-limit, vmax=limit, extent=(0, *truth.shape[::-1], 0))
    titles = ['picture', 'ground truth', 'what the memory adds', *list(labels)[1:]]
    for cell, title in zip(figure.axes, titles, strict=True):
        cell.set_title(title)
        cell.set_axis_off()
    present = np.unique(np.stack(list(labels.values()))[:, truth != 255])
    handles = [Patch(facecolor=np.divide(palette[index], 255), label=classes[index]) for index in present]
    figure.legend(handles=handles, loc='outside lower center', ncols=9, frameon=False)
    return figure


@command
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, metavar='FILE.png', help='picture to write')
    args = parser.parse_args()
    check_file('FILE.png', args.out)
    with tempfile.TemporaryDirectory() as folder, replacing(args.out) as partial:
        data = Path(folder)
        draw_mini_cityscapes(data, train=1, val=16)
        prepare([data], data, subset=True)
        os.environ['MINI_CITYSCAPES_ROOT'] = folder
        street_figure(data).savefig(partial, format='png', dpi=80)


if __name__ == '__main__':
    main()
