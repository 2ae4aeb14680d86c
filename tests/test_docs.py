"""README and pages: read the same anywhere, true of the files and the code beside them, built without a warning."""

import ast
import doctest
import json
import re
from pathlib import Path

import execute_tour
import mmengine.config.config
import mmengine.config.utils
import mmengine.registry.build_functions
import mmseg
import nbformat
import numpy as np
import pytest
import torch
import yaml
from browsing import opened
from in_process import python
from markdown_it import MarkdownIt
from PIL import Image
from written import (
    FILES,
    PAGES,
    ROOT,
    TEXTS,
    ZOO,
    blocks_in,
    check_arguments,
    check_files,
    check_options,
    commands_in,
    hand_written,
    mentions_in,
)

import mmseg_sr
from mmseg_sr.config import load_config
from mmseg_sr.datasets.build import build_datasets
from mmseg_sr.experiments.plan import load
from mmseg_sr.runs.models import build_model

DOCS = ROOT / 'docs'
each_text = pytest.mark.parametrize('name', TEXTS)
CONFIGS = {title: code for text in PAGES.values() for title, code in blocks_in(text, 'python') if title}
REPORTS = ('camvid_cpu', 'camvid_rank', 'scene_mini')
CONFIGS['readme.py'] = blocks_in(TEXTS['README'], 'python')[0][1]


def parsed(name: str) -> list:
    """The tokens of a text, by a plain reader of Markdown with tables."""
    return MarkdownIt().enable('table').parse(TEXTS[name])


def anchors(name: str) -> set[str]:
    """The anchors that a code host gives to the headings of a text."""
    tokens = parsed(name)
    titles = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == 'heading_open']
    return {re.sub(r'[^\w -]', '', title.lower()).replace(' ', '-') for title in titles}


@each_text
def test_plain_markdown_is_all_that_a_reader_needs(name):
    lines, tokens = TEXTS[name].splitlines(), parsed(name)
    code = {i for token in tokens if token.type in ('fence', 'html_block') for i in range(*token.map)}
    tables = [lines[slice(*token.map)] for token in tokens if token.type == 'table_open']
    for rows in tables:
        cells = [len(re.split(r'(?<!\\)\|', row.strip().strip('|'))) for row in rows]
        assert len(set(cells)) == 1 and len(rows) > 2, rows
    begun = [line for i, line in enumerate(lines) if line.startswith('|') and i not in code]
    assert len(begun) == sum(map(len, tables)), 'each row is in a table'
    prose = ''.join(token.content for token in tokens if token.type == 'inline')
    assert not re.search(r'\{[{%]', re.sub(r'`.*?`', '', prose)), 'no template'


@each_text
def test_links_lead_somewhere(name):
    inline = [child for token in parsed(name) for child in token.children or []]
    targets = [child.attrs.get('href') or child.attrs.get('src') for child in inline if child.attrs]
    for target in targets:
        if not target.startswith('http'):
            file, _, anchor = target.partition('#')
            here = FILES[name]
            place = (here.parent / file).resolve() if file else here
            assert place.exists() and place.is_relative_to(ROOT), target
            assert not anchor or anchor in anchors(next(each for each in FILES if FILES[each] == place)), target


def test_the_readme_is_short():
    assert len(TEXTS['README'].splitlines()) <= 110 and len(TEXTS['README'].split()) <= 1100


def test_what_commands_wrote_is_what_the_files_say():
    assert '$(BIN)/python scripts/numbers_in_pages.py\n' in (ROOT / 'Makefile').read_text()
    python(ROOT / 'scripts/numbers_in_pages.py', '--check')


@each_text
def test_no_number_is_typed(name):
    """Decimals and percentages are measured: a command wrote them. Others are the code's, or quoted from the paper."""
    text = hand_written(TEXTS[name])
    for pattern in (r'^```.*?^```', r'^> The paper: .*$', r'`[^`\n]*`', r'\(https?:[^)]*\)', r'arXiv:[\d.]+', '95 %'):
        text = re.sub(pattern, '', text, flags=re.M | (re.S if '```' in pattern else 0))
    assert re.findall(r'\d+\.\d+|\d+ ?%', text) == []


