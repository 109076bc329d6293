"""The numbers of plot_sweep, of our runs and of the paper, and the files that hold them."""
import csv
import glob
import os
import shlex

import numpy as np
import pytest

from model import complexity, get_model
from tests.sweeps import compare, plot, refusal, write_log, write_sweep
from tools import ROOT
from tools.sweep import plot_sweep, tables
from tools.sweep.lines import PUBLISHED

T_2 = 4.302652729911275  # 97.5 % quantile of Student's t with 2 degrees of freedom, from a table


def test_the_table_has_mean_std_and_the_paired_interval(tmp_path):
    write_sweep(tmp_path, {'relu': [0.10, 0.12, 0.11], 'ChaATAC': [0.09, 0.10, 0.08], 'swish': [0.05, 0.07, 0.055]})
    rows = compare(tmp_path)
    assert list(rows) == [('relu', 1), ('swish', 1), ('ChaATAC', 1)]
    relu = rows['relu', 1]
    atac = rows['ChaATAC', 1]
    swish = rows['swish', 1]
    assert relu['mean'] == pytest.approx(89) and relu['std'] == pytest.approx(1) and relu['difference'] is None
    assert atac['mean'] == pytest.approx(91) and atac['std'] == pytest.approx(np.std([91, 90, 92], ddof=1))
    # differences 1, 2, 3: mean 2, std 1
    assert atac['difference'] == pytest.approx(2) and atac['pairs'] == atac['n'] == 3
    assert atac['low'] == pytest.approx(2 - T_2 / 3 ** 0.5) and atac['high'] == pytest.approx(2 + T_2 / 3 ** 0.5)
    assert atac['contains_0'] == 'yes'
    # differences 5, 5, 5.5
    assert swish['low'] == pytest.approx(15.5 / 3 - T_2 * np.std([5, 5, 5.5], ddof=1) / 3 ** 0.5)
    assert swish['contains_0'] == 'no'
    assert (relu['depth'], relu['trainable_parameters'], relu['seeds']) == (8, 1004, [0, 1, 2])
    assert relu['accuracies'] == pytest.approx([90, 88, 89])


def test_csv_and_markdown_say_the_same_as_the_rows(tmp_path, capsys):
    write_sweep(tmp_path, {'relu': [0.10, 0.12, 0.11], 'ChaATAC': [0.09, 0.10, 0.08], 'elu': [0.13]})
    plot(tmp_path)
    with open(tmp_path / 'figure.csv', newline='') as file:
        elu, relu, atac = csv.DictReader(file)
    assert (relu['mean'], relu['std'], relu['difference'], relu['low']) == ('89.000000', '1.000000', '', '')
    assert (atac['difference'], atac['low'], atac['contains_0']) == ('2.000000', '%.6f' % (2 - T_2 / 3 ** 0.5), 'yes')
    assert (atac['seeds'], atac['accuracies']) == ('0 1 2', '91.000000 90.000000 92.000000')
    assert (elu['n'], elu['std'], elu['difference'], elu['pairs'], elu['low']) == ('1', '', '-3.000000', '1', '')
    text = (tmp_path / 'figure.md').read_text()
    assert '| ChaATAC | 8 | 1,007 | 3 | 91.00 | 1.00 | +2.00 | 3 | [-0.48, +4.48] | yes |' in text
    assert '| relu | 8 | 1,004 | 3 | 89.00 | 1.00 | - | - | - | - |' in text
    assert '| elu | 8 | 1,003 | 1 | 87.00 | - | -3.00 | 1 | - | - |' in text
    assert text in capsys.readouterr().out and 'last epoch' in text


def test_differences_are_of_equal_seeds(tmp_path):
    write_sweep(tmp_path, {'relu': [0.1, 0.1, 0.1]})
    for seed, error in ((1, 0.08), (2, 0.06), (7, 0.5)):
        write_log(tmp_path, [error] * 2, '--act-type', 'swish', '--seed', str(seed))
    write_log(tmp_path, [0.2] * 2, '--act-type', 'elu', '--seed', '9')
    rows = compare(tmp_path)
    swish = rows['swish', 1]
    elu = rows['elu', 1]
    assert swish['n'] == 3 and swish['pairs'] == 2 and swish['difference'] == pytest.approx(3)
    assert elu['pairs'] == 0 and elu['difference'] is None and elu['low'] is None


def test_the_last_epoch_counts_unless_the_best_is_asked_for(tmp_path):
    write_log(tmp_path, [0.3, 0.1, 0.2], '--act-type', 'relu')
    assert compare(tmp_path)['relu', 1]['mean'] == pytest.approx(80)
    assert compare(tmp_path, '--score', 'best')['relu', 1]['mean'] == pytest.approx(90)
    plot(tmp_path, '--score', 'best', '--x', 'depth')
    assert 'best epoch' in (tmp_path / 'figure.md').read_text()


