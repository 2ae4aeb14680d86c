from .metric import ClassIoUMetric

__all__ = ['ClassIoUMetric']
