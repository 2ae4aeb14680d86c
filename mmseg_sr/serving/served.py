"""From a config and a checkpoint to a network that is served: its segmentor, its card, its portable form."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from torch import Tensor, nn

from ..datasets.build import test_pipeline
from ..errors import UserError
from ..models.block import SRBlock
from ..runs.models import class_names, load_model
from ..scene.places import SceneDataPreProcessor
from ..version import __version__
from .metadata import Card
from .network import ServedNetwork, map_sizes, threshold_of
from .portable import BiasBlock, PortableBlock, make_portable
from .preparation import resizing_steps


def load(cfg: Config, checkpoint: str | Path) -> tuple[nn.Module, Card]:
    """Build a segmentor with its weights, and say how it is used as the config's tests use it.

    Raises:
        UserError: For a config or a checkpoint that is wrong, a test pipeline that is more than resizing, or more
            classes than a byte holds.
    """
    steps = resizing_steps(test_pipeline(cfg))
    segmentor = load_model(cfg, checkpoint)
    if not hasattr(segmentor, 'encode_decode') or not hasattr(segmentor, 'out_channels'):
        raise UserError(f'{type(segmentor).__name__} is no segmentor that can be served')
    classes, palette = class_names(segmentor, _dataset_of(cfg))
    if threshold_of(segmentor) is not None and len(classes) == 1:  # no class, and the one
        classes, palette = ['background', *classes], [[0, 0, 0], [255, 255, 255]]
    if len(classes) > 256:
        raise UserError(f'labels are one byte a pixel, and there are {len(classes)} classes')
    preprocessor = segmentor.data_preprocessor
    normalised = preprocessor._enable_normalize
    test_cfg = segmentor.test_cfg or {}
    slides = test_cfg.get('mode') == 'slide'
    if slides and preprocessor.test_cfg:
        raise UserError('the data preprocessor pads images in tests, and windows are not padded here: set one of both')
    scene = isinstance(preprocessor, SceneDataPreProcessor)
    if scene and (slides or preprocessor.test_cfg):
        raise UserError(
            'the memory covers a scene, and what is served takes every image for a whole one: no windows, no padding. '
            "Set model.test_cfg.mode=whole and leave out the data preprocessor's test_cfg"
        )
    return segmentor, Card(
        classes=classes,
        palette=palette,
        steps=steps,
        mode='slide' if slides else 'whole',
        window=_pair(test_cfg.get('crop_size')) if slides else None,
        stride=_pair(test_cfg.get('stride')) if slides else None,
        scene=scene,
        align_corners=bool(segmentor.align_corners),
        threshold=threshold_of(segmentor),
        blocks=_describe(segmentor),
        mean=preprocessor.mean.flatten().tolist() if normalised else None,
        std=preprocessor.std.flatten().tolist() if normalised else None,
        config=Path(cfg.filename or '').stem,
        checkpoint=Path(checkpoint).name,
        version=__version__,
    )


def portable_network(
    segmentor: nn.Module,
    card: Card,
    size: tuple[int, int] | None,
    recall: Mapping[str, Tensor] | None = None,
    half: bool = False,
    labels: bool = False,
) -> tuple[ServedNetwork, Card]:
    """Make the network that is exported from a segmentor, which stays as it was.

    Args:
        segmentor: What :func:`load` gave.
        card: What :func:`load` gave.
        size: (height, width) of the images; None for any.
        recall: As for :func:`mmseg_sr.serving.portable.make_portable`.
        half: As for :class:`ServedNetwork`.
        labels: As for :class:`ServedNetwork`.

    Returns:
        The network on the CPU and its card.

    Raises:
        UserError: Where the network cannot take images of that size.
    """
    segmentor = segmentor.cpu()
    if size is None:
        _check_any_size(segmentor)
    sizes = map_sizes(ServedNetwork(segmentor), size) if size else None
    copied = make_portable(segmentor, sizes, recall)
    copied._modules.pop('auxiliary_head', None)  # it predicts nothing
    network = ServedNetwork(copied, labels=labels, half=half).eval()
    changed = dict(
        size=list(size) if size else None,
        output='labels' if labels else 'logits',
        precision='float16' if half else 'float32',
        blocks=_describe(copied),
    )
    return network, Card(**{**vars(card), **changed})


def _check_any_size(segmentor: nn.Module) -> None:
    fixed = [name for name, block in segmentor.named_modules() if isinstance(block, SRBlock) and not block.resize]
    if fixed:
        raise UserError(f'{", ".join(fixed)} has resize=False: export with --shape, predict with --mode slide')
    # The tracer cannot follow either: it takes the example's padding, and its sides, for those of all images.
    if segmentor.data_preprocessor.test_cfg:
        raise UserError('the data preprocessor pads images in tests: export with --shape')
    if segmentor.align_corners:
        raise UserError('a network with align_corners=True: export with --shape')


def trained_size(cfg: Config) -> tuple[int, int] | None:
    """The (height, width) of the crops that a config trains with, or of the windows that it tests with; None where
    it says neither."""
    test_cfg = cfg.model.get('test_cfg') or {}
    found = test_cfg.get('crop_size') if test_cfg.get('mode') == 'slide' else None
    found = found or (cfg.model.get('data_preprocessor') or {}).get('size') or cfg.get('crop_size')
    return tuple(_pair(found)) if found else None


def _dataset_of(cfg: Config) -> SimpleNamespace | None:
    """What a config's dataset says of its classes, without looking at its files."""
    for split in ('val', 'test', 'train'):
        dataset = (cfg.get(f'{split}_dataloader') or {}).get('dataset') or {}
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')):
            kind = DATASETS.get(dataset['type']) if isinstance(dataset.get('type'), str) else dataset.get('type')
        meta = {**getattr(kind, 'METAINFO', {}), **(dataset.get('metainfo') or {})}
        if meta.get('classes'):
            return SimpleNamespace(metainfo=meta)
    return None


def _describe(model: nn.Module) -> list[dict]:
    """The SR blocks of a model, as they are or as they are exported."""
    rows = []
    for name, block in model.named_modules():
        if isinstance(block, (PortableBlock, BiasBlock)):
            shape = block.memory_shape if isinstance(block, PortableBlock) else block.bias.shape
            rows.append(dict(name=name, form=block.form, resized=block.resized, memory=list(shape)))
        elif isinstance(block, SRBlock):
            rows.append(dict(name=name, form='as trained', resized=block.resize, memory=list(block.memory_shape)))
    return rows


def _pair(value: int | Sequence[int] | None) -> list[int] | None:
    return [value, value] if isinstance(value, int) else list(value) if value else None
