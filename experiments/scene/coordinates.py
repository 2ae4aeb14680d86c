_base_ = './placed.py'
model = dict(backbone=dict(sr=dict(_delete_=True, type='Coordinates', after='layer5')))
