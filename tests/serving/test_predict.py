"""Predictions of pictures and folders are mmseg's, by either kind of network, and a stopped run is taken up."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch
from exporting import PALETTE, exported, picture, predicted, write_network
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import call
from mmengine.config import ConfigDict
from mmseg.models import EncoderDecoder
from PIL import Image

from mmseg_sr.checkpoints.reading import read_checkpoint
from mmseg_sr.errors import UserError
from mmseg_sr.serving.predict import OnnxRuntime, Predictor, slide
from mmseg_sr.serving.predictions import RECORD

onnx = pytest.importorskip('onnx', reason='pip install "mmseg-sr[export]" to test exported networks')

SIZES = {'a': (64, 64), 'b': (64, 64), 'sub/c': (50, 90), 'sub/deep/d': (90, 50), 'e': (64, 64)}
FILES = {f'{kind}/{name}.png' for kind in ('labels', 'overlays') for name in SIZES} | {'legend.png'}


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> SimpleNamespace:
    return exported(tmp_path_factory.getbasetemp())


@pytest.fixture(scope='module')
def streets(tmp_path_factory) -> Path:
    """A folder of pictures, and what is none of them."""
    folder = tmp_path_factory.mktemp('streets')
    for seed, (name, size) in enumerate(SIZES.items()):
        path = folder / f'{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(size, seed)).save(path)
    (folder / 'notes.txt').write_text('no picture')
    (folder / '.hidden.png').write_bytes(b'')
    return folder


def predict(home, source: Path, out: Path, *arguments: object, model: Path | None = None, checkpoint=()):
    weights = [checkpoint] if checkpoint else []
    return call('predict', model or home.dynamic, '--out', out, *weights, source, *arguments, folder=home.folder)


def read(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in sorted(folder.rglob('*')) if path.is_file() and path.name != RECORD]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def same_but_for_ties(labels: np.ndarray, result) -> bool:
    """The labels are mmseg's, wherever its two best classes are not as good as each other."""
    logits = result.seg_logits.data
    best = logits.topk(2, dim=0).values
    clear = (best[0] - best[1] > 1e-4 * logits.abs().max()).numpy()
    return clear.mean() > 0.9 and bool((labels == logits.argmax(0).numpy())[clear].all())


def test_onnx_and_pytorch_give_mmseg_s_labels_and_the_same_files(home, streets, tmp_path):
    torch_s = dict(model=home.config, checkpoint=home.checkpoint)
    for folder, arguments, network in (('onnx', (), {}), ('torch', ('--batch', 2, '--opacity', 0.25), torch_s)):
        done = predict(home, streets, tmp_path / folder, *arguments, **network)
        assert done.document == {'out': str(tmp_path / folder), 'written': 5, 'skipped': 0, 'failed': {}}
        assert done.err.splitlines()[-1] == f'5 predicted, 0 were there: {tmp_path / folder}'
        assert contents(tmp_path / folder).keys() == FILES
    for seed, (name, size) in enumerate(SIZES.items()):
        result = predicted(home.segmentor, picture(size, seed))
        for folder, opacity in (('onnx', 0.5), ('torch', 0.25)):
            labels = read(tmp_path / folder / f'labels/{name}.png')
            assert labels.dtype == np.uint8 and same_but_for_ties(labels, result), name
            mixed = picture(size, seed) * (1 - opacity) + np.array(PALETTE)[labels] * opacity
            drawn = read(tmp_path / folder / f'overlays/{name}.png')
            assert np.abs(drawn - mixed).max() <= 0.5
    colours = {tuple(pixel) for pixel in read(tmp_path / 'onnx/legend.png').reshape(-1, 3).tolist()}
    assert colours >= set(map(tuple, PALETTE)), 'the legend has the colours of the overlays'


