"""Put the block into many of mmseg's networks: where it goes, and what it costs there.

    python benchmarks/segmentors.py results/segmentors.json
    python benchmarks/segmentors.py results/segmentors.json --networks 'PSPNet R50-D8' --rounds 20

Each network is mmseg's own config with the lines that the page shows. Parameters are of the config as it is, auxiliary
heads counted, with the memory of its training crop. Times are of images of --size, with the memory of that size: a
network and its copy without the block make training steps (SGD, a batch of 2) and predictions (one image) in turn, on
random images with random weights and a memory that is not zero; `ratio` is the median over the rounds, with the 95 %
interval of resampled rounds. Rows of networks that are not measured now are kept, and so are those that need a package
that is not installed. `make numbers` writes the rows into the page.
"""

import argparse
import importlib.util
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from torch import nn

from mmseg_sr.atomic import write_text
from mmseg_sr.config import load_config
from mmseg_sr.cost.count import count_parameters, without_blocks
from mmseg_sr.cost.timing import in_turn, ratio
from mmseg_sr.cost.workload import Drill
from mmseg_sr.errors import command
from mmseg_sr.models.backbone import stage_channels
from mmseg_sr.models.find import sr_blocks
from mmseg_sr.provenance import provenance
from mmseg_sr.runs.models import build_model


@dataclass(frozen=True)
class Network:
    """A stock config, and where the block goes in it: after stages of the backbone, or on its maps of ``channels``."""

    config: str  # of mmseg
    places: dict[str | int, int]  # stage, or index of a map: stride there
    channels: tuple[int, ...] = ()
    needs: tuple[str, ...] = ()
    least: int = 64  # shortest side of an image that its head can take

    def installed(self) -> bool:
        return all(importlib.util.find_spec(name) for name in self.needs)

    def lines(self, size: tuple[int, int]) -> str:
        """The config of a user, for training crops of ``size``."""
        key = 'in_index' if self.channels else 'after'
        blocks = [
            f'dict({key}={place!r}, memory_size={tuple(-(-side // stride) for side in size)})'
            for place, stride in self.places.items()
        ]
        sr = blocks[0] if len(blocks) == 1 else '[\n        ' + ',\n        '.join(blocks) + ',\n    ]'
        if self.channels:
            part, start = 'neck', f"type='SRNeck', in_channels={list(self.channels)}"
        else:
            part, start = 'backbone', "_delete_=True, type='SRBackbone', backbone=_base_.model.backbone"
        model = f'{part}=dict(\n    {start},\n    sr={sr},\n)'
        imports = [f'{name}.models' for name in self.needs] + ['mmseg_sr']
        return f"_base_ = 'mmseg::{self.config}'\ncustom_imports = dict(imports={imports})\nmodel = dict({model})\n"


