"""What mkdocs does beside its own work to make these pages, once it is told to by mkdocs.yml.

Pages are templates of jinja2: ``results`` reads a JSON file in results/, so that no number is typed. A link to a file
above docs/ (``../results/...``) is a link to a copy of it in the site. Formulas become MathML, which browsers draw by
themselves. docs/tour.ipynb becomes a page.
"""

import ast
import html
import inspect
import json
import re
import sys
from pathlib import Path

import jinja2
import latex2mathml.converter
import nbformat
import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS))
import manuals  # noqa: E402

OUTSIDE = re.compile(r'(\]\()\.\./([^)#\s]+)')


def results(name: str) -> dict:
    """A file in results/."""
    return json.loads((ROOT / 'results' / name).read_text())


def experiments(name: str) -> dict:
    """A file in experiments/."""
    return yaml.safe_load((ROOT / 'experiments' / name).read_text())


def public_names() -> list[str]:
    """What ``import mmseg_sr`` gives."""
    tree = ast.parse((ROOT / 'mmseg_sr/__init__.py').read_text())
    (names,) = (node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == '__all__')
    return ast.literal_eval(names)


def example_of(module: str) -> str:
    """What follows the first sentence of a module's docstring."""
    return manuals.docstring_of(ROOT / module).partition('\n\n')[2]


def commands() -> str:
    """The manual of every tool."""
    parts = []
    for name in manuals.tools():
        path = ROOT / f'tools/{name}.py'
        parts.append(f'## tools/{name}.py {{#{name}}}')
        parts += [_paragraph(text) for text in manuals.docstring_of(path).split('\n\n')]
        for verb, parser in manuals.parsers_of(path).items():
            rows = [f'| `{written}` | {_plain(what)} |' for written, what in manuals.rows_of(parser)]
            parts.append('\n'.join([f'| {verb or "argument"} | what for |', '|---|---|', *rows]))
    return '\n\n'.join(parts)


def _paragraph(text: str) -> str:
    """A paragraph of a manual in Markdown; an indented one is code."""
    return f'```text\n{inspect.cleandoc(text)}\n```' if text.startswith(' ') else _plain(text)


def _plain(text: str) -> str:
    text = re.sub(r'([\\`*_\[\]|])', r'\\\1', html.escape(text, quote=False))
    return re.sub(r'(?<![\w-])(--[a-z-]+)', r'`\1`', text)


def tour() -> str:
    """docs/tour.ipynb in Markdown, with its outputs."""
    parts = []
    for cell in nbformat.read(DOCS / 'tour.ipynb', as_version=4).cells:
        if cell.cell_type == 'markdown':
            parts.append(cell.source)
            continue
        parts.append(f'```python\n{cell.source}\n```')
        parts += [_output(output) for output in cell.outputs]
    return '\n\n'.join(parts)


def _output(output: dict) -> str:
    data = output.get('data', {'text/plain': output.get('text', '')})
    if 'image/png' in data:
        return f'![{output.metadata["image/png"]["alt"]}](data:image/png;base64,{data["image/png"].strip()})'
    return data.get('text/markdown') or f'```text\n{data["text/plain"].rstrip()}\n```'


ENVIRONMENT = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
ENVIRONMENT.globals |= {
    each.__name__: each for each in (results, experiments, public_names, example_of, commands, tour)
}
ENVIRONMENT.filters['size'] = '{0[0]}x{0[1]}'.format


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Copy what pages link to above docs/ into the site."""
    sources = [path.read_text() for path in sorted(DOCS.glob('*.md'))]
    for name in sorted({match[1] for source in sources for match in OUTSIDE.findall(source)}):
        if not (ROOT / name).is_file():
            raise PluginError(f'a page links to ../{name}, which is not there')
        files.append(File.generated(config, f'checkout/{name}', abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in numbers, and turn links out of docs/ to the copies in the site."""
    if page.file.src_uri.startswith('checkout/'):
        return markdown
    try:
        markdown = ENVIRONMENT.from_string(markdown).render()
    except (jinja2.TemplateError, OSError, TypeError, ValueError) as error:
        raise PluginError(f'{page.file.src_uri}: {error}') from error
    return OUTSIDE.sub(r'\1checkout/\2', markdown)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Draw formulas."""
    return re.sub(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', _formula, content, flags=re.DOTALL)


def _formula(match: re.Match) -> str:
    display = 'block' if match[1] == 'div' else 'inline'
    return latex2mathml.converter.convert(html.unescape(match[2]), display=display)
