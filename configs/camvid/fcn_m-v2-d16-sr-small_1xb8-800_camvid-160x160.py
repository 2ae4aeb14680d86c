# A coarse memory of 5x5 cells, resized to the map.
_base_ = './fcn_m-v2-d16-sr_1xb8-800_camvid-160x160.py'
model = dict(backbone=dict(sr=dict(memory_size=(5, 5))))
