"""Is there anything to gain from knowing where in the scene a pixel lies? A trained network is asked, without training.

    python benchmarks/scene_prior.py CONFIG CHECKPOINT results/scene/prior.json
    python benchmarks/scene_prior.py CONFIG CHECKPOINT OUT.json --cells 24 32 --cfg-options val_dataloader....

From the labels of the config's training images comes how much more often a class is found at a place than elsewhere:
log P(class | place) - log P(class), on a grid of cells over the image. That, times each of `--weights`, is added to the
network's log-probabilities on the validation images. What this gains is about what a static memory of the scene could
gain; on images of streets that no training image shows, about what of it is more than knowing those streets.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.dataset import BaseDataset, pseudo_collate
from torch import Tensor, nn
from tqdm import tqdm

from mmseg_sr.atomic import check_file, write_text
from mmseg_sr.config import load_config, read_options
from mmseg_sr.datasets.build import load_split
from mmseg_sr.errors import command
from mmseg_sr.provenance import provenance
from mmseg_sr.runs.models import load_model


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', metavar='CONFIG')
    parser.add_argument('checkpoint', metavar='CHECKPOINT')
    parser.add_argument('out', type=Path, metavar='OUT.json', help='where the numbers go')
    parser.add_argument('--cells', type=int, nargs=2, default=(24, 32), metavar=('H', 'W'), help='of the grid')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='as for tools/test.py')
    parser.add_argument('--weights', type=float, nargs='+', default=[0, 0.25, 0.5, 1], help='of the prior')
    return parser.parse_args()


def shares(dataset: BaseDataset, classes: int, cells: tuple[int, int]) -> Tensor:
    """Compute log P(class | cell) - log P(class) (K, H, W), with one cell of the overall shares added to the counts."""
    counts = torch.zeros(classes, *cells, dtype=torch.float64)
    for index in tqdm(range(len(dataset)), desc='labels'):
        labels = dataset[index]['data_samples'].gt_sem_seg.data[0]
        maps = F.one_hot(labels.clamp(max=classes), classes + 1)[..., :classes].permute(2, 0, 1)
        counts += F.adaptive_avg_pool2d(maps.double(), cells)
    overall = counts.sum((1, 2)) / counts.sum()
    at_place = (counts + overall[:, None, None]) / (counts.sum(0) + 1)
    return (at_place.log() - overall.log()[:, None, None]).float()


@torch.no_grad()
def evaluate(model: nn.Module, dataset: BaseDataset, prior: Tensor, weights: list[float]) -> list[dict]:
    """Compute mIoU and each class's IoU, in percent, with each weight of the prior."""
    classes = len(prior)
    counts = torch.zeros(len(weights), classes, classes, dtype=torch.long)
    for index in tqdm(range(len(dataset)), desc='images'):
        (sample,) = model.test_step(pseudo_collate([dataset[index]]))
        scores, labels = sample.seg_logits.data.cpu().log_softmax(0), sample.gt_sem_seg.data[0].cpu()
        at_pixels = F.interpolate(prior[None], labels.shape, mode='bilinear', align_corners=False)[0]
        known = labels < classes
        for count, weight in zip(counts, weights, strict=True):
            predicted = (scores + weight * at_pixels).argmax(0)
            pairs = labels[known] * classes + predicted[known]
            count += torch.bincount(pairs, minlength=classes**2).view(classes, classes)
    rows = []
    for count, weight in zip(counts.double(), weights, strict=True):
        hits = count.diag()
        iou = 100 * hits / (count.sum(0) + count.sum(1) - hits)
        names = dict(zip(dataset.metainfo['classes'], iou.tolist(), strict=True))
        rows.append(dict(weight=weight, mIoU=float(iou.nanmean()), IoU=names))
    return rows


@command
def main() -> None:
    args = parse_args()
    check_file('OUT', args.out)
    cfg = load_config(args.config, read_options(args.cfg_options))
    model = load_model(cfg, args.checkpoint)
    prior = shares(load_split(cfg, 'train'), model.out_channels, tuple(args.cells))
    document = {
        'command': ' '.join(['python', 'benchmarks/scene_prior.py', *sys.argv[1:]]),
        'rows': evaluate(model, load_split(cfg, 'val'), prior, args.weights),
        **provenance(),
    }
    write_text(args.out, json.dumps(document, indent=2) + '\n')
    print(json.dumps(document))


if __name__ == '__main__':
    main()
