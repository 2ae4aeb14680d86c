"""The metadata of a served network: all that is needed to use it. An exported file carries it inside."""

import contextlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import SimpleNamespace

from mmengine.config import Config
from torch import nn

from ..config import dataset_of, leaf_datasets
from ..datasets.build import test_pipeline
from ..datasets.classes import listed
from ..errors import UserError
from ..kinds import is_kind, kind_of
from ..runs.models import class_names, load_model
from ..scene.places import SceneDataPreProcessor
from ..version import __version__
from .network import HOSTS, served_task, threshold_of

PREFIX = 'mmseg_sr.'  # of the keys in a file
STEPS = {  # where they are from; other names could be anything that can be imported
    'Resize': 'mmcv.transforms',
    'CenterCrop': 'mmcv.transforms',
    'ResizeToMultiple': 'mmseg.datasets.transforms',
    'ResizeEdge': 'mmpretrain.datasets.transforms',
}
AROUND = ('LoadImageFromFile', 'LoadAnnotations', 'PackSegInputs', 'PackInputs')
PLAIN_LOADING = {'to_float32', 'ignore_empty', 'backend_args', 'file_client_args'}  # change no pixel


@dataclass
class Metadata:
    """Describe a served network, and how its images are prepared and its windows laid."""

    classes: list[str]
    palette: list[list[int]] = field(default_factory=list)  # their colours, RGB, of a segmentor
    task: str = 'segmentation'  # or 'classification'
    size: list[int] | None = None  # (height, width) of the images it takes; None for any
    # (N, K, h, w) of a segmentor, (N, K) of a classifier, float32; or 'labels' (N, h, w) or (N,), uint8, or int64 of
    # more than 256 classes
    output: str = 'logits'
    steps: list[dict] = field(default_factory=list)  # resizing and cropping steps of the config's test pipeline
    mode: str = 'whole'  # or 'slide', as in the config's test_cfg
    window: list[int] | None = None  # (height, width), in slide mode
    stride: list[int] | None = None  # from one window to the next, down and to the right
    scene: bool = False  # whether its memories cover a scene: it takes whole images only
    align_corners: bool = False  # how logits are resized to the size of the picture
    reduce_zero_label: bool = False  # whether ids in label files are one higher: 0 in them is void
    threshold: float | None = None  # of the probability, where there is one channel only
    precision: str = 'float32'  # or 'float16'
    blocks: list[dict] = field(default_factory=list)  # of make_portable
    mean: list[float] | None = None  # this and what follows is for people
    std: list[float] | None = None
    config: str = ''
    checkpoint: str = ''
    version: str = __version__
    image: str = 'RGB, uint8 of 0 to 255, (N, 3, height, width); normalisation is inside'

    def texts(self) -> dict[str, str]:
        """Write the metadata as JSON texts, as ONNX's ``metadata_props`` are."""
        return {f'{PREFIX}{name}': json.dumps(value) for name, value in asdict(self).items()}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str], source: object) -> 'Metadata':
        """Read what :meth:`texts` gave, without unknown keys. A ``UserError`` names a ``source`` without them."""
        names = {f'{PREFIX}{each.name}': each.name for each in fields(cls)}
        try:
            metadata = cls(**{names[key]: json.loads(text) for key, text in texts.items() if key in names})
            coloured = metadata.task != 'segmentation' or len(metadata.palette) >= len(metadata.classes)
            if not coloured or metadata.task not in HOSTS or metadata.output not in ('logits', 'labels'):
                raise ValueError('its classes or its output are none')
            return metadata
        except (TypeError, ValueError) as error:
            raise UserError(f'{source} was not written by tools/export.py: {error}') from error


def load(cfg: Config, checkpoint: str | Path) -> tuple[nn.Module, Metadata]:
    """Build a segmentor or a classifier with its weights, and describe how the config's tests use it.

    A network or a test pipeline that cannot be served is a ``UserError``.
    """
    steps = resizing_steps(test_pipeline(cfg))
    model = load_model(cfg, checkpoint)
    task, dataset = served_task(model), _dataset_of(cfg)
    classes, palette = class_names(model, dataset)
    described = dict(classes=classes, steps=steps, task=task)
    if task == 'segmentation':
        described |= dict(palette=palette, **_of_segmentor(model, dataset, len(classes), steps))
    if model.data_preprocessor._enable_normalize:
        described |= {name: getattr(model.data_preprocessor, name).flatten().tolist() for name in ('mean', 'std')}
    names = dict(config=Path(cfg.filename or '').stem, checkpoint=Path(checkpoint).name)
    return model, Metadata(**described, **names)


