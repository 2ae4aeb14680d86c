from .attention import CBAMBlock, SEBlock
from .backbone import SRBackbone
from .block import SRBlock
from .efficientnet_lite import EfficientNetLite0
from .insert import InsertedBackbone
from .neck import SRNeck

__all__ = ['CBAMBlock', 'EfficientNetLite0', 'InsertedBackbone', 'SEBlock', 'SRBackbone', 'SRBlock', 'SRNeck']