def test_a_real_frame_resized_as_in_the_test_gets_labels_of_its_own_size(home, camvid, tmp_path):
    frame = min((camvid / 'img_dir/val').iterdir())
    pipeline = "[dict(type='LoadImageFromFile'),dict(type='Resize',scale=(96,80),keep_ratio=True)]"
    config, checkpoint = write_network(
        tmp_path, 'resized', f"val_dataloader['dataset']['pipeline'] = test_pipeline = {pipeline}\n"
    )
    for numbers in ((1, 0), (0, 1)):
        said = predict(home, frame, tmp_path / 'out', model=config, checkpoint=checkpoint).document
        assert (said['written'], said['skipped']) == numbers
    (path,) = (tmp_path / 'out/labels').iterdir()
    bgr = cv2.imread(str(frame))
    ratio = min(96 / max(bgr.shape[:2]), 80 / min(bgr.shape[:2]))
    width, height = (int(side * ratio + 0.5) for side in bgr.shape[1::-1])
    small = cv2.resize(bgr, (width, height), interpolation=cv2.INTER_LINEAR)
    scores = predicted(home.segmentor, small[..., ::-1]).seg_logits.data[None]
    expected = torch.nn.functional.interpolate(scores, bgr.shape[:2], mode='bilinear').argmax(1)[0]
    assert read(path).shape == bgr.shape[:2] and (read(path) == expected.numpy()).mean() > 0.999


@settings(max_examples=12, deadline=None)
@given(
    size=st.tuples(st.integers(64, 130), st.integers(64, 130)),
    stride=st.tuples(st.integers(20, 64), st.integers(20, 64)),
    images=st.integers(1, 2),
)
def test_windows_of_one_size_average_to_mmseg_s_slide_inference(home, size, stride, images):
    batch = np.stack([picture(size, seed).transpose(2, 0, 1) for seed in range(images)])
    stand_in = SimpleNamespace(
        test_cfg=ConfigDict(crop_size=(64, 64), stride=stride),
        out_channels=4,
        encode_decode=lambda window, _: home.run_fixed(window.byte().numpy()),
    )
    expected = EncoderDecoder.slide_inference(stand_in, torch.from_numpy(batch).float(), [{}])
    torch.testing.assert_close(slide(home.run_fixed, batch, (64, 64), stride), expected)


def test_windows_smaller_than_the_image_are_taken_where_the_config_says_so(home, streets, tmp_path):
    options = ('model.test_cfg.mode=slide', 'model.test_cfg.crop_size=(48,40)', 'model.test_cfg.stride=(24,30)')
    windows = ('--mode', 'slide', '--window', 48, 40, '--stride', 24, 30)
    network = dict(model=home.config, checkpoint=home.checkpoint)
    assert predict(home, streets, tmp_path / 'config', '--cfg-options', *options, **network).status == 0
    assert predict(home, streets, tmp_path / 'onnx', *windows).status == 0
    assert predict(home, streets, tmp_path / 'whole').status == 0
    for name in SIZES:
        labels = [read(tmp_path / folder / f'labels/{name}.png') for folder in ('config', 'onnx', 'whole')]
        assert (labels[0] == labels[1]).mean() > 0.999 and (labels[0] != labels[2]).any()


WRITTEN = {  # what an export of the first version says of itself, word by word
    'mmseg_sr.classes': '["road", "car", "tree", "train"]',
    'mmseg_sr.palette': '[[9, 8, 7], [80, 0, 80], [0, 160, 160], [240, 240, 240]]',
    'mmseg_sr.size': 'null',
    'mmseg_sr.output': '"logits"',
    'mmseg_sr.steps': '[{"type": "Resize", "scale": [96, 80], "keep_ratio": true}]',
    'mmseg_sr.mode': '"slide"',
    'mmseg_sr.window': '[48, 40]',
    'mmseg_sr.stride': '[24, 30]',
    'mmseg_sr.blocks': '[{"name": "backbone.layer3.sr", "form": "recall", "resized": true, "memory": [3, 32, 4, 4]}]',
    'mmseg_sr.mean': '[120.0, 110.0, 100.0]',
    'mmseg_sr.version': '"0.1.0"',
}