def test_another_reference(tmp_path, capsys):
    write_sweep(tmp_path, {'relu': [0.10], 'swish': [0.08], 'ChaATAC': [0.07]})
    write_log(tmp_path, [0.5, 0.06], '--act-type', 'ChaATAC', '--r', '4')
    assert compare(tmp_path, '--reference', 'swish')['relu', 1]['difference'] == pytest.approx(-2)
    assert compare(tmp_path, '--reference', 'ChaATAC, r 4')['relu', 1]['difference'] == pytest.approx(-4)
    folder = str(tmp_path)
    out = str(tmp_path / 'other')
    assert "any of 'ChaATAC, r 2', 'ChaATAC, r 4'" in refusal(capsys, folder, '--out', out, '--reference', 'ChaATAC')
    assert 'there are ChaATAC, r 2; ChaATAC, r 4' in refusal(capsys, folder, '--out', out, '--reference', 'rely')
    compare(tmp_path, '--reference', 'mish')
    assert 'no run of mish was selected: there are no differences' in capsys.readouterr().err


def test_published_parameters_are_those_of_our_networks():
    networks = {'ReLU': dict(act_type='relu'), 'SELU': dict(act_type='selu'), 'Swish': dict(act_type='swish'),
                'xUnit': dict(act_type='xUnit'), 'ATAC': dict(act_type='ChaATAC'), 'ResNet': dict(act_type='relu'),
                'ATAC-ResNet': dict(act_type='ChaATAC'), 'SENet': dict(act_type='SE-ReLU')}
    with open(PUBLISHED, newline='') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({tuple(row.values())[:4] for row in rows}) == 84
    for row in rows:
        blocks = int(row['blocks'])
        classes = {'cifar10': 10, 'cifar100': 100}[row['dataset']]
        assert 0.7 < float(row['accuracy']) < 0.95 and row['reading_error'] in ('0.0003', '0.0005')
        if blocks <= 2:  # every further block of a stage adds the same
            model = 'ge_cifar_resnet' if row['network_or_unit'] == 'GENet-theta' else 'cifar_resnet'
            net = get_model(model, blocks=blocks, classes=classes, **networks.get(row['network_or_unit'], {}))
            assert complexity.parameters(net)[1] == int(row['trainable_parameters'])
    for name in {row['network_or_unit'] for row in rows}:
        for dataset in ('cifar10', 'cifar100'):
            counts = [int(row['trainable_parameters']) for row in rows
                      if (row['network_or_unit'], row['dataset']) == (name, dataset)]
            assert len(set(np.diff(counts[:4]))) == 1


def test_published_points_stand_beside_ours_and_alone(tmp_path, capsys):
    write_log(tmp_path, [0.1], '--act-type', 'ChaATAC', '--dataset', 'cifar10')
    rows = compare(tmp_path, '--published', '--dataset', 'cifar10')
    assert len(rows) == 25 and rows['ATAC (Fig. 7, best epoch)', 4]['mean'] == pytest.approx(94.1)
    assert rows['ATAC (Fig. 7, best epoch)', 4]['trainable_parameters'] == 415498
    rows = compare(tmp_path, '--published', '8', '--dataset', 'cifar100')
    assert len(rows) == 18 and rows['SENet (Fig. 8, best epoch)', 1]['mean'] == pytest.approx(75.2)
    assert 'dataset is cifar10, not cifar100' in capsys.readouterr().err


def test_published_points_alone_are_not_said_to_be_of_seeds(tmp_path):
    plot(tmp_path, '--published', '--dataset', 'cifar10', '--x', 'depth')
    assert (tmp_path / 'figure.md').read_text().endswith('\n%s\n' % tables.PUBLISHED_NOTE)


@pytest.mark.parametrize('flags,says', [
    (['--dataset', 'fashion-mnist'], 'not fashion-mnist'), ([], 'choose one with --dataset'),
    (['--dataset', 'cifar100', '--label-set', 'fine'], '20 coarse labels'),
    (['--dataset', 'cifar10', '--x', 'r'], '--x parameters, depth or both')])
def test_published_points_are_refused_where_they_do_not_compare(tmp_path, capsys, flags, says):
    assert says in refusal(capsys, str(tmp_path), '--published', *flags)


@pytest.mark.parametrize('path', sorted(glob.glob(os.path.join(ROOT, 'logs', 'figures', '*.md'))), ids=os.path.basename)
def test_the_tables_of_this_repository_are_what_their_commands_print(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    with open(path) as file:
        text = file.read()
    command = shlex.split(text.splitlines()[0][len(tables.MARKDOWN_BEGINS):-len('-->')])
    args = plot_sweep.parse_args(command)
    found = plot_sweep.compare(args)
    assert tables.markdown(tables.rows_of(found.references), command, found.title, args.reference, args.score) == text
