"""What an experiment, or a training, has left on this machine, put together for its report page."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mmengine.config import Config

from ..errors import UserError
from ..experiments import results as rows
from ..experiments import settings
from ..experiments.logs import scalars
from ..experiments.numbers import METRICS, summarize
from ..experiments.plan import Arm, Experiment, Mode
from ..experiments.results import training_dir
from .gallery import Network, look
from .page import Page

MODEL, BASELINE = 'model', 'baseline'


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        name: ``MODEL`` or ``BASELINE``.
        config: As given.
        cfg: As read, with options.
        checkpoint: File of the weights.
        metrics: What ``tools/test.py --metrics`` writes, or has written.
    """

    name: str
    config: str
    cfg: Config
    checkpoint: str
    metrics: Path

    @property
    def folder(self) -> Path:
        """Work directory of its training."""
        return Path(self.checkpoint).parent


def experiment_of(networks: Sequence[Trained], options: Mapping, work_dir: Path) -> Experiment:
    """Take a model, and a baseline if there is one, for an experiment of one seed and mode.

    Confusion matrices are read from where :func:`confusion_file` says, if they are there.

    Args:
        networks: The model, alone or after the baseline.
        options: ``--cfg-options`` for both.
        work_dir: Folder of the confusion matrices.

    Raises:
        UserError: For metrics that are none, of another checkpoint, or of different test modes.
    """
    modes = {_document(network)['mode'] for network in networks}
    if len(modes) > 1:
        raise UserError(f'the model and the baseline were tested in different modes: {" and ".join(sorted(modes))}')
    arms = {
        each.name: Arm(each.name, Path(each.config).resolve(), each.config, options, networks[0].name, {})
        for each in networks
    }
    config = Path(networks[-1].config)
    return Experiment(config.stem, config, work_dir, networks[0].name, arms, (0,), (Mode(modes.pop()),))


def confusion_file(work_dir: Path, name: str, mode: str = 'single-scale') -> Path:
    """Where the confusion matrices of a network are, as those of an experiment."""
    return work_dir / name / 'seed0/test' / f'{Mode(mode).slug}-.npz'


def document_of(exp: Experiment, networks: Sequence[Trained]) -> dict:
    """Work out the report of :func:`experiment_of`: see :func:`.summary.summarize`."""
    return summarize(exp, [row_of(network) for network in networks], partial(rows.read_areas, exp))


def row_of(network: Trained) -> dict:
    """The row of a network, as in an experiment of one seed."""
    document = _document(network)
    iterations = (network.cfg.get('train_cfg') or {}).get('max_iters')
    return {
        'arm': network.name,
        'seed': 0,
        'mode': document['mode'],
        'fingerprint': '',
        'parameters': settings.count_parameters(network.cfg),
        'metrics': document['metrics'],
        'train_seconds': rows.training_seconds(network.folder, iterations) if isinstance(iterations, int) else None,
        'test_seconds': document.get('seconds'),
        **{key: document.get(key) for key in ('commit', 'machine', 'versions', 'date')},
    }


def _document(network: Trained) -> dict:
    """What tools/test.py wrote of a network."""
    document = rows.read_json(network.metrics)
    if not isinstance(document, dict) or not {'checkpoint', 'mode', 'metrics'} <= document.keys():
        raise UserError(f'{network.metrics} is not what tools/test.py --metrics writes')
    missing = [metric for metric in METRICS if document['metrics'].get(metric) is None]
    if missing:
        raise UserError(f'{network.metrics} has no {", ".join(missing)}: the report needs an IoUMetric')
    if Path(document['checkpoint']).name != Path(network.checkpoint).name:
        raise UserError(f'{network.metrics} is of another checkpoint: {document["checkpoint"]}')
    return document


def experiment_page(exp: Experiment, document: dict, pictures: int = 3, images: int = 20) -> Page:
    """Make the page of an experiment, with pictures and memories of its first seed.

    Args:
        exp: The experiment.
        document: Its report: see :func:`..evaluation.report.document_of`.
        pictures: Number of images to predict.
        images: Number of images for the figures of the memory.

    Raises:
        UserError: For a config that cannot be read.
    """
    arms = sorted(exp.arms.values(), key=lambda arm: arm.name != arm.baseline)  # baselines first
    networks = []
    for arm in arms:
        cfg = settings.resolve(arm)
        checkpoint = training_dir(exp, arm, exp.seeds[0]) / f'iter_{settings.max_iterations(cfg)}.pth'
        networks.append(Network(arm.name, arm.baseline, cfg, checkpoint))
    work = f' --work-dir {shlex.quote(str(exp.work_dir))}'
    return Page(
        title=exp.name,
        document=document,
        commands=[document['command'] + work, f'python tools/report_page.py {exp.path}{work}'],
        sources=sources([exp.path.resolve(), *(arm.config for arm in exp.arms.values())]),
        curves={arm.name: [scalars(training_dir(exp, arm, seed)) for seed in exp.seeds] for arm in arms},
        gallery=look(networks, pictures, images),
    )


def checkpoint_page(
    exp: Experiment, document: dict, networks: Sequence[Trained], pictures: int = 3, images: int = 20
) -> Page:
    """Make the page of a checkpoint, beside its baseline or alone.

    Args:
        exp: What :func:`..evaluation.checkpoints.experiment_of` makes of them.
        document: Its report.
        networks: The checkpoint, alone or after its baseline.
        pictures: Number of images to predict.
        images: Number of images for the figures of the memory.
    """
    first, last = networks[0], networks[-1]
    words = ['python', 'tools/report_page.py', last.config, last.checkpoint]
    words += ['--baseline', first.config, first.checkpoint] if first is not last else []
    options = exp.arms[last.name].options
    words += ['--cfg-options', *(f'{key}={value!r}' for key, value in options.items())] if options else []
    scores = row_of(last)['metrics'] if first is last else {}
    return Page(
        title=exp.name,
        document=document,
        commands=[shlex.join(words)],
        sources=sources([Path(each.config).resolve() for each in networks]),
        curves={each.name: [scalars(each.folder)] for each in networks},
        gallery=look(
            [Network(each.name, first.name, each.cfg, each.checkpoint) for each in networks], pictures, images
        ),
        scores={key.removeprefix('IoU.'): value for key, value in scores.items() if key.startswith('IoU.')},
    )


def sources(paths: Sequence[Path]) -> dict[str, str]:
    """Read files to be shown, each once, by their names and those of their folders."""
    return {f'{path.parent.name}/{path.name}': path.read_text(encoding='utf-8', errors='replace') for path in paths}
