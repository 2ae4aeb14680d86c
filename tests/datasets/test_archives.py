"""A broken or hostile zip file of a dataset leaves whole files only, or nothing."""

import random
import shutil
import stat
import zipfile
from pathlib import Path

import broken_files
import pytest

from mmseg_sr.datasets import archives
from mmseg_sr.errors import UserError

SPECIAL = (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK)


def zip_up(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def special(kind: int) -> zipfile.ZipInfo:
    """A member that is a link, a pipe or a device."""
    info = zipfile.ZipInfo('gtFine/train')
    info.external_attr = (kind | 0o644) << 16
    return info


@pytest.mark.filterwarnings('ignore:Duplicate name')
@pytest.mark.parametrize(
    ('bad', 'message'),
    [
        (['/gtFine/train/a.png'], 'would leave the folder'),
        (['C:/gtFine/a.png'], 'would leave the folder'),
        (['gtFine/../../a.png'], 'would leave the folder'),
        (['other/../../a.png'], 'would leave the folder'),
        (['gtFine\\..\\..\\a.png'], 'would leave the folder'),
        *(([special(kind)], 'is a link or a special file') for kind in SPECIAL),
        (['gtFine/a.png', 'gtFine/a.png'], 'occurs twice'),
        (['gtFine/a.png', 'gtFine/./a.png'], 'occurs twice'),
        (['gtFine/a.png', 'gtFine\\a.png'], 'occurs twice'),
    ],
)
def test_a_hostile_zip_is_refused_before_anything_is_written(tmp_path, bad, message):
    with zipfile.ZipFile(tmp_path / 'bad.zip', 'w') as archive:
        for name in ['gtFine/train/ulm/good.png', *bad]:
            archive.writestr(name, b'../../../etc')
    with pytest.raises(UserError, match=message):
        archives.extract([tmp_path / 'bad.zip'], tmp_path / 'out', ['gtFine'])
    assert [file.name for file in tmp_path.rglob('*')] == ['bad.zip']


def test_encrypted_files_are_refused(tmp_path):
    content = bytearray(zip_up(tmp_path / 'a.zip', {'gtFine/a.png': b'a'}).read_bytes())
    content[content.index(b'PK\1\2') + 8] |= 1
    (tmp_path / 'a.zip').write_bytes(content)
    with pytest.raises(UserError, match='is encrypted'):
        archives.extract([tmp_path / 'a.zip'], tmp_path / 'out', ['gtFine'])


def test_a_broken_zip_leaves_whole_files_only(no_hang, tmp_path):
    generator = random.Random(0)
    members = {f'gtFine/train/{number}.png': generator.randbytes(500) for number in range(5)}
    content = zip_up(tmp_path / 'whole.zip', members).read_bytes()
    variants = [*broken_files.cut(content, generator, 20), *broken_files.flipped(content, generator, 150)]
    variants += broken_files.shifted(content, generator, 20)
    assert len(variants) > 200
    refused = 0
    for kind, broken in variants:
        (tmp_path / 'a.zip').write_bytes(broken)
        no_hang()
        try:
            archives.extract([tmp_path / 'a.zip'], tmp_path / 'out', ['gtFine'])
        except UserError:
            refused += 1
        files = {path for path in tmp_path.rglob('*') if path.is_file() and path.suffix != '.zip'}
        assert all(file.read_bytes() in members.values() for file in files), kind
        shutil.rmtree(tmp_path / 'out', ignore_errors=True)
        assert sorted(path.name for path in tmp_path.iterdir()) == ['a.zip', 'whole.zip'], kind
    assert 150 < refused < len(variants)
