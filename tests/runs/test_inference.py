"""Whole, slide and multi-scale + flip inference equal a slow reference, for any size; scores are cityscapesscripts'."""

import cv2
import mmcv
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from drawn_streets import make_mini_cityscapes
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint
from mmseg.registry import MODELS
from PIL import Image

from mmseg_sr.config import load_config, prepare, with_tta
from mmseg_sr.runs.launch import test as evaluate

CONFIG = 'configs/mini_cityscapes/fcn_r18-w16-d8-sr_1xb4-600_mini-cityscapes-128x256.py'
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
WINDOW, STRIDE = (128, 256), (64, 128)
SLIDE = {'model.test_cfg.mode': 'slide', 'model.test_cfg.crop_size': WINDOW, 'model.test_cfg.stride': STRIDE}
SIZES = {'the crop': (128, 256), 'smaller than a window': (60, 100), 'odd': (151, 333), 'large': (256, 512)}


def build(cfg: Config) -> torch.nn.Module:
    """A network with random weights and a memory that changes the prediction."""
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(prepare(cfg).model)
    network = getattr(model, 'module', model)
    for name, parameter in network.named_parameters():
        if name.endswith('sr.memory') or 'conv_seg' in name:
            torch.nn.init.normal_(parameter)
    model.eval()
    return model


def logits_of(network: torch.nn.Module, image: np.ndarray) -> torch.Tensor:
    """Scores (classes, h, w) of an RGB picture (h, w, 3), from the parts of the network."""
    tensor = torch.from_numpy((image.astype(np.float32) - MEAN) / STD).float().permute(2, 0, 1)[None]
    scores = network.decode_head(network.backbone(tensor))
    return F.interpolate(scores, image.shape[:2], mode='bilinear', align_corners=False)[0]


def windows_of(network: torch.nn.Module, image: np.ndarray) -> torch.Tensor:
    """Mean of the scores of all windows that cover a pixel; the last window of a row ends at the border."""
    starts = []
    for side, window, stride in zip(image.shape[:2], WINDOW, STRIDE, strict=True):
        last = max(side - window, 0)
        starts.append(sorted({min(start, last) for start in range(0, last + stride, stride)}))
    total = torch.zeros(19, *image.shape[:2])
    count = torch.zeros(image.shape[:2])
    for y in starts[0]:
        for x in starts[1]:
            patch = np.s_[y : y + WINDOW[0], x : x + WINDOW[1]]
            total[:, patch[0], patch[1]] += logits_of(network, image[patch])
            count[patch] += 1
    return total / count


def picture(size: tuple[int, int]) -> np.ndarray:
    """A smooth RGB picture."""
    noise = np.random.default_rng(1).integers(0, 256, (9, 17, 3)).astype(np.uint8)
    return cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC)


def resized(image: np.ndarray, ratio: float) -> np.ndarray:
    """A picture at another scale. mmcv rounds the sides, then fits the picture into them with its ratio kept."""
    height, width = image.shape[:2]
    frame = tuple(int(side * ratio + 0.5) for side in (width, height))
    return cv2.resize(image, mmcv.rescale_size((width, height), frame), interpolation=cv2.INTER_LINEAR)


def predict(model: torch.nn.Module, cfg: Config, image: np.ndarray, path) -> torch.Tensor:
    """What mmseg makes of the picture, through the test pipeline of the config: scores, or mean probabilities."""
    Image.fromarray(image).save(path)
    Image.fromarray(np.zeros(image.shape[:2], np.uint8)).save(path.with_name('label.png'))
    pipeline = [step for step in cfg.test_dataloader.dataset.pipeline if step.type != 'Resize']
    sample = dict(
        img_path=str(path), seg_map_path=str(path.with_name('label.png')), seg_fields=[], reduce_zero_label=False
    )
    with torch.no_grad():
        (result,) = model.test_step(pseudo_collate([Compose(pipeline)(sample)]))
    return result


@pytest.mark.parametrize('mode', ['whole', 'slide'])
@pytest.mark.parametrize('size', SIZES.values(), ids=SIZES)
def test_whole_and_slide(root, tmp_path, mode, size):
    cfg = load_config(root / CONFIG, SLIDE if mode == 'slide' else None)
    model, image = build(cfg), picture(size)
    result = predict(model, cfg, image, tmp_path / 'image.png')
    with torch.no_grad():
        expected = windows_of(model, image) if mode == 'slide' else logits_of(model, image)
    torch.testing.assert_close(result.seg_logits.data, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(result.pred_sem_seg.data[0], result.seg_logits.data.argmax(0))


@pytest.mark.parametrize('mode', ['whole', 'slide'])
@pytest.mark.parametrize('size', [(60, 100), (151, 333)], ids=['small', 'odd'])
def test_six_scales_and_flip_average_probabilities(root, tmp_path, mode, size):
    cfg = with_tta(load_config(root / CONFIG, {**(SLIDE if mode == 'slide' else {}), 'default_scope': 'mmseg'}))
    model, image = build(cfg), picture(size)
    result = predict(model, cfg, image, tmp_path / 'image.png')
    network, total = model.module, torch.zeros(19, *size, dtype=torch.float64)
    with torch.no_grad():
        for ratio in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75):
            scaled = resized(image, ratio)
            for flip in (False, True):
                view = np.ascontiguousarray(scaled[:, ::-1]) if flip else scaled
                scores = windows_of(network, view) if mode == 'slide' else logits_of(network, view)
                scores = scores.flip(-1) if flip else scores
                scores = F.interpolate(scores[None], size, mode='bilinear', align_corners=False)[0]
                total += scores.double().softmax(0) / 12
    same = result.pred_sem_seg.data[0] == total.argmax(0)
    clear = total.topk(2, dim=0).values.diff(dim=0).abs()[0] > 1e-3  # the reference's first class is ahead
    assert clear.double().mean() > 0.9 and same[clear].all()


def test_scores_are_those_of_cityscapesscripts(root, tmp_path, monkeypatch):
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official

    make_mini_cityscapes(tmp_path / 'data', train=3, val=3)
    monkeypatch.setenv('MINI_CITYSCAPES_ROOT', str(tmp_path / 'data'))
    cfg = load_config(root / CONFIG, {'work_dir': str(tmp_path / 'work')})
    save_checkpoint({'state_dict': build(cfg).state_dict(), 'meta': {}}, str(tmp_path / 'random.pth'))
    writer = dict(type='CityscapesMetric', output_dir=str(tmp_path / 'out'), format_only=True, keep_results=True)
    cfg.test_evaluator = [cfg.test_evaluator, writer]
    ours = evaluate(cfg, tmp_path / 'random.pth')

    truths = sorted((tmp_path / 'data').glob('gtFine/val/*/*_labelIds.png'))
    predictions = [tmp_path / 'out' / f'{path.name.replace("_gtFine_labelIds", "_leftImg8bit")}' for path in truths]
    assert len(truths) == 3 and all(path.is_file() for path in predictions), 'the names of the official submission'
    official.args.evalInstLevelScore = official.args.JSONOutput = False
    official.args.quiet = True
    theirs = official.evaluateImgLists(
        [str(path) for path in predictions], [str(path) for path in truths], official.args
    )
    assert abs(ours['mIoU'] / 100 - theirs['averageScoreClasses']) < 1e-6
    classes = [name.removeprefix('IoU.') for name in ours if name.startswith('IoU.')]
    assert len(classes) == 19
    for name in classes:
        np.testing.assert_allclose(ours[f'IoU.{name}'] / 100, theirs['classScores'][name], atol=1e-6)
