"""Run the four networks of Table IV at the sizes of Cityscapes: train, whole, slide, multi-scale + flip, two processes.

    python benchmarks/full_size.py results/full_size.json

Draws street scenes of 2048x1024, then calls the tools as a user would: a few training steps at 512x1024 from random
weights, a test of the checkpoint on one image in each mode, and two steps in two processes (gloo without a GPU). It
shows that every mode runs, how long it takes and how much memory. Its weights are worth nothing. Rows that OUT.json has
already and that are not measured now are kept.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mmseg_sr.atomic import write_text
from mmseg_sr.progress import Bar
from mmseg_sr.provenance import provenance

ROOT = Path(__file__).resolve().parents[1]
SCHEDULE = '4xb2-80k_cityscapes-512x1024'
NETWORKS = {
    'FCN': f'configs/fcn/fcn-d6_r50-d16_{SCHEDULE}.py',
    'FCN + SR': f'configs/fcn/fcn-d6_r50-d16-sr_{SCHEDULE}.py',
    'DLv3': f'configs/deeplabv3/deeplabv3_r50-d8_{SCHEDULE}.py',
    'DLv3 + SR': f'configs/deeplabv3/deeplabv3_r50-d8-sr_{SCHEDULE}.py',
}
FEW_STEPS = [
    'model.pretrained=None',
    'train_cfg.val_interval=1000',
    'default_hooks.logger.interval=1',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
]
TWO_PROCESSES = 'train, 2 processes, 1 step of 2 x 512x1024 each'
ONE_IMAGE = ['test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False']


def call(command: list, environment: dict) -> dict:
    """Run a tool; return its seconds, the peak memory of its process in GiB and, of a training, its losses."""
    start = time.monotonic()
    with tempfile.TemporaryFile('w+', encoding='utf-8') as log:
        process = subprocess.Popen(list(map(str, command)), env=environment, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        log.seek(0)
        output = log.read()
    if status:
        raise SystemExit(f'{command} failed:\n{output[-3000:]}')
    row = {'seconds': round(time.monotonic() - start, 1), 'peak_memory_gib': round(usage.ru_maxrss / 2**20, 2)}
    losses = [float(loss) for loss in re.findall(r' loss: ([\d.]+)', output)]
    if losses:
        steps = [float(seconds) for seconds in re.findall(r' time: ([\d.]+)', output)]
        row |= {'losses': losses, 'seconds_an_iteration': steps[-1]}
    return row


def measure(name: str, config: Path, work: Path, environment: dict, modes: list[str]) -> Iterator[dict]:
    """Train two steps, then test in every mode; yield one row each."""
    python, tools, run = sys.executable, ROOT / 'tools', work / name.replace(' ', '')
    steps = [*FEW_STEPS, 'train_cfg.max_iters=2', 'default_hooks.checkpoint.interval=2']
    train = [python, tools / 'train.py', config, '--work-dir', run, '--cfg-options', *steps]
    commands = {'train, 2 steps of 2 x 512x1024': train}
    test = [python, tools / 'test.py', config, run / 'iter_2.pth', '--work-dir', run / 'test']
    slide = ['model.test_cfg.mode=slide', 'model.test_cfg.crop_size=(512,1024)', 'model.test_cfg.stride=(256,512)']
    commands['test 1024x2048, whole'] = [*test, '--cfg-options', *ONE_IMAGE]
    commands['test 1024x2048, slide'] = [*test, '--cfg-options', *ONE_IMAGE, *slide]
    commands['test 1024x2048, six scales + flip'] = [*test, '--tta', '--cfg-options', *ONE_IMAGE]
    # Two images a process: the batch norm of DeepLabV3's pooled 1x1 map cannot be trained on one.
    commands[TWO_PROCESSES] = [
        *(tools / 'dist_train.sh', config, 2, '--work-dir', f'{run}-2', '--cfg-options'),
        *(*FEW_STEPS, 'train_cfg.max_iters=1'),
    ]
    for mode, command in Bar(commands.items(), desc=name):
        if not modes or any(word in mode for word in modes):
            yield {'network': name, 'mode': mode, **call(command, environment)}


def write(path: Path, rows: list[dict]) -> dict:
    """Write what was measured so far."""
    document = {
        'command': 'python benchmarks/full_size.py',
        'rows': rows,
        **provenance(),
    }
    write_text(path, json.dumps(document, indent=2) + '\n')
    return document


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, metavar='OUT.json')
    parser.add_argument('--networks', nargs='+', choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument('--modes', nargs='*', default=[], metavar='WORD', help='only modes whose name has a WORD')
    args = parser.parse_args()
    rows = json.loads(args.out.read_text(encoding='utf-8'))['rows'] if args.out.is_file() else []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        scenes = [*(work / 'data', '--train', '4', '--val', '1'), *('--size', '2048', '1024')]
        call([sys.executable, ROOT / 'tools/make_mini_cityscapes.py', *scenes], dict(os.environ))
        environment = {**os.environ, 'CITYSCAPES_ROOT': str(work / 'data')}
        for name in args.networks:
            for row in measure(name, ROOT / NETWORKS[name], work, environment, args.modes):
                same = (row['network'], row['mode'])
                rows = [other for other in rows if (other['network'], other['mode']) != same] + [row]
                document = write(args.out, rows)
    print(json.dumps(document))


if __name__ == '__main__':
    main()
