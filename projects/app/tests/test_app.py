"""The page to try a network on: real pictures are predicted, hostile ones refused, and only this machine is asked."""

import http.client
import importlib.util
import io
import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
import trial as trials
from browsing import opened
from fixtures import *  # noqa: F403  (what all tests share: a second conftest.py would stand in the way of the first)
from hypothesis import given
from hypothesis import strategies as st
from mmseg.apis import inference_model, init_model
from picture_files import claims, file_of
from PIL import Image
from server import create_app
from tiny_config import write_config
from tiny_report import HOSTILE, SR, write_checkpoint
from uploads import FORMATS, MAX_PIXELS, read_upload

from mmseg_sr.config import load_config, prepare
from mmseg_sr.errors import UserError
from mmseg_sr.models.find import sr_blocks
from mmseg_sr.report.gallery import Network

ROOT = Path(__file__).resolve().parents[3]
META = dict(classes=[HOSTILE, 'road', 'car', 'sky'], palette=[[128, 64, 128], [0, 0, 142], [9, 99, 9], [1, 1, 1]])
PREDICT = '/predict?scale=1&scale=0.5'
LOG_CONNECTIONS = """
import sys
def log(event, arguments, path={path!r}):
    if event in ('socket.connect', 'socket.sendto', 'socket.getaddrinfo', 'socket.bind'):
        with open(path, 'a') as file:
            print(event, arguments[-1] if event != 'socket.getaddrinfo' else arguments[0], file=file)
sys.addaudithook(log)
"""


def street(width: int = 64, height: int = 48) -> Image.Image:
    colours = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return Image.fromarray(colours.repeat(8, 0).repeat(8, 1))


@pytest.mark.parametrize('kind', FORMATS)
def test_a_picture_is_read_whatever_its_kind(kind):
    options = {'WEBP': dict(lossless=True), 'JPEG': dict(quality=95, subsampling=0)}.get(kind, {})
    image, size = read_upload(file_of(street(), kind, **options), 1000)
    assert size == (64, 48) and image.dtype == np.uint8 and image.shape == (48, 64, 3)
    assert np.abs(image - np.asarray(street(), float)).mean() < (4 if kind == 'JPEG' else 1e-9)


def test_a_picture_is_turned_upright_and_made_smaller():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    for kind in ('png', 'jpeg', 'webp'):
        image, size = read_upload(file_of(street(640, 320), kind, exif=exif), 100)
        assert size == (320, 640) and image.shape == (100, 50, 3), kind
    plain, _ = read_upload(file_of(street()), 1000)
    turned, _ = read_upload(file_of(street(), exif=exif), 1000)
    assert (turned == np.rot90(plain, -1)).all()


def test_every_kind_of_pixel_becomes_rgb():
    ramp = np.arange(0, 65536, 256, np.uint16).reshape(16, 16)
    image, _ = read_upload(file_of(Image.fromarray(ramp)), 100)
    assert (image[..., 0].ravel() == np.arange(256)).all(), '16 bits are scaled, not clipped'
    for mode in ('1', 'L', 'LA', 'P', 'RGBA'):
        assert read_upload(file_of(street().convert('L').convert(mode)), 100)[0].shape == (48, 64, 3), mode
    assert read_upload(file_of(street().convert('CMYK'), 'jpeg'), 100)[0].shape == (48, 64, 3)
    assert read_upload(file_of(Image.new('RGB', (5000, 1))), 100)[0].shape == (1, 100, 3)


def test_a_size_is_refused_before_a_pixel_is_decoded(monkeypatch):
    side = int(MAX_PIXELS**0.5) + 1
    sizes = ((100_000, 100_000), (side, side), (2**31 - 1, 1), (MAX_PIXELS + 1, 1))
    files = [claims(*size) for size in sizes]
    for name in ('load', 'draft', 'convert'):
        monkeypatch.setattr(Image.Image, name, Mock(side_effect=AssertionError('decoded')))
    for file in files:
        with pytest.raises(UserError, match='more than 50 million pixels'):
            read_upload(file, 1000)


def test_what_is_no_picture_or_a_damaged_one_is_a_sentence():
    for data in (b'', b'hello', b'<svg xmlns="http://www.w3.org/2000/svg"/>', file_of(street(), 'gif'), b'%!PS-Adobe'):
        with pytest.raises(UserError, match='no picture that can be read: take a file in PNG, JPEG, WEBP'):
            read_upload(data, 1000)
    for data in (claims(500, 500), file_of(street())[:200], file_of(street(), 'jpeg')[:700]):
        with pytest.raises(UserError, match='damaged'):
            read_upload(data, 1000)


