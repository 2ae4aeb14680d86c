"""Images of odd shapes and kinds: a label map of their size, the same as for the plain image, or a clear message."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from in_process import call, forget_runs
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from picture_files import file_of
from PIL import Image, ImageOps
from tiny_config import SR, write_config

from mmseg_sr.config import load_config, prepare
from mmseg_sr.runs import launch

EXTRA = f"{SR}test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]\n"
SLIDE = dict(mode='slide', crop_size=(64, 256), stride=(48, 192))
WHOLE = dict(mode='whole')
GREY = np.random.default_rng(0).integers(0, 256, (40, 60)).astype(np.uint8)
COLOURS = np.random.default_rng(1).integers(0, 256, (40, 60, 3)).astype(np.uint8)
THIN = np.random.default_rng(2).integers(0, 256, (20000, 3)).astype(np.uint8)


def photograph(orientation: int) -> tuple[bytes, np.ndarray]:
    """A JPEG whose camera was held in one of EXIF's eight ways, and what people see."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = file_of(Image.fromarray(COLOURS), 'jpeg', exif=exif)
    return content, np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))


def png(pixels: np.ndarray) -> bytes:
    """A PNG of grey, RGB or RGBA pixels of 8 or 16 bits."""
    if pixels.ndim == 3:
        pixels = pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]]  # OpenCV's order
    return cv2.imencode('.png', pixels)[1].tobytes()


wide = np.uint16(257)  # x times 257 is as bright in 16 bits as x in 8
alpha = np.full((40, 60, 1), 90, np.uint8)
grey = np.stack([GREY] * 3, -1)
grey_and_alpha = Image.merge('LA', [Image.fromarray(GREY), Image.fromarray(alpha[..., 0])])
palette = Image.fromarray(COLOURS).quantize(16)
ODD = {
    '1x1.png': (png(THIN[:1, None]), THIN[:1, None]),
    '20000x1.png': (png(THIN[None]), THIN[None]),
    '1x20000.png': (png(THIN[:, None]), THIN[:, None]),
    'grey.png': (png(GREY), grey),
    'grey of 16 bits.png': (png(GREY * wide), grey),
    'colours of 16 bits.png': (png(COLOURS * wide), COLOURS),
    'alpha.png': (png(np.concatenate([COLOURS, alpha], -1)), COLOURS),
    'grey and alpha.png': (file_of(grey_and_alpha, 'png'), grey),
    'black and white.png': (file_of(Image.fromarray(GREY > 99), 'png'), (grey > 99) * np.uint8(255)),
    'palette.png': (file_of(palette, 'png'), np.array(palette.convert('RGB'))),
    **{f'held {way}.jpg': photograph(way) for way in range(1, 9)},
}


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('odd images')
    for name, (content, plain) in ODD.items():
        (folder / name).write_bytes(content)
        (folder / f'plain {name}.png').write_bytes(png(plain))
    return folder


def network(folder: Path, test_cfg: dict = WHOLE, **sr: object):
    """A network with random weights and a memory that changes what it sees."""
    cfg = prepare(Config.fromfile(write_config(folder, extra=EXTRA)))
    cfg.model.test_cfg = test_cfg
    cfg.model.backbone.sr.update(sr)
    torch.manual_seed(0)
    model = init_model(cfg, device='cpu')
    torch.nn.init.normal_(model.backbone.layer3.sr.memory)
    return model


@pytest.fixture(scope='module', params=[WHOLE, SLIDE], ids=['whole', 'slide'])
def model(request, home):
    return network(home, request.param)


@pytest.mark.parametrize('name', ODD)
def test_an_odd_image_gets_the_label_map_of_the_plain_one(model, home, name):
    result, expected = inference_model(model, [str(home / name), str(home / f'plain {name}.png')])
    assert result.pred_sem_seg.data.shape == (1, *ODD[name][1].shape[:2])
    assert result.seg_logits.data.isfinite().all()
    torch.testing.assert_close(result.seg_logits.data, expected.seg_logits.data)


@pytest.mark.parametrize('test_cfg', [WHOLE, SLIDE], ids=['whole', 'slide'])
def test_a_block_that_is_not_resized_says_so(home, test_cfg):
    model = network(home, test_cfg, resize=False)
    with pytest.raises(ValueError, match=r'has a memory of \(4, 4\) and got a map of \(3, 4\).*slide'):
        inference_model(model, str(home / 'grey.png'))


@pytest.mark.parametrize(
    'content', [b'', b'no image', ODD['grey.png'][0][:-90], file_of(Image.new('F', (9, 9)), 'tiff')]
)
def test_what_is_no_image_is_named(home, content):
    bad, checkpoint = home / 'bad.png', home / 'random.pth'
    bad.write_bytes(content)
    torch.save({'meta': {}, 'state_dict': network(home).state_dict()}, checkpoint)
    arguments = ('--images', home / 'grey.png', bad, '--out', home / 'out')
    said = call('visualize_sr', home / 'tiny.py', checkpoint, *arguments, folder=home).mistake
    assert f'error: cannot read the image {bad}: ' in said and not (home / 'out').exists()


def test_odd_images_are_evaluated_with_labels_of_their_size(tmp_path):
    model, right, count = network(tmp_path), 0, 0
    for path in tmp_path.glob('data/*/*'):
        path.unlink()
    for index, (name, (content, plain)) in enumerate(ODD.items()):
        name = f'{Path(name).stem}.png'  # what is in it tells its kind
        labels = np.full(plain.shape[:2], index % 3, np.uint8)
        (tmp_path / 'data/img' / name).write_bytes(content)
        Image.fromarray(labels).save(tmp_path / 'data/ann' / name)
        predicted = inference_model(model, str(tmp_path / 'data/img' / name)).pred_sem_seg.data[0].numpy()
        right, count = right + (predicted == labels).sum(), count + labels.size
    torch.save({'meta': {}, 'state_dict': model.state_dict()}, tmp_path / 'random.pth')
    forget_runs()
    cfg = load_config(tmp_path / 'tiny.py', {'work_dir': str(tmp_path / 'work')})
    metrics = launch.test(cfg, tmp_path / 'random.pth')
    assert metrics['aAcc'] == pytest.approx(100 * right / count)
    assert 0 < right < count
