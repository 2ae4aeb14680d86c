"""The report page: the verdict first, every number the report's, and a browser shows it, alone, to everybody."""

import base64
import html
import io
import json
import os
import re
import shlex
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browsing import opened, words
from tiny_report import HOSTILE, write_experiment, write_rows, write_trainings

from mmseg_sr.config import load_config
from mmseg_sr.experiments import markdown as report
from mmseg_sr.experiments.plan import Experiment
from mmseg_sr.report import charts, page
from mmseg_sr.report.collect import experiment_page, title_of
from mmseg_sr.report.gallery import Gallery, Network, Predicted, _show

SHOW_ALL = "for (const e of document.querySelectorAll('[hidden], details')) { e.hidden = false; e.open = true; }"
SECTIONS = ['Verdict', 'Results', 'Classes', 'Training', 'Predictions', 'Memory', 'Cost', 'Reproduce']


@pytest.fixture(scope='module')
def exp(tmp_path_factory) -> Experiment:
    exp = write_rows(write_experiment(tmp_path_factory.mktemp('experiment')))
    write_trainings(exp)
    return exp


@pytest.fixture(scope='module')
def document(exp) -> dict:
    return report.document_of(exp)


@pytest.fixture(scope='module')
def written(exp) -> Path:
    """The page of the experiment."""
    return write_page(exp, pictures=2, images=3)


def write_page(exp: Experiment, **options: int) -> Path:
    path = exp.work_dir / 'report.html'
    page.write(experiment_page(exp, report.document_of(exp), **options), path)
    return path


def section(path: Path, name: str) -> str:
    return re.search(rf'<section id="{name}">.*?(?=<section id=|</main>)', path.read_text(), re.DOTALL)[0]


def test_the_verdict_comes_first_in_the_words_of_the_report(written, document):
    assert re.findall(r'<h2>(.*?)</h2>', written.read_text()) == SECTIONS
    said = words(section(written, 'verdict'))
    assert [row['arm'] for row in document['verdicts']] == ['FCN+SR', 'small']
    for row in document['verdicts']:
        assert f'2 seeds: no verdict {report.sentence(row)}' in said


def test_the_title_says_what_was_compared_and_a_sentence_what_sr_is(written, root):
    (head,) = re.findall('<header>.*?</header>', written.read_text(), re.DOTALL)
    title = 'FCN+SR and small against FCN: FCN with ResNet-18 on data, 2 seeds'
    assert words(head).startswith(title) and 'SR is the Squeeze-and-Remember block: ' in head
    assert f'<title>{title} – report</title>' in written.read_text()
    for stem, title in (
        ('camvid/fcn_m-v2-d16{}_1xb8-800_camvid-160x160', 'FCN with MobileNetV2 on camvid-160x160'),
        ('deeplabv3/deeplabv3_r50-d8{}_4xb2-80k_cityscapes-512x1024', 'ASPP with ResNetV1c-50 on cityscapes-512x1024'),
    ):
        cfgs = [load_config(root / f'configs/{stem.format(part)}.py') for part in ('', '-sr')]
        baseline, ours = Network('A', 'A', cfgs[0], ''), Network('B', 'A', cfgs[1], '')
        assert title_of([baseline, ours], 5) == f'B against A: {title}, 5 seeds'
        assert title_of([baseline], 1) == f'{title}, 1 seed'
        assert ' and SR on ' in title_of([replace(ours, baseline='B')], 1)


def test_classes_stand_in_the_order_of_the_data_everywhere(written, document):
    order = [row['class'] for row in document['classes'] if row['arm'] == 'small']
    assert order == ['road', 'car', HOSTILE, 'train']
    classes = html.unescape(section(written, 'classes'))
    for shown in (
        re.findall(r'<tr><th scope="row">(.*?)</th><td', classes)[:4],
        re.findall(
            r'([^ ,]+|<img.*?"tree") [+−]', re.findall('aria-label="IoU of each class.*?: (.*)\\."', classes)[0]
        ),
        re.findall(r'</span>(.*?)</li>', html.unescape(section(written, 'predictions')))[2:],
        re.findall(r'<tr><th scope="row">(.*?)</th><td style', html.unescape(section(written, 'memory')))[:4],
    ):
        assert shown == order
    labels = charts.class_chart(order, [1, 2, 3, 4], '').axes[0].get_yticklabels()
    assert [label.get_text()[:4] for label in labels] == [name[:4] for name in order]


