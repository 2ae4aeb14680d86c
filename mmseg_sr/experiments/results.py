"""Find and read what the tests of an experiment wrote.

WORK_DIR/<arm>/seed<k>/                                 work directory of the training
WORK_DIR/<arm>/seed<k>/test/                            work directory of its tests
WORK_DIR/<arm>/seed<k>/test/<mode>-<fingerprint>.json   what tools/test.py wrote; .npz: confusion matrices of the images
WORK_DIR/<arm>/seed<k>/test/<mode>-without-sr-<fingerprint>.json   the same of the trained network without its SR blocks
WORK_DIR/<arm>/seed<k>/configs/                         configs of these runs, as given to the tools
WORK_DIR/logs/                                          output of the commands
"""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..metrics.tasks import CLASSIFICATION, SEGMENTATION, areas_of, hits_of
from . import settings
from .logs import scalars
from .plan import Arm, Experiment, Mode

WITHOUT = ' without SR'  # of a trained network that is tested without its SR blocks


@dataclass(frozen=True)
class Cell:
    """A test of an experiment, and its files: one arm, one seed, one mode, maybe without the trained SR blocks.

    ``fingerprint`` names the settings.
    """

    exp: Experiment
    arm: Arm
    seed: int
    mode: Mode
    fingerprint: str
    without_sr: bool = False

    @property
    def name(self) -> str:
        return f'{self.arm.name} seed{self.seed} {self.mode.name}{WITHOUT * self.without_sr}'

    @property
    def training(self) -> Path:
        return training_dir(self.exp, self.arm, self.seed)

    @property
    def test(self) -> Path:
        """What tools/test.py is to write; the confusion matrices stand beside it."""
        return self.training / 'test' / f'{self._stem}-{self.fingerprint}.json'

    @property
    def confusion(self) -> Path:
        return self.test.with_suffix('.npz')

    @property
    def _stem(self) -> str:
        return f'{self.mode.slug}{"-without-sr" * self.without_sr}'

    def stale(self) -> list[Path]:
        """List the files of the same test under other settings."""
        return sorted(self.test.parent.glob(f'{self._stem}-{"[0-9a-f]" * 12}.json'))

    def read(self) -> tuple[dict | None, Path]:
        """Read the document, None where there is none; and where its confusion matrices are, or should be."""
        # Version 0.1 kept confusion matrices, and the numbers once more, under rows/.
        row = self.exp.work_dir / 'rows' / self.arm.name / f'seed{self.seed}' / f'{self.mode.slug}.json'
        if not self.without_sr and not self.confusion.is_file():
            document = read_json(row) or {}
            if document.get('fingerprint') == self.fingerprint:
                return document, row.with_suffix('.npz')
        return read_json(self.test), self.confusion

    def is_made(self) -> bool:
        document, confusion = self.read()
        return document is not None and confusion.is_file()


def training_dir(exp: Experiment, arm: Arm, seed: int) -> Path:
    """Return the work directory of a training."""
    return exp.work_dir / arm.name / f'seed{seed}'


def cells(exp: Experiment) -> list[Cell]:
    """List all tests: seed by seed, so that pairs are complete early.

    What the primary question is about is tested without its SR blocks too, as it was trained with them.
    """
    found = []
    for arm in exp.arms.values():
        for mode in exp.modes:
            fingerprint = settings.fingerprint(exp, arm, mode)
            both = exp.can_answer and exp.asks(arm.name, mode.name) and settings.has_blocks(arm)
            found += [(arm, mode, fingerprint, without) for without in (False, True)[: 1 + both]]
    return [Cell(exp, arm, seed, *each) for seed in exp.seeds for arm, *each in found]


def stale(exp: Experiment) -> list[Path]:
    """List the tests that were made under other settings instead of these."""
    return [path for cell in cells(exp) if cell.read()[0] is None for path in cell.stale()]


def rows(exp: Experiment) -> list[dict]:
    """Return a row for each test that has been made under these settings.

    It joins what tools/test.py wrote and what that cannot know: the plan, the network, the time of its training.
    """
    cfgs = {name: settings.resolve(arm) for name, arm in exp.arms.items()}
    parameters = {name: settings.count_parameters(cfg) for name, cfg in cfgs.items()}
    found = []
    for cell in cells(exp):
        document, _ = cell.read()
        if document is None:
            continue
        iterations = settings.max_iterations(cfgs[cell.arm.name])
        seconds = training_seconds(cell.training, iterations)
        row = {
            'arm': cell.arm.name,
            'seed': cell.seed,
            'mode': cell.mode.name,
            'without_sr': cell.without_sr,
            'config': cell.arm.written,
            'options': {**cell.arm.options, **cell.mode.options},
            'fingerprint': cell.fingerprint,
            'iterations': iterations,
            'parameters': parameters[cell.arm.name],
            'metrics': plain_metrics(document),
            'train_seconds': document.get('train_seconds') if seconds is None else seconds,
            'test_seconds': document.get('seconds', document.get('test_seconds')),
        }
        found.append(row | {key: document.get(key) for key in ('commit', 'machine', 'versions', 'date')})
    return found


def plain_metrics(document: dict) -> dict[str, float | None]:
    """Return the metrics that tools/test.py wrote by their names, without the prefix of an evaluator.

    Example:
        >>> plain_metrics({'metrics': {'val/mIoU': 40.0, 'IoU.road': 90.0}})
        {'mIoU': 40.0, 'IoU.road': 90.0}
    """
    return {name.rpartition('/')[2]: value for name, value in document['metrics'].items()}


def training_seconds(folder: Path, iterations: int) -> float | None:
    """Return the seconds of a training: its iterations times the median of their logged times; None without a log.

    So a start, validations and an interruption do not count, and a resumed training compares with another one.
    """
    times = [line['time'] for line in scalars(folder) if 'time' in line and 'lr' in line]  # a validation has no lr
    return round(iterations * statistics.median(times), 3) if times else None


def read_areas(exp: Experiment, row: dict) -> tuple[list[str], np.ndarray] | None:
    """Read the images of a row: see :func:`areas_in`."""
    mode = next(mode for mode in exp.modes if mode.name == row['mode'])
    cell = Cell(exp, exp.arms[row['arm']], row['seed'], mode, row['fingerprint'], row['without_sr'])
    return areas_in(cell.read()[1], row)


def areas_in(path: Path, row: dict) -> tuple[list[str], np.ndarray] | None:
    """Read the images of a row from the file of its confusion matrices.

    Returns:
        Names (N,), in alphabetical order, and areas, or a classifier's hits, (N, 3, K); None where the file is missing.

    Raises:
        UserError: Where they do not give the row's metrics.
    """
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as file:
        task, images = (SEGMENTATION if 'confusion' in file else CLASSIFICATION), file['images'].tolist()
        if task is SEGMENTATION:
            areas = areas_of(file['confusion'])
        else:
            areas = hits_of(file['label'], file['predicted'], file['top5'], len(file['classes']))
    metric, found = task.metrics[0], task.score(areas.sum(0))[0]
    if abs(found - row['metrics'][metric]) > 1e-6:
        raise UserError(f'{path} gives {found:.4f} {metric}, and its row {row["metrics"][metric]:.4f}')
    order = np.argsort(images)
    return [images[index] for index in order], areas[order]


def read_json(path: Path) -> dict | None:
    """Read a document; None where there is none, or a broken one."""
    try:
        document = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None
