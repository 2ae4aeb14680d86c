"""Measure whether memory grows in a process that runs for long, and how much a large image takes.

    python benchmarks/long_running.py results/long_running.json
    python benchmarks/long_running.py results/long_running.json --parts requests --requests 1000

Each part runs in a process of its own; parts that are not measured now keep what FILE.json has of them.

* `cycles`: one training of a tiny FCN with an SR block, all hooks and an SRMonitorHook that looks at each iteration:
  cycles of two iterations and an evaluation, a checkpoint every 20 of them.
* `runs`: trainings and tests one after another in one process, as a notebook or a sweep has them.
* `requests`: predictions of MMSegInferencer, images of several sizes; `drawings`: with a drawing of each prediction.
* `images`: one image in slide mode, 512x1024 windows that do not overlap, released weights, 19 classes.

`resident` is the memory that the process holds, `allocated` what it has asked glibc for and not given back, Python's
small objects aside: what is freed may stay resident, in pieces. Of both there are the means of twenty blocks of what
was repeated (`mib`), and of the second half the slope by least squares (`mib_each`) with its 95 % interval from
Student's t, of the means of twenty blocks too: neighbours are alike. `alive` counts tensors, objects of mmseg_sr's
classes, all objects that Python's collector has, open files, and the bytes of mmengine's history of each logged number,
in the middle and at the end; `alive_without_mmengine` counts them after mmengine's registers were emptied, which keep
the loggers, message hubs, visualizers and scopes of every run. Linux only.

`images` says of each size the peak of the whole process and, with `slide`, that of mmseg's slide_inference above what
there was before it. `slide_floor_mib` is what its code asks for: two maps of a float32 for each class (what was summed
up and the window that is added to it, padded to the image; in the end their quotient) and one of the number of windows.
It also pads a window to the whole image each time, so that a window takes longer in a larger image.
"""

import argparse
import ctypes
import gc
import json
import multiprocessing
import os
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer
from mmseg.apis import MMSegInferencer, inference_model, init_model
from mmseg.visualization import SegLocalVisualizer
from scipy import stats
from tqdm import tqdm, trange

from mmseg_sr.atomic import replacing
from mmseg_sr.engine import launch
from mmseg_sr.engine.config import load_config, prepare
from mmseg_sr.errors import command
from mmseg_sr.evaluation.provenance import provenance

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'tests'))

import census
from tiny_config import write_config

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs/mini_cityscapes/fcn_r18-w16-d8-sr_1xb4-2k_mini-cityscapes-128x256.py'
WINDOW = (512, 1024)
SIZES = ((1024, 512), (2048, 1024), (4096, 2048), (8192, 4096))  # width, height
MIB = 2**20


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, metavar='FILE.json', help='where the numbers go')
    parser.add_argument('--parts', nargs='+', choices=list(PARTS), default=list(PARTS))
    parser.add_argument('--cycles', type=int, default=1000)
    parser.add_argument('--runs', type=int, default=60)
    parser.add_argument('--requests', type=int, default=10_000)
    parser.add_argument('--drawings', type=int, default=1000)
    return parser.parse_args()


# --------------------------------------------------------------------------------------------------------------- growth


class Growth:
    """Memory and living objects of this process over what it repeats ``count`` times."""

    def __init__(self, count: int):
        self.count = count
        self.warm = count // 2
        self.times = 0
        self.resident, self.allocated = np.full((2, count), np.nan)  # now, so that noting them takes no memory
        self.alive: list[Counter] = []

    def look(self) -> None:
        """To be called after each time."""
        if self.times in (self.warm, self.count - 1):
            self.alive.append(alive())
        self.resident[self.times] = resident()
        self.allocated[self.times] = allocated()
        self.times += 1

    def document(self) -> dict:
        forget_mmengine()
        return {
            'times': self.times,
            'resident': slope(self.resident, self.warm),
            'allocated': slope(self.allocated, self.warm),
            'alive': self.alive,
            'alive_without_mmengine': alive(),
        }


def slope(values: np.ndarray, warm: int) -> dict:
    """Growth of MiB from one time to the next once it is ``warm``, with its interval, of the means of blocks."""
    times, means = np.array([block.mean(1) for block in blocks(values, warm)]).T
    line = stats.linregress(times, means)
    half = stats.t.ppf(0.975, len(means) - 2) * line.stderr
    return {
        'mib_each': round(float(line.slope), 6),
        'interval_95': [round(float(line.slope + side * half), 6) for side in (-1, 1)],
        'mib': [round(float(block[1].mean()), 2) for block in blocks(values, 0)],
    }


def blocks(values: np.ndarray, first: int) -> list[np.ndarray]:
    """Twenty pieces of the values from number ``first`` on: (2, n) numbers and values."""
    numbered = np.stack([np.arange(first, len(values)), values[first:]])
    return np.array_split(numbered, min(20, len(values) - first), axis=1)


