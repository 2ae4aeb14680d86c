"""Show a trial: the picture, the predictions, where they differ, and what the memory adds."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure
from trial import Trial, Tried

from mmseg_sr.report.charts import WIDTH
from mmseg_sr.report.gallery import View
from mmseg_sr.report.html import inline_svg, painting, photograph
from mmseg_sr.report.pictures import SAME, WORSE, Picture, colour, colour_bar, paint_changes, row_height, show_signed


def parts_of(trial: Trial, tried: Tried) -> dict:
    """Make what the page shows: ``views`` of the picture, ``memories`` by SR block, ``legend`` of the classes in it."""
    name, ours = trial.network.name, tried.scaled.prediction
    predictions = {name: ours} if tried.baseline is None else {trial.baseline.name: tried.baseline, name: ours}
    views = [View(photograph(tried.image, 'The picture.'), 'picture')]
    for network, labels in predictions.items():
        alt = f'What {network} predicts, coloured by class.'
        views.append(View(painting(colour(labels, trial.palette), alt), network))
    if tried.baseline is not None:
        views.append(_difference(f'{name} against {trial.baseline.name}', ours, tried.baseline, tried.image))
    views.append(_difference(f'{name} as scaled against as trained', ours, tried.trained.prediction, tried.image))
    present = np.unique(np.stack(list(predictions.values())))
    legend = [(trial.classes[index], trial.palette[index]) for index in present]
    return {'views': views, 'memories': list(_memories(tried)), 'legend': legend}


def _difference(pair: str, ours: np.ndarray, theirs: np.ndarray, image: np.ndarray) -> View:
    differ = ours != theirs
    caption = f'{pair}: {100 * differ.mean():.2f} % of the pixels differ'
    painted = paint_changes(np.where(differ, WORSE, SAME).astype(np.uint8), image)
    return View(painting(painted, f'Orange pixels, {caption}.'), caption)


def _memories(tried: Tried) -> Iterator[tuple[str, View]]:
    """For each SR block what it adds to its map, as trained and scaled, in the same colours."""
    picture = Picture('picture', tried.image, tried.scaled.prediction)
    for name, scaled in tried.scaled.blocks.items():
        blocks = {'as trained': tried.trained.blocks[name], 'as scaled': scaled}
        limit = max(np.abs(block.after - block.before).max() for block in blocks.values())
        figure = Figure(figsize=(WIDTH, row_height([picture]) + 0.4), layout='constrained')
        axes = figure.subplots(1, 2)
        for ax, (title, block) in zip(axes, blocks.items(), strict=True):
            title = f'{title} ({100 * block.shift:.2g} %)'
            shown = show_signed(ax, block.after - block.before, picture, title, limit)
        colour_bar(figure, shown, axes, 'mean over the channels')
        weights = ', '.join(f'{weight:.2f}' for weight in scaled.weights)
        said = (
            f'What the memory adds to the feature map (dots: negative; in brackets the norm of all of it, relative to '
            f'that of the map). Softmax weights times scales: {weights}.'
        )
        yield name, View(inline_svg(figure, f'recalled-{name}', 'Two maps: as trained, and as scaled.'), said)
