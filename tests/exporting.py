"""A tiny SR network whose memory counts, and a network exported from it, shared by the tests of what is exported."""

import functools
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from in_process import Done, call
from mmengine.registry import DefaultScope
from mmengine.runner import save_checkpoint
from mmseg.apis import inference_model, init_model
from mmseg.structures import SegDataSample
from tiny_config import CLASSES, write_config

from mmseg_sr.config import load_config
from mmseg_sr.runs.models import build_model
from mmseg_sr.serving.predict import OnnxRuntime

PALETTE = [[9, 8, 7], [80, 0, 80], [0, 160, 160], [240, 240, 240]]
SR = f"""
model['backbone'] = dict(
    type='SRBackbone', backbone=model['backbone'],
    sr=dict(after='layer3', memory_size=(4, 4), num_memories=3, hidden_channels=4),
)
model['data_preprocessor'].update(bgr_to_rgb=True, mean=[120.0, 110.0, 100.0], std=[60.0, 55.0, 50.0])
for loader in (train_dataloader, val_dataloader):
    loader['dataset']['metainfo'] = dict(classes={CLASSES}, palette={PALETTE})
"""


def write_network(folder: Path, name: str = 'net', extra: str = '') -> tuple[Path, Path]:
    """Write a config and a checkpoint of random weights, with a memory and a gate that change the prediction."""
    config = write_config(folder, f'{name}.py', SR + extra)
    torch.manual_seed(0)
    model = build_model(load_config(config))
    randomise(model)
    checkpoint = folder / f'{name}.pth'
    save_checkpoint({'state_dict': model.state_dict(), 'meta': {}}, str(checkpoint))
    return config, checkpoint


def randomise(model: torch.nn.Module) -> None:
    """Give a network weights by which every part counts: memories, gates, batch norms, classes."""
    for name, value in model.state_dict().items():
        block = re.search(r'\.(sr|SR\d)\.(memory|gate)', name)
        if name.endswith(('conv_seg.weight', 'head.fc.weight')) or block and block[2] == 'memory':
            torch.nn.init.normal_(value)
        elif name.endswith('running_mean') or block:
            torch.nn.init.normal_(value, std=0.3)
        elif name.endswith('running_var'):
            torch.nn.init.uniform_(value, 0.5, 1.5)


def export(config: Path, checkpoint: Path, out: Path, *arguments: object) -> Done:
    """Call tools/export.py."""
    return call('export', config, checkpoint, '--out', out, *arguments, folder=out.parent)


@functools.cache
def exported(base: Path) -> SimpleNamespace:
    """A network, and what was exported from it, once for all tests: at its trained size, and at any."""
    folder = base / 'exported'
    folder.mkdir()
    config, checkpoint = write_network(folder)
    fixed, dynamic = (folder / f'{name}.onnx' for name in ('fixed', 'dynamic'))
    said = [
        export(config, checkpoint, fixed).document,
        export(config, checkpoint, dynamic, '--dynamic', '--check-sizes', '64x64', '51x133').document,
    ]
    files = dict(folder=folder, config=config, checkpoint=checkpoint, fixed=fixed, dynamic=dynamic)
    runs = dict(run_fixed=OnnxRuntime(fixed), run_dynamic=OnnxRuntime(dynamic))
    return SimpleNamespace(**files, **runs, said=said, segmentor=segmentor_of(config, checkpoint))


def segmentor_of(config: Path, checkpoint: Path) -> torch.nn.Module:
    """The network, as mmseg loads it."""
    cfg = load_config(config)
    cfg.test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    return init_model(cfg, str(checkpoint), device='cpu')


def predicted(segmentor: torch.nn.Module, image: np.ndarray) -> SegDataSample:
    """What mmseg's own inference makes of an RGB picture (h, w, 3), which it takes as OpenCV has it."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        return inference_model(segmentor, np.ascontiguousarray(image[..., ::-1]))


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Patches of colour, RGB (h, w, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 5, 3)).astype(np.uint8)
    rows, columns = (
        np.linspace(0, cells - 1, side).round().astype(int) for cells, side in zip((3, 5), size, strict=True)
    )
    return coarse[rows][:, columns]