LISTS = ('results', 'differences', 'classes', 'missing', 'notes', 'machine', 'versions', 'commit', 'dates', 'verdicts')
NOTHING = {**dict.fromkeys(LISTS, ()), 'of': 0, 'primary': {'metric': 'mIoU'}}


def test_of_many_classes_a_chart_has_the_extremes_and_the_table_all():
    """ImageNet has a thousand of them."""
    same = {'arm': 'SR', 'baseline': 'R18', 'mode': 'single-scale', 'seeds': 3, 'theirs': 50.0, 'over_images': None}
    same['over_seeds'] = {'low': None, 'high': None, 'p_corrected': 1.0}
    rows = [{'class': f'kind {index}', 'ours': index, 'difference': index - 50.0, **same} for index in range(100)]
    document = {**NOTHING, 'primary': {'metric': 'top1'}}
    scores = {row['class']: row['ours'] for row in rows}
    for made in (page.Page('many', {**document, 'classes': rows}), page.Page('alone', document, scores=scores)):
        text = page.render(made)
        (described,) = re.findall('aria-label="(top1 of each class.*?)"', text)
        assert re.findall(r'kind (\d+) ', described) == [str(index) for index in (*range(20), *range(80, 100))]
        assert len(re.findall('<tr><th scope="row">kind ', text)) == 100
        assert 'The lowest and the highest of 100 classes; the table has all.' in text


def test_no_card_says_a_sentence_twice(written):
    cards = re.findall(r'<(?:figure|div class="card).*?</(?:figure|div)>', written.read_text(), re.DOTALL)
    assert len(cards) > 20
    for card in cards:
        said = ' | '.join([words(card), *re.findall(r'(?:alt|aria-label)="(.*?)"', card)])
        for each in re.split(r'[.:;·|](?: |$)', said):
            assert len(each.split()) < 4 or said.count(each.strip()) == 1, each


def test_corrected_intervals_are_called_so_where_they_stand(tmp_path):
    exp = write_rows(write_experiment(tmp_path, seeds=(0, 1, 2)))
    document, path = report.document_of(exp), write_page(exp)
    for row in document['differences']:
        start = re.escape(f'{row["arm"]} - FCN {row["metric"]} {row["difference"]:+.2f}')
        said = words(section(path, 'results'))
        (found,) = re.findall(f'{start} [^ ]+ [^ ]+ to [^ ]+( corrected for 2 arms)? ', said)
        assert bool(found) == (row['metric'] == 'mIoU')
    assert 'over seeds; of verdicts, corrected for 2 arms' in words(section(path, 'verdict'))
    assert len(re.findall(r'\], corrected for 2 arms +\|', report.to_markdown(document))) == 2
    assert '], corrected for' not in report.to_markdown(report.document_of(write_one(tmp_path / 'one')))


def write_one(folder: Path) -> Experiment:
    """An experiment that asks about one network: nothing to correct."""
    folder.mkdir()
    exp = write_rows(write_experiment(folder, seeds=(0, 1, 2)))
    return replace(exp, primary=replace(exp.primary, arms=('small',)))


def test_one_seed_is_no_verdict(tmp_path, monkeypatch):
    exp = write_rows(write_experiment(tmp_path, seeds=(0,)))
    monkeypatch.chdir(tmp_path)
    path = write_page(exp)
    said = words(section(path, 'verdict'))
    assert (
        said.count('1 seed: no verdict FCN+SR against FCN') == said.count('1 seed: no verdict small against FCN') == 1
    )
    assert said.count(' mIoU over 1 seed; a verdict needs 3.') == 2
    assert 'intervals are over images' in words(section(path, 'classes'))

    # Neither logs nor checkpoints are there: sentences, not holes.
    missing = 'no network could predict.*no such checkpoint: my work/FCN/seed0/iter_4.pth'
    assert re.search(missing, words(section(path, 'predictions')))
    assert 'There are no logs of the trainings' in words(section(path, 'training'))
    assert 'There is no memory to show' in words(section(path, 'memory'))


def test_networks_without_a_pair_are_not_called_networks_without_a_baseline(tmp_path):
    exp = write_rows(write_experiment(tmp_path))
    for name in ('FCN+SR', 'small'):
        shutil.rmtree(exp.work_dir / name)
    said = words(section(write_page(exp), 'verdict'))
    assert 'There is no pair of networks to compare, so no verdict. 4 of 6 runs are missing' in said


