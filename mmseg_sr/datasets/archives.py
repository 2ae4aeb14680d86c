"""Unpack a dataset's zip files into a folder. Every member is checked before anything is written."""

import contextlib
import shutil
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..atomic import replacing
from ..errors import UserError
from ..progress import Bar

Members = dict[PurePosixPath, tuple[zipfile.ZipFile, zipfile.ZipInfo]]


def extract(archives: Sequence[Path], out: Path, roots: Sequence[str]) -> int:
    """Unpack what zip files hold under the top folders ``roots``, except the files that are there; give their number.

    Raises:
        UserError: Before anything is written, where a file is no complete zip, a member would leave ``out``, is a
            link, is encrypted or occurs twice, or the free disk space is too small. Later, where a member turns out to
            be damaged.
    """
    with contextlib.ExitStack() as stack:
        members: Members = {}
        for path in archives:
            _add_members(members, path, stack.enter_context(_open(path)), roots)
        members = {
            name: (archive, info)
            for name, (archive, info) in Bar(members.items(), desc='look for what is there', unit='file')
            if not _is_extracted(out / name, info)
        }
        existing = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
        needed, free = sum(info.file_size for _, info in members.values()), shutil.disk_usage(existing).free
        if needed > free:
            raise UserError(f'{out}: unpacking needs {needed / 1e9:.1f} GB, only {free / 1e9:.1f} GB are free')
        for name, (archive, info) in Bar(members.items(), desc='unpack', unit='file'):
            _extract_member(archive, info, out / name)
    return len(members)


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError):
        raise UserError(f'{path} is not a zip file, or its download was cut short. Download it again') from None
    except OSError as error:
        raise UserError(f'cannot read {path}: {error.strerror}') from None


def _add_members(members: Members, path: Path, archive: zipfile.ZipFile, roots: Sequence[str]) -> None:
    """Add the files under ``roots``, once every member of the archive has passed, also those that are left out."""
    wanted: Members = {}
    for info in archive.infolist():
        name = PurePosixPath(PureWindowsPath(info.filename).as_posix())  # one spelling of './', '//' and backslashes
        problem = _problem(info)
        if name in wanted or name in members:
            problem = f'occurs twice, in {(wanted | members)[name][0].filename} as well'
        if problem:
            raise UserError(f'{path}: member {info.filename!r} {problem}. Nothing was unpacked')
        if not info.is_dir() and name.parts[:1] and name.parts[0] in roots:
            wanted[name] = (archive, info)
    if not wanted:
        raise UserError(f'{path} holds neither {" nor ".join(f"{root}/" for root in roots)}')
    members |= wanted


def _problem(info: zipfile.ZipInfo) -> str | None:
    """Say why a member must not be unpacked, if so."""
    name = PureWindowsPath(info.filename)  # knows both slashes, and drives
    if name.anchor or '..' in name.parts:
        return 'would leave the folder'
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return 'is a link or a special file'
    return 'is encrypted' if info.flag_bits & 1 else None


def _is_extracted(path: Path, info: zipfile.ZipInfo) -> bool:
    return path.is_file() and path.stat().st_size == info.file_size and zlib.crc32(path.read_bytes()) == info.CRC


def _extract_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    try:
        with replacing(path) as partial, archive.open(info) as source, partial.open('wb') as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        raise UserError(f'{archive.filename}: member {info.filename} is damaged. Download it again') from None
    except OSError as error:
        raise UserError(f'cannot write {path}: {error.strerror}') from None
