_base_ = ['./deeplabv3_r50-d8_1xb8-20k_camvid-360x480.py', '../_base_/sr.py']
sr = dict(_base_.sr, memory_size=(45, 60))
model = dict(backbone=dict(_delete_=True, type='SRBackbone', backbone=_base_.model.backbone, sr=sr))
