"""The report page: the verdict first, every number the report's, and a browser shows it, alone, to everybody."""

import base64
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from browsing import ARTEFACTS, opened
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from tiny_report import HOSTILE, write_checkpoint, write_experiment, write_rows, write_trainings

from mmseg_sr.experiments import markdown as report
from mmseg_sr.experiments.plan import Experiment
from mmseg_sr.report import formats, page
from mmseg_sr.report import html as embedding
from mmseg_sr.report import pictures as changes
from mmseg_sr.report.collect import experiment_page

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = ['Verdict', 'Results', 'Classes', 'Training', 'Predictions', 'Memory', 'Cost', 'Reproduce']

# ----------------------------------------------------------------------------------------------------- changed pixels


def test_changed_pixels_of_a_hand_worked_case():
    truth = [[0, 0, 1, 1], [2, 2, 255, 255]]
    theirs = [[0, 1, 0, 1], [0, 1, 2, 0]]
    ours = [[0, 0, 1, 0], [1, 1, 2, 1]]
    found = changes.changed_pixels(truth, ours, theirs)
    same, better, worse, void = changes.SAME, changes.BETTER, changes.WORSE, changes.VOID
    assert found.tolist() == [[same, better, better, worse], [same, same, void, void]]
    assert changes.shares(found) == (100 * 2 / 6, 100 * 1 / 6)
    assert changes.shares(np.full((2, 2), void)) is None
    painted = changes.paint_changes(found, np.full((2, 4, 3), 100, np.uint8))
    assert (painted[0, 1:3] == changes.BLUE).all() and (painted[0, 3] == changes.ORANGE).all()
    assert (painted[1, 2:] == changes.BLACK).all() and (painted[0, 0] == painted[1, 1]).all()
    with pytest.raises(ValueError, match='different sizes'):
        changes.changed_pixels(truth, ours, [[0]])


labels = arrays(np.uint8, (3, 4), elements=st.sampled_from([0, 1, 2, 255]))


@given(labels, labels, labels)
def test_better_less_worse_is_the_difference_in_right_pixels(truth, ours, theirs):
    found = changes.changed_pixels(truth, ours, theirs)
    right = [sum(t == p != 255 for t, p in zip(truth.flat, side.flat, strict=True)) for side in (ours, theirs)]
    assert np.sum(found == changes.BETTER) - np.sum(found == changes.WORSE) == right[0] - right[1]
    assert ((found == changes.VOID) == (truth == 255)).all()


def test_a_painting_keeps_every_colour():
    image = np.random.default_rng(0).integers(0, 256, (20, 3))[np.random.default_rng(1).integers(0, 20, (50, 900))]
    image = image.astype(np.uint8)
    assert (decode(embedding.painting(image[:, :640], '')) == image[:, :640]).all()
    shrunk = decode(embedding.painting(image, 'a "quoted" <text>'))
    assert shrunk.shape[1] == embedding.WIDEST
    assert {tuple(each) for each in shrunk.reshape(-1, 3)} <= {tuple(each) for each in image.reshape(-1, 3)}


def decode(html: str) -> np.ndarray:
    (data,) = re.findall(r'base64,([^"]+)"', html)
    return np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert('RGB'))


# ------------------------------------------------------------------------------------------------------------ content


@pytest.fixture(scope='module')
def exp(tmp_path_factory) -> Experiment:
    exp = write_experiment(tmp_path_factory.mktemp('experiment'))
    write_rows(exp)
    write_trainings(exp)
    return exp


@pytest.fixture(scope='module')
def document(exp) -> dict:
    return report.document_of(exp)


@pytest.fixture(scope='module')
def written(exp, document) -> Path:
    """The page of the experiment."""
    path = exp.work_dir / 'report.html'
    page.write(experiment_page(exp, document, pictures=2, images=3), path)
    return path


def words(html: str) -> str:
    """What a reader sees of some HTML, with plain spaces and signs."""
    html = re.sub(r'<(script|style)>.*?</\1>', '', html, flags=re.DOTALL)
    text = re.sub(r'<[^>]*>', ' ', html).replace('&nbsp;', ' ').replace('\xa0', ' ').replace('−', '-')
    return ' '.join(text.split())


