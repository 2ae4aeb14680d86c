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


def zip_up(path: Path, members: dict[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize('kind', [stat.S_IFIFO, stat.S_IFCHR, stat.S_IFLNK, stat.S_IFSOCK])
def test_special_files_are_refused(kind, tmp_path):
    info = zipfile.ZipInfo('gtFine/a.png')
    info.external_attr = (kind | 0o644) << 16
    with pytest.raises(UserError, match='is a link or a special file'):
        archives.extract([zip_up(tmp_path / 'a.zip', {info: b'a'})], tmp_path / 'out', ['gtFine'])


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
