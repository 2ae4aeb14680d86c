"""What a page shows of a trial: pictures, where predictions differ, what the memory adds."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure
from trial import Trial, Tried

from mmseg_sr.report.gallery import View
from mmseg_sr.report.html import drawing, painting, photograph
from mmseg_sr.report.pictures import SAME, WORSE, Picture, colour, colour_bar, paint_changes, row_height, show_signed


def parts_of(trial: Trial, tried: Tried) -> dict:
    """What the page shows of a trial: ``views`` of the picture, ``memories`` by SR block, ``legend`` of its classes."""
    name = trial.network.name
    ours, trained, theirs = tried.scaled.prediction, tried.trained.prediction, tried.baseline
    predictions = {name: ours} if theirs is None else {trial.baseline.name: theirs, name: ours}
    views = [View(photograph(tried.image, 'The picture.'), 'picture')]
    for network, labels in predictions.items():
        alt = f'What {network} predicts, coloured by class.'
        views.append(View(painting(colour(labels, trial.palette), alt), network))
    if theirs is not None:
        views.append(_difference(f'{name} against {trial.baseline.name}', ours, theirs, tried.image))
    views.append(_difference(f'{name} as scaled against as trained', ours, trained, tried.image))
    present = np.unique(np.stack(list(predictions.values())))
    return {
        'views': views,
        'memories': list(_memories(tried)),
        'legend': [(trial.classes[index], '#{:02x}{:02x}{:02x}'.format(*trial.palette[index])) for index in present],
    }


def _difference(pair: str, ours: np.ndarray, theirs: np.ndarray, image: np.ndarray) -> View:
    differ = ours != theirs
    caption = f'{pair}: {100 * differ.mean():.2f} % of the pixels differ'
    painted = paint_changes(np.where(differ, WORSE, SAME).astype(np.uint8), image)
    return View(painting(painted, f'Orange pixels, {caption}.'), caption)


def _memories(tried: Tried) -> Iterator[tuple[str, View]]:
    """For each SR block what it adds to its map, as trained and scaled, in the same colours."""
    picture = Picture('picture', tried.image, tried.scaled.prediction)
    for name, scaled in tried.scaled.blocks.items():
        trained = tried.trained.blocks[name]
        maps = {'as trained': trained, 'as scaled': scaled}
        added = {title: seen.after - seen.before for title, seen in maps.items()}
        limit = max(np.abs(each).max() for each in added.values())
        figure = Figure(figsize=(7, row_height([picture]) * 1.5), layout='constrained')
        axes = figure.subplots(1, 2)
        for ax, (title, values) in zip(axes, added.items(), strict=True):
            shown = show_signed(ax, values, picture, f'{title} ({100 * maps[title].shift:.2g} %)', limit)
        colour_bar(figure, shown, axes, 'mean over the channels')
        weights = ', '.join(f'{weight:.2f}' for weight in scaled.weights)
        said = (
            f'What the memory adds to the feature map (dots: negative; in brackets the norm of all of it, relative to '
            f'that of the map). Softmax weights times scales: {weights}.'
        )
        yield name, View(drawing(figure, f'Two maps. {said}'), said)
