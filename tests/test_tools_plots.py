"""Figures and tables from logs: tools.plot_sweep, tools.plot_run."""
import csv
import os

import matplotlib.text
import mxnet as mx
import numpy as np
import pytest
from matplotlib.figure import Figure

import train_cifar
from cli.build import options_of
from cli.exits import run_script
from model import ACTIVATIONS, complexity, get_model
from tools import figures
from tools.sweep import groups, plot_run, plot_sweep
from training.runlog import RunLog

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
T_2 = 4.302652729911275  # 97.5 % quantile of Student's t with 2 degrees of freedom, from a table


def write_log(folder, errors, *flags, name=None, num_epochs=None, without=(), trainable=None):
    """The log of a run of train_cifar.py with these flags and validation errors (fractions); returns its path."""
    args = train_cifar.parse_args(['--dataset', 'fashion-mnist', '--blocks', '1', '--useReLU', *flags])
    run = train_cifar.run_of(args)
    options = dict(run.options, num_epochs=num_epochs or len(errors), train_images=60000)
    path = os.path.join(str(folder), name or os.path.basename(run.logging_file))
    log = RunLog(path)
    log.header('', {key: value for key, value in options.items() if key not in without}, [mx.cpu()],
               'atac: 1 parameters, %d trainable' % (trainable or 1000 * args.blocks + len(args.act_type or '')))
    for epoch, error in enumerate(errors):
        log.epoch({'epoch': epoch, 'val_top1_error': error, 'val_top5_error': 0.01, 'train_loss': 2 * error,
                   'train_error': error / 2, 'lr': 0.1, 'images_per_second': 500.0, 'seconds': 1.0})
    log.close()
    return path


def write_sweep(folder, errors, *flags):
    """A log of two epochs for each unit and seed of {unit: [last error of seed 0, 1, ...]}."""
    for unit, of_seeds in errors.items():
        for seed, error in enumerate(of_seeds):
            write_log(folder, [0.5, error], '--act-type', unit, '--seed', str(seed), *flags)


def compare(folder, *flags):
    """The rows of plot_sweep over a folder, by (label, blocks), without drawing."""
    lines, references, _, _ = plot_sweep.compare(plot_sweep.parse_args([str(folder), *flags]))
    return {(row['group'], row['blocks']): row for row in plot_sweep.rows_of(lines, references)}


def plot(folder, *flags):
    """All of plot_sweep over a folder; its files go to <folder>/figure.*."""
    return plot_sweep.main([str(folder), '--out', str(folder / 'figure'), *flags])


def refusal(capsys, *flags):
    """What a refused plot_sweep says on stderr."""
    with pytest.raises(SystemExit) as left:
        run_script(lambda: plot_sweep.main(list(flags)))
    assert left.value.code == 2
    return capsys.readouterr().err


def groups_of(folder):
    """(groups by key, logs that were left out) of a folder."""
    return groups.read_groups([str(folder)], [], 'last')


# plot_sweep: the numbers

def test_the_table_has_mean_std_and_the_paired_interval(tmp_path):
    write_sweep(tmp_path, {'relu': [0.10, 0.12, 0.11], 'ChaATAC': [0.09, 0.10, 0.08], 'swish': [0.05, 0.07, 0.055]})
    rows = compare(tmp_path)
    assert list(rows) == [('relu', 1), ('swish', 1), ('ChaATAC', 1)]
    relu, atac, swish = rows['relu', 1], rows['ChaATAC', 1], rows['swish', 1]
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
    swish, elu = rows['swish', 1], rows['elu', 1]
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
    folder, out = str(tmp_path), str(tmp_path / 'other')
    assert "any of 'ChaATAC, r 2', 'ChaATAC, r 4'" in refusal(capsys, folder, '--out', out, '--reference', 'ChaATAC')
    assert 'there are ChaATAC, r 2; ChaATAC, r 4' in refusal(capsys, folder, '--out', out, '--reference', 'rely')
    compare(tmp_path, '--reference', 'mish')
    assert 'no run of mish was selected: there are no differences' in capsys.readouterr().err