def test_a_curve_is_drawn_whatever_prefix_its_evaluator_has():
    log = [{'loss': 1.0, 'step': 1}, {'val/mIoU': 10.0, 'step': 1}, {'val/mIoU': 20.0, 'step': 2}]
    assert 'mIoU in the validations' in page.render(page.Page('', NOTHING, curves={'FCN': [log]}))


@pytest.mark.filterwarnings('error:constrained_layout not applied')
@pytest.mark.parametrize('networks', [2, 16, 28])  # the paper's Table I has so many
def test_a_legend_leaves_the_curves_their_place(networks):
    figure = charts.curve_chart({f'R18+D2D+SR{index}': [{1: 2.0, 2: 1.0}] for index in range(networks)}, 'loss')
    figure.savefig(io.BytesIO())
    assert figure.axes[0].get_window_extent().height > 1.4 * figure.dpi


def test_data_that_are_not_there_leave_a_sentence(tmp_path, monkeypatch):
    exp = write_rows(write_experiment(tmp_path))
    write_trainings(exp)
    shutil.rmtree(tmp_path / 'data/img')
    made = experiment_page(exp, report.document_of(exp))
    assert not made.gallery.scenes and len(made.gallery.gaps) == 3
    assert all('dataset of val' in gap for gap in made.gallery.gaps)

    monkeypatch.chdir(tmp_path)
    text = re.sub('<details>.*?</details>', '', page.render(made), flags=re.DOTALL)  # configs stand as they are
    assert f'"{tmp_path}' not in text and not re.search(r'[ >]/\w', text), 'no folder of the machine'
    commands = re.findall('<pre>(.*?)</pre>', text)
    assert 'tiny.yaml --work-dir &#39;my work&#39;' in commands[0]
    assert commands[1] == commands[0].replace('experiment.py run', 'report_page.py')


def test_the_tables_have_the_numbers_of_the_report_and_the_paper(written, document):
    results = words(section(written, 'results'))
    assert results.count('mIoU, paper') == 1
    for result, paper in zip(document['results'], ('77.33 ± 0.16', '77.53 ± 0.23', '–'), strict=True):
        assert f'{result["arm"]} 2 of 2 {result["mIoU"]["mean"]:.2f} ± {result["mIoU"]["std"]:.2f} {paper}' in results
    first, seeds = document['differences'][0], document['differences'][0]['over_seeds']
    said = f'FCN+SR - FCN mIoU {first["difference"]:+.2f} +0.20 {seeds["low"]:+.2f} to {seeds["high"]:+.2f}'
    assert said in results
    classes = words(section(written, 'classes'))
    for row in document['classes']:
        name = html.escape(row['class']).replace('&quot;', '&#34;')
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


browser = pytest.fixture(scope='module')(opened)


def test_the_page_loads_without_an_error_and_asks_for_nothing(written, browser):
    for name in browser.looks(written.as_uri()):
        assert browser.log('browser') == []
        assert browser.requests() == {written.as_uri()}
        browser.screenshot(f'page-{name}.png')


def test_whatever_gets_into_the_page_it_may_not_load_or_run_anything(written, browser):
    browser.show(written.as_uri())
    browser.do("""
        window.refused = [];
        addEventListener('securitypolicyviolation', e => refused.push(e.effectiveDirective));
        const image = '<img src="http://127.0.0.1:9/a.png" onerror="window.ran = 1">';
        document.body.insertAdjacentHTML('beforeend', image);
        fetch('http://127.0.0.1:9/').catch(() => 0);
    """)
    browser.wait('refused.length >= 3')
    assert set(browser.do('return refused')) == {'img-src', 'connect-src', 'script-src-attr'}
    assert browser.do('return window.ran') is None


def test_pictures_are_there_and_say_what_they_show(written, browser):
    browser.show(written.as_uri())
    browser.do(SHOW_ALL)
    found = browser.do(
        "return [...document.querySelectorAll('img, svg')].map(e => [e.tagName, e.getBoundingClientRect().width,"
        "e.getBoundingClientRect().height, e.alt || e.getAttribute('aria-label') || '', e.naturalWidth ?? 1])"
    )
    kinds = [kind for kind, *_ in found]
    # Forest, two comparisons, loss, mIoU, and four figures of two memories: file names tell no drives.
    # Two scenes of picture, truth, three predictions and two maps of changes.
    assert kinds.count('svg') == 5 + 2 * 4 and kinds.count('IMG') == 2 * 7
    for kind, width, height, text, loaded in found:
        assert width > 100 and height > 50 and loaded > 0 and len(text) >= 10, (kind, text)
    assert sum(' changes.' in text for *_, text, _ in found) == 2 * 2
    assert words(section(written, 'predictions')).count('labelled pixels better (blue)') == 2 * 2, 'said below them'
    assert not browser.find('img[src=x]')


