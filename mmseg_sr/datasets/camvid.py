"""Load CamVid: street scenes of Cambridge, in the split and the 11 classes of the SegNet tutorial."""

from collections.abc import Sequence
from pathlib import Path

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

COLOURS = {
    'sky': [128, 128, 128],
    'building': [128, 0, 0],
    'pole': [192, 192, 128],
    'road': [128, 64, 128],
    'pavement': [60, 40, 222],
    'tree': [128, 128, 0],
    'sign symbol': [192, 128, 128],
    'fence': [64, 64, 128],
    'car': [64, 0, 128],
    'pedestrian': [64, 64, 0],
    'bicyclist': [0, 128, 192],
}


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """Load CamVid with 11 classes, 480x360 (width x height): 367 train and 101 val images.

    Expected are ``img_dir/{train,val}/NAME.jpg`` and one-channel ``ann_dir/{train,val}/NAME.png`` whose pixel is the
    class, 0 to 10, or 255 for void. Copies of the SegNet tutorial have PNG images (``img_suffix='.png'``) and
    mark void by 11: write 255 there.

    Args:
        drives: Only images whose names begin with one of these, such as '0006R0': frames of one drive follow each
            other, and a network is tested on new scenes only where their drive was kept out of its training.

    Raises:
        ValueError: For a drive without images.

    Source: Brostow, Fauqueur, Cipolla, `Semantic object classes in video`, Pattern Recognition Letters, 2009.
    """

    METAINFO = dict(classes=tuple(COLOURS), palette=list(COLOURS.values()))

    def __init__(
        self, img_suffix: str = '.jpg', seg_map_suffix: str = '.png', drives: Sequence[str] | None = None, **kwargs
    ):
        self.drives = drives
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Find the images, as mmseg does, and keep those of the drives that are wanted."""
        images = super().load_data_list()
        if self.drives is None:
            return images
        names = [Path(image['img_path']).name for image in images]
        for drive in self.drives:
            if not any(name.startswith(drive) for name in names):
                raise ValueError(f'no image of drive {drive!r} in {self.data_prefix["img_path"]}')
        return [image for image, name in zip(images, names, strict=True) if name.startswith(tuple(self.drives))]
