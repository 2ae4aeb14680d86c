"""How the report page writes numbers and verdicts: the filters of its template."""

MINUS, NONE = '−', '–'
PERCENT = '\u00a0%'  # on the line of its number


def number(value: float | None, form: str = '.2f') -> str:
    """A number with two digits behind the point; a dash for none.

    Example:
        >>> number(-1.234), number(None), number(1234567, ',')
        ('−1.23', '–', '1,234,567')
    """
    return NONE if value is None else format(value, form).replace('-', MINUS)


def signed(value: float | None) -> str:
    """A difference, always with its sign.

    Example:
        >>> signed(0.094), signed(-1.43)
        ('+0.09', '−1.43')
    """
    return number(value, '+.2f')


def mean_std(mean: float | None, std: float | None = None) -> str:
    """A mean with its standard deviation, where there are both.

    Example:
        >>> mean_std(77.33, 0.16), mean_std(77.33), mean_std(None)
        ('77.33 ± 0.16', '77.33', '–')
    """
    return number(mean) if std is None else f'{number(mean)} ± {number(std)}'


def percent(value: float | None) -> str:
    """An overhead.

    Example:
        >>> percent(12.8449), percent(None)
        ('+12.84\xa0%', '–')
    """
    return NONE if value is None else f'{signed(value)}{PERCENT}'


def seconds(value: float | None) -> str:
    """A time; a dash for none.

    Example:
        >>> seconds(486.71)
        '487 s'
    """
    return NONE if value is None else f'{value:.0f} s'


def interval(given: dict | None) -> str:
    """A 95 % interval.

    Example:
        >>> interval({'low': -1.43, 'high': 1.62}), interval(None)
        ('−1.43 to +1.62', '–')
    """
    return NONE if not given or given['low'] is None else f'{signed(given["low"])} to {signed(given["high"])}'


def headline(row: dict) -> str:
    """The verdict on a row of a report's differences, from the interval over seeds.

    Example:
        >>> headline({'seeds': 5, 'over_seeds': {'verdict': 'not shown'}}), headline({'seeds': 1})
        ('not shown', 'one seed: no verdict')
    """
    return 'one seed: no verdict' if row['seeds'] == 1 else row['over_seeds']['verdict']


def sentence(row: dict, with_mode: bool = True) -> str:
    """Say what a difference is worth, over seeds; and in which test mode, where there are several.

    Example:
        >>> row = {'arm': 'SR', 'baseline': 'FCN', 'mode': 'slide', 'metric': 'mIoU', 'seeds': 5, 'difference': 0.094}
        >>> sentence({**row, 'over_seeds': {'low': -1.43, 'high': 1.62, 'verdict': 'not shown'}})
        'SR against FCN, slide: +0.09 mIoU over 5 seeds, 95\xa0% interval −1.43 to +1.62: not shown.'
    """
    mode = f', {row["mode"]}' if with_mode else ''
    said = f'{row["arm"]} against {row["baseline"]}{mode}: {signed(row["difference"])} {row["metric"]}'
    if row['seeds'] == 1:
        return f'{said}; {headline(row)}.'
    return f'{said} over {row["seeds"]} seeds, 95{PERCENT} interval {interval(row["over_seeds"])}: {headline(row)}.'


FILTERS = {
    'number': number,
    'signed': signed,
    'mean_std': mean_std,
    'percent': percent,
    'seconds': seconds,
    'interval': interval,
    'headline': headline,
    'sentence': sentence,
}
