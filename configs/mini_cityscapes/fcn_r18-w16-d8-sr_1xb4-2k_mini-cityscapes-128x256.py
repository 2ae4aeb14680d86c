_base_ = ['./fcn_r18-w16-d8_1xb4-2k_mini-cityscapes-128x256.py', '../_base_/sr.py']
sr = dict(_base_.sr, num_memories=3, memory_size=(16, 32))
model = dict(backbone=dict(_delete_=True, type='SRBackbone', backbone=_base_.model.backbone, sr=sr))
