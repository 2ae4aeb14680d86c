from .backbone import SRBackbone
from .block import SRBlock
from .neck import SRNeck

__all__ = ['SRBackbone', 'SRBlock', 'SRNeck']
