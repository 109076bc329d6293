"""Which runs plot_sweep averages, what it calls them, and which of them a line joins."""
import pytest

import train_cifar
from cli import unit_flags
from cli.build import options_of
from model import ACTIVATIONS
from tests.sweeps import compare, groups_of, refusal, write_ablations, write_log, write_sweep
from tools.sweep import selection, settings
from tools.sweep.lines import lines_over


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


def test_runs_on_more_devices_are_others(tmp_path):
    """BatchNorm sees the images of one device: of more workers too."""
    for seed, devices, workers in ((0, 1, 1), (1, 1, 1), (2, 4, 1), (3, 2, 2), (4, 1, 1)):
        path = write_log(tmp_path, [0.1], '--act-type', 'relu', '--seed', str(seed), name='%d.log' % seed)
        with open(path) as file:
            text = file.read()
        there = ', '.join('gpu(%d)' % number for number in range(devices)) if devices > 1 else 'cpu(0)'
        text = text.replace('Devices: cpu(0);', 'Devices: %s;' % there)
        if seed != 4:  # as in the oldest logs
            text += '2026-11-22 20:47:50,123 Batches: 128 images a step in all; %s; learning rate 0.1\n' % (
                '%d workers by dist_sync' % workers if workers > 1 else '1 worker')
        with open(path, 'w') as file:
            file.write(text)
    found, left_out = groups_of(tmp_path)
    assert {group.label: list(group.accuracies) for group in found.values()} == {
        'relu, devices 1': [0, 1, 4], 'relu, devices 4': [2, 3]} and not left_out


def test_a_unit_has_one_name_whichever_flags_made_it(tmp_path):
    for number, flags in enumerate((['--use-global', '--act-type', 'ChaATAC'], ['--act-type', 'SE-activation'],
                                    ['--model', 'se'], ['--act-type', 'SE-ReLU'])):
        write_log(tmp_path, [0.1], *flags, '--seed', str(number), name='%d.log' % number, trainable=5)
    write_log(tmp_path, [0.1], '--model', 'ge')
    found, _ = groups_of(tmp_path)
    assert {group.settings['unit']: list(group.accuracies) for group in found.values()} == {
        'SE-activation': [0, 1], 'SE-ReLU': [2, 3], 'GENet-theta': [0]}
    options = options_of(train_cifar.parse_args(['--act-type', 'ChaATAC']))
    assert settings.settings_of(options) == settings.settings_of(dict(options, act_type='ChaATAC-linear', useReLU=True))


@pytest.mark.parametrize('unit,flags', [
    ('relu', set()), ('mish', set()), ('DY-ReLU-B', set()), ('ChaATAC', {'r', 'useReLU', 'use_global'}),
    ('SE-activation', {'r', 'useReLU'}), ('SE-ReLU', {'r'}), ('xUnit', {'skernel', 'act_dilation'}),
    ('FReLU', {'skernel'}), ('SeqATAC', {'skernel', 'act_dilation', 'useReLU'}),
    ('of somebody', set(unit_flags.UNIT_FLAGS))])
def test_the_flags_that_a_unit_reads(unit, flags):
    assert unit_flags.flags_read_by(unit) == flags


def test_there_is_a_flag_for_every_option_of_a_unit():
    of_host = {'norm_layer', 'norm_kwargs'}
    of_units = set().union(*(unit.options for unit in ACTIVATIONS.values())) - of_host
    assert of_units == set(unit_flags.UNIT_FLAGS.values())


@pytest.mark.parametrize('option,accuracies', [
    ('useReLU', {False: 80, True: 90}), ('use_global', {False: 90, True: 70})])
def test_an_ablation_has_its_place_on_the_axis_of_its_flag(option, accuracies, tmp_path):
    write_ablations(tmp_path)
    found, _ = groups_of(tmp_path)
    line, = lines_over(option, found)
    assert {place: round(group.mean) for place, group in line.groups.items()} == accuracies


def test_the_name_of_a_unit_is_that_of_what_replaces_it_too():
    options = dict(options_of(train_cifar.parse_args(['--act-type', 'relu', '--act-layers', '2'])),
                   replace_act='ChaATAC')
    assert settings.key_of(options) == settings.key_of(dict(options, replace_act='ChaATAC-linear'))
    assert settings.key_of(dict(options, useReLU=True)) != settings.key_of(options)


def test_pupils_of_two_teachers_are_two_groups(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, weights in enumerate(('good', 'bad')):
        (tmp_path / weights).write_text('weights')
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
    assert 'a.log: begun with num_epochs 1 and continued to 2' in capsys.readouterr().err


def test_the_same_run_counts_once(tmp_path, capsys):
    for name in ('a.log', 'b.log'):
        write_log(tmp_path, [0.1, 0.2], '--act-type', 'relu', name=name)
    assert compare(tmp_path)['relu', 1]['n'] == 1
    assert 'left out: %s: it has the options and the seed of %s' % (
        tmp_path / 'b.log', tmp_path / 'a.log') in capsys.readouterr().err
    assert selection.log_paths([str(tmp_path), str(tmp_path / 'a.jsonl')]) == [str(tmp_path / 'a.log'),
                                                                           str(tmp_path / 'b.log')]


def test_a_line_over_layers_ends_in_the_nets_of_other_runs(tmp_path):
    write_sweep(tmp_path, {'relu': [0.1], 'ChaATAC': [0.06], 'swish': [0.09]})
    for layers in (1, 2, 3):
        for order in ('bac', 'pre'):
            write_log(tmp_path, [0.5, 0.1 - layers / 100], '--act-type', 'ChaATAC', '--act-layers', str(layers),
                      '--act-order', order)
    lines = lines_over('act_layers', groups_of(tmp_path)[0])
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
