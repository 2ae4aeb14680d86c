"""Measure how fast networks are served on a CPU: PyTorch as it is, compiled, AOTInductor, onnxruntime; image by image.

    python benchmarks/serving.py results/serving.json
    python benchmarks/serving.py results/serving.json --networks 'FCN-R18-w16 + SR' --rounds 60

Random weights, one image at a time, one size. In a round every way runs once, in changing order, so that whatever else
the machine does meets all of them. `ms` is the median over the rounds of the CPU time of the process, `spread` its
middle 50 %; `ratio` is the median over the rounds of a way's time by that of eager in the same round, so below 1 is
faster. `difference` is the largest difference of the logits to eager's. Rows of networks that are not measured now are
kept. Compiling takes minutes. Needs g++ and `pip install "mmseg-sr[export]"`.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from mmengine.registry import MODELS, DefaultScope

from mmseg_sr.atomic import write_text
from mmseg_sr.config import load_config, prepare
from mmseg_sr.errors import command
from mmseg_sr.models.find import sr_blocks
from mmseg_sr.progress import Bar
from mmseg_sr.provenance import provenance
from mmseg_sr.serving.export import exporting, trace, write_onnx
from mmseg_sr.serving.metadata import Metadata
from mmseg_sr.serving.network import ServedNetwork
from mmseg_sr.serving.portable import portable_network
from mmseg_sr.serving.predict import OnnxRuntime

ROOT = Path(__file__).resolve().parents[1]
MINI = 'configs/mini_cityscapes/fcn_r18-w16-d8{}_1xb4-2k_mini-cityscapes-128x256.py'
FULL = 'configs/fcn/fcn-d6_r50-d16-sr_4xb2-80k_cityscapes-512x1024.py'
NETWORKS = {
    'FCN-R18-w16': (MINI.format(''), (128, 256), None),
    'FCN-R18-w16 + SR': (MINI.format('-sr'), (128, 256), None),
    'FCN-D6 R50-D16 + SR': (FULL, (256, 512), (16, 32)),  # the memory of that crop
}
EAGER = 'eager'
FREEZING = {'freezing': True}  # Inductor folds weights and lays them out for the CPU


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, metavar='FILE.json', help='where the numbers go')
    parser.add_argument('--networks', nargs='+', choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument('--rounds', type=int, default=30, help='how often each way is measured')
    return parser.parse_args()


def build(config: str, memory_size: tuple[int, int] | None) -> torch.nn.Module:
    """A segmentor with random weights, and a memory that is not zero."""
    options = {'model.backbone.sr.memory_size': memory_size} if memory_size else None
    cfg = prepare(load_config(ROOT / config, options))
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build({**cfg.model, 'pretrained': None}).eval().requires_grad_(False)
    for block in sr_blocks(model).values():
        torch.nn.init.normal_(block.memory)
    return model


def compiled(network: ServedNetwork, image: torch.Tensor) -> Callable:
    """The network under torch.compile."""
    torch._dynamo.reset()
    way = torch.compile(network, options=FREEZING)
    with torch.no_grad():
        way(image)
    return way


def inductor(network: ServedNetwork, image: torch.Tensor, path: Path) -> Callable:
    """The network compiled ahead of time."""
    program = torch.export.export(network, (image,))
    torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=FREEZING)
    return torch._inductor.aoti_load_package(str(path))


def onnx(network: ServedNetwork, metadata: Metadata, path: Path) -> Callable:
    """The network in onnxruntime."""
    write_onnx(trace(network, tuple(metadata.size), dynamic=False), path, metadata)
    run = OnnxRuntime(path)
    return lambda image: run(image.numpy())


def make(name: str, image: torch.Tensor, folder: Path) -> dict[str, Callable]:
    """All ways to run a network."""
    config, size, memory_size = NETWORKS[name]
    segmentor = build(config, memory_size)
    metadata = Metadata(classes=['x'] * 19, palette=[[0, 0, 0]] * 19, size=list(size))
    network, metadata = portable_network(segmentor, metadata)
    network.requires_grad_(False)
    makers = {
        EAGER: lambda: ServedNetwork(segmentor).eval(),
        'torch.compile': lambda: compiled(network, image),
        'AOTInductor': lambda: inductor(network, image, folder / 'inductor.pt2'),
        'onnxruntime': lambda: onnx(network, metadata, folder / 'model.onnx'),
    }
    with exporting(f'make {name}'):
        return {way: maker() for way, maker in Bar(makers.items(), desc=f'make {name}', file=sys.stdout)}


def measure(ways: dict[str, Callable], image: torch.Tensor, rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each way in each round."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    order = list(ways)
    rng = np.random.default_rng(0)
    for index in Bar(range(rounds + 3), unit='round'):
        for way in rng.permutation(order):
            start = time.process_time()
            ways[way](image)
            if index >= 3:  # the first ones warm up
                times[way].append(time.process_time() - start)
    return times


@torch.no_grad()
def row(name: str, rounds: int) -> dict:
    """What was measured of a network."""
    config, size, _ = NETWORKS[name]
    image = torch.randint(0, 256, (1, 3, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as folder:
        ways = make(name, image, Path(folder))
        expected = ways[EAGER](image)
        differences = {way: (run(image) - expected).abs().max().item() for way, run in ways.items()}
        times = {way: np.array(each) for way, each in measure(ways, image, rounds).items()}
    eager = times[EAGER]
    return {
        'network': name,
        'config': Path(config).stem,
        'size': list(size),
        'rounds': rounds,
        'largest_logit': round(expected.abs().max().item(), 4),
        'ways': {
            way: {
                'ms': round(1000 * float(np.median(each)), 2),
                'spread': [round(1000 * float(value), 2) for value in np.percentile(each, [25, 75])],
                'ratio': round(float(np.median(each / eager)), 3),
                'ratio_spread': [round(float(value), 3) for value in np.percentile(each / eager, [25, 75])],
                'difference': differences[way],
            }
            for way, each in times.items()
        },
    }


@command
def main() -> None:
    args = parse_args()
    rows = json.loads(args.out.read_text(encoding='utf-8'))['rows'] if args.out.is_file() else []
    for name in args.networks:
        rows = [other for other in rows if other['network'] != name] + [row(name, args.rounds)]
        document = {
            'command': ' '.join(['python', *sys.argv]),
            'threads': torch.get_num_threads(),
            'torch': torch.__version__,
            'onnxruntime': onnxruntime.__version__,
            'rows': rows,
            **provenance(),
        }
        write_text(args.out, json.dumps(document, indent=2) + '\n')
    print(json.dumps(document))


if __name__ == '__main__':
    main()
