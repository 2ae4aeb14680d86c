"""Make images and lists of an official CIFAR archive. What its pickles hold is read, never run."""

import io
import pickle
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import UserError, one_line
from ..progress import Bar

SHARE = 10  # one training image in ten of each class is for validation


class Kind(NamedTuple):
    """What one of the two archives holds."""

    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    names: str  # key of the classes' names
    labels: str
    classes: int
    images: tuple[int, int]  # of a class: for training and validation, and for the test


KINDS = (
    Kind(
        'cifar-10-batches-py',
        tuple(f'data_batch_{index}' for index in range(1, 6)),
        'test_batch',
        'batches.meta',
        'label_names',
        'labels',
        10,
        (5000, 1000),
    ),
    Kind('cifar-100-python', ('train',), 'test', 'meta', 'fine_label_names', 'fine_labels', 100, (500, 100)),
)
ALLOWED = {  # all that the arrays in these pickles ask for
    ('numpy.core.multiarray', '_reconstruct'): np.ndarray.__reduce__(np.zeros(0))[0],
    ('numpy._core.multiarray', '_reconstruct'): np.ndarray.__reduce__(np.zeros(0))[0],
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
}
BROKEN = (tarfile.TarError, zlib.error, EOFError, MemoryError)  # what unpacking raises
BROKEN += (pickle.UnpicklingError, ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError)  # pickles


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ('_codecs', 'encode'):  # by which Python 3 writes bytes in the official protocol
            return lambda text, encoding: text.encode('latin1')
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f'it asks for {module}.{name}, which is not run')
        return ALLOWED[module, name]


def prepare_cifar(archive: Path, out: Path, subset: bool = False) -> dict[str, int]:
    """Write images as PNG and the lists train.txt, val.txt, test.txt and classes.txt of a CIFAR archive.

    Validation images are a tenth of the training images of each class, the same at every time. A line of a list is the
    path of an image below ``out``, and the number of its class.

    Args:
        archive: ``cifar-10-python.tar.gz`` or ``cifar-100-python.tar.gz``.
        out: The folder to make; it appears whole or not at all.
        subset: Accept any number of images.

    Returns:
        Number of images by list, and of 'classes'.

    Raises:
        UserError: For an archive that is damaged or none, one that lacks images, and a folder that is there.
    """
    place = out.resolve()  # a link to another disk stays a link
    if place.exists() and (place == Path.cwd() or not place.is_dir() or any(place.iterdir())):
        raise UserError(f'{out} is there already: name another folder by --out, or remove it')
    kind, classes, train, test = _read(archive)
    for name, (_, labels), wanted in (('training', train, kind.images[0]), ('test', test, kind.images[1])):
        counts = np.bincount(labels, minlength=kind.classes)
        if not subset and (counts != wanted).any():
            raise UserError(
                f'{archive} has {len(labels):,} {name} images, and the official one {wanted} of each of {kind.classes} '
                'classes: download it again, or accept it by --subset'
            )
        if counts.min() < 2:
            raise UserError(
                f'{archive} has {counts.min()} {name} images of {classes[counts.argmin()]}, and two are needed'
            )
    partial = place.with_name(f'.{place.name}.partial')
    shutil.rmtree(partial, ignore_errors=True)
    try:
        lists = _write(partial, classes, train, test)
        shutil.rmtree(place, ignore_errors=True)  # an empty one
        partial.rename(place)
    except OSError as error:
        raise UserError(f'cannot write {out}: {one_line(error)}') from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {name: len(lines) for name, lines in lists.items()} | {'classes': len(classes)}


Images = tuple[NDArray[np.uint8], NDArray[np.int64]]  # (N, 3072), channel by channel, and labels (N,)


def _read(archive: Path) -> tuple[Kind, list[str], Images, Images]:
    """Read an archive: its kind, names of the classes, images for training and validation, and for the test."""
    try:
        with tarfile.open(archive) as file:
            names = set(file.getnames())
            kind = next(kind for kind in KINDS if f'{kind.folder}/{kind.meta}' in names)
            meta = _load(file, f'{kind.folder}/{kind.meta}')
            batches = [_images(_load(file, f'{kind.folder}/{name}'), kind) for name in (*kind.train, kind.test)]
        classes = [name.decode() for name in meta[kind.names.encode()]]
        if len(set(classes)) != kind.classes or any('/' in name or not name.strip('.') for name in classes):
            raise ValueError(f'{len(set(classes))} classes')
    except StopIteration:
        folders = ' or '.join(kind.folder for kind in KINDS)
        raise UserError(f'{archive} is no CIFAR archive: it holds no {folders}') from None
    except (OSError, *BROKEN) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(f'cannot read {archive}: {error.strerror}') from error
        message = f'{archive} is damaged, or no CIFAR archive ({one_line(error)}). Download it again'
        raise UserError(message) from error
    train = tuple(np.concatenate(each) for each in zip(*batches[:-1], strict=True))
    return kind, classes, train, batches[-1]


def _load(file: tarfile.TarFile, name: str) -> dict:
    return _Reader(io.BytesIO(file.extractfile(name).read()), encoding='bytes').load()


def _images(batch: dict, kind: Kind) -> Images:
    data, labels = batch[b'data'], np.array(batch[kind.labels.encode()])
    if data.shape != (len(labels), 3072) or data.dtype != np.uint8:
        raise ValueError(f'images of shape {data.shape} for {len(labels)} labels')
    if not (np.issubdtype(labels.dtype, np.integer) and 0 <= labels.min() <= labels.max() < kind.classes):
        raise ValueError('a label that is no class')
    return data, labels


def _write(folder: Path, classes: list[str], train: Images, test: Images) -> dict[str, list[str]]:
    held_out = np.concatenate([_held_out(train[1], label) for label in range(len(classes))])
    lines = {name: list(_save(folder, name, classes, *images)) for name, images in (('train', train), ('test', test))}
    kept = np.setdiff1d(np.arange(len(train[1])), held_out)
    lists = {'train': [lines['train'][index] for index in kept]}
    lists |= {'val': [lines['train'][index] for index in sorted(held_out)], 'test': lines['test']}
    for name, written in {**lists, 'classes': classes}.items():
        (folder / f'{name}.txt').write_text('\n'.join(written) + '\n', encoding='utf-8')
    return lists


def _held_out(labels: NDArray[np.int64], label: int) -> NDArray[np.int64]:
    """Choose the validation images of a class, the same at every time."""
    (members,) = np.nonzero(labels == label)
    count = max(1, round(len(members) / SHARE))
    return np.random.default_rng(label).permutation(members)[:count]


def _save(folder: Path, name: str, classes: list[str], data: NDArray[np.uint8], labels: NDArray) -> Iterator[str]:
    for label in classes:
        (folder / name / label).mkdir(parents=True)
    for index, (pixels, label) in enumerate(zip(Bar(data, name, unit='image'), labels, strict=True)):
        path = f'{name}/{classes[label]}/{index:05}.png'
        Image.fromarray(pixels.reshape(3, 32, 32).transpose(1, 2, 0)).save(folder / path)
        yield f'{path} {label}'
