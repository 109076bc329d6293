"""How long runs take: estimates from the epochs that logs hold, of this sweep or of earlier ones.

Seconds of training per multiply-add, of the same unit where it was measured, else of the others, which may move fewer
or more bytes for each of them. Scoring is not in it: about a fifteenth more.
"""
import argparse
import glob
import os
import statistics
from contextlib import suppress

import mxnet as mx

import train_cifar
from cli import build, flags
from model import complexity
from tools.sweep.selection import check_kinds
from training.logs import read_run


def macs_of(net):
    """Multiply-adds of an image."""
    return sum(layer.macs for layer in complexity.layers(net, train_cifar.INPUT_SHAPE))


def logged_paces(folder, dataset):
    """[(unit, seconds of an epoch per multiply-add of an image)] of the epochs on a data set in a folder of logs."""
    paces = []
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), '*.log'))):
        # What is no log of train_cifar.py, or damaged, says nothing of the time.
        with suppress(OSError, ValueError, TypeError, KeyError, RecursionError, mx.MXNetError):
            record = read_run(path)
            check_kinds(record.options)
            options = argparse.Namespace(**{**flags.defaults(flags.CIFAR), **record.options})
            if record.options.get('dataset') == dataset:
                macs = macs_of(build.build_network(options))
                unit = build.unit_of(options)
                paces += [(unit, numbers['seconds'] / macs) for numbers in record.epochs]
    return paces


def seconds_of(point, epochs, paces):
    """About how long this number of epochs of a run takes, or None where nothing has been measured."""
    same = [pace for unit, pace in paces if unit == point.unit] or [pace for _, pace in paces]
    return epochs * point.macs * statistics.median(same) if same else None


def seconds_left(left, paces, jobs):
    """The same of [(Point, epochs left)], with this number of runs at a time."""
    return sum(seconds_of(point, epochs, paces) for point, epochs in left) / jobs if paces else None


def duration(seconds):
    """Seconds in words, such as '1 h 05 min'."""
    if seconds is None:
        return 'unknown'
    if seconds < 90:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    return f'{minutes} min' if minutes < 90 else f'{minutes // 60} h {minutes % 60:02d} min'
