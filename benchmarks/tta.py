"""Is multi-scale + flip faster with an image and its mirror image in one pass?

    python benchmarks/tta.py results/tta.json
    python benchmarks/tta.py results/tta.json --configs CONFIG ... --shape 1024 2048 --rounds 10 --device cuda

For each config its network, with random weights, predicts a random image in all views of the config's tta_pipeline, by
mmseg's SegTTAModel and by BatchedTTAModel, in turn. `ratio` is batched over stock, under 1 is faster; `same_labels` is
the share of the pixels that both label alike.
"""

import argparse
import copy
import json
import sys
from pathlib import Path

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.models import SegTTAModel

from mmseg_sr.analysis.timing import in_turn, ratio, spread
from mmseg_sr.atomic import replacing
from mmseg_sr.engine.config import load_config
from mmseg_sr.engine.inspection import build_model
from mmseg_sr.errors import command
from mmseg_sr.evaluation.provenance import provenance
from mmseg_sr.evaluation.tta import BatchedTTAModel

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = [
    ROOT / 'configs/camvid/fcn_m-v2-d16-sr_1xb8-800_camvid-160x160.py',
    ROOT / 'configs/mini_cityscapes/fcn_r18-w16-d8-sr_1xb4-2k_mini-cityscapes-128x256.py',
]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, metavar='FILE.json', help='where the numbers go')
    parser.add_argument('--configs', type=Path, nargs='+', default=CONFIGS, metavar='CONFIG')
    parser.add_argument('--shape', type=int, nargs=2, default=(256, 512), metavar=('H', 'W'), help='of the image')
    parser.add_argument('--rounds', type=int, default=10, help='how often each is timed')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads(), help='threads on a CPU')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    return parser.parse_args()


@torch.no_grad()
def measure(path: Path, args: argparse.Namespace) -> dict:
    """Both ways of a config's test-time augmentation."""
    cfg = load_config(path)
    init_default_scope('mmseg')
    network = build_model(cfg).eval().to(args.device)
    image = np.random.default_rng(0).integers(0, 256, (*args.shape, 3), dtype=np.uint8)
    steps = [step for step in cfg.tta_pipeline if step['type'] != 'LoadImageFromFile']
    steps[-1]['transforms'] = [each for each in steps[-1]['transforms'] if each[0]['type'] != 'LoadAnnotations']
    views = pseudo_collate([Compose(steps)(dict(img=image, img_shape=args.shape, ori_shape=args.shape, img_path='-'))])
    models = {'stock': SegTTAModel(network), 'batched': BatchedTTAModel(network)}
    ways = {name: lambda model=model: model.test_step(copy.deepcopy(views)) for name, model in models.items()}
    labels = {name: way()[0].pred_sem_seg.data for name, way in ways.items()}
    seconds = in_turn(ways, args.rounds, show=True)
    return {
        'config': path.stem,
        **{name: spread(taken) for name, taken in seconds.items()},
        **ratio(seconds['batched'], seconds['stock']),
        'same_labels': round(float((labels['stock'] == labels['batched']).float().mean()), 6),
    }


@command
def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    document = {
        'command': ' '.join(['python', 'benchmarks/tta.py', *sys.argv[1:]]),
        **{key: getattr(args, key) for key in ('device', 'threads', 'shape', 'rounds')},
        'results': [measure(path, args) for path in args.configs],
        **provenance(),
    }
    with replacing(args.out) as partial:
        partial.write_text(json.dumps(document, indent=2) + '\n')
    print(json.dumps(document))


if __name__ == '__main__':
    main()
