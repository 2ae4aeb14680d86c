"""Measure what starting costs: help, the import, and tools/test.py beside stock mmseg's tools/test.py.

    python benchmarks/start.py results/start.json
    python benchmarks/start.py results/start.json --rounds 9 --before ../an-older-checkout

Whole processes, started in turn so that whatever else the machine does meets all of them; seconds by the clock on the
wall, median and quartiles, and ratios round by round; the peak of resident memory where it is above that of this
process, which a new one begins with. The test is of a small FCN and of DeepLabV3 R50 (random weights, 340 MB with their
optimizer left out) on two drawn images of 128x256, with a config of stock mmseg that both tools take. --before measures
the same of another checkout of this project too.
"""

import argparse
import copy
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mmseg
import numpy as np
import torch
from mmengine.config import Config

from mmseg_sr.atomic import write_text
from mmseg_sr.config import load_config
from mmseg_sr.datasets.cityscapes import prepare
from mmseg_sr.mini_cityscapes import draw_mini_cityscapes
from mmseg_sr.progress import Bar
from mmseg_sr.provenance import provenance
from mmseg_sr.runs.models import build_model

ROOT = Path(__file__).resolve().parents[1]
STOCK = Path(mmseg.__file__).parent / '.mim/tools/test.py'
NETWORKS = {
    'small FCN': 'configs/mini_cityscapes/fcn_r18-w16-d8_1xb4-600_mini-cityscapes-128x256.py',
    'DeepLabV3 R50': 'configs/deeplabv3/deeplabv3_r50-d8_4xb2-80k_cityscapes-512x1024.py',
}
HELP, IMPORTS, TEST = 'help of tools/train.py', 'import', 'tools/test.py'


def stock_config(config: str, data: Path) -> Config:
    """Make a config that stock mmseg takes, with the network of ours and the drawn images."""
    ours, images = load_config(ROOT / config), load_config(ROOT / NETWORKS['small FCN'])
    loader = copy.deepcopy(images.test_dataloader)
    loader.dataset.data_root, loader.num_workers, loader.persistent_workers = str(data), 0, False
    return Config(
        dict(
            default_scope='mmseg',
            model=dict(ours.model, pretrained=None),
            test_dataloader=loader,
            test_evaluator=dict(type='IoUMetric'),
            test_cfg=dict(type='TestLoop'),
            env_cfg=dict(cudnn_benchmark=False),
        )
    )


def commands(folder: Path, before: Path | None) -> dict[str, tuple[list, dict]]:
    """Set everything up; return what to time, and in which environment, by name."""
    draw_mini_cityscapes(folder / 'data', train=1, val=2)
    prepare([folder / 'data'], folder / 'data', subset=True)
    checkouts = {'': ROOT, **({', before': before} if before else {})}
    environments = {suffix: {**os.environ, 'PYTHONPATH': str(root)} for suffix, root in checkouts.items()}
    found = {f'{IMPORTS} mmseg, mmseg.apis': ([sys.executable, '-c', 'import mmseg, mmseg.apis'], environments[''])}
    for suffix, root in checkouts.items():
        environment = environments[suffix]
        found[f'{HELP}{suffix}'] = [sys.executable, root / 'tools/train.py', '--help'], environment
        found[f'{IMPORTS} mmseg_sr{suffix}'] = [sys.executable, '-c', 'import mmseg_sr, mmseg.apis'], environment
    for name, config in NETWORKS.items():
        cfg, place = stock_config(config, folder / 'data'), folder / name.replace(' ', '-')
        place.mkdir()
        cfg.dump(place / 'config.py')
        torch.save({'meta': {}, 'state_dict': build_model(cfg).state_dict()}, place / 'weights.pth')
        words = [place / 'config.py', place / 'weights.pth', '--work-dir', place / 'work']
        found[f'stock {TEST}, {name}'] = [sys.executable, STOCK, *words], environments['']
        for suffix, root in checkouts.items():
            found[f'{TEST}, {name}{suffix}'] = [sys.executable, root / 'tools/test.py', *words], environments[suffix]
    return found


def run(command: list, environment: dict, folder: Path) -> tuple[float, float]:
    """Run a process to its end; return its seconds and its peak of resident memory in MiB."""
    start = time.perf_counter()
    with tempfile.TemporaryFile('w+', encoding='utf-8') as log:
        process = subprocess.Popen(
            list(map(str, command)), cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if status:
            log.seek(0)
            raise SystemExit(f'{command} failed:\n{log.read()[-2000:]}')
    return seconds, usage.ru_maxrss / 1024


def spread(values: list[float]) -> dict[str, float]:
    """Return median and quartiles."""
    median, q1, q3 = (round(float(each), 3) for each in np.quantile(values, [0.5, 0.25, 0.75]))
    return {'median': median, 'q1': q1, 'q3': q3}


def ratios(seconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Compare, round by round, our import and our test with stock mmseg's."""
    pairs = {f'{IMPORTS} mmseg_sr': f'{IMPORTS} mmseg, mmseg.apis'}
    pairs |= {f'{TEST}, {name}': f'stock {TEST}, {name}' for name in NETWORKS}
    pairs |= {f'{ours}, before': stock for ours, stock in pairs.items() if f'{ours}, before' in seconds}
    return {
        ours: spread([a / b for a, b in zip(seconds[ours], seconds[stock], strict=True)])
        for ours, stock in pairs.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, metavar='OUT.json', help='where the numbers go')
    parser.add_argument('--rounds', type=int, default=7, help='how often each is started (default: 7)')
    parser.add_argument('--before', type=Path, metavar='CHECKOUT', help='another checkout to measure too')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        todo = commands(folder, args.before and args.before.resolve())
        measured: dict[str, list] = {each: [] for each in todo}
        for turn in Bar(range(-1, args.rounds)):  # the first round fills the disk's cache
            for each in list(todo)[turn % len(todo) :] + list(todo)[: turn % len(todo)]:
                result = run(*todo[each], folder)
                if turn >= 0:
                    measured[each].append(result)
    seconds = {each: [result[0] for result in results] for each, results in measured.items()}
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # which a new process begins with
    document = {
        'command': ' '.join(['python', 'benchmarks/start.py', *sys.argv[1:]]),
        'rounds': args.rounds,
        'seconds': {each: spread(values) for each, values in seconds.items()},
        'peak_mib': {
            each: spread([peak for _, peak in found]) for each, found in measured.items() if found[0][1] > own
        },
        'ratio to stock': ratios(seconds),
        **provenance(),
    }
    write_text(args.out, json.dumps(document, indent=1) + '\n')
    print(json.dumps(document['ratio to stock'], indent=1))


if __name__ == '__main__':
    main()
