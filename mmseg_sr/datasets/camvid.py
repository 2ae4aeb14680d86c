"""CamVid: street scenes of Cambridge, in the split and the 11 classes of the SegNet tutorial."""

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """CamVid with 11 classes, 480x360 (width x height): 367 train and 101 val images.

    Expected are ``img_dir/{train,val}/NAME.jpg`` and one-channel ``ann_dir/{train,val}/NAME.png`` whose pixel is the
    class, 0 to 10, or 255 for void. Copies of the SegNet tutorial have PNG images (``img_suffix='.png'``) and
    mark void by 11: write 255 there.

    Source: Brostow, Fauqueur, Cipolla, `Semantic object classes in video`, Pattern Recognition Letters, 2009.
    """

    METAINFO = dict(
        classes=(
            'sky',
            'building',
            'pole',
            'road',
            'pavement',
            'tree',
            'sign symbol',
            'fence',
            'car',
            'pedestrian',
            'bicyclist',
        ),
        palette=[
            [128, 128, 128],
            [128, 0, 0],
            [192, 192, 128],
            [128, 64, 128],
            [60, 40, 222],
            [128, 128, 0],
            [192, 128, 128],
            [64, 64, 128],
            [64, 0, 128],
            [64, 64, 0],
            [0, 128, 192],
        ],
    )

    def __init__(self, img_suffix: str = '.jpg', seg_map_suffix: str = '.png', **kwargs):
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
