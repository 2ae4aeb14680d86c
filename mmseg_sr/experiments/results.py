"""Rows: what one network, trained from one seed and tested in one mode, reached, and under what settings.

WORK_DIR/<arm>/seed<k>/                        work directory of the training
WORK_DIR/<arm>/seed<k>/test/                   of its tests: <mode>-<fingerprint>.json is what tools/test.py wrote
WORK_DIR/rows/<arm>/seed<k>/<mode>.json        the row
WORK_DIR/rows/<arm>/seed<k>/<mode>.npz         confusion matrices of its images
WORK_DIR/logs/                                 what the commands said
"""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..atomic import replacing
from ..errors import UserError
from ..metrics.confusion import areas_of, metrics_of
from . import settings
from .logs import scalars
from .plan import Arm, Experiment, Mode


@dataclass(frozen=True)
class Cell:
    """The place of a row: one arm, one seed, one mode."""

    exp: Experiment
    arm: Arm
    seed: int
    mode: Mode
    fingerprint: str

    @property
    def name(self) -> str:
        return f'{self.arm.name} seed{self.seed} {self.mode.name}'

    @property
    def row(self) -> Path:
        return self.exp.work_dir / 'rows' / self.arm.name / f'seed{self.seed}' / f'{self.mode.slug}.json'

    @property
    def confusion(self) -> Path:
        return self.row.with_suffix('.npz')

    @property
    def training(self) -> Path:
        return training_dir(self.exp, self.arm, self.seed)

    @property
    def test(self) -> Path:
        return self.training / 'test' / f'{self.mode.slug}-{self.fingerprint}.json'


def training_dir(exp: Experiment, arm: Arm, seed: int) -> Path:
    """Work directory of a training."""
    return exp.work_dir / arm.name / f'seed{seed}'


def cells(exp: Experiment) -> list[Cell]:
    """All places for rows: seed by seed, so that pairs are complete early.

    Raises:
        UserError: For a config that cannot be read, with these options.
    """
    prints = {
        (arm.name, mode.name): settings.fingerprint(exp, arm, mode) for arm in exp.arms.values() for mode in exp.modes
    }
    return [
        Cell(exp, arm, seed, mode, prints[arm.name, mode.name])
        for seed in exp.seeds
        for arm in exp.arms.values()
        for mode in exp.modes
    ]


def read(exp: Experiment) -> tuple[list[dict], list[Path]]:
    """Read what there is.

    Returns:
        The rows, and the files of those that were made under other settings and do not count.
    """
    found, stale = [], []
    for cell in cells(exp):
        row = read_json(cell.row)
        if row is not None and row.get('fingerprint') == cell.fingerprint:
            found.append(row)
        elif row is not None:
            stale.append(cell.row)
    return found, stale


def is_made(cell: Cell) -> bool:
    """Whether the row is there, under these settings, with its confusion matrices."""
    row = read_json(cell.row)
    return row is not None and row.get('fingerprint') == cell.fingerprint and cell.confusion.is_file()


def make(cell: Cell) -> None:
    """Make the row of what tools/test.py wrote.

    Raises:
        UserError: Where it did not write what belongs into a row.
    """
    document = read_json(cell.test)
    if document is None or not cell.confusion.is_file():
        raise UserError(f'the test did not write {cell.test} and {cell.confusion}')
    cfg = settings.resolve(cell.arm, cell.seed)
    iterations = settings.max_iterations(cfg)
    row = {
        'arm': cell.arm.name,
        'seed': cell.seed,
        'mode': cell.mode.name,
        'config': cell.arm.written,
        'options': settings.option_words({**cell.arm.options, **cell.mode.options}),
        'processes': cell.exp.processes,
        'fingerprint': cell.fingerprint,
        'iterations': iterations,
        'parameters': settings.count_parameters(cfg),
        'metrics': document['metrics'],
        'train_seconds': training_seconds(cell.training, iterations),
        'test_seconds': document['seconds'],
        **{key: document.get(key) for key in ('commit', 'machine', 'versions', 'date')},
    }
    with replacing(cell.row) as partial:
        partial.write_text(json.dumps(row, indent=1, allow_nan=False) + '\n')


def training_seconds(folder: Path, iterations: int) -> float | None:
    """Time of a training: its iterations times the median of their logged times.

    So a start, validations and an interruption do not count, and a resumed training compares with another one.

    Returns:
        Seconds, or None where mmengine has logged no times to ``scalars.json``.
    """
    times = [line['time'] for line in scalars(folder) if 'time' in line and 'lr' in line]  # a validation has no lr
    return round(iterations * statistics.median(times), 3) if times else None


def read_areas(exp: Experiment, row: dict) -> tuple[list[str], np.ndarray] | None:
    """Read the images of a row: see :func:`areas_in`."""
    mode = next(mode for mode in exp.modes if mode.name == row['mode'])
    return areas_in(Cell(exp, exp.arms[row['arm']], row['seed'], mode, row['fingerprint']).confusion, row)


def areas_in(path: Path, row: dict) -> tuple[list[str], np.ndarray] | None:
    """Read the images of a row from the file of its confusion matrices.

    Returns:
        Names (N,), in alphabetical order, and areas (N, 3, K); None where the file is missing.

    Raises:
        UserError: Where they do not give the row's metrics.
    """
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as file:
        images, areas = file['images'].tolist(), areas_of(file['confusion'])
    mean_iou = metrics_of(areas.sum(0))[0]
    if abs(mean_iou - row['metrics']['mIoU']) > 1e-6:
        raise UserError(f'{path} gives {mean_iou:.4f} mIoU, and its row {row["metrics"]["mIoU"]:.4f}')
    order = np.argsort(images)
    return [images[index] for index in order], areas[order]


def read_json(path: Path) -> dict | None:
    """Read a document; None where there is none, or a broken one."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
