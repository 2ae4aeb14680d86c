"""The report page: the verdict first, every number the report's, and a browser shows it, alone, to everybody."""

import base64
import html
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from browsing import opened
from tiny_report import HOSTILE, write_experiment, write_rows, write_trainings

from mmseg_sr.experiments import markdown as report
from mmseg_sr.experiments.plan import Experiment
from mmseg_sr.report import page
from mmseg_sr.report.collect import experiment_page

SHOW_ALL = "for (const e of document.querySelectorAll('[hidden], details')) { e.hidden = false; e.open = true; }"
SECTIONS = ['Verdict', 'Results', 'Classes', 'Training', 'Predictions', 'Memory', 'Cost', 'Reproduce']


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
    assert [row['arm'] for row in document['verdicts']] == ['FCN+SR', 'small']
    for row in document['verdicts']:
        assert f'2 seeds: no verdict {report.sentence(row)}' in said


def test_one_seed_is_no_verdict(tmp_path):
    exp = write_experiment(tmp_path, seeds=(0,))
    write_rows(exp)
    path = tmp_path / 'page.html'
    page.write(experiment_page(exp, report.document_of(exp)), path)
    said = words(section(path, 'verdict'))
    assert (
        said.count('1 seed: no verdict FCN+SR against FCN') == said.count('1 seed: no verdict small against FCN') == 1
    )
    assert said.count(' mIoU over 1 seed; a verdict needs 3.') == 2
    assert 'intervals are over images' in words(section(path, 'classes'))

    # Neither logs nor checkpoints are there: sentences, not holes.
    assert re.search('No network could predict.*no such checkpoint', words(section(path, 'predictions')))
    assert 'There are no logs of the trainings' in words(section(path, 'training'))
    assert 'There is no memory to show' in words(section(path, 'memory'))


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
    # Forest, two comparisons, loss, mIoU. Two scenes of picture, truth, three predictions and two maps of changes;
    # six figures of two memories: file names tell no drives.
    assert kinds.count('svg') == 5 and kinds.count('IMG') == 2 * 7 + 2 * 5
    for kind, width, height, text, loaded in found:
        assert width > 100 and height > 50 and loaded > 0 and len(text) >= 10, (kind, text)
    assert any('labelled pixels better (blue)' in text for *_, text, _ in found)
    assert not browser.find('img[src=x]')


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


def test_the_dark_scheme_turns_page_and_charts(written, browser):
    colour, found = 'return getComputedStyle(document.querySelector("{}")).{}', {}
    for scheme in ('light', 'dark'):
        browser.show(written.as_uri(), 1200, scheme)
        places = (('body', 'backgroundColor'), ('body', 'color'), ('.chart svg', 'fill'))
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
    assert base64.b64decode(pdf).startswith(b'%PDF')


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


def write_metrics(path: Path, checkpoint: Path, mode: str = 'single-scale', metrics: dict = METRICS) -> Path:
    document = {'checkpoint': str(checkpoint), 'mode': mode, 'metrics': metrics, 'seconds': 2.0}
    path.write_text(json.dumps(document))
    return path


def test_the_tool_writes_the_page_of_an_experiment(exp, call):
    answer = call('report_page', exp.path, '--work-dir', exp.work_dir, '--pictures', 0, '--num-images', 0).document
    path = Path(answer['out'])
    assert path == exp.work_dir / 'report/report.html' and answer['bytes'] == path.stat().st_size
    assert answer['missing'] == [] and 'FCN+SR against FCN' in words(section(path, 'verdict'))


def test_a_checkpoint_is_tested_and_compared(exp, pair, call, tmp_path):
    page, source = tmp_path / 'page.html', [exp.path.parent / 'sr.py', exp.work_dir / 'FCN+SR/seed0/iter_4.pth']
    options = ['--cfg-options', 'test_dataloader.num_workers=0']
    arguments = [*source, '--baseline', *pair, '--pictures', 1, '--num-images', 0, '--out', page, *options]
    assert call('report_page', *arguments).document['missing'] == []
    said = words(section(page, 'verdict'))
    assert '1 seed: no verdict model against baseline, single-scale: ' in said
    assert 'model against baseline: ' in words(section(page, 'predictions'))
    (command,) = re.findall('<pre>(python .*?)</pre>', section(page, 'reproduce'))
    arguments = ['tools/report_page.py', *source, '--baseline', *pair, *options]
    assert shlex.split(html.unescape(command)) == ['python', *map(str, arguments)]


def test_a_checkpoint_alone_is_tested(pair, call, tmp_path):
    assert call('report_page', *pair, '--pictures', 0, '--out', tmp_path / 'page.html').document['missing'] == []
    assert 'IoU of each class in percent: road ' in section(tmp_path / 'page.html', 'classes')


def test_metrics_that_were_written_before_are_taken(pair, call, tmp_path):
    path, metrics = tmp_path / 'page.html', write_metrics(tmp_path / 'm.json', pair[1])
    assert call('report_page', *pair, '--metrics', metrics, '--pictures', 0, '--out', path).document['out'] == str(path)
    said = words(section(path, 'verdict'))
    assert 'model, single-scale: 12.50 mIoU, 30.25 mAcc, 40.00 aAcc.' in said and 'no verdict' in said
    assert 'IoU of each class in percent: road 25.00, car 0.00, x –.' in section(path, 'classes')

    write_metrics(tmp_path / 'other.json', 'a/iter_9.pth')
    write_metrics(tmp_path / 'less.json', pair[1], metrics={'mIoU': 1.0})
    write_metrics(tmp_path / 'tta.json', pair[1], mode='multi-scale + flip')
    for arguments, message in (
        (['other.json'], 'other.json is of another checkpoint: a/iter_9.pth'),
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