def test_a_file_of_the_first_version_is_used_as_it_says(home, tmp_path):
    model = onnx.load(home.dynamic)
    onnx.helper.set_model_props(model, {**WRITTEN, 'mmseg_sr.of_a_later_version': '0', 'another.key': '{'})
    onnx.save(model, tmp_path / 'old.onnx')
    predictor = Predictor(OnnxRuntime(tmp_path / 'old.onnx'))
    assert (predictor.mode, predictor.window, predictor.stride) == ('slide', (48, 40), (24, 30))
    assert predictor.prepared(picture((100, 90))).shape == (3, 89, 80), 'the short side is 80'
    said = {key.removeprefix('mmseg_sr.'): json.loads(text) for key, text in WRITTEN.items()}
    assert said.items() <= vars(predictor.metadata).items()


OPENED: dict[str, int] = {}  # how often this process has opened a file


def count(event: str, values: tuple) -> None:
    if event == 'open' and (path := str(values[0])) in OPENED:
        OPENED[path] += 1


sys.addaudithook(count)


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_a_checkpoint_is_read_once_and_its_bytes_are_hashed_once(home, streets, tmp_path, monkeypatch, suffix):
    path, safe_open = tmp_path / f'net{suffix}', safetensors.safe_open
    shutil.copy(home.checkpoint, path)
    if suffix == '.safetensors':
        safetensors.torch.save_file(torch.load(home.checkpoint)['state_dict'], path)

    def counted(name: object, **options: object) -> object:  # it opens in Rust
        count('open', (name,))
        return safe_open(name, **options)

    def opened(work: Callable) -> int:
        OPENED[str(path)] = 0
        work()
        return OPENED.pop(str(path))

    monkeypatch.setattr(safetensors, 'safe_open', counted)
    once = opened(lambda: read_checkpoint(path))
    network = dict(model=home.config, checkpoint=path)
    assert once >= 1
    assert opened(lambda: predict(home, streets, tmp_path / 'out', '--batch', 2, **network)) == once + 1
    weights = json.loads((tmp_path / 'out' / RECORD).read_text())['weights']
    assert weights == hashlib.sha256(path.read_bytes()).hexdigest() and contents(tmp_path / 'out').keys() == FILES


def test_a_run_that_was_stopped_is_taken_up_where_it_was(home, streets, tmp_path, monkeypatch):
    assert predict(home, streets, tmp_path / 'undisturbed').status == 0
    save, saved = Image.Image.save, []

    def stop_in_the_fourth(image, path):
        saved.append(path)
        save(image, path)
        if len(saved) == 4:
            os.truncate(path, 100)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, 'save', stop_in_the_fourth)
        assert predict(home, streets, tmp_path / 'out').status == 130
    assert len(contents(tmp_path / 'out')) == 3, 'nothing half-written'
    again = predict(home, streets, tmp_path / 'out').document
    assert (again['skipped'], again['written']) == (1, 4)
    assert contents(tmp_path / 'out') == contents(tmp_path / 'undisturbed')


@pytest.mark.parametrize('place', ['predicted', '.'])
def test_predictions_beside_the_pictures_are_no_pictures(home, streets, tmp_path, place):
    folder = shutil.copytree(streets, tmp_path / 'streets')
    for numbers in ((5, 0), (0, 5)):
        said = predict(home, folder, folder / place).document
        assert (said['written'], said['skipped']) == numbers
    assert contents(folder / place).keys() - contents(streets).keys() == FILES


def test_what_is_damaged_or_gone_is_predicted_again_and_nothing_else(home, streets, tmp_path):
    assert predict(home, streets, tmp_path).status == 0
    before = contents(tmp_path)
    damaged = tmp_path / 'labels/sub/c.png'
    os.truncate(damaged, damaged.stat().st_size - 20)
    (tmp_path / 'overlays/a.png').unlink()
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*.png')}
    again = predict(home, streets, tmp_path).document
    assert (again['skipped'], again['written']) == (3, 2)
    assert contents(tmp_path) == before
    assert {path.stem for path, time in times.items() if path.stat().st_mtime_ns == time} == {'b', 'd', 'e'}


def test_other_predictions_are_refused_and_overwritten_when_asked(home, streets, tmp_path):
    assert predict(home, streets, tmp_path).status == 0
    before = contents(tmp_path)
    windows = ('--mode', 'slide', '--window', 32, 32)
    other = predict(home, streets, tmp_path, *windows)
    assert 'mode, stride, window' in other.mistake and '--overwrite' in other.err
    assert contents(tmp_path) == before
    assert predict(home, streets, tmp_path, *windows, '--overwrite').document['written'] == 5
    assert contents(tmp_path) != before


