"""Train, publish and record the networks whose weights lie in checkpoints/: one command, reproducible on a CPU.

    python scripts/release.py
    python scripts/release.py --arms FCN+scene

Draws mini-Cityscapes with 192 frames to train on, trains and tests what experiments/released.yaml says, publishes the
last checkpoint of each network, tests the published file again and writes

    checkpoints/*.safetensors               the weights, instead of older ones of the same name
    results/released.json                   what they reach, on which data, trained how, where and when
    configs/mini_cityscapes/metafile.yaml   the same numbers as model-index entries

With --arms, of these networks alone: the others' weights, records and entries stay as they are. Each network with SR
blocks is tested without them too, which says what its memory is worth.

Everything else goes to work_dirs/released; what is done there is kept, so an interrupted run goes on. The record says
how long a training takes. The last line of the output is results/released.json as one line.
"""

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from mmseg_sr.atomic import replacing
from mmseg_sr.checkpoints.publish import publish
from mmseg_sr.checkpoints.reading import DIGEST
from mmseg_sr.config import load_config
from mmseg_sr.datasets.cityscapes import prepare
from mmseg_sr.errors import UserError, command
from mmseg_sr.experiments.plan import Experiment, load
from mmseg_sr.experiments.results import rows, training_dir
from mmseg_sr.experiments.run import run
from mmseg_sr.mini_cityscapes import draw_mini_cityscapes
from mmseg_sr.openmmlab import SCHEME
from mmseg_sr.provenance import pixels_sha256
from mmseg_sr.runs.launch import test

ROOT = Path(__file__).resolve().parents[1]
WORK = Path('work_dirs/released')  # below ROOT; the published configs name it, so it must not be a path of one machine
CHECKPOINTS = Path('checkpoints')
METAFILE = Path('configs/mini_cityscapes/metafile.yaml')
RESULTS = Path('results/released.json')
FRAMES = {'train': 192, 'val': 16}  # of val as many as tools/make_mini_cityscapes.py draws by default
DIGITS = 2  # of the metafile's percents
KEPT = ('seed', 'iterations', 'parameters', 'metrics', 'train_seconds', 'commit', 'machine', 'versions', 'date')


def train(data: Path, arms: Sequence[str]) -> Experiment:
    """Run these arms of the experiment, all of them where none is named, on drawn streets."""
    draw_mini_cityscapes(data, **FRAMES)
    prepare([data], data, subset=True)
    os.environ['MINI_CITYSCAPES_ROOT'] = str(data)
    exp = load(ROOT / 'experiments/released.yaml', WORK)
    if unknown := set(arms) - set(exp.arms):
        raise UserError(f'--arms: {", ".join(sorted(unknown))} is none of {", ".join(exp.arms)}')
    exp = replace(exp, arms={name: exp.arms[name] for name in arms or exp.arms})
    failures = run(exp)
    if failures:
        raise UserError('\n'.join(map(str, failures)))
    return exp


def release(exp: Experiment, row: dict) -> dict:
    """Publish the network of a row, and see that the published weights reach what the trained ones did."""
    arm = exp.arms[row['arm']]
    trained = training_dir(exp, arm, row['seed']) / f'iter_{row["iterations"]}.pth'
    with tempfile.TemporaryDirectory() as folder:
        published = publish(trained, folder, arm.config.stem, metrics=row['metrics'])['.safetensors']
        cfg = load_config(arm.config, {'work_dir': str(WORK / 'published')})
        metrics = test(cfg, published['path'])
        if metrics != row['metrics']:  # every class is in val, so no number is missing
            raise UserError(f'published, {trained} reaches {metrics}, and before {row["metrics"]}')
        removed = test(cfg, published['path'], without_sr=True) if row['parameters']['sr'] else None
        weights = CHECKPOINTS / Path(published['path']).name
        with replacing(weights) as partial:
            shutil.copyfile(published['path'], partial)
    for older in CHECKPOINTS.glob('*.safetensors'):
        if older != weights and DIGEST.sub('', older.stem) == arm.config.stem:
            older.unlink()
    sizes = {key: published[key] for key in ('sha256', 'bytes')}
    document = {'config': row['config'], 'weights': weights.as_posix(), **sizes, **{key: row[key] for key in KEPT}}
    return document | ({'without_sr': removed} if removed else {})


def index(models: list[dict]) -> None:
    """Write weights and results of the released models into the metafile."""
    document = yaml.safe_load(METAFILE.read_text(encoding='utf-8'))
    entries = {entry['Config']: entry for entry in document['Models']}
    for model in models:
        numbers = {name: round(model['metrics'][name], DIGITS) for name in ('mIoU', 'mAcc')}
        entries[model['config']]['Results'] = [
            {
                'Task': 'Semantic Segmentation',
                'Dataset': 'mini-Cityscapes',
                'Metrics': numbers,
                'Source': RESULTS.as_posix(),
            }
        ]
        entries[model['config']]['Weights'] = f'{SCHEME}{model["weights"]}'
    with replacing(METAFILE) as partial:
        partial.write_text(yaml.safe_dump(document, sort_keys=False), encoding='utf-8')


def merged(before: dict, document: dict) -> dict:
    """Put the records of the models that were made anew in the place of those before, or after them.

    Raises:
        UserError: Where the streets are others: all numbers of a record are of the same images.
    """
    if before['data'] != document['data']:
        raise UserError(f'the streets differ from those of {RESULTS}: release all networks, without --arms')
    models = {model['config']: model for model in (*before['models'], *document['models'])}
    return {**before, 'models': list(models.values())}


@command
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--arms', nargs='+', default=[], metavar='ARM', help='of experiments/released.yaml')
    args = parser.parse_args()
    os.chdir(ROOT)
    data = WORK / 'data'
    exp = train(data, args.arms)
    document = {
        'command': 'python scripts/release.py',
        'data': {
            **FRAMES,
            'val_images_sha256': pixels_sha256(data / 'leftImg8bit/val'),
            'val_labels_sha256': pixels_sha256(data / 'gtFine/val', '**/*_labelTrainIds.png'),
        },
        'models': [release(exp, row) for row in rows(exp)],
    }
    if args.arms:
        document = merged(json.loads(RESULTS.read_text(encoding='utf-8')), document)
    with replacing(RESULTS) as partial:
        partial.write_text(json.dumps(document, indent=1, allow_nan=False) + '\n', encoding='utf-8')
    index(document['models'])
    print(json.dumps(document))


if __name__ == '__main__':
    main()
