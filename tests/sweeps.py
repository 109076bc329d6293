"""Logs of runs that nobody has run, and plot_sweep over them: what its tests share."""
import os

import mxnet as mx
import pytest

import train_cifar
from cli.exits import run_script
from tools.sweep import groups, plot_sweep, tables
from training.runlog import RunLog


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
    found = plot_sweep.compare(plot_sweep.parse_args([str(folder), *flags]))
    return {(row['group'], row['blocks']): row for row in tables.rows_of(found.references)}


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


def write_ablations(folder):
    for number, flags in enumerate((['--act-type', 'ChaATAC'], ['--act-type', 'ChaATAC-linear'],
                                    ['--act-type', 'ChaATAC', '--use-global'])):
        write_log(folder, [0.1 * (1 + number)], *flags, name='%d.log' % number, trainable=5)