def test_an_image_is_a_row_and_on_a_phone_a_column(written, browser):
    places = (
        "return [...document.querySelector('.scene').querySelectorAll('figure')].map(e => {"
        'const r = e.getBoundingClientRect(); return [Math.round(r.left), Math.round(r.top), Math.round(r.right)]})'
    )
    for width in (1280, 1900):
        browser.show(written.as_uri(), width)
        picture, truth, baseline, ours, changes, other, others = browser.do(places)
        row = [picture, truth, baseline, ours, changes]
        assert len({top for _, top, _ in row}) == 1 and row == sorted(row)
        assert changes[2] - picture[0] > 0.87 * width, 'the full width'
        assert (other[0], others[0]) == (ours[0], changes[0]) and other[1] == others[1] > ours[1]
    other = '<div class="views"><figure>another baseline</figure></div>'
    browser.do(f"document.querySelector('.scene').insertAdjacentHTML('beforeend', '{other}')")
    assert browser.do(places)[-1][0] == baseline[0]
    browser.show(written.as_uri(), 390)
    found = browser.do(places)
    assert len({(left, right) for left, _, right in found}) == 1
    assert [top for _, top, _ in found] == sorted({top for _, top, _ in found})


def test_each_network_stands_after_its_baseline(exp):
    path = min((exp.path.parent / 'data/img').iterdir())
    networks = [Network(name, name[-1], None, '') for name in ('A', 'B', 'of B', 'of A')]
    labels = np.zeros((64, 64), np.uint8)
    gallery = Gallery(legend=[('road', [1, 2, 3])])
    _show(gallery, networks, {each.name: [Predicted(str(path), labels, labels)] for each in networks})
    ((_, rows),) = gallery.scenes
    assert [row[0].caption for row in rows] == ['picture', 'A', 'of A', 'B', 'of B']


def test_a_table_is_sorted_by_click_and_by_keyboard(written, browser):
    browser.show(written.as_uri())
    rows = "return [...document.querySelectorAll('#classes tbody')[0].rows].map(r => r.cells[{}].textContent)"
    heads = "return [...document.querySelectorAll('#classes thead')[0].rows[0].cells].map(c => c.ariaSort)"
    before = browser.do(rows.format(0))
    name, _, _, difference, *_ = browser.find('#classes thead')[0].find_elements('css selector', 'button')
    difference.click()
    found = [float(each.replace('−', '-')) for each in browser.do(rows.format(3))]
    assert found == sorted(found, reverse=True) and min(found) < 0 < max(found)
    assert browser.do(heads)[:5] == [None, None, None, 'descending', None]
    difference.send_keys(browser.keys.ENTER)
    assert [float(each.replace('−', '-')) for each in browser.do(rows.format(3))] == found[::-1]
    name.send_keys(browser.keys.SPACE)
    assert browser.do(rows.format(0)) == sorted(before, key=str.lower)
    assert browser.do(heads)[:5] == ['ascending', None, None, None, None]


def test_a_tab_is_chosen_by_click_and_by_keyboard(written, browser):
    browser.show(written.as_uri())
    tabs, panels = browser.find('#classes [role=tab]'), browser.find('#classes [role=tabpanel]')
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
    for key, place in (('ARROW_LEFT', 0), ('ARROW_LEFT', 1), ('ARROW_RIGHT', 0), ('END', 1), ('HOME', 0)):
        browser.driver.switch_to.active_element.send_keys(getattr(browser.keys, key))
        assert chosen().index(True) == place
        assert browser.driver.switch_to.active_element == tabs[place]


def test_on_a_phone_the_keyboard_reaches_all_that_scrolls_and_nothing_hangs_over(written, browser):
    browser.show(written.as_uri(), 360)
    browser.find('body')[0].send_keys(browser.keys.TAB)
    first = browser.driver.switch_to.active_element
    assert first.text == 'Skip to the verdict' and first.get_attribute('href').endswith('#verdict')
    scrolling = browser.do(
        "return [...document.querySelectorAll('main *')].filter(e => e.scrollWidth > e.clientWidth + 1"
        " && ['auto', 'scroll'].includes(getComputedStyle(e).overflowX)).map(e => [e.tabIndex, e.ariaLabel])"
    )
    assert scrolling and all(index == 0 and label for index, label in scrolling)
    assert browser.do('return document.documentElement.scrollWidth') == 360
    browser.do(SHOW_ALL)
    assert browser.do('return document.documentElement.scrollWidth') == 360
    heights = browser.do(
        "return [...document.querySelectorAll('.chart svg text')].map(e => e.getBoundingClientRect().height)"
    )
    assert len(heights) > 200 and min(heights) > 8, 'pixels: to be read without a lens'


