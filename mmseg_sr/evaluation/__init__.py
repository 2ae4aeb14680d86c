from .metric import ClassIoUMetric
from .tta import BatchedTTAModel

__all__ = ['BatchedTTAModel', 'ClassIoUMetric']
