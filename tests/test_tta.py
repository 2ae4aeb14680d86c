"""Views of one size in one pass give what one pass each gives."""

import copy

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.models import SegTTAModel
from tiny_config import SR, write_config

from mmseg_sr import BatchedTTAModel
from mmseg_sr.engine.config import load_config
from mmseg_sr.engine.inspection import build_model

pytestmark = pytest.mark.usefixtures('fresh')
SLIDE = dict(mode='slide', crop_size=(48, 48), stride=(32, 32))


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return load_config(write_config(tmp_path_factory.mktemp('tta'), extra=SR))


@pytest.mark.parametrize('test_cfg', [dict(mode='whole'), SLIDE])
@pytest.mark.parametrize('count', [1, 2])
def test_batched_views_are_merged_to_the_same_scores(config, test_cfg, count):
    config = copy.deepcopy(config)
    config.model.test_cfg = test_cfg
    init_default_scope('mmseg')
    network = build_model(config).eval()
    torch.nn.init.normal_(network.backbone.layer3.sr.memory)
    views = Compose([config.tta_pipeline[1]])
    pixels = np.random.default_rng(0)
    images = [dict(img=pixels.integers(0, 256, (70, 90, 3), dtype=np.uint8)) for _ in range(count)]
    keys = dict(seg_fields=[], img_shape=(70, 90), ori_shape=(70, 90), reduce_zero_label=False)
    views.transforms[0].subroutines = [
        Compose([step for step in each.transforms if type(step).__name__ != 'LoadAnnotations'])
        for each in views.transforms[0].subroutines
    ]
    data = pseudo_collate([views({**image, **keys, 'img_path': str(at)}) for at, image in enumerate(images)])

    passes = []
    network.backbone.register_forward_hook(lambda module, args, output: passes.append(len(args[0])))
    seen = []

    class Scores:
        """Keeps what is merged, view by view."""

        def merge_preds(self, samples):
            seen.append([[view.seg_logits.data for view in image] for image in samples])
            return super().merge_preds(samples)

    stock, batched = type('Stock', (Scores, SegTTAModel), {}), type('Batched', (Scores, BatchedTTAModel), {})
    labels = []
    for model in (stock(network), batched(network)):
        with torch.no_grad():
            labels.append([sample.pred_sem_seg.data for sample in model.test_step(copy.deepcopy(data))])
    expected, got = seen
    assert len(got) == count and len(got[0]) == 4
    for theirs, ours in zip(sum(expected, []), sum(got, []), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    for theirs, ours in zip(*labels, strict=True):
        assert (theirs == ours).float().mean() > 0.999
    assert set(passes) == {count, 2 * count}