def test_the_dark_scheme_turns_page_and_charts(written, browser):
    colour, found = 'return getComputedStyle(document.querySelector("{}")).{}', {}
    for scheme in ('light', 'dark'):
        browser.show(written.as_uri(), 1200, scheme)
        browser.do(SHOW_ALL)
        places = [('body', 'backgroundColor'), ('body', 'color'), ('.chart svg', 'fill'), ('.figures svg text', 'fill')]
        black = "return [...document.querySelectorAll('.chart svg *')].filter(e => getComputedStyle(e).stroke === '{}')"
        assert bool(browser.do(black.format('rgb(0, 0, 0)'))) is False, 'lines have the colour of the text'
        colours = [re.findall(r'\d+', browser.do(colour.format(*place)))[:3] for place in places]
        found[scheme] = [np.mean([int(value) for value in each]) for each in colours]
    assert found['light'][0] > 200 and max(found['light'][1:]) < 60
    assert found['dark'][0] < 60 and min(found['dark'][1:]) > 200


def test_on_paper_everything_is_open_and_light(written, browser):
    browser.show(written.as_uri(), 1200, 'dark')
    browser.media('dark', 'print')
    browser.do("dispatchEvent(new Event('beforeprint'))")
    hidden = "return [...document.querySelectorAll('[role=tabpanel], details > p')].filter(e => !e.offsetHeight).length"
    assert browser.do(hidden) == 0
    assert browser.do('return getComputedStyle(document.body).backgroundColor') == 'rgb(255, 255, 255)'
    browser.do("dispatchEvent(new Event('afterprint'))")
    assert browser.do("return document.querySelectorAll('details[open]').length") == 0
    pdf = browser.call('Page.printToPDF', {'printBackground': True})['data']
    browser.media('light')
    drawn = pages_of(base64.b64decode(pdf))
    assert 5 < len(drawn) < 15 and min(drawn) > 20, 'no page is empty, or has a line alone'


def pages_of(pdf: bytes) -> list[int]:
    """Texts and pictures of each page of a PDF file by Chromium."""
    objects = dict(re.findall(rb'\n(\d+) 0 obj\n(.*?)\nendobj', pdf, re.DOTALL))
    contents = [
        re.search(rb'/Contents (\d+) ', each) for each in objects.values() if re.search(rb'/Type /Page\b', each)
    ]
    streams = [objects[found[1]].split(b'stream\n', 1)[1].rpartition(b'\nendstream')[0] for found in contents]
    return [len(re.findall(rb'TJ|Tj| Do', zlib.decompress(stream))) for stream in streams]


def test_without_scripts_it_is_plain_sections(written, browser):
    browser.call('Emulation.setScriptExecutionDisabled', {'value': True})
    try:
        browser.show(written.as_uri())
        found = browser.do(
            "return [...document.querySelectorAll('.tabs > section')]"
            ".map(e => [e.offsetHeight > 50, e.querySelector('h3').offsetHeight > 0])"
        )
    finally:
        browser.call('Emulation.setScriptExecutionDisabled', {'value': False})
    assert len(found) == 4 and all(map(all, found))


@pytest.fixture
def pair(exp) -> list[Path]:
    """Config and checkpoint of a network without SR blocks."""
    return [exp.path.parent / 'base.py', exp.work_dir / 'FCN/seed0/iter_4.pth']


METRICS = {'mIoU': 12.5, 'mAcc': 30.25, 'aAcc': 40.0, 'IoU.road': 25.0, 'IoU.car': 0.0, 'IoU.x': None}


def write_metrics(path: Path, checkpoint: Path, metrics: dict = METRICS, **more: object) -> Path:
    document = {'checkpoint': str(checkpoint), 'mode': 'single-scale', 'metrics': metrics, 'seconds': 2.0, **more}
    path.write_text(json.dumps(document))
    return path