# plot_sweep: what belongs together

def test_options_that_a_network_does_not_read_do_not_part_runs(tmp_path):
    write_log(tmp_path, [0.1], '--act-type', 'relu', '--r', '4', '--seed', '0', name='a.log')
    write_log(tmp_path, [0.1], '--act-type', 'relu', '--act-layers', '2', '--seed', '1', name='b.log')
    write_log(tmp_path, [0.1], '--act-type', 'ChaATAC', '--act-layers', '0', '--seed', '2', name='c.log',
              trainable=1004)
    write_log(tmp_path, [0.1], '--act-type', 'relu', '--skernel', '5', '--act-dilation', '2', '--seed', '3', '-j', '9',
              name='d.log')
    write_log(tmp_path, [0.1], '--act-type', 'relu', '--seed', '4', without=['train_images', 'save_every_steps'],
              name='old.log')
    found, left_out = groups_of(tmp_path)
    assert [list(group.accuracies) for group in found.values()] == [[0, 1, 2, 3, 4]] and not left_out


def test_options_that_it_reads_part_them_and_stand_in_the_label(tmp_path):
    for number, flags in enumerate((
            ['--act-type', 'relu'], ['--act-type', 'relu', '--lr', '0.1'], ['--act-type', 'ChaATAC'],
            ['--act-type', 'ChaATAC', '--r', '4'], ['--act-type', 'ChaATAC', '--act-layers', '2'],
            ['--act-type', 'ChaATAC', '--act-layers', '2', '--act-order', 'pre'], ['--act-type', 'SE-activation'],
            ['--act-type', 'xUnit', '--skernel', '5'])):
        write_log(tmp_path, [0.1], *flags, name='%d.log' % number)
    assert {label for label, _ in compare(tmp_path)} == {
        'relu, lr 0.2', 'relu, lr 0.1', 'ChaATAC, r 2, lr 0.2', 'ChaATAC, r 4, lr 0.2',
        'ChaATAC, act_layers 2, from the back, r 2, lr 0.2', 'ChaATAC, act_layers 2, from the front, r 2, lr 0.2',
        'SE-activation, r 2, lr 0.2', 'xUnit, lr 0.2'}
    assert {label for label, _ in compare(tmp_path, '--select', 'lr=0.20', 'r=2', 'act_layers=4')} == {
        'relu', 'ChaATAC', 'SE-activation', 'xUnit'}
    assert {label for label, _ in compare(tmp_path, '--select', 'lr=0.2', 'act_layers=2')} == {
        'relu', 'ChaATAC, from the back', 'ChaATAC, from the front'}


def test_a_unit_has_one_name_whichever_flags_made_it(tmp_path):
    for number, flags in enumerate((['--use-global', '--act-type', 'ChaATAC'], ['--act-type', 'SE-activation'],
                                    ['--model', 'se'], ['--act-type', 'SE-ReLU'])):
        write_log(tmp_path, [0.1], *flags, '--seed', str(number), name='%d.log' % number, trainable=5)
    write_log(tmp_path, [0.1], '--model', 'ge')
    found, _ = groups_of(tmp_path)
    assert {group.settings['unit']: list(group.accuracies) for group in found.values()} == {
        'SE-activation': [0, 1], 'SE-ReLU': [2, 3], 'GENet-theta': [0]}
    options = options_of(train_cifar.parse_args(['--act-type', 'ChaATAC']))
    assert groups.settings_of(options) == groups.settings_of(dict(options, act_type='ChaATAC-linear', useReLU=True))


@pytest.mark.parametrize('unit,flags', [
    ('relu', set()), ('mish', set()), ('DY-ReLU-B', set()), ('ChaATAC', {'r', 'useReLU', 'use_global'}),
    ('SE-activation', {'r', 'useReLU'}), ('SE-ReLU', {'r'}), ('xUnit', {'skernel', 'act_dilation'}),
    ('FReLU', {'skernel'}), ('SeqATAC', {'skernel', 'act_dilation', 'useReLU'}),
    ('of somebody', set(groups.UNIT_FLAGS))])
