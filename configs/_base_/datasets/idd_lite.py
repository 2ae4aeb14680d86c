# IDD-Lite: streets of Hyderabad and Bangalore, 320x227 (width x height), 1,403 training and 204 validation images:
# img_dir/{train,val}/SEQUENCE_FRAME.jpg and one-channel ann_dir/{train,val}/SEQUENCE_FRAME.png, whose pixel is the
# class, or 255 for void. Varma and others, IDD, WACV 2019; research use.
_base_ = './camvid.py'
metainfo = dict(
    classes=('drivable', 'non-drivable', 'living things', 'vehicles', 'roadside objects', 'far objects', 'sky'),
    palette=[
        [128, 64, 128],
        [244, 35, 232],
        [220, 20, 60],
        [0, 0, 142],
        [220, 190, 40],
        [70, 70, 70],
        [70, 130, 180],
    ],
)
crop_size = (227, 320)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(320, 227), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
dataset = dict(
    type='BaseSegDataset', data_root='{{$IDD_LITE_ROOT:data/idd_lite}}', metainfo=metainfo, img_suffix='.jpg'
)
train_dataloader = dict(dataset=dict(**dataset, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(**dataset, pipeline=test_pipeline))
test_dataloader = val_dataloader