def test_the_tool_writes_the_page_of_an_experiment(exp, call):
    answer = call('report_page', exp.path, '--work-dir', exp.work_dir, '--pictures', 0, '--num-images', 0).document
    path = Path(answer['out'])
    assert path == exp.work_dir / 'report/report.html' and answer['bytes'] == path.stat().st_size
    assert answer['missing'] == [] and 'FCN+SR against FCN' in words(section(path, 'verdict'))
    for name, said in (('predictions', 'none were asked for'), ('memory', 'no images were asked for')):
        assert said in section(path, name)


def test_a_checkpoint_is_tested_and_compared(exp, pair, call, tmp_path):
    page, source = tmp_path / 'page.html', [exp.path.parent / 'sr.py', exp.work_dir / 'FCN+SR/seed0/iter_4.pth']
    options = ['--cfg-options', 'test_dataloader.num_workers=0']
    arguments = [*source, '--baseline', *pair, '--pictures', 1, '--num-images', 0, '--out', page, *options]
    assert call('report_page', *arguments).document['missing'] == []
    said = words(section(page, 'verdict'))
    assert '1 seed: no verdict model against baseline, single-scale: ' in said
    assert 'model against baseline: ' in words(section(page, 'predictions'))
    (command,) = re.findall('<pre>(python .*?)</pre>', section(page, 'reproduce'))
    files = [os.path.relpath(path, tmp_path) for path in (*source, *pair)]
    arguments = ['tools/report_page.py', *files[:2], '--baseline', *files[2:], *options]
    assert shlex.split(html.unescape(command)) == ['python', *arguments]


def test_metrics_that_were_written_before_are_taken(exp, pair, call, tmp_path):
    path, metrics = tmp_path / 'page.html', write_metrics(tmp_path / 'm.json', tmp_path / 'best.pth')
    (tmp_path / 'best.pth').symlink_to(pair[1])
    assert call('report_page', *pair, '--metrics', metrics, '--pictures', 0, '--out', path).document['out'] == str(path)
    said = words(section(path, 'verdict'))
    assert 'model, single-scale: 12.50 mIoU, 30.25 mAcc, 40.00 aAcc.' in said and 'no verdict' in said
    assert 'IoU of each class in percent: road 25.00, car 0.00, x –.' in section(path, 'classes')

    write_metrics(tmp_path / 'other.json', 'a/iter_9.pth')
    write_metrics(tmp_path / 'same name.json', exp.work_dir / 'FCN+SR/seed0/iter_4.pth')
    write_metrics(tmp_path / 'less.json', pair[1], metrics={'mIoU': 1.0})
    write_metrics(tmp_path / 'tta.json', pair[1], mode='multi-scale + flip')
    write_metrics(tmp_path / 'removed.json', pair[1], without_sr=True)
    for arguments, message in (
        (['other.json'], 'other.json is of another checkpoint: a/iter_9.pth'),
        (['same name.json'], 'same name.json is of another checkpoint: '),
        (['removed.json'], 'removed.json is of a test without SR blocks'),
        (['less.json'], 'less.json has no mAcc, aAcc'),
        (['none.json'], 'none.json is not what tools/test.py --metrics writes'),
        (['m.json', '--baseline', *pair, '--baseline-metrics', 'tta.json'], 'tested in different modes: multi-scale +'),
    ):
        assert message in call('report_page', *pair, '--metrics', *arguments).mistake


def test_mistakes_are_one_message(exp, pair, call, tmp_path):
    (tmp_path / 'broken.pth').write_text('')
    for arguments, message in (
        (pair[:1], 'one experiment, or a config and a checkpoint'),
        ([exp.path, '--metrics', 'm.json'], '--metrics is for a checkpoint'),
        ([*pair, '--work-dir', 'x'], '--work-dir is for an experiment'),
        ([*pair, '--baseline-metrics', 'm.json'], '--baseline-metrics needs --baseline'),
        (['none.yaml'], 'cannot read the experiment'),
        (['none.py', pair[1]], 'no such config: none.py'),
        ([exp.path, '--work-dir', 'empty'], 'has no rows'),
        ([pair[0], tmp_path / 'broken.pth'], 'broken.pth is no checkpoint'),
    ):
        assert message in call('report_page', *arguments).mistake
    assert not (tmp_path / 'page.html').exists()


def test_a_stock_checkpoint_of_an_sr_config_is_a_sentence(exp, pair, call, tmp_path):
    metrics = write_metrics(tmp_path / 'm.json', pair[1])
    done = call('report_page', exp.path.parent / 'sr.py', pair[1], '--metrics', metrics, '--out', 'p.html')
    (gap,) = done.document['missing']
    assert 'has no weights of backbone.layer3.sr' in gap