def resident() -> float:
    """MiB of memory that this process holds."""
    return int(Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize() / MIB


class Mallinfo(ctypes.Structure):
    """``struct mallinfo2`` of glibc: uordblks bytes are in use, and hblkhd in large blocks of their own."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in 'arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost'.split()
    ]


def allocated() -> float:
    """MiB that this process has asked glibc for and not given back: tensors, above all."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = Mallinfo
    found = mallinfo()
    return (found.uordblks + found.hblkhd) / MIB


def alive() -> Counter:
    scalars = [scalar for hub in MessageHub._instance_dict.values() for scalar in hub.log_scalars.values()]
    return census.census() + Counter(
        objects=len(gc.get_objects()),
        open_files=len(os.listdir('/proc/self/fd')),
        log_history_bytes=sum(part.nbytes for scalar in scalars for part in scalar.data),
    )


def forget_mmengine() -> None:
    for kind in (MMLogger, MessageHub, Visualizer, SegLocalVisualizer, DefaultScope):
        kind._instance_dict.clear()
    gc.collect()


def cycles(args: argparse.Namespace) -> dict:
    growth = Growth(args.cycles)
    bar = tqdm(total=args.cycles, unit='cycle')
    census.CycleHook.look = staticmethod(lambda: (growth.look(), bar.update()))
    with tempfile.TemporaryDirectory() as folder:
        config = write_config(Path(folder), extra=census.CHANGES.format(cycles=args.cycles, interval=40))
        launch.train(load_config(config))
    return growth.document()


def runs(args: argparse.Namespace) -> dict:
    growth = Growth(args.runs)
    with tempfile.TemporaryDirectory() as folder:
        config = write_config(Path(folder), extra=census.CHANGES.format(cycles=1, interval=2))
        for _ in trange(args.runs, unit='run'):
            launch.train(load_config(config))
            launch.test(load_config(config), Path(folder, 'work/tiny/iter_2.pth'))
            growth.look()
    return growth.document()


def requests(args: argparse.Namespace, count: int | None = None, **options: object) -> dict:
    generator = np.random.default_rng(0)
    sizes = ((64, 64), (48, 96), (96, 80), (61, 67))
    images = [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    growth = Growth(count or args.requests)
    with tempfile.TemporaryDirectory() as folder:
        config = write_config(Path(folder), extra=census.CHANGES.format(cycles=1, interval=2))
        inferencer = MMSegInferencer(prepare(load_config(config)), device='cpu', show_progress=False)
        for number in trange(growth.count, unit='request', mininterval=5):
            inferencer(images[number % len(images)], **options)
            growth.look()
    return growth.document()


def drawings(args: argparse.Namespace) -> dict:
    return requests(args, args.drawings, return_vis=True)


# --------------------------------------------------------------------------------------------------------------- images


def images(args: argparse.Namespace) -> dict:
    rows = [in_process(predict, size) for size in tqdm(SIZES, unit='image')]
    line = stats.linregress([row['pixels'] for row in rows], [row['peak_mib'] * MIB for row in rows])
    return {
        'windows': list(WINDOW),
        'peak_bytes_a_pixel': round(line.slope, 1),
        'peak_mib_without_an_image': round(line.intercept / MIB),
        'rows': rows,
    }


def predict(size: tuple[int, int]) -> dict:
    """Predict one image of so many columns and rows."""
    (weights,) = (ROOT / 'checkpoints').glob(f'{CONFIG.stem}-*.safetensors')
    cfg = load_config(CONFIG, {f'model.test_cfg.{key}': WINDOW for key in ('crop_size', 'stride')})
    cfg.model.test_cfg.mode = 'slide'
    cfg.test_pipeline = [step for step in cfg.test_pipeline if step.type not in ('Resize', 'LoadAnnotations')]
    model = init_model(prepare(cfg), str(weights), device='cpu')
    slide = Peak(model.slide_inference)
    model.slide_inference = slide
    image = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    start = time.monotonic()
    result = inference_model(model, image)
    assert result.pred_sem_seg.data.shape == (1, *size[::-1])
    pixels, windows = size[0] * size[1], -(-size[0] // WINDOW[1]) * -(-size[1] // WINDOW[0])
    return {
        'size': f'{size[0]}x{size[1]}',
        'pixels': pixels,
        'peak_mib': round(peak()),
        'slide_mib': round(slide.mib),
        'slide_floor_mib': round(pixels * 4 * (2 * model.out_channels + 1) / MIB),
        'seconds': round(time.monotonic() - start, 1),
        'slide_cpu_seconds_a_window': round(slide.seconds / windows, 3),
    }


class Peak:
    """A function, and how far memory rises above what there was before it is called."""

    def __init__(self, function: Callable):
        self.function = function

    def __call__(self, *args: object) -> object:
        before, highest, start = resident(), peak(), time.process_time()
        Path('/proc/self/clear_refs').write_text('5')  # starts the peak anew
        result = self.function(*args)
        self.mib, self.seconds = peak() - before, time.process_time() - start
        assert peak() > highest, 'the peak of the process is here or later'
        return result


def peak() -> float:
    """MiB that this process has held at most."""
    return int(re.search(r'VmHWM:\s+(\d+) kB', Path('/proc/self/status').read_text())[1]) / 1024


# ------------------------------------------------------------------------------------------------------------- the rest

PARTS = {'cycles': cycles, 'runs': runs, 'requests': requests, 'drawings': drawings, 'images': images}


def in_process(function: Callable[[object], dict], argument: object) -> dict:
    """Call a function in a new process."""
    context = multiprocessing.get_context('spawn')
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(function, argument, theirs))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        process.join()
        raise SystemExit(f'{function.__name__} {argument} ended with status {process.exitcode}') from None


def _send(function: Callable, argument: object, channel: multiprocessing.connection.Connection) -> None:
    torch.set_num_threads(1)
    channel.send(function(argument))


@command
def main() -> None:
    args = parse_args()
    parts = json.loads(args.out.read_text())['parts'] if args.out.is_file() else {}
    for name in args.parts:
        origin = {'command': ' '.join(['python', *sys.argv]), **provenance(), 'torch': torch.__version__}
        parts[name] = {**origin, **in_process(PARTS[name], args)}
        with replacing(args.out) as partial:
            partial.write_text(json.dumps({'parts': parts}, indent=2) + '\n')
    print(json.dumps({'parts': parts}))


if __name__ == '__main__':
    main()
