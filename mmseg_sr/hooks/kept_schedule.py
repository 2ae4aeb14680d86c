"""KeptSchedule: say what a resumed training keeps of its schedule and optimizer although its config was changed."""

from collections.abc import Iterator

from mmengine.hooks import Hook
from mmengine.runner import Runner

PROGRESS = {'params', 'lr', 'last_step', 'verbose'}  # of states; the rest are settings


class KeptSchedule(Hook):
    """Say what mmengine takes from a resumed checkpoint where the config has another value.

    Schedulers and the groups of the optimizer come back as they were saved, with their lengths and rates.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if not runner._resume:
            return
        schedulers, saved = runner.param_schedulers, checkpoint.get('param_schedulers')
        pairs, moved = [], set(PROGRESS)
        if isinstance(schedulers, list) and isinstance(saved, list):
            pairs += [(type(each).__name__, vars(each), state) for each, state in zip(schedulers, saved, strict=False)]
            moved |= {state.get('param_name') for state in saved}
        if 'momentum' in moved:
            moved.add('betas')  # whose first is Adam's momentum
        groups = (checkpoint.get('optimizer') or {}).get('param_groups') or []
        if groups:  # of several optimizers there are dicts of them
            pairs += [('optimizer', *each) for each in zip(runner.optim_wrapper.param_groups, groups, strict=False)]
        kept = dict.fromkeys(line for pair in pairs for line in _differences(*pair, moved))
        if kept:
            runner.logger.warning(
                f'Kept from the checkpoint, not as in the config: {", ".join(kept)}. '
                'To train by the config, start from the weights: load_from without --resume'
            )


def _differences(name: str, here: dict, there: dict, moved: set[str]) -> Iterator[str]:
    """Yield the settings, not what has ``moved``, in which a state (there) differs from what the config made (here)."""
    for key, value in there.items():
        setting = isinstance(value, (bool, int, float, str, list, tuple)) and not key.startswith('_')
        if setting and key in here and key not in moved and f'{value}'.strip('[()]') != f'{here[key]}'.strip('[()]'):
            yield f'{name}.{key} {value} (config: {here[key]})'
