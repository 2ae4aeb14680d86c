"""The metadata of a served network: all that is needed to use it. An exported file carries it inside."""

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import SimpleNamespace

from mmcv.transforms import Resize
from mmengine.config import Config
from mmseg.datasets.transforms import ResizeToMultiple
from torch import nn

from ..config import dataset_of, leaf_datasets
from ..datasets.build import test_pipeline
from ..datasets.classes import listed
from ..errors import UserError
from ..kinds import is_kind, kind_of
from ..runs.models import class_names, load_model
from ..scene.places import SceneDataPreProcessor
from ..version import __version__

PREFIX = 'mmseg_sr.'  # of the keys in a file
STEPS = {'Resize': Resize, 'ResizeToMultiple': ResizeToMultiple}  # other names could be anything that can be imported
AROUND = ('LoadImageFromFile', 'LoadAnnotations', 'PackSegInputs')
PLAIN_LOADING = {'to_float32', 'ignore_empty', 'backend_args', 'file_client_args'}  # change no pixel


@dataclass
class Metadata:
    """Describe a served network, and how its images are prepared and its windows laid."""

    classes: list[str]
    palette: list[list[int]]  # their colours, RGB
    size: list[int] | None = None  # (height, width) of the images it takes; None for any
    output: str = 'logits'  # (N, K, h, w), float32; or 'labels' (N, h, w), uint8
    steps: list[dict] = field(default_factory=list)  # resizing steps of the config's test pipeline
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
        """Write the metadata as JSON texts, as ONNX's ``metadata_props`` are.

        Example:
            >>> Metadata(['road'], [[0, 0, 0]]).texts()['mmseg_sr.classes']
            '["road"]'
        """
        return {f'{PREFIX}{name}': json.dumps(value) for name, value in asdict(self).items()}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str], source: object) -> 'Metadata':
        """Read what :meth:`texts` gave, without unknown keys. A ``UserError`` names a ``source`` without them."""
        names = {f'{PREFIX}{each.name}': each.name for each in fields(cls)}
        try:
            metadata = cls(**{names[key]: json.loads(text) for key, text in texts.items() if key in names})
            if len(metadata.palette) < len(metadata.classes) or metadata.output not in ('logits', 'labels'):
                raise ValueError('its classes or its output are none')
            return metadata
        except (TypeError, ValueError) as error:
            raise UserError(f'{source} was not written by tools/export.py: {error}') from error


def load(cfg: Config, checkpoint: str | Path) -> tuple[nn.Module, Metadata]:
    """Build a segmentor with its weights, and describe how the config's tests use it.

    Raises:
        UserError: For a wrong config or checkpoint, and a network or test pipeline that cannot be served.
    """
    steps = resizing_steps(test_pipeline(cfg))
    segmentor = load_model(cfg, checkpoint)
    if not hasattr(segmentor, 'encode_decode') or not hasattr(segmentor, 'out_channels'):
        raise UserError(f'{type(segmentor).__name__} is no segmentor that can be served')
    dataset = _dataset_of(cfg)
    classes, palette = class_names(segmentor, dataset)
    reduced = dataset is not None and dataset.reduce_zero_label
    if len(classes) + reduced > 256:
        raise UserError(f'labels are one byte a pixel, and there are {len(classes)} classes')
    preprocessor, test_cfg = segmentor.data_preprocessor, segmentor.test_cfg or {}
    slides, scene = test_cfg.get('mode') == 'slide', isinstance(preprocessor, SceneDataPreProcessor)
    if scene and (slides or preprocessor.test_cfg):
        raise UserError(
            'the memory covers a scene, and what is served takes every image for a whole one: no windows, no padding. '
            "Set model.test_cfg.mode=whole and leave out the data preprocessor's test_cfg"
        )
    if slides and preprocessor.test_cfg:
        raise UserError('the data preprocessor pads images in tests, and windows are not padded here: set one of both')
    optional = {}
    if slides:
        optional = dict(mode='slide', window=_pair(test_cfg.get('crop_size')), stride=_pair(test_cfg.get('stride')))
    if preprocessor._enable_normalize:
        optional |= {name: getattr(preprocessor, name).flatten().tolist() for name in ('mean', 'std')}
    return segmentor, Metadata(
        classes=classes,
        palette=palette,
        steps=steps,
        scene=scene,
        reduce_zero_label=reduced,
        align_corners=bool(segmentor.align_corners),
        threshold=threshold_of(segmentor),
        config=Path(cfg.filename or '').stem,
        checkpoint=Path(checkpoint).name,
        **optional,
    )


def resizing_steps(pipeline: Sequence[dict]) -> list[dict]:
    """Take the resizing steps of a test pipeline; any other that changes pixels is a ``UserError``.

    Example:
        >>> resizing_steps([dict(type='LoadImageFromFile'), dict(type='Resize', scale=(8, 4))])
        [{'type': 'Resize', 'scale': (8, 4)}]
    """
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


def threshold_of(segmentor: nn.Module) -> float | None:
    """Get the probability from which the one channel of a segmentor means its second class; None with more channels."""
    if segmentor.out_channels > 1:
        return None
    heads = segmentor.decode_head
    return float((heads[-1] if isinstance(heads, nn.ModuleList) else heads).threshold)


def trained_size(cfg: Config) -> tuple[int, int] | None:
    """Get the (height, width) of the windows that a config tests with, or else of the crops that it trains with."""
    test_cfg = cfg.model.get('test_cfg') or {}
    window = test_cfg.get('crop_size') if test_cfg.get('mode') == 'slide' else None
    found = window or (cfg.model.get('data_preprocessor') or {}).get('size') or cfg.get('crop_size')
    return tuple(_pair(found)) if found else None


def _pair(value: int | Sequence[int] | None) -> list[int] | None:
    return [value, value] if isinstance(value, int) else list(value) if value else None


def _dataset_of(cfg: Config) -> SimpleNamespace | None:
    """What a config's dataset says of its classes and its label files, without looking at them."""
    for split in ('val', 'test', 'train'):
        dataset = leaf_datasets(dataset_of(cfg, f'{split}_dataloader'))[0]
        kind = kind_of(dataset, 'DATASETS')
        meta = {**getattr(kind, 'METAINFO', {}), **(dataset.get('metainfo') or {})}
        if listed(meta).get('classes'):
            usual = inspect.signature(kind).parameters.get('reduce_zero_label') if kind else None
            reduced = dataset.get('reduce_zero_label', usual is not None and usual.default is True)
            return SimpleNamespace(metainfo=meta, reduce_zero_label=bool(reduced))
    return None
