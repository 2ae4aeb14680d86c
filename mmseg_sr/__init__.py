"""mmseg_sr: the Squeeze-and-Remember (SR) block for MMSegmentation. Importing it registers what configs name."""

from . import openmmlab  # first: it says what to install where mmseg itself cannot be imported
from .backbones.efficientnet_lite import EfficientNetLite0
from .checkpoints import loaders
from .checkpoints.saving import AtomicCheckpointHook
from .datasets.camvid import CamVidDataset
from .hooks.channels_last import ChannelsLastHook
from .hooks.data_guard import DataGuardHook
from .hooks.exact_resume import ExactResumeHook
from .hooks.loss_guard import LossGuardHook
from .hooks.monitor import SRMonitorHook
from .hooks.preemption import PreemptionHook
from .hooks.sr_only import SROnlyHook
from .metrics.accuracy import ClassAccuracy
from .metrics.iou import ClassIoUMetric
from .models import CBAMBlock, InsertedBackbone, SEBlock, SRBackbone, SRBlock, SRNeck
from .scene import scene_block  # noqa: F401  (registers what scene=True asks for)
from .scene.places import PackSceneInputs, SceneDataPreProcessor, SceneRandomCrop
from .version import __version__

openmmlab.apply_changes(loaders)

__all__ = [
    'AtomicCheckpointHook',
    'CBAMBlock',
    'CamVidDataset',
    'ChannelsLastHook',
    'ClassAccuracy',
    'ClassIoUMetric',
    'DataGuardHook',
    'EfficientNetLite0',
    'ExactResumeHook',
    'InsertedBackbone',
    'LossGuardHook',
    'PackSceneInputs',
    'PreemptionHook',
    'SEBlock',
    'SRBackbone',
    'SRBlock',
    'SRMonitorHook',
    'SRNeck',
    'SROnlyHook',
    'SceneDataPreProcessor',
    'SceneRandomCrop',
    '__version__',
]
