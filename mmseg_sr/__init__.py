"""mmseg_sr: the Squeeze-and-Remember (SR) block for MMSegmentation. Importing it registers what configs name."""

from . import openmmlab  # noqa: F401  (first: it says what to install where mmseg itself cannot be imported)
from .datasets import CamVidDataset
from .engine.monitor import SRMonitorHook
from .evaluation import ClassIoUMetric
from .models import SRBackbone, SRBlock, SRNeck

__version__ = '0.1.0'

__all__ = ['CamVidDataset', 'ClassIoUMetric', 'SRBackbone', 'SRBlock', 'SRMonitorHook', 'SRNeck']