def section(path: Path, name: str) -> str:
    return re.search(rf'<section id="{name}">.*?(?=<section id=|</main>)', path.read_text(), re.DOTALL)[0]


def test_the_verdict_comes_first_in_the_words_of_the_report(written, document):
    assert re.findall(r'<h2>(.*?)</h2>', written.read_text()) == SECTIONS
    said = words(section(written, 'verdict'))
    differences = [row for row in document['differences'] if row['metric'] == 'mIoU']
    assert len(differences) == 2
    for row in differences:
        seeds, images = row['over_seeds'], row['over_images']
        assert (
            f'{seeds["verdict"]} {row["arm"]} against FCN: {row["difference"]:+.2f} mIoU over 2 seeds, 95 % interval '
            f'{seeds["low"]:+.2f} to {seeds["high"]:+.2f}: {seeds["verdict"]}. '
            f'Over images, for these trainings only: {images["low"]:+.2f} to {images["high"]:+.2f}: '
            f'{images["verdict"]}.'
        ) in said


def test_one_seed_is_no_verdict(tmp_path):
    exp = write_experiment(tmp_path, seeds=(0,))
    write_rows(exp)
    path = tmp_path / 'page.html'
    page.write(experiment_page(exp, report.document_of(exp)), path)
    said = words(section(path, 'verdict'))
    assert said.count('one seed: no verdict') == 4, 'on each of two cards, and in its sentence'
    assert said.count(' mIoU; one seed: no verdict.') == 2
    assert 'intervals are over images' in words(section(path, 'classes'))

    # Neither logs nor checkpoints are there: sentences, not holes.
    assert 'no such checkpoint' in words(section(path, 'predictions'))
    assert 'no network could predict' in words(section(path, 'predictions')).lower()
    assert 'The logs of the trainings are not on this machine' in words(section(path, 'training'))
    assert 'There is no memory to look at here' in words(section(path, 'memory'))


def test_data_that_are_not_there_leave_a_sentence(tmp_path):
    exp = write_experiment(tmp_path)
    write_rows(exp)
    write_trainings(exp)
    shutil.rmtree(tmp_path / 'data/img')
    made = experiment_page(exp, report.document_of(exp))
    assert not made.gallery.scenes and len(made.gallery.gaps) == 3
    assert all('dataset of val' in gap for gap in made.gallery.gaps)


def test_the_tables_have_the_numbers_of_the_report_and_the_paper(written, document):
    results = words(section(written, 'results'))
    assert results.count('mIoU, paper') == 1
    for result, paper in zip(document['results'], ('77.33 ± 0.16', '77.53 ± 0.23', '–'), strict=True):
        assert f'{result["arm"]} 2 of 2 {result["mIoU"]["mean"]:.2f} ± {result["mIoU"]["std"]:.2f} {paper}' in results
    first = document['differences'][0]
    assert (
        f'FCN+SR - FCN mIoU {first["difference"]:+.2f} +0.20 {formats.interval(first["over_seeds"])}'.replace('−', '-')
        in results
    )
    classes = words(section(written, 'classes'))
    for row in document['classes']:
        name = row['class'].replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;').replace('"', '&#34;')
        assert f'{name} {row["theirs"]:.2f} {row["ours"]:.2f} {row["difference"]:+.2f}' in classes
    cost = words(section(written, 'cost'))
    parameters = [result['parameters']['total'] for result in document['results']]
    assert f'FCN+SR {parameters[1]:,} {parameters[1] - parameters[0]:,} +' in cost and '100 s +0.00 % 3 s' in cost
    made = words(section(written, 'reproduce'))
    for part in ('tools/experiment.py run', 'tools/report_page.py', 'torch 2.13.0', 'a &lt;processor&gt;', 'c0ffee'):
        assert part in made


def test_the_page_is_one_small_file_of_its_own(written):
    text = written.read_text()
    assert len(text) < 5_000_000
    assert not re.search(r'(?:src|href)="(?!data:|#)', text), 'nothing is fetched'
    outside = set(re.findall(r'https?://[^"\'\s<]+', text))
    assert all(each.startswith('http://www.w3.org/') for each in outside), 'names of XML, which nobody fetches'
    assert HOSTILE not in text and '&lt;img src=x onerror=alert(1)&gt;' in text
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) > 50 and len(ids) == len(set(ids))


