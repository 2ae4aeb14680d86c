"""Where does a training step spend its time, and what makes it faster?

    python benchmarks/training_step.py results/training_step.json
    python benchmarks/training_step.py results/training_step.json --configs CONFIG ... --rounds 20 --compile

The data of the configs must be there (`python tools/make_mini_cityscapes.py data/mini_cityscapes`, CAMVID_ROOT). For
each config two things are measured. *Phases*: the images and labels of a batch are loaded and augmented by the
config's own pipeline, transform by transform, in this process; then come the preprocessor, forward, backward and the
optimizer. Data workers do the first part beside the others: it costs time only where the workers are too few.
*Variants*: whole steps on random images, each against the step as it is, in turn; `ratio` is the median over the
rounds, under 1 is faster, with its 95 % interval.
"""

import argparse
import copy
import json
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from mmseg_sr.atomic import write_text
from mmseg_sr.config import load_config
from mmseg_sr.cost.timing import in_turn, ratio, spread
from mmseg_sr.cost.workload import Drill
from mmseg_sr.datasets.build import build_dataset
from mmseg_sr.errors import command
from mmseg_sr.models.find import sr_blocks
from mmseg_sr.provenance import provenance
from mmseg_sr.runs.models import build_model

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = [
    ROOT / 'configs/camvid/fcn_m-v2-d16-sr_1xb8-800_camvid-160x160.py',
    ROOT / 'configs/mini_cityscapes/fcn_r18-w16-d8-sr_1xb4-2k_mini-cityscapes-128x256.py',
]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, metavar='FILE.json', help='where the numbers go')
    parser.add_argument('--configs', type=Path, nargs='+', default=CONFIGS, metavar='CONFIG')
    parser.add_argument('--rounds', type=int, default=20, help='how often each is timed')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads(), help='threads on a CPU')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--compile', action='store_true', help='torch.compile too; compiling takes minutes')
    return parser.parse_args()


def phases(cfg: Config, args: argparse.Namespace) -> dict[str, dict]:
    """Measure the milliseconds of each part of a step, over real batches."""
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        dataset = build_dataset('train_dataloader', cfg.train_dataloader)
    batch = cfg.train_dataloader.batch_size
    model = build_model(cfg).train().to(args.device)
    optim_wrapper = build_optim_wrapper(model, copy.deepcopy(cfg.optim_wrapper))
    parts = {
        'preprocess': lambda samples: model.data_preprocessor(pseudo_collate(samples), training=True),
        'forward': lambda data: model.parse_losses(model(**data, mode='loss'))[0],
        'backward': lambda loss: loss.backward(),
        'optimizer': lambda _: (optim_wrapper.step(), optim_wrapper.zero_grad()),
    }
    taken: dict[str, list[float]] = defaultdict(list)
    for turn in range(-2, args.rounds):
        now = defaultdict(float)
        result = [_load(dataset, (turn * batch + index) % len(dataset), now) for index in range(batch)]
        for name, part in parts.items():
            start = time.perf_counter()
            result = part(result)
            if args.device != 'cpu':
                torch.cuda.synchronize()
            now[name] += time.perf_counter() - start
        if turn >= 0:
            for name, seconds in now.items():
                taken[name].append(seconds)
    whole = sum(np.median(seconds) for seconds in taken.values())
    return {
        name: spread(np.array(seconds)) | {'percent': round(100 * float(np.median(seconds)) / whole, 1)}
        for name, seconds in taken.items()
    }


def _load(dataset, index: int, seconds: dict[str, float]) -> dict:
    """Load an image by the pipeline, and add the time of each transform to ``seconds``."""
    results = dataset.get_data_info(index)
    for transform in dataset.pipeline.transforms:
        start = time.perf_counter()
        results = transform(results)
        seconds[f'data: {type(transform).__name__}'] += time.perf_counter() - start
    return results


def variants(cfg: Config, args: argparse.Namespace) -> dict[str, Drill]:
    """Make the step as it is, and in other ways."""
    shape, batch = tuple(cfg.model.data_preprocessor.size), cfg.train_dataloader.batch_size

    def drill(options: dict | None = None, **kwargs) -> Drill:
        changed = copy.deepcopy(cfg)
        changed.merge_from_dict(options or {})
        return Drill(build_model(changed), changed, shape, batch, args.device, **kwargs)

    drills = {
        'as it is': drill(),
        'channels_last': drill(),
        'bfloat16': drill(dtype=torch.bfloat16),
        'channels_last, bfloat16': drill(dtype=torch.bfloat16),
        'fused optimizer': drill({'optim_wrapper.optimizer.fused': True}),
    }
    if args.compile:
        drills['torch.compile'] = drill(compile=True)
    for name in ('channels_last', 'channels_last, bfloat16'):
        drills[name].model.to(memory_format=torch.channels_last)
    for each in drills.values():
        for block in sr_blocks(each.model).values():
            nn.init.normal_(block.memory_parameters()[0], std=0.01)
    return drills


@command
def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    results = []
    for config in args.configs:
        cfg = load_config(config)
        found = phases(cfg, args)
        drills = variants(cfg, args)
        seconds = in_turn({name: drill.train for name, drill in drills.items()}, args.rounds, show=True)
        against = {name: ratio(taken, seconds['as it is']) for name, taken in seconds.items() if name != 'as it is'}
        step = spread(seconds['as it is'])
        results.append({'config': config.stem, 'step': step, 'phases': found, 'variants': against})
        print(table(results[-1]))
    document = {'command': ' '.join(['python', 'benchmarks/training_step.py', *sys.argv[1:]]), 'threads': args.threads}
    document |= {'device': args.device, 'rounds': args.rounds, 'results': results, **provenance()}
    write_text(args.out, json.dumps(document, indent=2) + '\n')
    print(json.dumps({'out': str(args.out), 'configs': len(results)}))


def table(result: dict) -> str:
    lines = [f'{result["config"]}: a step takes {result["step"]["median_ms"]:.0f} ms']
    lines += [f'  {row["percent"]:5.1f} %  {name}' for name, row in result['phases'].items()]
    bounds = '  {ratio:.3f} [{low:.3f}, {high:.3f}]  '
    lines += [bounds.format(**row) + name for name, row in result['variants'].items()]
    return '\n'.join(lines)


if __name__ == '__main__':
    main()
