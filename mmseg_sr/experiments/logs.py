"""What logs tell: how far a tool is, its last words, and the numbers that a training wrote down."""

import json
import re
from pathlib import Path

STEP = re.compile(rb'Iter\((?:train|test)\)\s*\[\s*(\d+)/(\d+)\]')


def progress(log: Path) -> tuple[int, int]:
    """The iteration and the number of iterations that mmengine logged last; (0, 1) where it has not.

    Example:
        >>> import tempfile
        >>> log = Path(tempfile.mkdtemp()) / 'train.log'
        >>> _ = log.write_text('Iter(train) [ 50/300]  lr: 0.01\\nIter(train) [100/300]  lr: 0.01\\nIter(val) [1/9]')
        >>> progress(log)
        (100, 300)
    """
    found = STEP.findall(_tail(log))
    return (int(found[-1][0]), max(int(found[-1][1]), 1)) if found else (0, 1)


def last_words(log: Path) -> str:
    """The message of one of our tools if there is one, else the last line."""
    lines = [line.strip() for line in _tail(log).decode(errors='replace').splitlines() if line.strip()]
    messages = [line for line in lines if line.startswith('error: ')]
    return (messages or lines or ['no output'])[-1]


def scalars(folder: Path) -> list[dict]:
    """Read the numbers that mmengine logged of a training, in the order in which they were written.

    Lines of training have 'loss', 'lr' and 'time', those of a validation its metrics and no 'lr'; each has its 'step'.
    A training that was interrupted and went on has some steps twice.

    Args:
        folder: Work directory of the training.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / '1/vis_data').mkdir(parents=True)
        >>> _ = (folder / '1/vis_data/scalars.json').write_text('{"loss": 2.0, "lr": 0.1, "step": 50}\\n{"loss": ')
        >>> scalars(folder)
        [{'loss': 2.0, 'lr': 0.1, 'step': 50}]
    """
    lines = []
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        lines += [json.loads(line) for line in path.read_text().splitlines() if line.endswith('}')]  # a kill cuts
    return lines


def _tail(path: Path, size: int = 8192) -> bytes:
    try:
        with path.open('rb') as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read()
    except OSError:
        return b''
