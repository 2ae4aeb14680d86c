"""Say where the data of our configs come from, and which variable says where they are."""

import os

SOURCES = {  # as configs/_base_/datasets has them: variable, its default, what makes these data
    'CITYSCAPES_ROOT': ('data/cityscapes', 'tools/prepare_cityscapes.py makes it of the archives'),
    'CAMVID_ROOT': ('data/camvid', 'CamVidDataset in mmseg_sr/datasets/camvid.py says which files it has'),
    'IDD_LITE_ROOT': ('data/idd_lite', 'configs/_base_/datasets/idd_lite.py says which files it has'),
    'ADE20K_ROOT': ('data/ade/ADEChallengeData2016', 'mmseg says where to get it'),
    'VOC_ROOT': ('data/VOCdevkit/VOC2012', 'mmseg says where to get it'),
    'CIFAR10_ROOT': ('data/cifar10', 'tools/prepare_cifar.py makes it of the archive'),
    'CIFAR100_ROOT': ('data/cifar100', 'tools/prepare_cifar.py makes it of the archive'),
    'IMAGENET_ROOT': ('data/imagenet', 'it is the official one, in train/ and val/'),
    'MINI_CITYSCAPES_ROOT': ('data/mini_cityscapes', 'tools/make_mini_cityscapes.py makes it'),
}


def advice_on(dataset: dict) -> str:
    """Say what makes the data of a config of ours, and which variable says where they are; '' for other data."""
    for variable, (default, source) in SOURCES.items():
        if f"'data_root': '{os.environ.get(variable, default)}'" in str(dataset):
            return f'. {source}; where the data are elsewhere, {variable} says where'
    return ''