# ------------------------------------------------------------------------------------------------------------ browser


@pytest.fixture(scope='module')
def browser():
    yield from opened()


def test_the_page_loads_without_an_error_and_asks_for_nothing(written, browser):
    for scheme in ('light', 'dark'):
        for name, width in (('wide', 1200), ('phone', 360)):
            browser.show(written, width, scheme)
            assert browser.log('browser') == []
            assert browser.requests() == {written.as_uri()}
            browser.screenshot(f'page-{name}-{scheme}.png')


def test_whatever_gets_into_the_page_it_may_not_load_or_run_anything(written, browser):
    browser.show(written)
    browser.do("""
        window.refused = [];
        addEventListener('securitypolicyviolation', e => refused.push(e.effectiveDirective));
        const image = '<img src="http://127.0.0.1:9/a.png" onerror="window.ran = 1">';
        document.body.insertAdjacentHTML('beforeend', image);
        fetch('http://127.0.0.1:9/').catch(() => 0);
    """)
    wait(browser, 'return refused.length >= 3')
    assert set(browser.do('return refused')) == {'img-src', 'connect-src', 'script-src-attr'}
    assert browser.do('return window.ran') is None


def wait(browser, script: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser.driver, 20).until(lambda _: browser.do(script))


def test_pictures_are_there_and_say_what_they_show(written, browser):
    browser.show(written)
    browser.do("document.querySelectorAll('[hidden]').forEach(e => { e.hidden = false })")
    found = browser.do(
        "return [...document.querySelectorAll('img, svg')].map(e => [e.tagName, e.getBoundingClientRect().width,"
        "e.getBoundingClientRect().height, e.alt || e.getAttribute('aria-label') || '', e.naturalWidth ?? 1])"
    )
    kinds = [kind for kind, *_ in found]
    # Forest, two comparisons, loss, mIoU. Two scenes of picture, truth, three predictions and two maps of changes;
    # six figures of two memories: file names tell no drives.
    assert kinds.count('svg') == 5 and kinds.count('IMG') == 2 * 7 + 2 * 5
    for kind, width, height, text, loaded in found:
        assert width > 100 and height > 50 and loaded > 0 and len(text) >= 10, (kind, text)
    assert any('labelled pixels better (blue)' in text for *_, text, _ in found)
    hostile = browser.do("return document.querySelectorAll('img[src=x]').length")
    assert hostile == 0