def test_the_flags_that_a_unit_reads(unit, flags):
    assert groups.flags_read_by(unit) == flags


def test_there_is_a_flag_for_every_option_of_a_unit():
    of_host = {'norm_layer', 'norm_kwargs'}
    assert set().union(*(unit.options for unit in ACTIVATIONS.values())) - of_host == set(groups.UNIT_FLAGS.values())


def write_ablations(folder):
    for number, flags in enumerate((['--act-type', 'ChaATAC'], ['--act-type', 'ChaATAC-linear'],
                                    ['--act-type', 'ChaATAC', '--use-global'])):
        write_log(folder, [0.1 * (1 + number)], *flags, name='%d.log' % number, trainable=5)


@pytest.mark.parametrize('condition,units', [
    ('useReLU=true', {'ChaATAC', 'SE-activation'}), ('useReLU=false', {'ChaATAC-linear'}),
    ('use_global=false', {'ChaATAC', 'ChaATAC-linear'}), ('use_global=true', {'SE-activation'}),
    ('act_type=SE-activation', {'SE-activation'})])
def test_an_ablation_is_selected_by_the_flag_that_makes_it(condition, units, tmp_path):
    write_ablations(tmp_path)
    found, _ = groups.read_groups([str(tmp_path)], [plot_sweep.condition(condition)], 'last')
    assert {group.settings['unit'] for group in found.values()} == units


@pytest.mark.parametrize('option,accuracies', [
    ('useReLU', {False: 80, True: 90}), ('use_global', {False: 90, True: 70})])
def test_an_ablation_has_its_place_on_the_axis_of_its_flag(option, accuracies, tmp_path):
    write_ablations(tmp_path)
    found, _ = groups_of(tmp_path)
    line, = plot_sweep.lines_over(option, found)
    assert {place: round(group.mean) for place, group in line.groups.items()} == accuracies


def test_flags_of_genet_select_it_by_its_unit(tmp_path):
    write_log(tmp_path, [0.1], '--model', 'ge')
    for wanted in ('act_type=relu', 'act_type=GENet-theta', 'act_layers=2'):
        assert len(groups.read_groups([str(tmp_path)], [plot_sweep.condition(wanted)], 'last')[0]) == 1, wanted


def test_the_name_of_a_unit_is_that_of_what_replaces_it_too():
    options = dict(options_of(train_cifar.parse_args(['--act-type', 'relu', '--act-layers', '2'])),
                   replace_act='ChaATAC')
    assert groups.key_of(options) == groups.key_of(dict(options, replace_act='ChaATAC-linear'))
    assert groups.key_of(dict(options, useReLU=True)) != groups.key_of(options)


def test_pupils_of_two_teachers_are_two_groups(tmp_path):
    for seed, weights in enumerate(('good', 'bad')):
        write_log(tmp_path, [0.1], '--act-type', 'relu', '--teacher', 'cifar_resnet', '--teacher-params', weights,
                  '--seed', str(seed))
    assert {label for label, _ in compare(tmp_path)} == {'relu, teacher_params good', 'relu, teacher_params bad'}


def test_a_flag_that_an_older_log_does_not_name_has_its_default(tmp_path):
    write_log(tmp_path, [0.1], '--act-type', 'relu', without=['label_smoothing'], name='old.log')
    write_log(tmp_path, [0.5], '--act-type', 'relu', '--label-smoothing', '--seed', '1', name='new.log')
    assert {label for label, _ in compare(tmp_path)} == {'relu, no label_smoothing', 'relu, label_smoothing'}


def test_a_schedule_that_was_stretched_is_left_out(tmp_path, capsys):
    for name, mode in (('a', 'cosine'), ('b', 'step')):
        path = write_log(tmp_path, [0.1, 0.2], '--act-type', 'relu', '--lr-mode', mode, name=name + '.log')
        with open(path) as file:
            text = file.read()
        with open(path, 'w') as file:
            file.write(text.replace('"num_epochs": 2', '"num_epochs": 1') + text)
    assert len(compare(tmp_path)) == 1
    assert 'a.log: begun for 1 epochs and gone on to 2' in capsys.readouterr().err


