"""Packaging of mmseg_sr. The OpenMMLab packages are extras, because two lines share their import names."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r"^__version__ = '(.+)'$", (ROOT / 'mmseg_sr/__init__.py').read_text(), re.M).group(1)

setup(
    name='mmseg-sr',
    version=VERSION,
    description='The Squeeze-and-Remember block for MMSegmentation',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='The mmseg_sr contributors',
    license='Apache-2.0',
    keywords='semantic segmentation, memory, mmsegmentation, pytorch',
    classifiers=[
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    packages=find_packages(include=['mmseg_sr', 'mmseg_sr.*']),
    package_data={'mmseg_sr.visualization': ['templates/*']},
    python_requires='>=3.10',
    install_requires=[
        'torch>=2.6',  # reads checkpoints with an allow-list of names
        'numpy<2.4',  # cityscapesscripts 2.3.0 calls np.in1d, gone in numpy 2.4
        'cityscapesscripts>=2.2.4',
        'jinja2',
        'matplotlib',
        'pillow',
        'pyyaml',
        'safetensors>=0.4',
        'scipy>=1.15',
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
        ],
        'dev': ['pytest>=8', 'hypothesis>=6.100', 'ruff==0.17.6', 'selenium', 'tensorboard', 'wandb'],
    },
)
