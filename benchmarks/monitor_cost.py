"""Measure what SRMonitorHook costs: training iterations with a look and without one, in turn.

    python benchmarks/monitor_cost.py results/monitor_cost.json
    python benchmarks/monitor_cost.py results/monitor_cost.json --config CONFIG --size 512 1024 --batch 2

Trains the model of a config (default: FCN with MobileNetV2, 160x160, batch 2) on random images. A pair is an iteration
in which the hook looks and one in which it does not, in changing order, so that whatever else the machine does meets
both. `look_ms` is the median over the pairs of what the look takes; at the default interval there is one look in 50
iterations, and `cost_percent` is its part of their time. `interval_95` is the middle 95 % of what resampled pairs give.
The CPU time of the process is measured, not the clock on the wall. A small batch makes the part of the hook large.
"""

import argparse
import json
import platform
import sys
import time
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tqdm import tqdm

from mmseg_sr.atomic import replacing
from mmseg_sr.engine.config import load_config, prepare
from mmseg_sr.engine.monitor import SRMonitorHook
from mmseg_sr.errors import command

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs/camvid/fcn_m-v2-d16-sr_1xb8-800_camvid-160x160.py'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, metavar='FILE.json', help='where the numbers go')
    parser.add_argument('--config', type=Path, default=CONFIG, help='config of a model with an SR block')
    parser.add_argument('--size', type=int, nargs=2, default=(160, 160), metavar=('H', 'W'), help='size of the crops')
    parser.add_argument('--batch', type=int, default=2, help='images in a batch')
    parser.add_argument('--pairs', type=int, default=100, help='how often both are measured')
    return parser.parse_args()


class Training:
    """The iterations of a Runner, as far as the hook sees them."""

    def __init__(self, args: argparse.Namespace):
        cfg = prepare(load_config(args.config))
        with DefaultScope.overwrite_default_scope('mmseg'):
            model = MODELS.build(cfg.model).train()
        labels = [torch.randint(0, model.num_classes, (1, *args.size)) for _ in range(args.batch)]
        samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
        self.batch = dict(inputs=list(torch.rand(args.batch, 3, *args.size)), data_samples=samples)
        self.runner = SimpleNamespace(
            model=model,
            iter=0,
            optim_wrapper=OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)),
            message_hub=MessageHub.get_instance('cost'),
            logger=MMLogger.get_instance('cost', log_level='ERROR'),
        )

    def step(self, hook: SRMonitorHook | None) -> float:
        """CPU seconds of an iteration, with the hook or without."""
        start = time.process_time()
        if hook:
            hook.before_train_iter(self.runner, 0)
        self.runner.model.train_step(self.batch, self.runner.optim_wrapper)
        if hook:
            hook.after_train_iter(self.runner, 0)
        return time.process_time() - start


def cost(plain: np.ndarray, looking: np.ndarray, interval: int) -> float:
    """One look's part of the time of ``interval`` iterations, in percent."""
    return 100 * np.median(looking - plain) / (interval * np.median(plain))


def spread(plain: np.ndarray, looking: np.ndarray, interval: int) -> list[float]:
    """The middle 95 % of the costs of resampled pairs."""
    generator = np.random.default_rng(0)
    chosen = [generator.integers(0, len(plain), len(plain)) for _ in range(2000)]
    costs = [cost(plain[index], looking[index], interval) for index in chosen]
    return [round(float(value), 4) for value in np.percentile(costs, [2.5, 97.5])]


@command
def main() -> None:
    args = parse_args()
    torch.manual_seed(0)
    training = Training(args)
    look = SRMonitorHook(interval=1)
    look.before_train(training.runner)
    for _ in range(2):
        training.step(look)

    times: dict[bool, list[float]] = {False: [], True: []}
    for index in tqdm(range(args.pairs), unit='pair'):
        for looks in (False, True) if index % 2 else (True, False):
            times[looks].append(training.step(look if looks else None))
    plain, looking = np.array(times[False]), np.array(times[True])
    interval = SRMonitorHook().interval
    document = {
        'command': ' '.join(['python', *sys.argv]),
        'date': date.today().isoformat(),
        'machine': f'{platform.processor() or platform.machine()}, {torch.get_num_threads()} thread(s)',
        'torch': torch.__version__,
        'config': args.config.stem,
        'size': list(args.size),
        'batch': args.batch,
        'interval': interval,
        'pairs': args.pairs,
        'iteration_ms': round(1000 * float(np.median(plain)), 2),
        'look_ms': round(1000 * float(np.median(looking - plain)), 2),
        'cost_percent': round(float(cost(plain, looking, interval)), 4),
        'interval_95': spread(plain, looking, interval),
    }
    with replacing(args.out) as partial:
        partial.write_text(json.dumps(document, indent=2) + '\n')
    print(json.dumps(document))


if __name__ == '__main__':
    main()