@pytest.mark.parametrize('folder', ZOO)
def test_the_page_of_a_folder_of_configs_lists_each_once_with_what_reports_and_paper_say(folder):
    text = ZOO[folder]
    assert all(f'\n## {head}\n' in text for head in ('Abstract', 'Results and models', 'Citation'))
    tables = [table.splitlines() for table in re.findall(r'(?:^\|.*\n)+', text, re.M)]
    rows = [dict(zip(cells_of(table[0]), cells_of(line), strict=True)) for table in tables for line in table[2:]]
    assert sorted(re.findall(r'\((.*)\)', row['config'])[0] for row in rows) == sorted(
        path.name for path in (ROOT / 'configs' / folder).glob('*.py')
    )
    reports = ''.join((ROOT / f'results/{name}/report.md').read_text() for name in REPORTS)
    reports += (ROOT / f'configs/{folder}/metafile.yaml').read_text()
    paper = (ROOT / 'experiments/table4.yaml').read_text()
    metric = 'top-1' if folder == 'classification' else 'mIoU'
    for row in rows:
        score, _, seeds = row[metric].partition(', ')
        assert score == 'not trained' or f'mIoU: {score}\n' in reports or f' of {seeds[0]}  | {score} |' in reports
        published = row.get('mIoU in the paper', '-').replace(' ± ', ', ')
        assert published == '-' or f'mIoU: [{published}]' in paper
        assert (row.get('SR adds', '-') == '-') == ('-sr' not in row['config'])


def cells_of(line: str) -> list[str]:
    """The cells of a row of a table."""
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_patterns_of_configs_name_some():
    patterns = {each for text in TEXTS.values() for each in re.findall(r'`(\*-sr[\w-]*_\*)(?:\.py)?`', text)}
    assert len(patterns) >= 5
    for pattern in patterns:
        assert list((ROOT / 'configs').glob(f'*/{pattern}.py')), pattern


@pytest.fixture(scope='module')
def site(tmp_path_factory) -> Path:
    """The site as `make docs` builds it: a warning is an error."""
    folder = tmp_path_factory.mktemp('docs') / 'site'
    (words,) = re.findall(r'\$\(BIN\)/python -m (mkdocs .*)', (ROOT / 'Makefile').read_text())
    assert '--strict' in words
    python('-m', *words.split(), '--site-dir', folder, cwd=ROOT, NO_MKDOCS_2_WARNING='1')
    return folder


@pytest.fixture(scope='module')
def browser():
    yield from opened()


def test_every_page_is_there(site):
    assert len(PAGES) >= 14
    for name in PAGES:
        assert 'arithmatex' not in (site / f'{name}.html').read_text(), 'formulas are drawn'


def test_the_reference_has_every_public_name(site):
    text = (site / 'reference.html').read_text()
    for name in set(mmseg_sr.__all__) - {'__version__'}:
        assert re.search(rf'id="mmseg_sr\.([\w.]+\.)?{name}"', text), name
    assert '&gt;&gt;&gt;' in text and 'Example:' not in text and ':class:' not in text


def test_what_is_said_of_other_sizes_is_what_was_measured():
    measured = json.loads((ROOT / 'results/other_sizes.json').read_text())
    trained, full = measured['trained'], [256, 512]
    for rows in measured['networks'].values():
        assert max(row['weights'] for row in rows) < 0.03, 'the softmax weights hardly move'
        assert max(row['moved'] or 0 for row in rows) < 0.003, 'moving costs little'
    rows = measured['networks']['larger memory']
    found = {(row['mode'], tuple(row['size'])): row for row in rows if row['memory_size'] == trained['memory_size']}
    at, whole, slide = found['whole', tuple(trained['size'])], found['whole', tuple(full)], found['slide', tuple(full)]
    assert at['mIoU'] - whole['mIoU'] > 3, 'another size costs the network'
    assert whole['block']['low'] > 0 and at['block']['low'] > 0, 'resized, the block goes on working'
    assert slide['block']['low'] < 0 < slide['block']['high'], 'in windows it was worth nothing'