@given(st.data())
def test_whatever_a_file_holds_it_is_an_array_or_a_sentence(data):
    bytes_ = bytearray(file_of(street(), data.draw(st.sampled_from(FORMATS))))
    for _ in range(data.draw(st.integers(1, 5))):
        bytes_[data.draw(st.integers(0, len(bytes_) - 1))] = data.draw(st.integers(0, 255))
    try:
        image, _ = read_upload(bytes(bytes_), 100)
    except UserError as error:
        assert str(error).endswith('.')
    else:
        assert image.dtype == np.uint8 and image.ndim == 3 and 0 < max(image.shape) <= 100


@pytest.fixture(scope='module')
def pair(tmp_path_factory) -> dict[str, Network]:
    """A baseline, and a network with a memory that is far from zero; a class has a name that would be a script."""
    folder = tmp_path_factory.mktemp('pair')
    found = {}
    for name, extra in (('base', ''), ('sr', SR)):
        config = write_config(folder, f'{name}.py', f'{extra}test_pipeline = pipeline\n')
        checkpoint = config.with_suffix('.pth')
        write_checkpoint(config, checkpoint)
        torch.save({**torch.load(checkpoint), 'meta': {'dataset_meta': META}}, checkpoint)
        found[name] = Network(name, 'base', load_config(config, {}), checkpoint)
    return found


@pytest.fixture(scope='module')
def trial(pair) -> trials.Trial:
    return trials.Trial(pair['sr'], pair['base'])


def test_a_trial_predicts_what_mmseg_predicts_with_the_memory_changed_by_hand(trial, pair, tmp_path):
    street().save(tmp_path / 'a.png')
    expected = {}
    for name, factors in (('base', None), ('sr', (1, 1)), ('scaled', (0, 1.5))):
        network = pair['base' if name == 'base' else 'sr']
        model = init_model(prepare(network.cfg), str(network.checkpoint), device='cpu')
        for block in sr_blocks(model).values():
            block.memory.data *= torch.tensor(factors, dtype=torch.float32).view(-1, 1, 1, 1)
        expected[name] = inference_model(model, str(tmp_path / 'a.png')).pred_sem_seg.data[0].numpy()
    tried = trial(np.asarray(street()), trial.scales([0, 1.5]))
    assert (tried.baseline == expected['base']).all()
    assert (tried.trained.prediction == expected['sr']).all()
    assert (tried.scaled.prediction == expected['scaled']).all()
    assert (expected['scaled'] != expected['sr']).mean() > 0.05, 'a memory whose change is seen'


def test_nothing_of_a_trial_stays_in_the_network(trial, monkeypatch):
    before = {key: value.clone() for key, value in trial.model.state_dict().items()}
    image = np.asarray(street())
    trained = trial(image, trial.scales([1, 1])).trained.prediction
    observe = trials.observe

    def fail(model, sample, ablate):
        observe(model, sample, ablate)
        raise RuntimeError('in the middle')

    monkeypatch.setattr(trials, 'observe', fail)
    for part, scales in ((image, [0, 2]), (image[:40], [1, 1])):
        with pytest.raises(RuntimeError, match='in the middle'):
            trial(part, trial.scales(scales))
    monkeypatch.undo()
    assert not any(module._forward_hooks for module in trial.model.modules())
    after = trial.model.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    trial._last = None
    assert (trial(image, trial.scales([1, 1])).trained.prediction == trained).all()


def test_trials_from_several_threads_do_not_mix(trial):
    images = [np.asarray(street(64, 48)), np.asarray(street(48, 64))]
    jobs = [(image, trial.scales([a, b])) for image in images for a, b in ((1, 1), (0, 0), (2, 0), (0, 2))] * 2
    alone = [trial(*job).scaled for job in jobs]
    with ThreadPoolExecutor(len(jobs)) as pool:
        found = pool.map(lambda job: trial(*job).scaled, jobs)
    for one, other in zip(alone, found, strict=True):
        assert (one.prediction == other.prediction).all()
        name = next(iter(one.blocks))
        assert np.array_equal(one.blocks[name].weights, other.blocks[name].weights)


