"""What the site needs beside mkdocs: the files above docs/ that pages link to, formulas as MathML, plain docstrings."""

import html
import os
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
LINK = re.compile(r'(\]\()(?!https?:|#)([^)#\s]+)')
ROLE = re.compile(r':(?:class|func|meth|mod|attr):`[.~]*([^`]+)`')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Copy what pages link to above docs/ into the site, and what pages among that link to."""
    sources = [path.read_text() for path in sorted(DOCS.glob('*.md'))]
    wanted = sorted({match[1] for source in sources for match in OUTSIDE.findall(source)})
    for name in wanted:  # which grows
        path = DOCS.parent / name
        if not path.is_file():
            raise PluginError(f'a page links to ../{name}, which is not there')
        files.append(File.generated(config, f'checkout/{name}', abs_src_path=str(path)))
        for link in LINK.findall(path.read_text()) if path.suffix == '.md' else ():
            target = os.path.normpath(f'{os.path.dirname(name)}/{link[1]}')
            if not target.startswith('docs/') and target not in wanted:
                wanted.append(target)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links out of docs/ to the copies in the site, and links of the copies into docs/ to the pages."""
    folder = os.path.dirname(page.file.src_uri)
    if not folder.startswith('checkout'):
        return OUTSIDE.sub(r'\1checkout/\2', markdown)

    def to_page(match: re.Match) -> str:
        target = os.path.normpath(f'{folder}/{match[2]}')
        if not target.startswith('checkout/docs/'):
            return match[0]
        return match[1] + os.path.relpath(target.removeprefix('checkout/docs/'), folder)

    return LINK.sub(to_page, markdown)


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
