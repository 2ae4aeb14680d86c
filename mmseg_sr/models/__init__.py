from .attention import CBAMBlock, SEBlock
from .backbone import SRBackbone
from .block import SRBlock
from .neck import SRNeck

__all__ = ['CBAMBlock', 'SEBlock', 'SRBackbone', 'SRBlock', 'SRNeck']