def test_scales_that_make_no_sense_are_a_sentence(trial):
    assert trial.scales([0, 2]) == {'backbone.layer3.sr': [0, 2]}
    for values in ([], [1], [1, 1, 1]):
        with pytest.raises(UserError, match='has 2 memory blocks'):
            trial.scales(values)
    for value in (-0.1, 2.1, float('nan'), float('inf')):
        with pytest.raises(UserError, match='scaled by 0 to 2'):
            trial.scales([1, value])


class Served:
    """The tool as a user starts it, in its own process: its address, its log, what it connected to, what it left."""

    def __init__(self, pair: dict[str, Network], folder: Path):
        (folder / 'tmp').mkdir()
        self.folder = folder
        (folder / 'sitecustomize.py').write_text(LOG_CONNECTIONS.format(path=str(folder / 'connections')))
        words = [ROOT / 'projects/app/app.py', pair['sr'].cfg.filename, pair['sr'].checkpoint]
        words += ['--baseline', pair['base'].cfg.filename, pair['base'].checkpoint, '--port', 0, '--max-side', 96]
        env = {**os.environ, 'TMPDIR': str(folder / 'tmp'), 'PYTHONPATH': f'{folder}{os.pathsep}{ROOT}'}
        with (folder / 'log').open('w') as log:
            self.process = subprocess.Popen(
                [sys.executable, *map(str, words)], env=env, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True
            )
        said = next((line for line in self.process.stdout if line.startswith('{')), None)
        assert said, (folder / 'log').read_text()
        self.url = json.loads(said)['url']
        self.place = urlsplit(self.url).netloc

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str, dict]:
        headers = {name.replace('_', '-'): value for name, value in headers.items()}
        with closing(http.client.HTTPConnection(self.place, timeout=60)) as connection:
            connection.request('GET' if body is None else 'POST', path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors='replace'), dict(answer.headers)

    def send(self, header: str) -> socket.socket:
        """Begin an upload with a header of its own; the connection on which it goes on."""
        connection = socket.create_connection(self.place.split(':'), timeout=60)
        connection.sendall(f'POST {PREDICT} HTTP/1.1\r\nHost: {self.place}\r\n{header}\r\n\r\n'.encode())
        return connection


@pytest.fixture(scope='module')
def served(pair, tmp_path_factory):
    found = Served(pair, tmp_path_factory.mktemp('served'))
    yield found
    found.process.terminate()
    found.process.wait(20)


def test_an_upload_comes_back_as_pictures_and_the_file_s_name_is_of_no_matter(served):
    status, text, headers = served.ask(PREDICT, file_of(street(320, 160)), X_Name='../../etc/passwd.png')
    assert status == 200 and text.count('<img src="data:image/') == 5 and text.count('<svg role="img"') == 1
    assert 'It was predicted at 96 × 48' in text and '320 × 160' in text
    assert "default-src 'none'" in headers['Content-Security-Policy'] and headers['Cache-Control'] == 'no-store'
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="../../../../%s"\r\n\r\n%s\r\n--x--\r\n'
    form %= str(served.folder / 'planted.png').encode(), file_of(street())
    status, text, _ = served.ask(PREDICT, form, Content_Type='multipart/form-data; boundary=x')
    assert status == 400 and text.startswith('This is no picture') and not (served.folder / 'planted.png').exists()


def test_hostile_uploads_are_a_sentence_and_the_page_lives_on(served):
    for body, message in (
        (b'hello', 'This is no picture that can be read'),
        (claims(100_000, 100_000), 'more than 50 million pixels'),
        (file_of(street())[:200], 'damaged'),
    ):
        status, text, headers = served.ask(PREDICT, body)
        assert status == 400 and message in text and '\n' not in text, text
        assert headers['Content-Type'].startswith('text/plain') and 'Traceback' not in text
    for query in ('', '?scale=1', '?scale=1&scale=nan', '?scale=1&scale=3', '?scale=1&scale=x'):
        assert served.ask(f'/predict{query}', file_of(street()))[0] == 400, query
    assert served.ask(PREDICT, file_of(street()))[0] == 200


def test_a_picture_that_the_network_cannot_take_is_a_sentence(trial, monkeypatch, caplog):
    monkeypatch.setattr(trials.Trial, '__call__', Mock(side_effect=RuntimeError('kernel size, /a/secret/path')))
    answer = create_app(trial, [b'']).test_client().post(PREDICT, data=file_of(street()))
    assert answer.status_code == 500 and 'could not predict this picture' in answer.text
    assert 'secret' not in answer.text and 'secret' in caplog.text


