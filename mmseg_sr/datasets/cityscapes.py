"""Prepare Cityscapes for mmseg: official zip files or folders in, train-id label images out.

The layout is the official one, and so is every file name::

    leftImg8bit/SPLIT/CITY/CITY_000000_000019_leftImg8bit.png
    gtFine/SPLIT/CITY/CITY_000000_000019_gtFine_{polygons.json,labelIds.png,instanceIds.png,labelTrainIds.png}
"""

import filecmp
import multiprocessing
import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..atomic import replacing
from ..errors import UserError
from ..progress import Bar
from .archives import extract
from .label_maps import LABEL_IDS, POLYGONS, image_size, make_labels

IMAGES, LABELS = 'leftImg8bit', 'gtFine'
OFFICIAL_COUNTS = {'train': 2975, 'val': 500, 'test': 1525}


@dataclass
class Frame:
    """A photograph and its annotation (polygons, or else label ids), as far as they are there."""

    name: str  # SPLIT/CITY/CITY_000000_000019
    image: Path | None = None
    annotation: Path | None = None

    @property
    def split(self) -> str:
        """'train', 'val' or 'test'."""
        return self.name.split('/')[0]


def prepare(sources: Sequence[Path], out: Path, subset: bool = False, jobs: int = 1) -> dict[str, int]:
    """Bring Cityscapes into the folder ``out``, make the label images that are missing, and count the frames by split.

    A second run does only what is missing; what is there and readable is kept as it is. Every file appears whole
    or not at all. A folder other than ``out`` stays untouched: its files are hard-linked, or copied to another disk.

    Args:
        sources: Official zip files, and folders that hold ``leftImg8bit/`` or ``gtFine/``; ``out`` may be one.
        out: The data root to hand to mmseg.
        subset: Take any number of frames, not just the 2,975 train, 500 val and 1,525 test frames.
        jobs: Number of processes that make labels.

    Raises:
        UserError: Where a source is unfit, the numbers are wrong, or files are missing or unreadable; the
            message names all of these. The labels of all other frames are made nevertheless, unless numbers are wrong.
    """
    _gather(sources, out)
    frames = find_frames(out)
    problems = _missing(frames, out)
    if not subset:
        _check_counts(frames, problems)
    problems += _label_all([frame for frame in frames if frame.image and frame.annotation], jobs)
    if problems:
        raise UserError('\n'.join([f'{len(problems)} missing or unreadable:', *problems]))
    return _count(frames)


def find_frames(root: Path) -> list[Frame]:
    """List the frames under ``root`` by name, also those whose image or annotation is missing."""
    frames: dict[str, Frame] = {}
    kinds = ((IMAGES, '_leftImg8bit.png', 'image'), (LABELS, f'_gtFine{LABEL_IDS}', 'annotation'))
    kinds += ((LABELS, f'_gtFine{POLYGONS}', 'annotation'),)  # last, as polygons go before label ids
    for folder, suffix, attribute in kinds:
        for path in _files(root / folder):
            if path.name.endswith(suffix):
                name = path.relative_to(root / folder).as_posix().removesuffix(suffix)
                setattr(frames.setdefault(name, Frame(name)), attribute, path)
    return [frames[name] for name in sorted(frames)]


def _gather(sources: Sequence[Path], out: Path) -> None:
    """Unpack the zip files and link the folders among ``sources`` into ``out``; what is there is kept."""
    for source in sources:
        if not source.exists():
            raise UserError(f'no such file or folder: {source}')
        if source.is_dir() and not any((source / root).is_dir() for root in (IMAGES, LABELS)):
            raise UserError(f'{source} holds neither {IMAGES}/ nor {LABELS}/')
    archives = [source for source in sources if not source.is_dir()]
    if archives:
        extract(archives, out, (IMAGES, LABELS))
    try:
        out.mkdir(parents=True, exist_ok=True)
        for source in sources:
            if source.is_dir() and not source.samefile(out):
                _link_folder(source, out)
    except OSError as error:
        raise UserError(f'cannot write to {out}: {error.strerror}') from None


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files SPLIT/CITY/FILE of the three official splits, without the hidden remains of a killed run."""
    for split in OFFICIAL_COUNTS:
        yield from (path for path in sorted(folder.glob(f'{split}/*/*')) if path.name[0] != '.' and path.is_file())


def _link_folder(source: Path, out: Path) -> None:
    paths = [path for root in (IMAGES, LABELS) for path in _files(source / root)]
    for path in Bar(paths, desc='link', unit='file'):
        target = out / path.relative_to(source)
        if target.exists() and filecmp.cmp(path, target):
            continue
        with replacing(target) as partial:
            try:
                os.link(path.resolve(), partial)
            except OSError:  # another disk, or a file system without links
                shutil.copy2(path, partial)


def _missing(frames: Sequence[Frame], out: Path) -> list[str]:
    problems = []
    for kind, folder, suffix in (('image', IMAGES, '_leftImg8bit.png'), ('annotation', LABELS, f'_gtFine{POLYGONS}')):
        missing = [frame for frame in frames if getattr(frame, kind) is None]
        if len(missing) == len(frames):
            raise UserError(f'{out}: no {kind}s in {folder}/SPLIT/CITY/. Give {folder}_trainvaltest.zip too')
        problems += [f'missing {kind}: {out / folder / frame.name}{suffix}' for frame in missing]
    return problems


def _check_counts(frames: Sequence[Frame], problems: Sequence[str]) -> None:
    images, annotations = (_count(each for each in frames if getattr(each, kind)) for kind in ('image', 'annotation'))
    if images == annotations == OFFICIAL_COUNTS:
        return
    lines = ['this is not the whole of Cityscapes (ask for a subset, --subset, if that is meant):']
    for split, wanted in OFFICIAL_COUNTS.items():
        found = f'{images.get(split, 0)} images, {annotations.get(split, 0)} annotations'
        lines.append(f'{split}: {found}, expected {wanted} each')
    raise UserError('\n'.join([*lines, *problems]))


def _count(frames: Iterable[Frame]) -> dict[str, int]:
    counts = Counter(frame.split for frame in frames)
    return {split: counts[split] for split in OFFICIAL_COUNTS if counts[split]}


def _label_all(frames: Sequence[Frame], jobs: int) -> list[str]:
    """Make the labels of all frames; return what was wrong with some."""
    bar = {'total': len(frames), 'desc': 'labels', 'unit': 'frame'}
    if jobs == 1:
        return [problem for problem in Bar(map(_label_one, frames), **bar) if problem]
    # Spawned, not forked: a fork of a process in which torch runs threads may hang. Ctrl-C is for the parent.
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(jobs, context, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        return [problem for problem in Bar(pool.map(_label_one, frames, chunksize=4), **bar) if problem]


def _label_one(frame: Frame) -> str | None:
    """Return the message instead of raising, so that one bad file does not keep the others from being named."""
    try:
        make_labels(frame.annotation, image_size(frame.image))
    except UserError as error:
        return str(error)
