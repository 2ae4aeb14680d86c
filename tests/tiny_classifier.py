"""A small classifier with random weights by which every part counts, and a few images of its ten classes."""

from pathlib import Path

import numpy as np
import torch
from exporting import picture, randomise
from in_process import ROOT
from tiny_cifar import CONFIG, write_archive

from mmseg_sr.config import load_config
from mmseg_sr.datasets.cifar import prepare_cifar
from mmseg_sr.runs.models import build_model

SR = "model['backbone'].update(use=['SR3'], insert=dict(SR3=dict(num_memories=3)))\n"


def write_classifier(folder: Path, extra: str = '', network: str = 'resnet18_1xb128-64k_cifar10') -> Path:
    """Write ``net.py``, the small network or the one of another config with ``extra``, and its weights, ``net.pth``."""
    config = folder / 'net.py'
    base = str(ROOT / f'configs/classification/{network}.py')
    config.write_text(f'_base_ = {base!r}\n{extra}' if extra else CONFIG.format(base=base) + SR)
    torch.manual_seed(0)
    model = build_model(load_config(config))
    model.init_weights()
    randomise(model)
    _spread(model.eval())
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, folder / 'net.pth')
    return config


@torch.no_grad()
def _spread(model: torch.nn.Module) -> None:
    """Let the scores of images differ: logits of mean 0 and deviation 2 over pictures, for each class."""
    images = np.stack([picture((40, 40), seed).transpose(2, 0, 1) for seed in range(16)])
    logits = model((torch.from_numpy(images).float() - 120) / 60, mode='tensor')
    layer = next(module for module in [*model.head.modules()][::-1] if isinstance(module, torch.nn.Linear))
    scale = 2 / logits.std(0)
    layer.weight *= scale[:, None]
    layer.bias.copy_((layer.bias - logits.mean(0)) * scale)


def write_images(folder: Path, train: int = 20, test: int = 4) -> Path:
    """Make CIFAR-10's folder of so many images of each class; a tenth of those to train on are for validation."""
    archive = write_archive(folder / 'cifar.tar.gz', classes=10, train=train, test=test)
    prepare_cifar(archive, folder / 'data', subset=True)
    return folder / 'data'
