from .attention import CBAMBlock, SEBlock
from .backbone import SRBackbone
from .block import SRBlock
from .insert import InsertedBackbone
from .neck import SRNeck

__all__ = ['CBAMBlock', 'InsertedBackbone', 'SEBlock', 'SRBackbone', 'SRBlock', 'SRNeck']
