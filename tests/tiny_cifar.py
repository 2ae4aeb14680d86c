"""A CIFAR archive of a few images, in the official layout, and a small classifier for it."""

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np

# A config of CIFAR-10 with a narrow ResNet-18; its base is a config of ours.
CONFIG = """
_base_ = {base!r}
train_dataloader = dict(batch_size=8, num_workers=0, persistent_workers=False)
val_dataloader = dict(batch_size=8, num_workers=0, persistent_workers=False)
test_dataloader = dict(batch_size=8, num_workers=0, persistent_workers=False)
model = dict(backbone=dict(backbone=dict(stem_channels=8, base_channels=8)), head=dict(in_channels=64))
optim_wrapper = dict(optimizer=dict(lr=0.02))
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[6], gamma=0.2)]
train_cfg = dict(max_iters=8, val_interval=4)
default_hooks = dict(checkpoint=dict(interval=8), logger=dict(interval=4))
"""
NAMES = [f'kind_{index}' for index in range(100)]


def pixels(labels: list[int]) -> np.ndarray:
    """Images (N, 3072), channel by channel, whose colour tells the class."""
    noise = np.random.default_rng(0).integers(0, 40, (len(labels), 3, 1024))
    colour = np.array([[37 * label % 200, 91 * label % 200, 151 * label % 200] for label in labels])
    return (noise + colour[:, :, None]).astype(np.uint8).reshape(-1, 3072)


def write_archive(path: Path, classes: int = 100, train: int = 10, test: int = 2, changed: dict | None = None) -> Path:
    """Write an archive with so many images a class; CIFAR-10's has five training batches."""
    folder = {10: 'cifar-10-batches-py', 100: 'cifar-100-python'}[classes]
    labels = [label for label in range(classes) for _ in range(train)]
    batches = {'train': labels} if classes == 100 else {f'data_batch_{k + 1}': labels[k::5] for k in range(5)}
    batches['test' if classes == 100 else 'test_batch'] = [label for label in range(classes) for _ in range(test)]
    key = {10: b'labels', 100: b'fine_labels'}[classes]
    held = {name: {b'data': pixels(each), key: each} for name, each in batches.items()}
    names = [name.encode() for name in NAMES[:classes]]
    held['meta' if classes == 100 else 'batches.meta'] = {
        b'label_names' if classes == 10 else b'fine_label_names': names
    }
    with tarfile.open(path, 'w:gz') as file:
        for name, content in {**held, **(changed or {})}.items():
            data = content if isinstance(content, bytes) else pickle.dumps(content, protocol=2)
            info = tarfile.TarInfo(f'{folder}/{name}')
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path
