"""How many seeds: known before a training, from what is known of their spread."""

import math

import pytest
from test_markdown import Numbers, make_experiment

from mmseg_sr.errors import UserError
from mmseg_sr.experiments import settings
from mmseg_sr.experiments.plan import load
from mmseg_sr.experiments.seeds import plan_seeds, to_markdown
from mmseg_sr.metrics.power import least_gain, seeds_needed


def test_five_seeds_do_not_show_the_papers_gain(root, call):
    done = call('experiment', 'plan', root / 'experiments/table4.yaml', '--seconds', 0.5)
    assert not done.status, done.err
    document = done.document
    fcn, deeplab = document['arms']
    assert (fcn['arm'], fcn['from'], document['gain'], document['trainings']) == ('FCN+SR', 'paper', 0.2, 20)
    assert fcn['std'] == pytest.approx(math.hypot(0.16, 0.23)) and deeplab['std'] == pytest.approx(
        math.hypot(0.32, 0.19)
    )
    assert fcn['seeds_needed'] == seeds_needed(0.2, fcn['std'], arms=2)
    assert fcn['power'] < 0.25 and fcn['least_gain'] == pytest.approx(least_gain(fcn['std'], 5, 2))
    assert document['hours'] == pytest.approx(20 * 80_000 * 0.5 / 3600)
    assert fcn['hours_needed'] == pytest.approx(document['hours'] / 5 * fcn['seeds_needed'])
    assert f'| {fcn["seeds_needed"]} ' in done.out and 'Corrected for the 2 arms' in done.out
    again = call('experiment', 'plan', root / 'experiments/table4.yaml', '--gain', 2).document
    assert again['arms'][0]['power'] > 0.9 and again['hours'] is None and again['arms'][0]['hours_needed'] is None


def test_seeds_that_were_run_go_before_the_papers(tmp_path, monkeypatch):
    exp = make_experiment(tmp_path)
    rows = Numbers(exp).rows
    monkeypatch.setattr(settings, 'resolve', lambda arm: None)
    monkeypatch.setattr(settings, 'max_iterations', lambda cfg: 10)
    document = plan_seeds(exp, rows, 0.2)
    assert document['arms'][0]['from'] == '5 seeds'
    assert document['hours'] == pytest.approx(5 * (100 + 105 + 100) / 3600), 'as logged'
    assert plan_seeds(exp, rows, 0.2, std=0.3)['arms'][0]['std'] == 0.3
    assert plan_seeds(exp, rows[:3], 0.2)['arms'][0]['from'] == 'paper', 'one seed has no spread'
    assert 'no verdict' in to_markdown(plan_seeds(make_experiment(tmp_path, seeds=2), rows, 0.2))


def test_without_a_spread_it_says_what_to_give(root):
    exp = load(root / 'experiments/camvid_cpu.yaml', '/nowhere')
    with pytest.raises(UserError, match='run two seeds first, or give its standard deviation by --std'):
        plan_seeds(exp, [], 0.2)
    assert plan_seeds(exp, [], 1.0, std=1.0)['arms'][0]['seeds_needed'] > 10
