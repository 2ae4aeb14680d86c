# After layer5, the last 96-channel stage: MobileNetV2's counterpart of a ResNet's layer3. Its map is 20x20.
_base_ = ['./fcn_m-v2-d8_1xb8-1k_camvid-160x160.py', '../_base_/sr.py']
sr = dict(_base_.sr, after='layer5', num_memories=3, memory_size=(20, 20))
model = dict(backbone=dict(_delete_=True, type='SRBackbone', backbone=_base_.model.backbone, sr=sr))
