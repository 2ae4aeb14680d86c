"""Names, colours and label ids of what is served are the data set's, where the checkpoint tells none."""

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from tiny_config import CLASSES, SR, write_config
from tiny_report import write_checkpoint

from mmseg_sr.config import load_config
from mmseg_sr.serving.metadata import _dataset_of, load

REDUCED = """
dataset['reduce_zero_label'] = True
pipeline[1]['reduce_zero_label'] = True
"""


@pytest.mark.parametrize(
    ('kind', 'options', 'classes', 'reduced'),
    [
        ('CityscapesDataset', {}, 19, False),
        ('mmseg.ADE20KDataset', {}, 150, True),
        ('ADE20KDataset', dict(reduce_zero_label=False), 150, False),
        ('BaseSegDataset', dict(metainfo=dict(classes=['a', 'b'])), 2, False),
    ],
)
def test_a_config_tells_what_its_dataset_class_does(kind, options, classes, reduced):
    found = _dataset_of(Config(dict(val_dataloader=dict(dataset=dict(type=kind, **options)))))
    assert len(found.metainfo['classes']) == classes and found.reduce_zero_label is reduced


def test_predictions_have_the_ids_that_a_test_writes(call, tmp_path):
    config = write_config(tmp_path, extra=REDUCED + SR)
    for path in tmp_path.glob('data/ann/*.png'):
        labels = np.array(Image.open(path))
        Image.fromarray(np.where(labels == 255, 0, labels + 1).astype(np.uint8)).save(path)
    write_checkpoint(config, tmp_path / 'w.pth')
    assert load(load_config(config), tmp_path / 'w.pth')[1].classes == list(CLASSES), 'the weights tell none'
    assert call('test', config, 'w.pth', '--out', 'tested').status == 0
    assert call('predict', config, 'w.pth', 'data/img', '--out', 'predicted').document['written'] == 5
    for path in tmp_path.glob('tested/*.png'):
        ids = np.array(Image.open(path))
        assert ids.min() >= 1 and np.array_equal(ids, Image.open(tmp_path / 'predicted/labels' / path.name))
