"""plot_run: logs of any kind that it reads, and what it draws of them."""
import os

from runtime import UserError

import pytest

from cli.exits import run_script
from tests.sweeps import write_log
from tools import ROOT, figures
from tools.sweep import plot_run
from tools.sweep.curves import Curves, data_of, names_of, running_median, settled, window_of

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
    path.write_text('\n'.join([*THEIRS, '[Epoch ' + 5000 * '9' + '] validation: err-top1=0.5 err-top5=0.25', '']))
    assert len(plot_run.main([str(path)])[0].epochs) == 2
    path.write_text('\n'.join(THEIRS)[:-2])  # cut in the middle of the last line
    run, = plot_run.main([str(path)])
    assert [numbers['epoch'] for numbers in run.epochs] == [0]


def test_the_table_of_the_authors_log_is_read(tmp_path):
    run, = plot_run.main([os.path.join(ROOT, 'logs', 'authors-resnet50_v1b_ChaATAC_2.csv'), '--out',
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


def run_of(label, errors):
    return Curves(label, [{'epoch': epoch, 'val_top1_error': error} for epoch, error in enumerate(errors)])


@pytest.mark.parametrize('first, second, ahead, epoch', [
    ([0.5, 0.3, 0.2], [0.4, 0.4, 0.3], 0, 1), ([0.5, 0.3, 0.2], [0.4, 0.4, 0.1], 1, 2),
    ([0.4, 0.3, 0.2], [0.5, 0.4, 0.3], 0, 0), ([0.3, 0.3, 0.2], [0.4, 0.3, 0.3], 0, 2),
    ([0.5, 0.3, 0.2, 0.1], [0.4, 0.4, 0.3], 0, 1)])
def test_where_the_order_of_two_runs_changes_for_good(first, second, ahead, epoch):
    """Epochs of equal errors, and those that only one has, are not ahead."""
    runs = run_of('first', first), run_of('second', second)
    assert settled(*runs) == (runs[ahead], epoch)


def test_no_run_is_ahead_that_ends_with_the_same_error():
    assert settled(run_of('first', [0.5, 0.3]), run_of('second', [0.4, 0.3])) is None
    assert settled(run_of('first', [0.5]), Curves('second', [{'epoch': 1, 'val_top1_error': 0.5}])) is None


def test_runs_without_an_epoch_that_both_have_scored_are_not_compared():
    runs = run_of('first', [0.5]), Curves('second', [{'epoch': 1, 'val_top1_error': 0.5}])
    assert plot_run.order_of(*runs, 1) == 'first and second have no epoch that both have scored'


def test_a_running_median_forgets_single_epochs_and_keeps_steps():
    assert running_median([5, 5, 9, 5, 5, 1, 1, 1], 3) == [5, 5, 5, 5, 5, 1, 1, 1]
    assert running_median([9, 5, 4, 3, 2, 1], 5) == [9, 5, 4, 3, 2.5, 2]  # the first value is that of the log
    noisy = run_of('noisy', [0.5, 0.5, 0.3, 0.3, 0.5, 0.3, 0.3, 0.3])
    level = run_of('level', [0.4] * 8)
    assert settled(noisy, level) == (noisy, 5) and settled(noisy, level, window=3) == (noisy, 2)


def long_runs():
    """Two runs of 120 epochs, the second of which is ahead from epoch 90 on, but for one epoch."""
    before = [0.4, 0.3] * 45
    return [run_of('relu', before + [0.2] * 30),
            run_of('ChaATAC', [0.5 - error / 2 for error in before] + [0.1] * 20 + [0.3] + [0.1] * 9)]


def test_long_runs_are_smoothed_and_their_end_and_difference_are_shown():
    runs = long_runs()
    assert window_of(runs) == 3 and window_of([run_of('short', [0.1] * 79)]) == 1
    with figures.look():
        error, end, difference = [axes for axes in plot_run.draw(runs).axes if axes.axison]
    assert [len(line.get_xdata()) for line in error.lines] == [120] * 4
    assert min(end.lines[0].get_xdata()) == 90
    faint, median, zero, change = difference.lines
    assert faint.get_ydata()[110] == pytest.approx(-10) and median.get_ydata()[110] == pytest.approx(10)
    assert list(change.get_xdata()) == [90, 90]


def test_it_is_said_who_is_ahead_and_since_when():
    assert plot_run.order_of(*long_runs(), window=3) == (
        'smaller validation error of relu and ChaATAC: ChaATAC from epoch 111 on; in the running median of 3 epochs: '
        'ChaATAC from epoch 90 on')


def test_a_rate_with_steps_has_plain_numbers_on_its_axis():
    epochs = [{'epoch': epoch, 'lr': lr} for epoch, lr in enumerate((0.2, 0.02, 0.002))]
    with figures.look():
        figure = plot_run.draw([Curves('run', epochs)])
        figure.draw_without_rendering()
    assert '0.01' in [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_runs_of_the_same_name_are_told_apart():
    assert names_of(['a/run.log', 'b/run.log', 'c/other.log']) == ['a/run.log', 'b/run.log', 'other']


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


def test_runs_of_different_data_are_not_compared(tmp_path):
    logs = [write_log(tmp_path, [0.3, 0.2], '--act-type', 'relu', '--dataset', dataset, name=dataset + '.log')
            for dataset in ('cifar10', 'fashion-mnist')]
    with pytest.raises(UserError, match='of different data, whose errors do not compare: cifar10, fashion-mnist'):
        plot_run.main([*logs, '--out', str(tmp_path / 'figure.png')])
    assert not (tmp_path / 'figure.png').exists()
    assert data_of({}) is None and data_of({'dataset': ['x']}) == "['x']"
    assert data_of({'dataset': 'cifar100'}) == data_of({'dataset': 'cifar100', 'label_set': 'coarse'})
    assert data_of({'dataset': 'cifar100'}) != data_of({'dataset': 'cifar100', 'label_set': 'fine'})


def test_plot_run_writes_figures_only(tmp_path, capsys):
    path = write_log(tmp_path, [0.3, 0.2], '--act-type', 'relu', name='a.log')
    (tmp_path / 'mine.png').write_text('mine')
    for out, says in (('a.log', 'must end in .png or .svg'), ('mine.png', 'was not written by this tool')):
        before = (tmp_path / out).read_text()
        with pytest.raises(SystemExit):
            run_script(lambda out=out: plot_run.main([path, '--out', str(tmp_path / out)]))
        assert says in capsys.readouterr().err and (tmp_path / out).read_text() == before