def test_labels_that_this_tool_did_not_make_stay(home, streets, tmp_path):
    (tmp_path / 'labels').mkdir()
    (tmp_path / 'labels/a.png').write_bytes(b'mine')
    for arguments in ((), ('--overwrite',)):
        assert 'nothing says what made it' in predict(home, streets, tmp_path, *arguments).mistake
    assert contents(tmp_path) == {'labels/a.png': b'mine'}


def test_images_that_fail_are_named_and_stop_no_other(home, streets, tmp_path):
    folder = shutil.copytree(streets, tmp_path / 'mixed', ignore=shutil.ignore_patterns('sub'))
    (folder / 'aa.png').write_bytes((folder / 'a.png').read_bytes()[:60])
    Image.fromarray(picture((40, 64))).save(folder / 'odd.png')
    done = predict(home, folder, tmp_path / 'out', '--batch', 3, model=home.fixed)
    said = json.loads(done.out.splitlines()[-1])
    assert (done.status, said['written'], len(contents(tmp_path / 'out'))) == (2, 3, 3 + 3 + 1), 'and the legend'
    assert {Path(path).name for path in said['failed']} == {'aa.png', 'odd.png'}
    errors = [line for line in done.err.splitlines() if 'error: ' in line]
    assert len(errors) == 2 and 'aa.png: it is damaged' in done.err
    assert 'the image is 40x64, and the network takes 64x64 only' in done.err and '--mode slide' in done.err


def test_a_mistake_is_one_message_and_nothing_is_written(home, streets, tmp_path):
    for folder in ('none', 'twins'):
        (tmp_path / folder).mkdir()
    for name in ('a.png', 'a.jpg'):
        shutil.copy(streets / 'a.png', tmp_path / 'twins' / name)
    (tmp_path / 'broken.onnx').write_bytes(home.fixed.read_bytes()[:2000])
    foreign = onnx.load(home.fixed)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / 'foreign.onnx')
    (tmp_path / 'no.mp4').write_bytes(b'no image')
    mistakes = {
        'is a config: predict.py CONFIG CHECKPOINT IMAGE': (home.config, streets),
        'no such model': (tmp_path / 'nothing.onnx', streets),
        'broken.onnx is no ONNX model': (tmp_path / 'broken.onnx', streets),
        'was not written by tools/export.py': (tmp_path / 'foreign.onnx', streets),
        'there is no': (home.fixed, tmp_path / 'nowhere'),
        'has no images': (home.fixed, tmp_path / 'none'),
        'would have the same name': (home.fixed, tmp_path / 'twins'),
        'windows are 32x32': (home.fixed, streets, '--mode', 'slide', '--window', 32, 32),
        'belong to mode slide': (home.dynamic, streets, '--stride', 32, 32),
        'needs a window': (home.dynamic, streets, '--mode', 'slide'),
        'leaves pixels without a label': (home.fixed, streets, '--mode', 'slide', '--stride', 65, 32),
        'no.mp4: it is damaged, or no picture': (home.fixed, tmp_path / 'no.mp4'),
    }
    for advice, (model, source, *arguments) in mistakes.items():
        assert advice in predict(home, source, tmp_path / 'out', *arguments, model=model).mistake
        assert contents(tmp_path / 'out') == {}
    assert 'say their folder by --out DIR' in call('predict', home.fixed, streets, folder=tmp_path).mistake
    both = predict(home, streets, tmp_path / 'out', model=home.fixed, checkpoint=home.checkpoint)
    assert 'leave out CHECKPOINT' in both.mistake and contents(tmp_path / 'out') == {}


def test_labels_cannot_be_averaged_or_resized(home, streets, tmp_path):
    network = OnnxRuntime(home.fixed)
    network.metadata.output = 'labels'
    with pytest.raises(UserError, match='--output logits'):
        Predictor(network, mode='slide')
    network.metadata.steps = [dict(type='Resize', scale=[64, 64])]
    with pytest.raises(UserError, match='--output logits'):
        Predictor(network).prepared(picture((80, 80)))