def test_pages_ask_for_nothing_from_elsewhere(site, browser):
    for name in PAGES:
        for width, scheme in ((1400, 'light'), (360, 'dark')):
            browser.show((site / f'{name}.html').as_uri(), width, scheme)
            asked = browser.requests()
            assert all(url.startswith(site.as_uri()) for url in asked), (name, asked)
            assert browser.log('browser') == [], name
            assert browser.do('return document.body.dataset.mdColorScheme') == {'dark': 'slate'}.get(scheme, 'default')
            assert browser.do('return document.documentElement.scrollWidth') <= width, f'{name} hangs over the edge'
            broken = 'return [...document.images].filter(e => !e.naturalWidth || !e.alt).map(e => e.src.slice(0, 99))'
            assert browser.do(broken) == [], name


def test_formulas_are_drawn(site, browser):
    browser.show((site / 'block.html').as_uri())
    sizes = browser.do("return [...document.querySelectorAll('math')].map(e => e.getBoundingClientRect().width)")
    assert len(sizes) > 8 and min(sizes) > 5 and max(sizes) > 200
    assert browser.do("return document.querySelectorAll('math msub').length") > 5


def test_the_search_finds_a_message_in_pages_opened_from_a_folder(site, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.show((site / 'index.html').as_uri(), 1400)
    field = browser.driver.find_element(By.CSS_SELECTOR, '.md-search__input')
    field.click()
    field.send_keys('overwrite each other')
    found = "return [...document.querySelectorAll('.md-search-result__link')].map(e => e.href)"
    WebDriverWait(browser.driver, 60).until(lambda _: browser.do(found))
    assert any('trouble.html' in link for link in browser.do(found))


def test_every_command_exists_with_its_options():
    commands = [words for text in TEXTS.values() for words in commands_in(text)]
    mentions = [words for text in TEXTS.values() for words in mentions_in(text)]
    assert len(commands) > 30 and len(mentions) >= 20
    for words in commands:
        check_files(words)
        if words[0] == 'make':
            assert re.search(rf'^{words[1]}:', (ROOT / 'Makefile').read_text(), re.M), words
        elif words[0] != 'pip':
            check_arguments(words)
    for words in mentions:
        check_options(words)


@pytest.mark.parametrize('page', [name for name, text in PAGES.items() if '>>> ' in text])
def test_examples_run(page):
    """All examples of a page in one session, from the top."""
    code = '\n\n'.join(code for title, code in blocks_in(PAGES[page], 'python') if code.startswith('>>> '))
    test = doctest.DocTestParser().get_doctest(code, {}, page, str(DOCS / f'{page}.md'), 0)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.DocTestRunner(SilentLog(), optionflags=flags).run(test).failed == 0 and test.examples


class SilentLog(doctest.OutputChecker):
    """Compares what an example gives, but for lines of mmengine's log, which begin with the time."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return super().check_output(want, re.sub(r'^\d\d/\d\d .* - mmengine - .*\n', '', got, flags=re.M), optionflags)


@pytest.fixture
def written(tmp_path, monkeypatch) -> Path:
    """A folder with the configs of the pages, and the data that they name."""
    for title, code in CONFIGS.items():
        (tmp_path / title).write_text(code)
    for kind, shape, suffix in (('images', (8, 8, 3), 'jpg'), ('labels', (8, 8), 'png')):
        for split in ('train', 'val'):
            (tmp_path / f'data/mine/{kind}/{split}').mkdir(parents=True)
            Image.fromarray(np.ones(shape, np.uint8)).save(tmp_path / f'data/mine/{kind}/{split}/a.{suffix}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_configs_are_read_and_built(written, fresh):
    assert len(CONFIGS) >= 4
    for title in CONFIGS:
        cfg = load_config(written / title, {'model.pretrained': None})
        with torch.device('cpu' if title == 'segformer_sr.py' else 'meta'):  # whose drop rates are numbers of a tensor
            modules = build_model(cfg).named_modules()
        blocks = [name for name, _ in modules if name.endswith(('layer3.sr', 'neck.sr.2'))]
        assert len(blocks) == (title != 'mine.py'), title
        if title == 'mine_sr.py':
            datasets = build_datasets(cfg)
            assert {name: len(dataset) for name, dataset in datasets.items()} == {'train': 1, 'val': 1, 'test': 1}
    for text in PAGES.values():
        for title, code in blocks_in(text, 'python'):
            assert title or code.startswith('>>> ') or ast.parse(code.replace(', ...', '')).body


def test_a_stock_tool_takes_the_config_with_its_other_first_line(tmp_path):
    (line,) = [code for title, code in blocks_in(PAGES['index'], 'python') if code.startswith('_base_ = __import__')]
    first, rest = CONFIGS['my_fcn_sr.py'].split('\n', 1)
    assert line.strip().endswith(first.removeprefix('_base_ = '))
    (tmp_path / 'mine.py').write_text(f'{line}{rest}')
    tool = Path(mmseg.__file__).parent / '.mim/tools/analysis_tools/get_flops.py'
    assert 'Flops: ' in python(tool, 'mine.py', '--shape', 64, 128, cwd=tmp_path).out


def test_experiments_are_read(written):
    blocks = [block for text in PAGES.values() for block in blocks_in(text, 'yaml')]
    assert blocks
    for title, code in (block for block in blocks if block[0]):  # the reference names configs that are not there
        (written / title).write_text(code)
        assert len(load(written / title).arms) == len(yaml.safe_load(code)['arms'])


def test_every_message_is_one_that_the_code_gives():
    sources = [*ROOT.glob('mmseg_sr/**/*.py'), *ROOT.glob('tools/*.py')]
    theirs = (torch.nn.functional, mmengine.config.utils, mmengine.config.config, mmengine.registry.build_functions)
    theirs = [Path(module.__file__) for module in theirs]
    given = {text for path in [*sources, *theirs] for text in texts_of(path)}
    messages = re.findall(r'^### `(.+)`$', PAGES['trouble'], re.M)
    assert len(messages) > 30
    for message in messages:
        parts = [re.escape(part) for part in message.split('…')]
        pattern = re.compile('.*'.join(parts), re.S)
        assert any(pattern.search(text) for text in given), message


def texts_of(path: Path) -> set[str]:
    """Every text in a module; what an f-string fills in is an ellipsis."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            found.add(''.join(part.value if isinstance(part, ast.Constant) else '…' for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def kinds(notebook: nbformat.NotebookNode) -> list:
    """What each cell answers with: pictures, texts, nothing."""
    return [
        [sorted(output.get('data', {'text': 0})) for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == 'code'
    ]


def test_the_tour_runs_from_data_to_verdict_and_is_kept_with_its_outputs(tmp_path, tmp_path_factory):
    kept = nbformat.read(DOCS / 'tour.ipynb', as_version=4)
    # torch makes a folder for what it compiles, and keeps it for the next process.
    places = dict(TMPDIR=str(tmp_path), TORCHINDUCTOR_CACHE_DIR=str(tmp_path_factory.mktemp('compiled')))
    python(ROOT / 'scripts/execute_tour.py', '--out', tmp_path / 'tour.ipynb', cwd=tmp_path, **places)
    executed = nbformat.read(tmp_path / 'tour.ipynb', as_version=4)
    assert [cell.source for cell in executed.cells] == [cell.source for cell in kept.cells]
    assert kinds(executed) == kinds(kept)
    assert re.search(r'\*\*2 seeds: no verdict\*\*: .* over 2 seeds, 95 % interval \[', json.dumps(executed))
    assert list(tmp_path.iterdir()) == [tmp_path / 'tour.ipynb'], 'it leaves nothing behind'
    assert str(tmp_path) not in json.dumps(kept) and '/tmp' not in json.dumps(kept)


def test_the_pictures_of_the_tour_are_those_of_the_notebook():
    kept = execute_tour.pictures(nbformat.read(DOCS / 'tour.ipynb', as_version=4))
    assert {path.name: path.read_bytes() for path in (DOCS / 'tour').iterdir()} == {
        f'{number}.png': picture for number, picture in enumerate(kept, 1)
    }