def test_the_same_run_counts_once(tmp_path, capsys):
    for name in ('a.log', 'b.log'):
        write_log(tmp_path, [0.1, 0.2], '--act-type', 'relu', name=name)
    assert compare(tmp_path)['relu', 1]['n'] == 1
    assert 'left out: %s: it has the options and the seed of %s' % (
        tmp_path / 'b.log', tmp_path / 'a.log') in capsys.readouterr().err
    assert groups.log_paths([str(tmp_path), str(tmp_path / 'a.jsonl')]) == [str(tmp_path / 'a.log'),
                                                                           str(tmp_path / 'b.log')]


def test_a_line_over_layers_ends_in_the_nets_of_other_runs(tmp_path):
    write_sweep(tmp_path, {'relu': [0.1], 'ChaATAC': [0.06], 'swish': [0.09]})
    for layers in (1, 2, 3):
        for order in ('bac', 'pre'):
            write_log(tmp_path, [0.5, 0.1 - layers / 100], '--act-type', 'ChaATAC', '--act-layers', str(layers),
                      '--act-order', order)
    lines = plot_sweep.lines_over('act_layers', groups_of(tmp_path)[0])
    assert [line.label for line in lines] == ['ChaATAC, from the back', 'ChaATAC, from the front']
    for line in lines:
        assert [group.mean for group in line.groups.values()] == pytest.approx([90, 91, 92, 93, 94])
        assert list(line.groups) == [0, 1, 2, 3, 4]
    rows = compare(tmp_path, '--x', 'act_layers')
    assert len(rows) == 8 and ('swish', 1) not in rows
    assert rows['ChaATAC, act_layers 3, from the front', 1]['difference'] == pytest.approx(3)


def test_a_line_over_r(tmp_path, capsys):
    write_sweep(tmp_path, {'relu': [0.1, 0.1], 'xUnit': [0.1]})
    for r in (1, 2, 4):
        write_sweep(tmp_path, {'ChaATAC': [0.1 - r / 100, 0.1]}, '--r', str(r))
    rows = compare(tmp_path, '--x', 'r')
    assert set(rows) == {('relu', 1), ('ChaATAC, r 1', 1), ('ChaATAC, r 2', 1), ('ChaATAC, r 4', 1)}
    assert 'not drawn: xUnit, blocks 1: there is no second value of r' in capsys.readouterr().err
    assert 'no run that was selected reads such an option' in refusal(capsys, str(tmp_path), '--x', 'size')
    assert 'no network was run with two values' in refusal(capsys, str(tmp_path), '--x', 'skernel')


# plot_sweep: refusals

def test_no_run_that_matches_says_which_logs_were_read_and_why_they_are_out(tmp_path, capsys):
    write_log(tmp_path, [0.1], '--act-type', 'relu', '--lr', '0.3', name='cut.log', num_epochs=3)
    write_log(tmp_path, [0.1], '--act-type', 'relu', name='other.log')
    write_log(tmp_path, [0.1], '--act-type', 'relu', name='sets.log', without=['blocks'])
    write_log(tmp_path, [float('nan')], '--act-type', 'relu', name='nan.log')
    write_log(tmp_path, [0.1], '--act-type', 'relu', name='typo.log', without=['lr'])
    (tmp_path / 'text.log').write_text('nothing\n')
    error = refusal(capsys, str(tmp_path), '--select', 'lr=0.3,0.4')
    assert 'no finished run matches; 6 logs were read' in error
    for name, reason in (('cut', 'unfinished: 1 of 3 epochs'), ('other', 'lr is 0.2, not 0.3,0.4'),
                         ('sets', 'not a run of train_cifar.py'),
                         ('nan', '%s/nan.jsonl is damaged: val_top1_error of epoch 0 is nan' % tmp_path),
                         ('typo', 'it names no option lr'),
                         ('text', 'is not the log of a run, or was cut off: it names no options')):
        assert 'left out: %s.log: %s\n' % (tmp_path / name, reason) in error


