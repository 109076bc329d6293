"""Which logs plot_sweep takes, and what it says of the others."""
import pytest

from tests.sweeps import compare, plot, refusal, write_ablations, write_log, write_sweep
from tools.sweep import groups, plot_sweep


@pytest.mark.parametrize('condition,units', [
    ('useReLU=true', {'ChaATAC', 'SE-activation'}), ('useReLU=false', {'ChaATAC-linear'}),
    ('use_global=false', {'ChaATAC', 'ChaATAC-linear'}), ('use_global=true', {'SE-activation'}),
    ('act_type=SE-activation', {'SE-activation'})])
def test_an_ablation_is_selected_by_the_flag_that_makes_it(condition, units, tmp_path):
    write_ablations(tmp_path)
    found, _ = groups.read_groups([str(tmp_path)], [plot_sweep.condition(condition)], 'last')
    assert {group.settings['unit'] for group in found.values()} == units


def test_flags_of_genet_select_it_by_its_unit(tmp_path):
    write_log(tmp_path, [0.1], '--model', 'ge')
    for wanted in ('act_type=relu', 'act_type=GENet-theta', 'act_layers=2'):
        assert len(groups.read_groups([str(tmp_path)], [plot_sweep.condition(wanted)], 'last')[0]) == 1, wanted


def test_no_run_that_matches_says_which_logs_were_read_and_why_they_are_out(tmp_path, capsys):
    write_log(tmp_path, [0.1], '--act-type', 'relu', '--lr', '0.3', name='cut.log', num_epochs=3)
    write_log(tmp_path, [0.1], '--act-type', 'relu', name='other.log')
    write_log(tmp_path, [0.1], '--act-type', 'relu', name='sets.log', without=['blocks'])
    write_log(tmp_path, [float('nan')], '--act-type', 'relu', name='nan.log')
    write_log(tmp_path, [0.1], '--act-type', 'relu', name='old.log', without=['lr'])
    (tmp_path / 'text.log').write_text('nothing\n')
    error = refusal(capsys, str(tmp_path), '--select', 'lr=0.3,0.4')
    assert 'no finished run matches; logs read: 6, in' in error
    for name, reason in (('cut', 'unfinished: 1 of 3 epochs'), ('other', 'lr is 0.2, not 0.3,0.4'),
                         ('sets', 'not a run of train_cifar.py'),
                         ('nan', '%s/nan.jsonl is damaged: val_top1_error of epoch 0 is nan' % tmp_path),
                         ('old', 'lr is 0.2, not 0.3,0.4'),
                         ('text', 'is not the log of a run, or was cut off: it names no options')):
        assert 'left out: %s.log: %s\n' % (tmp_path / name, reason) in error


def test_without_a_log_those_in_logs_and_the_folders_in_it_count(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, folder in enumerate(('logs', 'logs/cifar10', 'logs/cifar10/old')):
        write_log(folder, [0.1], '--act-type', 'relu', '--dataset', 'cifar10', '--seed', str(seed))
    rows = plot_sweep.main(['--dataset', 'cifar10'])
    assert [row['seeds'] for row in rows] == [[0, 1]]
    assert (tmp_path / 'cifar10-sweep.png').exists()


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


def test_a_flag_without_a_default_may_be_a_number(tmp_path):
    write_log(tmp_path, [0.1], '--act-type', 'relu', '--clip-grad', '2')
    assert len(compare(tmp_path)) == 1


@pytest.mark.parametrize('before,after,reason', [
    ('"act_type": "relu"', '"act_type": 5', 'damaged: its option act_type is 5'),
    ('"act_layers": 4', '"act_layers": true', 'damaged: its option act_layers is True'),
    ('"blocks": 1', '"blocks": "x"', "damaged: its option blocks is 'x'"),
    ('"act_type": "relu"', '"act_type": "rel\\udcff"', 'damaged: its options are not text'),
    ('"act_type": "relu"', '"act_type": "\\u001b[31m"', 'damaged: its options are not text'),
    ('"blocks": 1', '"blocks": 1001', 'damaged: its option blocks is 1001'),
    ('"dataset": "fashion-mnist"', '"dataset": "../../x"', 'of the unknown data set ../../x'),
    ('"num_epochs": 2', '"num_epochs": 1', 'jsonl holds 2 epochs of a run of 1'),
    ('"num_epochs": 2', '"num_epochs": -3', 'is not the log of a run'),
    ('"num_epochs": 2', '"num_epochs": "\\u001b[31m"', 'is not the log of a run'),
    ('"seed": 0', '"more": [[1]], "seed": 0', 'damaged: its options are not simple'),
    ('"seed": 0', '"more": {}, "seed": 0', 'damaged: its options are not simple'),
    ('Options: {', 'Options: ', 'is not the log of a run')])
def test_a_damaged_log_is_named(tmp_path, capsys, before, after, reason):
    path = write_log(tmp_path, [0.1, 0.1], '--act-type', 'relu')
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
