"""Kill real trainings at random moments, resume them, and look whether anything was lost or came out differently.

    python benchmarks/interruption.py results/interruption.json
    python benchmarks/interruption.py results/interruption.json --kills 100 --seed 1

Each start is `tools/train.py CONFIG --resume` on a tiny FCN with dropout, all augmentations and, by chance, two data
workers or none. It dies by SIGKILL or SIGTERM at any time or in an evaluation, by SIGKILL between any two file
operations, or in the middle of writing a checkpoint (where the system lets no file grow further). A training is killed
up to ten times and then left to its end. It must end with the files, weights, best weights, optimizer state, schedule
and log of losses of a training that was never disturbed, bit for bit. `lost` names checkpoints that were there before a
kill and not after it, files that were not whole, and a `last_checkpoint` that named none; `different` names what came
out otherwise. A disk that is full in the middle of a training comes last. `tests/test_interruption.py` holds the same
on each change.
"""

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch
from tqdm import tqdm

from mmseg_sr.atomic import replacing
from mmseg_sr.errors import command
from mmseg_sr.evaluation.provenance import provenance

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'tests'))

import killing
from tiny_config import write_config


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, metavar='FILE.json', help='where the numbers go')
    parser.add_argument('--kills', type=int, default=36, help='how many at least')
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    return parser.parse_args()


class Lives:
    """Trainings that are killed, beside one that is not."""

    def __init__(self, home: Path, seed: int):
        self.home = home
        self.config = write_config(home, extra=killing.CHANGES)
        self.generator = random.Random(seed)
        self.starts = Counter()
        self.workers = 0
        killing.live(self.run, home / 'whole', iter(()), 0)
        self.whole = killing.outcome(home / 'whole')
        self.size = (home / f'whole/iter_{killing.ITERATIONS}.pth').stat().st_size
        self.kills = killing.random_kills(self.generator, killing.seconds(home / 'whole'), self.size)

    def run(self, work: Path, kill: killing.Kill | None, log: Path) -> int:
        arguments = [self.config, '--work-dir', work, '--resume']
        arguments += ['--cfg-options', f'train_dataloader.num_workers={self.workers}']
        status = killing.by_command(arguments, kill, log)
        self.starts[self.workers] += 1
        self.workers = self.generator.choice((0, 2))
        return status

    def live(self, name: str) -> tuple[killing.Story, list[str]]:
        """Train through ten kills: how it went, and what is different in the end."""
        work = self.home / name
        story = killing.live(self.run, work, self.kills, 10)
        return story, killing.differences(killing.outcome(work), self.whole)


@command
def main() -> None:
    args = parse_args()
    with tempfile.TemporaryDirectory() as folder, tqdm(total=args.kills, unit='kill') as bar:
        lives = Lives(Path(folder), args.seed)
        stories, different = [], []
        while bar.n < args.kills:
            story, changes = lives.live(f'work{len(stories)}')
            stories.append(story)
            different += changes
            bar.update(len(story.kills))
        disk, faults = killing.fill_disk(lives.run, Path(folder, 'full'), lives.size)
        different += killing.differences(killing.outcome(Path(folder, 'full/disk/work')), lives.whole)
    kills = [(str(kill), status) for story in stories for kill, status in story.kills]
    document = {
        'command': ' '.join(['python', *sys.argv]),
        **provenance(),
        'torch': torch.__version__,
        'iterations': killing.ITERATIONS,
        'checkpoint_bytes': lives.size,
        'starts_by_data_workers': dict(sorted(lives.starts.items())),
        'trainings': len(stories),
        'kills': len(kills),
        'kills_by_kind': dict(sorted(Counter(kind for kind, _ in kills).items())),
        'exit_statuses_after_sigterm': dict(Counter(status for kind, status in kills if kind.startswith('SIGTERM'))),
        'lost': [fault for story in stories for fault in story.lost],
        'full_disk': disk,
        'lost_on_full_disk': faults,
        'different': different,
    }
    with replacing(args.out) as partial:
        partial.write_text(json.dumps(document, indent=2) + '\n')
    print(json.dumps(document))


if __name__ == '__main__':
    main()
