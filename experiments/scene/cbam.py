_base_ = './sr.py'
model = dict(backbone=dict(sr=dict(_delete_=True, type='CBAMBlock', after='layer5')))
