"""Find where a stopped training goes on: the newest checkpoint that is whole."""

import contextlib
import copy
import logging
import re
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from mmengine.logging import print_log

from ..errors import UserError
from ..processes import is_first_process
from .allowed import Refused
from .reading import read_checkpoint
from .saving import LAST
from .weights import check_finite, plain_weights

RESUMES = {'meta', 'message_hub', 'optimizer'}  # what a training needs of a checkpoint to go on


class Skipped(NamedTuple):
    """A checkpoint from which a training cannot go on."""

    path: Path
    fault: str
    is_whole: bool  # whether the file is, and was refused


def resume_newest(cfg: Config) -> Config:
    """Let a config go on from the newest whole checkpoint in its work directory; without one, begin.

    What is skipped, and why, is logged.

    Raises:
        UserError: Where a newer one is whole and was refused: a training that goes on without it would overwrite it.
    """
    found, skipped = newest_checkpoint(cfg.work_dir)
    for path, fault, is_whole in skipped:
        if is_whole:
            raise UserError(f'{path} {fault}. Nothing was changed; to train without it, name another --work-dir')
        if is_first_process(cfg):
            print_log(f'not resumed from {path}: {fault}', logger='current', level=logging.WARNING)
    cfg = copy.deepcopy(cfg)
    cfg.resume = found is not None
    if found:
        # In mmengine load_from, where the config has one, takes precedence over the last checkpoint.
        cfg.load_from = str(found)
    return cfg


def newest_checkpoint(folder: str | Path) -> tuple[Path | None, list[Skipped]]:
    """Find the newest checkpoint of a work directory from which a training can go on, and what had to be skipped.

    It is the one that ``last_checkpoint`` names, or one of a higher number that was written after that; else, if those
    are not whole, the next lower one. A higher number written before ``last_checkpoint`` is of another run.
    """
    skipped = []
    for path in _candidates(Path(folder)):
        fault = _fault(path)
        if not fault:
            return path, skipped
        skipped.append(Skipped(path, *fault))
    return None, skipped


def last_good(folder: str | Path, buffers: Collection[str] = ()) -> Path | None:
    """Find the newest checkpoint of a work directory that can be resumed and whose weights are all finite.

    Args:
        folder: The work directory.
        buffers: Names of what may be infinite in it, as masks are.
    """
    for path in _candidates(Path(folder)):
        with contextlib.suppress(UserError):
            checkpoint = read_checkpoint(path)
            check_finite(plain_weights(checkpoint), path, buffers)
            if checkpoint.keys() >= RESUMES:
                return path
    return None


def _candidates(folder: Path) -> list[Path]:
    """Checkpoints that a run may have left in ``folder``, newest first."""
    note = folder / LAST
    name = note.read_text(encoding='utf-8').strip() if note.is_file() else ''
    last = Path(name) if Path(name).is_file() else folder / Path(name).name  # the folder may have been moved
    places = {folder, last.parent} if name else {folder}
    found = {path for place in places for path in place.glob('*.pth') if _number(path) >= 0}
    ordered = sorted(found - {last}, key=_number, reverse=True)
    if not name:
        return ordered
    written = note.stat().st_mtime_ns
    later = [path for path in ordered if _number(path) > _number(last) and path.stat().st_mtime_ns >= written]
    return [*later, last, *(path for path in ordered if _number(path) < _number(last))]


def _number(path: Path) -> int:
    """Iterations, or epochs, of a checkpoint by its name, -1 for other names."""
    found = re.fullmatch(r'(?:iter|epoch)_(\d+)\.pth', path.name)
    return int(found[1]) if found else -1


def _fault(path: Path) -> tuple[str, bool] | None:
    """What keeps a training from going on from this file, and whether the file is whole."""
    if not path.is_file():
        return 'it is not there', False
    if not zipfile.is_zipfile(path):
        return 'cut short, or no checkpoint', False
    try:
        checkpoint = read_checkpoint(path)
    except UserError as error:
        return str(error).removeprefix(f'{path} '), isinstance(error, Refused)
    return None if RESUMES <= checkpoint.keys() else ('has weights only: start from it by load_from=', True)