def _of_segmentor(segmentor: nn.Module, dataset: SimpleNamespace | None, classes: int, steps: list[dict]) -> dict:
    """Describe what only a segmentor has, and refuse one that cannot be served."""
    if any('crop_size' in step for step in steps):
        raise UserError('the test pipeline crops images, and the rest of them would have no labels')
    reduced = dataset is not None and dataset.reduce_zero_label
    if classes + reduced > 256:
        raise UserError(f'labels are one byte a pixel, and there are {classes} classes')
    preprocessor, test_cfg = segmentor.data_preprocessor, segmentor.test_cfg or {}
    slides, scene = test_cfg.get('mode') == 'slide', isinstance(preprocessor, SceneDataPreProcessor)
    if scene and (slides or preprocessor.test_cfg):
        raise UserError(
            'the memory covers a scene, and what is served takes every image for a whole one: no windows, no padding. '
            "Set model.test_cfg.mode=whole and leave out the data preprocessor's test_cfg"
        )
    if slides and preprocessor.test_cfg:
        raise UserError('the data preprocessor pads images in tests, and windows are not padded here: set one of both')
    windows = {}
    if slides:
        windows = dict(mode='slide', window=_pair(test_cfg.get('crop_size')), stride=_pair(test_cfg.get('stride')))
    return dict(
        scene=scene,
        reduce_zero_label=reduced,
        align_corners=bool(segmentor.align_corners),
        threshold=threshold_of(segmentor),
        **windows,
    )


def resizing_steps(pipeline: Sequence[dict]) -> list[dict]:
    """Take the resizing and cropping steps of a test pipeline; any other that changes pixels is a ``UserError``."""
    steps = []
    for step in pipeline:
        kind = next((name for name in (*STEPS, *AROUND) if is_kind(step, 'TRANSFORMS', name)), None)
        odd = set(step) - PLAIN_LOADING - {'type'} if kind == 'LoadImageFromFile' else set()
        if kind is None or odd:
            raise UserError(
                f'the test pipeline has {dict(step)}, and what is served knows {", ".join((*AROUND, *STEPS))} without '
                'other ways of loading: change it by --cfg-options, or do that step before'
            )
        if kind in STEPS:
            steps.append({**step, 'type': kind})
    return steps


def trained_size(cfg: Config) -> tuple[int, int] | None:
    """Get the (height, width) of the windows or crops that a config tests with, or else of those it trains with."""
    test_cfg = cfg.model.get('test_cfg') or {}
    window = test_cfg.get('crop_size') if test_cfg.get('mode') == 'slide' else None
    crops = [step['crop_size'] for step in test_pipeline(cfg) if 'crop_size' in step]
    padded = (cfg.model.get('data_preprocessor') or {}).get('size')
    found = window or next(reversed(crops), padded) or cfg.get('crop_size')
    return tuple(_pair(found)) if found else None


def _pair(value: int | Sequence[int] | None) -> list[int] | None:
    return [value, value] if isinstance(value, int) else list(value) if value else None


def _dataset_of(cfg: Config) -> SimpleNamespace | None:
    """What a config's dataset says of its classes and its label files, without looking at these."""
    for split in ('val', 'test', 'train'):
        dataset = leaf_datasets(dataset_of(cfg, f'{split}_dataloader'))[0]
        kind = kind_of(dataset, 'DATASETS')
        meta = {**getattr(kind, 'METAINFO', {}), **_named(dataset), **(dataset.get('metainfo') or {})}
        if listed(meta).get('classes'):
            usual = inspect.signature(kind).parameters.get('reduce_zero_label') if kind else None
            reduced = dataset.get('reduce_zero_label', usual is not None and usual.default is True)
            return SimpleNamespace(metainfo=meta, reduce_zero_label=bool(reduced))
    return None


def _named(dataset: dict) -> dict:
    """The ``classes`` of mmpretrain's datasets: names, or a file of them, which need not be there to serve."""
    names = dataset.get('classes')
    if isinstance(names, str):
        with contextlib.suppress(OSError):
            return {'classes': Path(names).expanduser().read_text(encoding='utf-8').splitlines()}
        return {}
    return {'classes': names} if names else {}
