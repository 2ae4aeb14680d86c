from .camvid import CamVidDataset
from .places import PackSceneInputs, SceneDataPreProcessor, SceneRandomCrop

__all__ = ['CamVidDataset', 'PackSceneInputs', 'SceneDataPreProcessor', 'SceneRandomCrop']
