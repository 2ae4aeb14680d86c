"""Unpack a dataset's zip files into a folder: nothing is written before every member is found harmless."""

import contextlib
import shutil
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from ..atomic import replacing
from ..errors import UserError

MAX_RATIO = 200  # deflate cannot exceed 1032:1; photographs, label maps and polygons stay far below 100:1
SMALL = 1 << 20  # bytes; a member below this size may compress as well as it likes

Members = dict[PurePosixPath, tuple[zipfile.ZipFile, zipfile.ZipInfo]]


def extract(archives: Sequence[Path], out: Path, roots: Sequence[str]) -> int:
    """Unpack what lies under the top folders ``roots``, except the files that are there already.

    Args:
        archives: Zip files.
        out: The folder to unpack into; made if need be.
        roots: Names of top folders, such as ``('leftImg8bit', 'gtFine')``. Other members are left alone.

    Returns:
        How many files were written.

    Raises:
        UserError: Before anything is written, where a file is no complete zip, a member would leave ``out``, is a
            link, is encrypted or occurs twice, or the declared sizes are a bomb's or exceed the free disk space.
            Later, where a member turns out to be damaged.
    """
    with contextlib.ExitStack() as stack:
        members: Members = {}
        for path in archives:
            archive = stack.enter_context(_open(path))
            found = _checked_members(path, archive, roots)
            twice = next((name for name in found if name in members), None)
            if twice is not None:
                raise UserError(f'{path}: {twice} occurs in {members[twice][0].filename} as well')
            members.update(found)
        missing = {
            name: (archive, info)
            for name, (archive, info) in tqdm(members.items(), desc='look for what is there', unit='file')
            if not _is_extracted(out / name, info)
        }
        _check_space(out, sum(info.file_size for _, info in missing.values()))
        for name, (archive, info) in tqdm(missing.items(), desc='unpack', unit='file'):
            _extract_member(archive, info, out / name)
    return len(missing)


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError):
        raise UserError(f'{path} is not a zip file, or its download was cut short. Download it again') from None
    except OSError as error:
        raise UserError(f'cannot read {path}: {error.strerror}') from None


def _checked_members(path: Path, archive: zipfile.ZipFile, roots: Sequence[str]) -> Members:
    """Return the files under ``roots`` once every member of the archive has passed, those left alone too."""
    files: Members = {}
    for info in archive.infolist():
        name = PurePosixPath(info.filename)  # drops './' and '//', so that two spellings of one name meet
        problem = _problem(info)
        if problem is None and name in files:
            problem = 'occurs twice'
        if problem:
            raise UserError(f'{path}: member {info.orig_filename!r} {problem}. Nothing was unpacked')
        if not info.is_dir():
            files[name] = (archive, info)
    nested = next((name for name in files if any(parent in files for parent in name.parents)), None)
    if nested is not None:
        raise UserError(f'{path}: member {str(nested)!r} lies inside another file. Nothing was unpacked')
    # Where members overlap, each looks harmless and their sum does not.
    if sum(info.compress_size for _, info in files.values()) > path.stat().st_size:
        raise UserError(f'{path}: its members overlap (a zip bomb?). Nothing was unpacked')
    if _is_bomb(sum(info.file_size for _, info in files.values()), path.stat().st_size):
        raise UserError(f'{path}: its members declare an absurd size together (a zip bomb?). Nothing was unpacked')
    wanted = {name: member for name, member in files.items() if name.parts[0] in roots}
    if not wanted:
        raise UserError(f'{path} holds neither {" nor ".join(f"{root}/" for root in roots)}')
    return wanted


def _problem(info: zipfile.ZipInfo) -> str | None:
    """Say why a member must not be unpacked, if so."""
    name = PurePosixPath(info.filename)
    kind = stat.S_IFMT(info.external_attr >> 16)
    checks = {
        'has an absolute path': name.is_absolute() or ':' in info.filename.split('/')[0],
        "leaves the folder by '..'": '..' in name.parts,
        'has a name that is no plain path': not name.parts or '\\' in info.filename or '\0' in info.orig_filename,
        'is a link or a special file': kind not in (0, stat.S_IFREG, stat.S_IFDIR),
        'is encrypted': bool(info.flag_bits & 1),
        'declares an absurd size (a zip bomb?)': _is_bomb(info.file_size, info.compress_size),
    }
    return next((reason for reason, true in checks.items() if true), None)


def _is_bomb(size: int, compressed: int) -> bool:
    return size > SMALL and size > MAX_RATIO * compressed


def _is_extracted(path: Path, info: zipfile.ZipInfo) -> bool:
    if not path.is_file() or path.stat().st_size != info.file_size:
        return False
    return zlib.crc32(path.read_bytes()) == info.CRC


def _check_space(out: Path, needed: int) -> None:
    existing = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise UserError(f'{out}: unpacking needs {needed / 1e9:.1f} GB, only {free / 1e9:.1f} GB are free')


def _extract_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    try:
        with replacing(path) as partial, archive.open(info) as source, partial.open('wb') as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        raise UserError(f'{archive.filename}: member {info.filename} is damaged. Download it again') from None
    except OSError as error:
        raise UserError(f'cannot write {path}: {error.strerror}') from None