def test_a_value_that_no_run_has_is_said(tmp_path, capsys):
    write_log(tmp_path, [0.1], '--act-type', 'relu')
    write_log(tmp_path, [0.1], '--act-type', 'ChaATAC')
    compare(tmp_path, '--select', 'act_type=relu,ChaATAC,ChaATC', 'r=2,4', 'lr_decay_epoch=300,350')
    said = [line.split()[-1] for line in capsys.readouterr().err.splitlines() if line.startswith('no finished run')]
    assert said == ['act_type=ChaATC', 'r=4']


def test_a_log_cut_in_the_middle_of_a_line_is_left_out_in_one_line(tmp_path, capsys):
    write_sweep(tmp_path, {'relu': [0.1, 0.2]})
    numbers = tmp_path / 'fashion-mnist-atac-relu-r2-al4bac-b1-seed1.jsonl'
    numbers.write_bytes(numbers.read_bytes()[:-9])
    assert compare(tmp_path)['relu', 1]['seeds'] == [0]
    assert capsys.readouterr().err == 'left out: %s: unfinished: 1 of 2 epochs\n' % str(numbers).replace('jsonl', 'log')


@pytest.mark.parametrize('before,after,reason', [
    ('"blocks": 1', '"blocks": "x"', "damaged: its option blocks is 'x'"),
    ('"act_type": "relu"', '"act_type": "rel\\udcff"', 'damaged: its options are not text'),
    ('Options: {', 'Options: ', 'is not the log of a run')])
def test_a_damaged_log_is_named(tmp_path, capsys, before, after, reason):
    path = write_log(tmp_path, [0.1], '--act-type', 'relu')
    with open(path) as file:
        text = file.read()
    assert before in text
    with open(path, 'w') as file:
        file.write(text.replace(before, after))
    assert reason in refusal(capsys, path)


def test_what_contradicts_itself_is_refused(tmp_path, capsys):
    write_log(tmp_path, [0.1], '--act-type', 'relu')
    folder = str(tmp_path)
    assert 'there is no log or folder' in refusal(capsys, folder + 'x')
    assert 'KEY=VALUE' in refusal(capsys, folder, '--select', 'lr')
    assert 'no option lrr' in refusal(capsys, folder, '--select', 'lrr=1')
    write_log(tmp_path, [0.1], '--act-type', 'relu', '--dataset', 'cifar10')
    assert 'the logs are of cifar10, fashion-mnist: choose one with --dataset' in refusal(capsys, folder)
    for labels in ('coarse', 'fine'):
        write_log(tmp_path, [0.1], '--act-type', 'relu', '--dataset', 'cifar100', '--label-set', labels)
    assert '--dataset and --label-set' in refusal(capsys, folder, '--dataset', 'cifar100')
    assert len(compare(tmp_path, '--dataset', 'cifar100', '--label-set', 'fine')) == 1
    write_log(tmp_path, [0.1], '--act-type', 'relu', '--seed', '1', trainable=7)
    assert 'not of the same code' in refusal(capsys, folder, '--dataset', 'fashion-mnist')


def test_files_of_others_are_not_written_over(tmp_path, capsys):
    write_log(tmp_path, [0.1], '--act-type', 'relu')
    plot(tmp_path, '--x', 'depth')
    plot(tmp_path, '--x', 'depth')  # over its own
    for name in ('README.md', 'table.csv', 'photo.png'):
        (tmp_path / name).write_text('mine')
        assert 'was not written by this tool' in refusal(capsys, str(tmp_path), '--out', str(tmp_path / name))
        assert (tmp_path / name).read_text() == 'mine'
    assert not (tmp_path / 'README.png').exists()
    assert 'not as PDF' in refusal(capsys, str(tmp_path), '--out', str(tmp_path / 'figure.pdf'))
    assert 'it must name files' in refusal(capsys, str(tmp_path), '--out', str(tmp_path) + '/')