HRNET = (18, 36, 72, 144)
NETWORKS = {
    'PSPNet R50-D8': Network('pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py', {'layer3': 8}),
    'PSPNet R50-D8, two blocks': Network(
        'pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py', {'layer3': 8, 'layer4': 8}
    ),
    'DeepLabV3+ R50-D8': Network('deeplabv3plus/deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024.py', {'layer3': 8}),
    'PSPNet S101-D8 (ResNeSt)': Network('resnest/resnest_s101-d8_pspnet_4xb2-80k_cityscapes512x1024.py', {'layer3': 8}),
    'OCRNet HR18 (cascade)': Network('ocrnet/ocrnet_hr18_4xb2-40k_cityscapes-512x1024.py', {3: 32}, HRNET),
    'FCN HR18 (HRNet)': Network('hrnet/fcn_hr18_4xb2-40k_cityscapes-512x1024.py', {3: 32}, HRNET),
    'UPerNet ConvNeXt-T': Network(
        'convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py', {'stages.2': 16}, needs=('mmpretrain',)
    ),
    'UPerNet Swin-T': Network(
        'swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py', {2: 16}, (96, 192, 384, 768)
    ),
    'SegFormer MiT-B0': Network(
        'segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py', {2: 16}, (32, 64, 160, 256)
    ),
    'LR-ASPP MobileNetV3-D8-S': Network(
        'mobilenet_v3/mobilenet-v3-d8-s_lraspp_4xb4-320k_cityscapes-512x1024.py', {2: 8}, (16, 16, 576), least=392
    ),
    'STDC1': Network('stdc/stdc1_in1k-pre_4xb12-80k_cityscapes-512x1024.py', {'backbone.stages.4': 32}),
    'BiSeNetV2': Network('bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py', {'semantic.stage4': 32}),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, metavar='FILE.json', help='where the numbers go')
    parser.add_argument('--networks', nargs='+', choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument('--size', type=int, nargs=2, default=(128, 256), metavar=('H', 'W'), help='of timed images')
    parser.add_argument('--rounds', type=int, default=10, metavar='N', help='how often each is timed')
    return parser.parse_args()


def load(network: Network, size: tuple[int, int] | None = None) -> tuple[Config, str]:
    """The config of a network with its block, for crops of ``size`` (its own), and the lines it takes; no weights."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'sr.py'
        path.write_text(f"_base_ = 'mmseg::{network.config}'\n", encoding='utf-8')
        size = tuple(size or load_config(path).crop_size)
        path.write_text(network.lines(size), encoding='utf-8')
        cfg = load_config(path)
    cfg.model.pretrained = None
    backbone = cfg.model.backbone.get('backbone', cfg.model.backbone)
    for part in (backbone, backbone.get('backbone_cfg', {})):
        part.pop('init_cfg', None)  # where weights are fetched from
    cfg.model.data_preprocessor.size, cfg.model.test_cfg = size, dict(mode='whole')
    return cfg, network.lines(size)


def build(cfg: Config) -> nn.Module:
    """The network, with random weights and random memory."""
    torch.manual_seed(0)
    model = build_model(cfg)
    for block in sr_blocks(model).values():
        nn.init.normal_(block.memory, std=0.01)
    return model


def measure(name: str, size: tuple[int, int], rounds: int) -> dict:
    """The row of a network."""
    network = NETWORKS[name]
    cfg, lines = load(network)
    model = build(cfg)
    parameters = count_parameters(model)
    row = {
        'network': name,
        'config': network.config,
        'lines': lines,
        'places': {place: list(block.memory.shape) for place, block in sr_blocks(model).items()},
        'parameters': parameters['all'],
        'sr_parameters': parameters['sr'],
        'percent': round(100 * parameters['sr'] / (parameters['all'] - parameters['sr']), 3),
        'stages': list(stage_channels(without_blocks(model.backbone))),
    }
    size = tuple(max(side, network.least) for side in size)
    cfg, _ = load(network, size)
    cfg.pop('optim_wrapper')  # SGD for all
    model = build(cfg)
    drills = {'stock': Drill(without_blocks(model), cfg, size, 2), 'sr': Drill(model, cfg, size, 2)}
    calls = {f'{key} {what}': getattr(drill, what) for key, drill in drills.items() for what in ('train', 'predict')}
    seconds = in_turn(calls, rounds, warmup=1, show=True)
    times = {what: ratio(seconds[f'sr {what}'], seconds[f'stock {what}']) for what in ('train', 'predict')}
    return {**row, 'size': list(size), 'rounds': rounds, 'ratio': times, **provenance()}


@command
def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)
    kept = json.loads(args.out.read_text(encoding='utf-8'))['rows'] if args.out.exists() else []
    rows = {row['network']: row for row in kept}
    for name in args.networks:
        if not NETWORKS[name].installed():
            print(f'{name} needs {", ".join(NETWORKS[name].needs)}: left out', file=sys.stderr)
            continue
        print(name, file=sys.stderr)
        rows[name] = measure(name, tuple(args.size), args.rounds)
        ordered = [rows[each] for each in NETWORKS if each in rows]
        document = {'command': ' '.join(['python', 'benchmarks/segmentors.py', *sys.argv[1:]]), 'rows': ordered}
        write_text(args.out, f'{json.dumps(document, indent=1, allow_nan=False)}\n')
    print(json.dumps(json.loads(args.out.read_text(encoding='utf-8'))))


if __name__ == '__main__':
    main()