def test_a_tab_is_chosen_by_click_and_by_keyboard(written, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser.show(written)
    tabs = browser.driver.find_elements(By.CSS_SELECTOR, '#classes [role=tab]')
    panels = browser.driver.find_elements(By.CSS_SELECTOR, '#classes [role=tabpanel]')
    assert [tab.text for tab in tabs] == ['FCN+SR against FCN', 'small against FCN']
    assert [panel.get_attribute('id') for panel in panels] == [tab.get_attribute('aria-controls') for tab in tabs]

    def chosen() -> list[bool]:
        shown = [panel.is_displayed() for panel in panels]
        assert [tab.get_attribute('aria-selected') == 'true' for tab in tabs] == shown
        assert [tab.get_attribute('tabindex') == '0' for tab in tabs] == shown, 'one stop for the Tab key'
        return shown

    assert chosen() == [True, False]
    tabs[1].click()
    assert chosen() == [False, True]
    for key, place in (
        (Keys.ARROW_LEFT, 0),
        (Keys.ARROW_LEFT, 1),
        (Keys.ARROW_RIGHT, 0),
        (Keys.END, 1),
        (Keys.HOME, 0),
    ):
        browser.driver.switch_to.active_element.send_keys(key)
        assert chosen().index(True) == place
        assert browser.driver.switch_to.active_element == tabs[place]


def test_the_keyboard_reaches_the_verdict_first_and_whatever_scrolls(written, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser.show(written, 360)
    browser.driver.find_element(By.TAG_NAME, 'body').send_keys(Keys.TAB)
    first = browser.driver.switch_to.active_element
    assert first.text == 'Skip to the verdict' and first.get_attribute('href').endswith('#verdict')
    scrolling = browser.do(
        "return [...document.querySelectorAll('main *')].filter(e => e.scrollWidth > e.clientWidth + 1"
        " && ['auto', 'scroll'].includes(getComputedStyle(e).overflowX)).map(e => [e.tabIndex, e.ariaLabel])"
    )
    assert scrolling and all(index == 0 and label for index, label in scrolling)


def test_nothing_hangs_over_the_edge_of_a_phone(written, browser):
    browser.show(written, 360)
    assert browser.do('return document.documentElement.scrollWidth') == 360
    browser.do("document.querySelectorAll('[hidden]').forEach(e => { e.hidden = false })")
    browser.do("document.querySelectorAll('details').forEach(e => { e.open = true })")
    assert browser.do('return document.documentElement.scrollWidth') == 360


def test_the_dark_scheme_turns_page_and_charts(written, browser):
    brightness = (
        'const style = getComputedStyle(document.querySelector("{}"));'
        'return style.{}.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 3'
    )
    found = {}
    for scheme in ('light', 'dark'):
        browser.show(written, 1200, scheme)
        places = (('body', 'backgroundColor'), ('body', 'color'), ('.chart svg', 'fill'))
        found[scheme] = [browser.do(brightness.format(*place)) for place in places]
    assert found['light'][0] > 200 and max(found['light'][1:]) < 60
    assert found['dark'][0] < 60 and min(found['dark'][1:]) > 200


def test_on_paper_everything_is_open_and_light(written, browser):
    browser.show(written, 1200, 'dark')
    browser.media('dark', 'print')
    browser.do("dispatchEvent(new Event('beforeprint'))")
    hidden = "return [...document.querySelectorAll('[role=tabpanel], details > p')].filter(e => !e.offsetHeight).length"
    assert browser.do(hidden) == 0
    assert browser.do('return getComputedStyle(document.body).backgroundColor') == 'rgb(255, 255, 255)'
    browser.do("dispatchEvent(new Event('afterprint'))")
    assert browser.do("return document.querySelectorAll('details[open]').length") == 0
    pdf = browser.call('Page.printToPDF', {'printBackground': True})['data']
    ARTEFACTS.mkdir(exist_ok=True)
    (ARTEFACTS / 'page.pdf').write_bytes(base64.b64decode(pdf))
    browser.media('light')
    assert base64.b64decode(pdf).startswith(b'%PDF')


def test_without_scripts_it_is_plain_sections(written, browser):
    browser.call('Emulation.setScriptExecutionDisabled', {'value': True})
    try:
        browser.show(written)
        found = browser.do(
            "return [...document.querySelectorAll('.tabs > section')]"
            ".map(e => [e.offsetHeight > 50, e.querySelector('h3').offsetHeight > 0])"
        )
    finally:
        browser.call('Emulation.setScriptExecutionDisabled', {'value': False})
    assert len(found) == 4 and all(map(all, found))


# --------------------------------------------------------------------------------------------------------------- tool


def test_the_tool_writes_the_page_of_an_experiment(exp, call):
    arguments = ['--work-dir', exp.work_dir, '--pictures', 0, '--num-images', 0]
    status, printed, errors = call('report_page', exp.path, *arguments)
    assert status == 0, errors
    answer = json.loads(printed.splitlines()[-1])
    path = Path(answer['out'])
    assert path == exp.work_dir / 'report/report.html' and answer['bytes'] == path.stat().st_size
    assert answer['missing'] == [] and 'FCN+SR against FCN' in words(section(path, 'verdict'))


def test_a_checkpoint_is_tested_and_compared(exp, call, tmp_path):
    folder = exp.path.parent
    checkpoints = {name: exp.work_dir / name / 'seed0/iter_4.pth' for name in ('FCN', 'FCN+SR')}
    few = ['--pictures', 1, '--num-images', 0]
    arguments = [folder / 'sr.py', checkpoints['FCN+SR'], '--baseline', folder / 'base.py', checkpoints['FCN'], *few]
    status, printed, errors = call('report_page', *arguments, '--out', tmp_path / 'page.html')
    assert status == 0, errors
    said = words(section(tmp_path / 'page.html', 'verdict'))
    assert 'one seed: no verdict model against baseline: ' in said and 'Over images' in said
    assert 'model against baseline: ' in words(section(tmp_path / 'page.html', 'predictions'))
    assert f'--baseline {folder / "base.py"}' in words(section(tmp_path / 'page.html', 'reproduce'))


def test_metrics_that_were_written_before_are_taken(exp, call, tmp_path):
    config, checkpoint = exp.path.parent / 'base.py', exp.work_dir / 'FCN/seed0/iter_4.pth'
    metrics = {'mIoU': 12.5, 'mAcc': 30.25, 'aAcc': 40.0, 'IoU.road': 25.0, 'IoU.car': 0.0, 'IoU.x': None}
    document = {'checkpoint': str(checkpoint), 'mode': 'single-scale', 'metrics': metrics, 'seconds': 2.0}
    (tmp_path / 'm.json').write_text(json.dumps(document))
    status, _, errors = call(
        'report_page', config, checkpoint, '--metrics', 'm.json', '--pictures', 0, '--out', 'page.html'
    )
    assert status == 0, errors
    path = tmp_path / 'page.html'
    said = words(section(path, 'verdict'))
    assert 'model, single-scale: 12.50 mIoU, 30.25 mAcc, 40.00 aAcc.' in said and 'no verdict' in said
    assert 'IoU of each class in percent: road 25.00, car 0.00, x –.' in section(path, 'classes')

    (tmp_path / 'other.json').write_text(json.dumps({**document, 'checkpoint': 'a/iter_9.pth'}))
    (tmp_path / 'less.json').write_text(json.dumps({**document, 'metrics': {'mIoU': 1.0}}))
    for name, message in (
        ('other.json', 'other.json is of another checkpoint: a/iter_9.pth'),
        ('less.json', 'less.json has no mAcc, aAcc'),
        ('none.json', 'none.json is not what tools/test.py --metrics writes'),
    ):
        status, _, errors = call('report_page', config, checkpoint, '--metrics', name)
        assert status == 2 and message in errors


def test_mistakes_are_one_message(exp, call, tmp_path):
    config, checkpoint = exp.path.parent / 'base.py', exp.work_dir / 'FCN/seed0/iter_4.pth'
    (tmp_path / 'broken.pth').write_text('')
    for arguments, message in (
        ([config], 'one experiment, or a config and a checkpoint'),
        ([exp.path, '--metrics', 'm.json'], '--metrics is for a checkpoint'),
        ([config, checkpoint, '--work-dir', 'x'], '--work-dir is for an experiment'),
        ([config, checkpoint, '--baseline-metrics', 'm.json'], '--baseline-metrics needs --baseline'),
        ([config, checkpoint, '--pictures', -1], 'are numbers from 0'),
        ([config, checkpoint, '--out', tmp_path], '--out: cannot write the file'),
        (['none.yaml'], 'cannot read the experiment'),
        (['none.py', checkpoint], 'no such config: none.py'),
        ([exp.path, '--work-dir', 'empty'], 'has no rows'),
        ([config, tmp_path / 'broken.pth'], 'broken.pth is no checkpoint'),
    ):
        status, _, errors = call('report_page', *arguments)
        messages = [line for line in errors.splitlines() if line.startswith('error: ')]
        assert status == 2 and message in messages[-1] and 'Traceback' not in errors, (arguments, errors)
    assert not (tmp_path / 'page.html').exists()


def test_a_stock_checkpoint_of_an_sr_config_is_a_sentence(exp, call, tmp_path):
    checkpoint = tmp_path / 'iter_4.pth'
    write_checkpoint(exp.path.parent / 'base.py', checkpoint)
    metrics = {'checkpoint': str(checkpoint), 'mode': 'single-scale', 'metrics': {'mIoU': 1, 'mAcc': 1, 'aAcc': 1}}
    (tmp_path / 'm.json').write_text(json.dumps(metrics))
    status, printed, errors = call(
        'report_page', exp.path.parent / 'sr.py', checkpoint, '--metrics', 'm.json', '--out', 'p.html'
    )
    assert status == 0, errors
    (gap,) = json.loads(printed.splitlines()[-1])['missing']
    assert 'has no weights of its SR blocks' in gap