# plot_sweep: what was published

def test_published_parameters_are_those_of_our_networks():
    networks = {'ReLU': dict(act_type='relu'), 'SELU': dict(act_type='selu'), 'Swish': dict(act_type='swish'),
                'xUnit': dict(act_type='xUnit'), 'ATAC': dict(act_type='ChaATAC'), 'ResNet': dict(act_type='relu'),
                'ATAC-ResNet': dict(act_type='ChaATAC'), 'SENet': dict(act_type='SE-ReLU')}
    with open(plot_sweep.PUBLISHED, newline='') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({tuple(row.values())[:4] for row in rows}) == 84
    for row in rows:
        blocks, classes = int(row['blocks']), {'cifar10': 10, 'cifar100': 100}[row['dataset']]
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


def test_published_points_stand_at_their_depth_and_bars_beside_each_other(tmp_path):
    write_sweep(tmp_path, {'relu': [0.1, 0.2], 'swish': [0.1, 0.2]}, '--dataset', 'cifar10')
    args = plot_sweep.parse_args([str(tmp_path), '--published', '--x', 'depth'])
    lines, references, title, _ = plot_sweep.compare(args)
    axes, = plot_sweep.draw(lines, references, args, title).axes
    x = {line.get_label(): list(line.get_xdata()) for line in axes.lines}
    assert x['ReLU (Fig. 7, best epoch)'] == [0, 1, 2, 3, 4] and x['ATAC (Fig. 7, best epoch)'] == [0, 1, 2, 3]
    assert x['relu'] == [-0.0625] and x['swish'] == [0.0625]


def test_many_units_stay_at_their_depth():
    groups_at = [[groups.Group('%d' % unit, {'blocks': blocks}, {}, 1, {0: 90}) for blocks in range(1, 6)]
                 for unit in range(10)]
    lines = [plot_sweep.Line('x', 'x', dict(enumerate(row)), False) for row in groups_at]
    at = plot_sweep.positions(lines, 'depth', list(range(5)))
    assert all(abs(at[group] - place) < 0.5 for row in groups_at for place, group in enumerate(row))
    assert len(set(at.values())) == 50


def test_no_seed_is_cut_off(tmp_path):
    write_sweep(tmp_path, {'relu': [0.1] * 8 + [0.2]})
    args = plot_sweep.parse_args([str(tmp_path)])
    lines, references, title, _ = plot_sweep.compare(args)
    for axes in plot_sweep.draw(lines, references, args, title).axes:
        assert axes.get_ylim()[0] < 80 and axes.get_ylim()[1] > 90


def test_published_points_alone_are_not_said_to_be_of_seeds(tmp_path):
    plot(tmp_path, '--published', '--dataset', 'cifar10', '--x', 'depth')
    assert (tmp_path / 'figure.md').read_text().endswith('\n%s\n' % plot_sweep.PUBLISHED_NOTE)


@pytest.mark.parametrize('flags,says', [
    (['--dataset', 'fashion-mnist'], 'not fashion-mnist'), ([], 'choose one with --dataset'),
    (['--dataset', 'cifar100', '--label-set', 'fine'], '20 coarse labels'),
    (['--dataset', 'cifar10', '--x', 'r'], '--x parameters, depth or both')])
def test_published_points_are_refused_where_they_do_not_compare(tmp_path, capsys, flags, says):
    assert says in refusal(capsys, str(tmp_path), '--published', *flags)


# How figures look.

