"""Collect the results, logs, pictures and config files of a run for its report page."""

import filecmp
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmengine.config import Config

from ..checkpoints.saving import BEST
from ..config import dataset_of, leaf_datasets
from ..errors import UserError
from ..experiments import settings
from ..experiments.logs import scalars
from ..experiments.numbers import summarize
from ..experiments.plan import Arm, Experiment, Mode, Primary
from ..experiments.results import areas_in, plain_metrics, read_json, training_dir, training_seconds
from ..metrics.tasks import task_of
from ..names import released
from .gallery import Network, look
from .page import Page


def experiment_page(exp: Experiment, document: dict, pictures: int | None = None, images: int = 20) -> Page:
    """Make the page of an experiment, with pictures and memories of its first seed: see :func:`.gallery.look`.

    ``document`` is its report: see :func:`mmseg_sr.experiments.markdown.document_of`.
    """
    arms = sorted(exp.arms.values(), key=lambda arm: arm.name != arm.baseline)  # baselines first
    networks = []
    for arm in arms:
        cfg = settings.resolve(arm)
        tested = BEST if exp.checkpoint == 'best' else f'iter_{settings.max_iterations(cfg)}.pth'
        networks.append(Network(arm.name, arm.baseline, cfg, training_dir(exp, arm, exp.seeds[0]) / tested))
    work = ['--work-dir', str(exp.work_dir)]
    again = ['python', 'tools/report_page.py', str(exp.path), *work]
    return Page(
        title=title_of(networks, len(exp.seeds)),
        document=document,
        commands=[f'{document["command"]} {shlex.join(work)}', shlex.join(again)],
        sources=_texts([exp.path.resolve(), *(arm.config for arm in exp.arms.values())]),
        curves={arm.name: [scalars(training_dir(exp, arm, seed)) for seed in exp.seeds] for arm in arms},
        gallery=look(networks, pictures, images),
    )


def checkpoint_page(
    networks: Sequence[Network], tests: Mapping, command: str, pictures: int | None, images: int
) -> Page:
    """Make the page of a checkpoint, after its baseline or alone, as of an experiment with one seed.

    ``tests`` has the files that ``tools/test.py`` wrote of each by ``--metrics`` and ``--confusion``, by its name. The
    second need not exist: there are no intervals over images then. ``command`` makes the page again.
    """
    first, last = networks[0], networks[-1]
    rows = [_row(each, _read_test(tests[each.name][0], each.checkpoint)) for each in networks]
    modes = sorted({row['mode'] for row in rows})
    if len(modes) > 1:
        raise UserError(f'the model and the baseline were tested in different modes: {" and ".join(modes)}')
    files = {each.name: Path(each.cfg.filename).resolve() for each in networks}
    arms = {
        name: Arm(name=name, config=file, written=str(file), options={}, baseline=first.name, paper={})
        for name, file in files.items()
    }
    task = task_of(*rows[0]['metrics'])
    path, primary = files[last.name], Primary(task.metrics[0], modes[0], (last.name,) if first is not last else ())
    exp = Experiment(path.stem, path, path.parent, first.name, arms, (0,), (Mode(modes[0]),), primary)
    scores, prefix = rows[0]['metrics'] if first is last else {}, f'{task.of_class}.'
    return Page(
        title=title_of(networks, 1),
        document=summarize(exp, rows, lambda row: areas_in(tests[row['arm']][1], row)),
        commands=[command],
        sources=_texts(files.values()),
        curves={each.name: [scalars(Path(each.checkpoint).parent)] for each in networks},
        gallery=look(networks, pictures, images),
        scores={key.removeprefix(prefix): value for key, value in scores.items() if key.startswith(prefix)},
    )


def title_of(networks: Sequence[Network], seeds: int) -> str:
    """Say what is compared: networks, their architecture, data, seeds."""
    ours = dict.fromkeys(each.name for each in networks if each.name != each.baseline)
    theirs = dict.fromkeys(each.baseline for each in networks)
    kinds = dict.fromkeys(_architecture(each.cfg) for each in networks if each.name == each.baseline)
    compared = f'{_and(ours)} against {_and(theirs)}: ' if ours else ''
    return f'{compared}{_and(kinds)} on {_data(networks[0].cfg)}, {seeds} seed{"s" * (seeds != 1)}'


def _and(names: Iterable[str]) -> str:
    *first, last = names
    return f'{", ".join(first)} and {last}' if first else last


def _architecture(cfg: Config) -> str:
    """Name decode head and backbone; of a classifier the backbone."""
    model, backbone = cfg.model, cfg.model.get('backbone', {})
    heads, inner = model.get('decode_head', model), backbone.get('backbone', backbone)
    head = _kind(heads[-1] if isinstance(heads, list) else heads).removesuffix('Head')
    kind = _kind(inner) + f'-{inner.get("depth")}' * ('depth' in inner)
    names = ' with '.join(name for name in ('' if 'head' in model else head, kind) if name)
    return names + ' and SR' * (settings.count_parameters(cfg)['sr'] > 0)


def _kind(node: Mapping) -> str:
    kind = node.get('type', '')
    return getattr(kind, '__name__', kind).rpartition('.')[2]


def _data(cfg: Config) -> str:
    """Name the data: as the config's name does, where it is like mmseg's, else as their folder."""
    *_, data = fields = Path(cfg.filename).stem.split('_')
    leaf = leaf_datasets(dataset_of(cfg, 'test_dataloader'))[0]
    return data if len(fields) > 3 else Path(leaf.get('data_root') or '').name or _kind(leaf)


def _read_test(path: Path, checkpoint: str | Path) -> dict:
    document = read_json(path)
    if document is None or not {'checkpoint', 'mode', 'metrics'} <= document.keys():
        raise UserError(f'{path} is not what tools/test.py --metrics writes')
    document['metrics'] = plain_metrics(document)
    wanted = task_of(*document['metrics']).metrics
    missing = [metric for metric in wanted if document['metrics'].get(metric) is None]
    if missing:
        raise UserError(f'{path} has no {", ".join(missing)}: the report needs an IoUMetric, or a ClassAccuracy')
    if not _is_same(document['checkpoint'], checkpoint):
        raise UserError(f'{path} is of another checkpoint: {document["checkpoint"]}')
    if document.get('without_sr'):
        raise UserError(f'{path} is of a test without SR blocks, by --without-sr')
    return document


def _is_same(tested: str, checkpoint: str | Path) -> bool:
    """Tell whether a checkpoint was tested: by the files, where both are there, as most trainings end in one name."""
    files = [Path(released().get(str(each), each)) for each in (tested, checkpoint)]
    if all(file.is_file() for file in files):
        return files[0].samefile(files[1]) or filecmp.cmp(*files, shallow=False)
    return files[0].name == files[1].name


def _row(network: Network, test: dict) -> dict:
    iterations = (network.cfg.get('train_cfg') or {}).get('max_iters')
    folder = Path(network.checkpoint).parent
    return {
        **{key: test.get(key) for key in ('mode', 'metrics', 'commit', 'machine', 'versions', 'date')},
        'arm': network.name,
        'seed': 0,
        'parameters': settings.count_parameters(network.cfg),
        'train_seconds': training_seconds(folder, iterations) if isinstance(iterations, int) else None,
        'test_seconds': test.get('seconds'),
    }


def _texts(paths: Iterable[Path]) -> dict[str, str]:
    return {f'{path.parent.name}/{path.name}': path.read_text(encoding='utf-8', errors='replace') for path in paths}
