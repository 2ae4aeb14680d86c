# The other network for a CPU, that of experiments/camvid_cpu.yaml; its ImageNet weights have to be brought along.
_base_ = [
    '../../configs/_base_/models/fcn_m-v2-d16.py',
    '../../configs/_base_/datasets/idd_lite_160.py',
    '../../configs/_base_/default_runtime.py',
    '../../configs/_base_/schedules/schedule_800.py',
]
model = dict(
    data_preprocessor=dict(size=(160, 160)),
    decode_head=dict(num_classes=7),
    auxiliary_head=dict(num_classes=7),
)
custom_hooks = [dict(type='ChannelsLastHook')]
