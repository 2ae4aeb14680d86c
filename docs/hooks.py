"""What the site needs beside mkdocs: the files above docs/ that pages link to, formulas as MathML, plain docstrings."""

import html
import re
from pathlib import Path

import griffe
import latex2mathml.converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS = Path(__file__).resolve().parent
OUTSIDE = re.compile(r'(\]\()\.\./([^)#\s]+)')
ROLE = re.compile(r':(?:class|func|meth|mod|attr):`[.~]*([^`]+)`')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Copy what pages link to above docs/ into the site."""
    sources = [path.read_text() for path in sorted(DOCS.glob('*.md'))]
    for name in sorted({match[1] for source in sources for match in OUTSIDE.findall(source)}):
        if not (DOCS.parent / name).is_file():
            raise PluginError(f'a page links to ../{name}, which is not there')
        files.append(File.generated(config, f'checkout/{name}', abs_src_path=str(DOCS.parent / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links out of docs/ to the copies in the site."""
    return markdown if page.file.src_uri.startswith('checkout/') else OUTSIDE.sub(r'\1checkout/\2', markdown)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn formulas into MathML, which browsers draw by themselves."""
    return re.sub(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', _formula, content, flags=re.DOTALL)


def _formula(match: re.Match) -> str:
    display = 'block' if match[1] == 'div' else 'inline'
    return latex2mathml.converter.convert(html.unescape(match[2]), display=display)


class Plain(griffe.Extension):
    """Docstrings as mkdocstrings reads them: its own words for examples, no marks of reStructuredText."""

    def on_object(self, *, obj: griffe.Object, **kwargs: object) -> None:
        if obj.docstring is None or obj.is_alias:
            return
        text = re.sub(r'^Example:$', 'Examples:', obj.docstring.value, flags=re.MULTILINE)
        obj.docstring.value = ROLE.sub(r'`\1`', re.sub(r'::$', ':', text, flags=re.MULTILINE))
