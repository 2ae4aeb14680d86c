"""Docstrings as mkdocstrings reads them: its own words for examples, no marks of reStructuredText."""

import re

import griffe

ROLE = re.compile(r':(?:class|func|meth|mod|attr):`[.~]*([^`]+)`')


class Plain(griffe.Extension):
    """Changes every docstring as it is read."""

    def on_object(self, *, obj: griffe.Object, **kwargs: object) -> None:
        if obj.docstring is None or obj.is_alias:
            return
        text = re.sub(r'^Example:$', 'Examples:', obj.docstring.value, flags=re.MULTILINE)
        obj.docstring.value = ROLE.sub(r'`\1`', re.sub(r'::$', ':', text, flags=re.MULTILINE))
