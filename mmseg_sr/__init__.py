"""mmseg_sr: the Squeeze-and-Remember (SR) block for MMSegmentation."""

from . import openmmlab  # noqa: F401  (first: says what to install where mmseg itself cannot be imported)

__version__ = '0.1.0'
