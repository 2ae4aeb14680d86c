from .camvid import CamVidDataset
from .places import SceneDataPreProcessor, SceneRandomCrop

__all__ = ['CamVidDataset', 'SceneDataPreProcessor', 'SceneRandomCrop']
