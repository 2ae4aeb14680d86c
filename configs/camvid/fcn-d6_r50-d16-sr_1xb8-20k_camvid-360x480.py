_base_ = ['./fcn-d6_r50-d16_1xb8-20k_camvid-360x480.py', '../_base_/sr.py']
sr = dict(_base_.sr, num_memories=3, hidden_channels=32, memory_size=(23, 30))
model = dict(backbone=dict(_delete_=True, type='SRBackbone', backbone=_base_.model.backbone, sr=sr))
