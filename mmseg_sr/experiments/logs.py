"""Read the logs of tools and trainings."""

import json
import re
from pathlib import Path

STEP = re.compile(rb'Iter\((?:train|test)\)\s*\[\s*(\d+)/(\d+)\]')


def progress(log: Path) -> tuple[int, int]:
    """Return the iteration and the number of iterations that mmengine logged last; (0, 1) where it has not."""
    found = STEP.findall(_tail(log))
    return (int(found[-1][0]), max(int(found[-1][1]), 1)) if found else (0, 1)


def last_words(log: Path) -> str:
    """Return the message of one of our tools if there is one, else the last line."""
    lines = [line.strip() for line in _tail(log).decode(errors='replace').splitlines() if line.strip()]
    messages = [line for line in lines if line.startswith('error: ')]
    return (messages or lines or ['no output'])[-1]


def _tail(path: Path, size: int = 8192) -> bytes:
    return path.read_bytes()[-size:] if path.is_file() else b''


def scalars(folder: Path) -> list[dict]:
    """Read the numbers that mmengine logged of a training, in the order in which they were written.

    Lines of training have 'loss', 'lr' and 'time', those of a validation its metrics and no 'lr'; each has its 'step'.
    A training that was interrupted and went on has some steps twice.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / '1/vis_data').mkdir(parents=True)
        >>> _ = (folder / '1/vis_data/scalars.json').write_text('{"loss": 2.0, "lr": 0.1, "step": 50}\\n{"loss": ')
        >>> scalars(folder)
        [{'loss': 2.0, 'lr': 0.1, 'step': 50}]
    """
    paths = sorted(folder.glob('*/vis_data/scalars.json'))
    lines = [line for path in paths for line in path.read_text(encoding='utf-8').splitlines()]
    return [json.loads(line) for line in lines if line.endswith('}')]  # a kill cuts the last line
