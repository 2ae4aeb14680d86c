"""mmseg_sr: the Squeeze-and-Remember (SR) block for MMSegmentation. Importing it registers what configs name."""

from . import openmmlab  # noqa: F401  (first: it says what to install where mmseg itself cannot be imported)
from .datasets import CamVidDataset, PackSceneInputs, SceneDataPreProcessor, SceneRandomCrop
from .engine import released  # noqa: F401  (weights by name, and names: configs and models)
from .engine.data import DataGuardHook
from .engine.loss_guard import LossGuardHook
from .engine.memory_format import ChannelsLastHook
from .engine.memory_only import SROnlyHook
from .engine.monitor import SRMonitorHook
from .engine.preemption import PreemptionHook
from .engine.randomness import ExactResumeHook
from .engine.saving import AtomicCheckpointHook
from .evaluation import ClassIoUMetric
from .models import SRBackbone, SRBlock, SRNeck

__version__ = '0.1.0'

__all__ = [
    'AtomicCheckpointHook',
    'CamVidDataset',
    'ChannelsLastHook',
    'ClassIoUMetric',
    'DataGuardHook',
    'ExactResumeHook',
    'LossGuardHook',
    'PackSceneInputs',
    'PreemptionHook',
    'SRBackbone',
    'SRBlock',
    'SRMonitorHook',
    'SRNeck',
    'SROnlyHook',
    'SceneDataPreProcessor',
    'SceneRandomCrop',
]