@pytest.mark.parametrize('axis', ['both', 'depth'])
def test_a_figure_can_be_read(tmp_path, axis):
    """In two columns and in one, with the longest legend: elu has one seed."""
    write_sweep(tmp_path, {'elu': [0.1], **{unit: [0.1, 0.11] for unit in ('relu', 'ChaATAC', 'swish', 'xUnit')}})
    args = plot_sweep.parse_args([str(tmp_path), '--x', axis])
    lines, references, _, _ = plot_sweep.compare(args)
    with figures.look():
        figure = plot_sweep.draw(lines, references, args, 'title')
        figures.save(figure, str(tmp_path / 'figure.png'))
        texts = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text()]
        assert min(text.get_fontsize() for text in texts) >= 8
        legend, = figure.legends
        boxes = [axes.get_tightbbox() for axes in figure.axes] + [legend.get_window_extent()]
        assert not any(box.overlaps(other) for number, box in enumerate(boxes) for other in boxes[:number])
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert [text.get_text() for text in legend.get_texts()] == ['relu', 'ChaATAC', 'swish', 'xUnit', 'elu']
    faint = [line for line in figure.axes[0].lines if line.get_alpha()]
    assert sorted(value for line in faint for value in line.get_ydata()) == pytest.approx([89] * 4 + [90] * 4)


def test_styles_differ_in_colour_and_without_it():
    styles = plot_sweep.styles_of([plot_sweep.Line('line %d' % number, 'relu', {}, False) for number in range(30)])
    assert len({(style['marker'], style['linestyle']) for style in styles.values()}) == 30
    assert len({style['color'] for style in list(styles.values())[:7]}) == 7


def test_the_line_with_the_name_of_a_unit_has_its_style_wherever_it_stands():
    lines = [plot_sweep.Line(label, 'ChaATAC', {}, False) for label in ('ChaATAC, r 4', 'ChaATAC', 'ChaATAC, r 8')]
    styles = plot_sweep.styles_of(lines)
    assert styles['ChaATAC'] == figures.style(plot_sweep.STYLED.index('ChaATAC'))
    assert len({style['color'] for style in styles.values()}) == 3


def test_figures_of_others_are_not_replaced(tmp_path):
    path = str(tmp_path / 'a.png')
    Figure().savefig(path)
    with pytest.raises(ValueError, match='a.png exists and was not written by this tool'):
        figures.may_replace(path)
    for ending in figures.ENDINGS:
        figures.save(Figure(), str(tmp_path / ('b' + ending)))
        figures.may_replace(str(tmp_path / ('b' + ending)))
    assert sorted(os.listdir(str(tmp_path))) == ['a.png', 'b.png', 'b.svg']


def test_a_unit_keeps_its_style_and_its_published_line_has_it_in_dots():
    lines = [plot_sweep.Line(*line, {}, published) for line, published in (
        (('ours', 'ChaATAC'), False), (('r 4', 'ChaATAC'), False), (('paper', 'ChaATAC'), True))]
    ours, other, paper = plot_sweep.styles_of(lines).values()
    assert ours == figures.style(plot_sweep.STYLED.index('ChaATAC'))
    assert paper == dict(ours, linestyle=':', markerfacecolor='none')
    assert other['color'] not in (ours['color'], figures.style(plot_sweep.STYLED.index('relu'))['color'])


def test_the_same_logs_give_the_same_files(tmp_path):
    write_sweep(tmp_path, {'relu': [0.1, 0.2], 'swish': [0.1, 0.2]})
    found = []
    for _ in range(2):
        plot(tmp_path, '--x', 'depth')
        found.append([(tmp_path / ('figure' + ending)).read_bytes() for ending in ('.png', '.svg', '.csv', '.md')])
    assert found[0] == found[1]


# plot_run

THEIRS = ['Namespace(num_epochs=2)'] + [line % {'epoch': epoch, 'at': 0.1 * epoch} for epoch in (0, 1) for line in (
    'Epoch[%(epoch)d] Batch [49]\tSpeed: 550.506479 samples/sec\taccuracy=0.001172\tlr=0.050000',
    'Epoch[%(epoch)d] Batch [99]\tSpeed: 998.011309 samples/sec\taccuracy=0.001172\tlr=0.075000',
    '[Epoch %(epoch)d] training: accuracy=0.25', '[Epoch %(epoch)d] speed: 951 samples/sec\ttime cost: 1365.342919',
    '[Epoch %(epoch)d] validation: err-top1=0.5 err-top5=0.25')]