def test_too_large_an_upload_is_refused_before_it_is_there(served):
    with served.send('Content-Length: 60000000') as connection:
        assert connection.recv(100).startswith(b'HTTP/1.1 413')
    with served.send('Transfer-Encoding: chunked') as connection, pytest.raises(OSError):
        for _ in range(60):  # of unknown length, it is cut off when it is too long
            connection.sendall(b'100000\r\n' + bytes(2**20) + b'\r\n')
    assert served.ask(PREDICT, file_of(street()))[0] == 200


def test_other_pages_and_paths_get_nothing(served):
    assert served.ask('/', Host='evil.example')[0] == 400
    assert served.ask('/', Host=served.place)[0] == served.ask('/', Host='localhost:1')[0] == 200
    assert served.ask(PREDICT, file_of(street()), Sec_Fetch_Site='cross-site')[0] == 403
    for path in ('/../../etc/passwd', '/%2e%2e/app.py', '/app.html.j2', '/static/app.js', '/example/-1', '/predict/x'):
        status, text, _ = served.ask(path)
        assert status in (404, 405) and len(text) < 40, path
    assert served.ask('/example/7')[0] == 200


def test_it_answers_this_machine_only_and_asks_no_other(served):
    port = int(served.place.split(':')[1])
    others = {'127.0.0.2'}  # this machine's too; who listens everywhere answers there
    others |= {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {'127.0.0.1'}
    for address in others:
        with pytest.raises(OSError):
            socket.create_connection((address, port), timeout=5)
    served.ask(PREDICT, file_of(street()))
    seen = (served.folder / 'connections').read_text().splitlines()
    assert "socket.bind ('127.0.0.1', 0)" in seen, 'the log has seen the server itself'
    here = ('127.0.0.1', 'socket.getaddrinfo 0.0.0.0')  # waitress looks at its default, and does not use it
    assert [line for line in seen if not any(place in line for place in here)] == []


def test_nothing_that_was_uploaded_is_kept(served):
    served.ask(PREDICT, file_of(Image.effect_noise((1200, 1200), 80)))  # so large that the server spools it
    assert [path for path in (served.folder / 'tmp').rglob('*') if path.is_file()] == []


browser = pytest.fixture(scope='module')(opened)
SETTLED = "document.querySelectorAll('#tried :is(img, svg)').length >= 6 && !document.querySelector('#tried.stale')"
PICTURES = "return [...document.querySelectorAll('#tried :is(img, svg)')].map(e => e.src ?? e.innerHTML)"


def show(browser, served) -> list[str]:
    """The page with its drawn street, and its pictures."""
    browser.show(served.url)
    browser.wait(SETTLED)
    return browser.do(PICTURES)


def choose(browser, path: Path) -> None:
    browser.find('#file')[0].send_keys(str(path))


def test_a_drawn_street_is_there_at_once_and_nothing_is_asked_from_outside(served, browser):
    for name in browser.looks(served.url):
        browser.wait(SETTLED)
        assert browser.log('browser') == []
        asked = browser.requests()
        assert f'{served.url}predict?scale=1&scale=1' in asked
        assert all(url.startswith(served.url) for url in asked)
        shown = browser.do(
            "return [...document.querySelectorAll('#tried :is(img, svg)')]"
            '.map(e => [e.naturalWidth ?? e.clientWidth, (e.alt ?? e.ariaLabel).length])'
        )
        assert len(shown) == 6 and all(pixels > 0 and text > 10 for pixels, text in shown)
        assert browser.do('return document.documentElement.scrollWidth <= innerWidth')
        browser.screenshot(f'app-{name}.png')
    assert not browser.find('img[src=x]')
    assert HOSTILE in browser.do("return document.querySelector('.legend').textContent")


def test_a_real_upload_is_predicted_and_a_slider_changes_memory_and_prediction(served, browser, tmp_path):
    drawn = show(browser, served)
    street(96, 64).save(tmp_path / 'mine.png')
    choose(browser, tmp_path / 'mine.png')
    browser.wait(f"document.querySelector('#name').textContent === 'mine.png' && {SETTLED}")
    first = browser.do(PICTURES)
    assert all(ours != theirs for ours, theirs in zip(first, drawn, strict=True) if len(ours) > 2000)

    browser.find('.scale')[0].send_keys(browser.keys.HOME)
    browser.wait(f"document.querySelector('output').textContent === 'off' && {SETTLED}")
    picture, baseline, ours, _, changed, memory = browser.do(PICTURES)
    assert [picture, baseline] == first[:2], 'what has no memory stays'
    assert ours != first[2] and changed != first[4] and memory != first[5]

    for button, said, same in (('[data-scale="0"]', 'off', False), ('[data-scale="1"]', '× 1.00', True)):
        browser.find(button)[0].click()
        browser.wait(f"[...document.querySelectorAll('output')].every(e => e.textContent === '{said}') && {SETTLED}")
        assert (browser.do(PICTURES) == first) is same


def test_a_hostile_upload_is_a_sentence_in_the_page(served, browser, tmp_path):
    shown = show(browser, served)
    (tmp_path / 'huge.png').write_bytes(b'\x89PNG\r\n\x1a\n')
    os.truncate(tmp_path / 'huge.png', 60_000_000)
    (tmp_path / 'text.png').write_text('no picture')
    (tmp_path / 'bomb.png').write_bytes(claims(100_000, 100_000))
    for name, message in (
        ('huge.png', 'The file is too large: at most 20 MB.'),
        ('text.png', 'This is no picture that can be read'),
        ('bomb.png', 'The picture has more than 50 million pixels'),
    ):
        choose(browser, tmp_path / name)
        browser.wait(f"document.querySelector('#error').textContent.startsWith('{message}')")
        assert browser.do("return !document.querySelector('#error').hidden")
        assert browser.do(PICTURES) == shown, 'the last picture stays'


def test_a_dropped_file_s_name_is_text_and_no_path(served, browser):
    shown = show(browser, served)
    for name in ('../../../../etc/passwd.png', '<img src=x onerror="window.ran = 1">.png'):
        browser.do(f"""
            fetch('/example/1').then(answer => answer.blob()).then(blob => {{
                const data = new DataTransfer();
                data.items.add(new File([blob], {json.dumps(name)}));
                document.querySelector('#drop').dispatchEvent(
                    new DragEvent('drop', {{ bubbles: true, cancelable: true, dataTransfer: data }}));
            }})
        """)
        browser.wait(f'document.querySelector("#name").textContent.endsWith(".png") && {SETTLED}')
        assert browser.do("return document.querySelector('#name').textContent") == name
        assert browser.do(PICTURES) != shown and browser.do("return document.querySelector('#error').hidden")
        browser.do("document.querySelector('#name').textContent = ''")
    assert browser.do('return window.ran') is None
    assert not browser.find('img[src=x]')
    assert not any('passwd' in url for url in browser.requests())


def test_mistakes_are_one_message(pair, call):
    sr, base = ([network.cfg.filename, network.checkpoint] for network in (pair['sr'], pair['base']))
    with socket.create_server(('127.0.0.1', 0)) as taken:
        for arguments, message in (
            (['a.py'], 'a config and a checkpoint are shown'),
            ([*sr, '--port', 70000], '--port must be 0 to 65535'),
            ([*sr, '--max-size', 0], '--max-size must be above 0'),
            ([*sr, '--max-side', 1], '--max-side 32 to 8192'),
            (base, 'has no SR block'),
            (['none.py', sr[1]], 'no such config: none.py'),
            ([*sr, '--port', taken.getsockname()[1]], 'cannot listen at 127.0.0.1'),
        ):
            assert message in call('app', *arguments).mistake


def test_without_flask_the_message_says_what_to_install(pair, call, monkeypatch):
    monkeypatch.setitem(sys.modules, 'flask', None)
    done = call('app', pair['sr'].cfg.filename, pair['sr'].checkpoint, '--port', 0)
    assert done.mistake.endswith('pip install -r projects/app/requirements.txt')


def test_without_arguments_it_is_the_released_pair(monkeypatch, root):
    spec = importlib.util.spec_from_file_location('tool_app', root / 'projects/app/app.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setattr(sys, 'argv', ['app.py'])
    trial = tool.load_trial(tool.parse_args())
    assert trial.blocks == {'backbone.layer3.sr': 3} and 'road' in trial.classes and trial.baseline
    street = np.array(Image.open(io.BytesIO(tool.draw_examples()[0])))
    tried = trial(street, trial.scales([0, 0, 0]))
    changed = tried.trained.prediction != tried.scaled.prediction
    assert changed.mean() > 0.1, 'its memory matters'
