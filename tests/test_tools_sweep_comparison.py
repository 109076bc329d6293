"""Intervals, their correction, and differences at equal parameters."""
import numpy as np
import pytest
from scipy import stats

from tests.sweeps import compare, plot, write_log, write_sweep
from tools.sweep.comparison import Difference, holm, paired


def test_p_and_the_interval_are_those_of_the_paired_t_test():
    ours = {0: 91.0, 1: 90.0, 2: 92.5}
    theirs = {0: 90.0, 1: 90.5, 2: 90.0}
    difference = paired(ours, theirs)
    expected = stats.ttest_rel(list(ours.values()), list(theirs.values()))
    assert difference.p == pytest.approx(expected.pvalue)
    low, high = difference.interval()
    assert (low + high) / 2 == pytest.approx(difference.mean)
    # an interval that ends at 0 has p = 0.05
    assert Difference(difference.mean - low, 3, difference.error).p == pytest.approx(0.05)


def test_a_corrected_interval_is_that_of_a_smaller_risk():
    difference = Difference(1.0, 3, 0.2)
    half = stats.t.ppf(1 - 0.025 / 4, 2) * 0.2
    assert difference.interval(comparisons=4) == pytest.approx((1 - half, 1 + half))


@pytest.mark.parametrize('mean, p', [(0.5, 0), (0.0, 1)])
def test_differences_without_a_spread_are_certain(mean, p):
    assert Difference(mean, 3, 0.0).p == p and Difference(mean, 3, 0.0).interval() == (mean, mean)


def test_one_pair_has_no_interval():
    assert Difference(1.0, 1, None).interval() == (None, None) and Difference(1.0, 1, None).p is None


def test_holm_corrects_the_smallest_most():
    """The example of Holm's step-down method: 4 * 0.005, 3 * 0.01, 2 * 0.03, and never less than the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == pytest.approx([1, 1])
    assert list(holm([])) == []


def test_the_table_is_corrected_for_its_intervals(tmp_path):
    write_sweep(tmp_path, {'relu': [0.10, 0.12, 0.11], 'ChaATAC': [0.09, 0.10, 0.08], 'swish': [0.05, 0.07, 0.055],
                           'elu': [0.1]})
    rows = compare(tmp_path)
    atac = rows['ChaATAC', 1]
    swish = rows['swish', 1]
    assert swish['p'] < atac['p']
    assert swish['corrected_p'] == pytest.approx(2 * swish['p']) and atac['corrected_p'] == atac['p']
    assert atac['corrected_low'] == Difference(atac['difference'], 3, 1 / 3 ** 0.5).interval(2)[0]
    assert rows['elu', 1]['corrected_p'] is rows['relu', 1]['corrected_low'] is None
    plot(tmp_path)
    assert 'Corrected for the 2 intervals of this table' in (tmp_path / 'figure.md').read_text()


def test_at_equal_parameters_what_more_of_them_bring_is_taken_off_the_paired_difference(tmp_path):
    """Of relu with seed 0, the only one of swish: 81 % at 1,000 parameters, 84 % at 2,000, 86 % at 3,000."""
    for blocks, errors in ((1, (0.19, 0.21)), (2, (0.16, 0.16)), (3, (0.14, 0.14))):
        for seed, error in enumerate(errors):
            write_log(tmp_path, [error], '--act-type', 'relu', '--blocks', str(blocks), '--seed', str(seed),
                      trainable=1000 * blocks)
    for blocks, parameters in ((1, 1500), (2, 2500), (3, 4000), (4, 500)):
        write_log(tmp_path, [0.1], '--act-type', 'swish', '--blocks', str(blocks), trainable=parameters)
    rows = compare(tmp_path)
    assert [rows['swish', blocks]['at_equal_parameters'] for blocks in (1, 2)] == pytest.approx([7.5, 5])
    # More parameters than any relu has, no relu of this depth, and the reference itself.
    assert {rows[key]['at_equal_parameters'] for key in (('swish', 3), ('swish', 4), ('relu', 2))} == {None}
    assert rows['swish', 4]['difference'] is None  # there is no relu of this depth


def test_a_line_has_only_points_of_the_same_seeds(tmp_path):
    """The accuracy depends on the seed only; relu of two blocks lacks the second seed."""
    for unit, blocks, seeds in (('relu', 1, (0, 1)), ('relu', 2, (0,)), ('relu', 3, (0, 1)), ('swish', 1, (0, 1))):
        for seed in seeds:
            write_log(tmp_path, [0.2 - 0.1 * seed], '--act-type', unit, '--blocks', str(blocks), '--seed', str(seed),
                      trainable=1000 * blocks + 500 * (unit == 'swish'))
    assert compare(tmp_path)['swish', 1]['at_equal_parameters'] == pytest.approx(0)


def test_a_line_needs_two_points(tmp_path):
    write_sweep(tmp_path, {'relu': [0.1], 'swish': [0.1]})
    assert compare(tmp_path)['swish', 1]['at_equal_parameters'] is None
    plot(tmp_path)
    assert 'equal parameters' not in (tmp_path / 'figure.md').read_text()


def test_runs_of_different_length_are_not_compared(tmp_path):
    for errors in ([0.3, 0.2], [0.3, 0.2, 0.1]):
        write_log(tmp_path, errors, '--act-type', 'relu', name=f'relu-{len(errors)}.log')
    write_log(tmp_path, [0.3, 0.05], '--act-type', 'swish')
    rows = plot(tmp_path)
    assert [(row['group'], row['epochs'], row['difference']) for row in rows] == [
        ('relu', 3, None), ('relu', 2, None), ('swish', 2, pytest.approx(15))]
    assert '| swish | 2 | 8 |' in (tmp_path / 'figure.md').read_text()


def test_published_points_are_compared_with_each_other(tmp_path):
    write_sweep(tmp_path, {'relu': [0.3], 'ChaATAC': [0.25]}, '--dataset', 'cifar100')
    rows = compare(tmp_path, '--dataset', 'cifar100', '--published')
    paper = rows['ATAC (Fig. 7, best epoch)', 1]
    assert paper['difference'] == pytest.approx(2.7)  # 76.4 - 73.7
    share = (95428 - 83700) / (180916 - 83700)
    assert paper['at_equal_parameters'] == pytest.approx(76.4 - (73.7 + share * (78.5 - 73.7)))
    assert rows['ChaATAC', 1]['difference'] == pytest.approx(5) and rows['relu', 1]['difference'] is None
    assert np.isclose(rows['ReLU (Fig. 7, best epoch)', 1]['mean'], 73.7)