def test_the_authors_log_is_read(tmp_path):
    path = tmp_path / 'theirs.log'
    path.write_text('\n'.join(THEIRS) + '\n')
    run, = plot_run.main([str(path)])
    expected = {'lr': 0.075, 'train_accuracy': 0.25, 'train_error': 0.75, 'images_per_second': 951,
                'val_top1_error': 0.5}
    assert run.label == 'theirs' and run.epochs == [dict(expected, epoch=0), dict(expected, epoch=1)]
    assert (tmp_path / 'theirs.png').read_bytes().startswith(b'\x89PNG')
    path.write_text('\n'.join(THEIRS)[:-2])  # cut in the middle of the last line
    run, = plot_run.main([str(path)])
    assert [numbers['epoch'] for numbers in run.epochs] == [0]


def test_the_table_of_the_authors_log_is_read(tmp_path):
    run, = plot_run.main([os.path.join(HERE, 'logs', 'authors-resnet50_v1b_ChaATAC_2.csv'), '--out',
                          str(tmp_path / 'new' / 'figure.svg')])
    assert len(run.epochs) == 160 and run.epochs[155]['val_top1_error'] == 0.214103 and 'lr' not in run.epochs[0]
    assert (tmp_path / 'new' / 'figure.svg').read_text().startswith('<?xml')


def test_runs_are_drawn_together_finished_or_not(tmp_path):
    paths = [write_log(tmp_path, [0.3, 0.2], '--act-type', 'relu', name='a.log'),
             write_log(tmp_path, [0.3, 0.1], '--act-type', 'swish', name='b.log', num_epochs=4)]
    runs = plot_run.main(paths)
    assert [run.label for run in runs] == ['a', 'b (2 of 4 epochs)'] and (tmp_path / 'a.png').exists()
    with figures.look():
        figure = plot_run.draw(runs)
    loss, error, rate, speed = figure.axes
    assert [list(line.get_ydata()) for line in loss.lines] == [[0.6, 0.4], [0.6, 0.2]]
    assert [(list(line.get_ydata()), line.get_linestyle()) for line in error.lines] == [
        ([15, 10], '--'), ([30, 20], '-'), ([15, 5], '--'), ([30, 10], '-')]
    assert [list(line.get_ydata()) for line in rate.lines] == [[0.1, 0.1]] * 2
    assert [list(line.get_ydata()) for line in speed.lines] == [[500, 500]] * 2


def test_runs_of_the_same_name_are_told_apart():
    assert plot_run.labels_of(['a/run.log', 'b/run.log', 'c/other.log']) == ['a/run.log', 'b/run.log', 'other']


@pytest.mark.parametrize('name,content,says', [
    ('a.csv', 'x,y\n1,2\n', 'is not a table of epochs'), ('a.csv', 'epoch,lr\n0,fast\n', 'is not a table of epochs'),
    ('a.csv', 'epoch,lr\n', 'has no whole epoch'), ('a.log', '[Epoch 0] training: accuracy=0.1', 'has no whole epoch'),
    ('a.log', 'nothing\n', 'is not the log of a run'), ('b.log', None, 'No such file')])
def test_what_is_no_log_is_refused(tmp_path, capsys, name, content, says):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(SystemExit) as left:
        run_script(lambda: plot_run.main([str(tmp_path / name), '--out', str(tmp_path / 'figure.png')]))
    assert left.value.code == 2 and says in capsys.readouterr().err and not (tmp_path / 'figure.png').exists()


def test_plot_run_writes_figures_alone(tmp_path, capsys):
    path = write_log(tmp_path, [0.3, 0.2], '--act-type', 'relu', name='a.log')
    (tmp_path / 'mine.png').write_text('mine')
    for out, says in (('a.log', 'must end in .png or .svg'), ('mine.png', 'was not written by this tool')):
        before = (tmp_path / out).read_text()
        with pytest.raises(SystemExit):
            run_script(lambda out=out: plot_run.main([path, '--out', str(tmp_path / out)]))
        assert says in capsys.readouterr().err and (tmp_path / out).read_text() == before
