_base_ = './sr.py'
custom_imports = dict(imports=['mmseg_sr', 'experiments.scene.rivals'])
model = dict(backbone=dict(sr=dict(_delete_=True, type='StockSE', after='layer5')))
