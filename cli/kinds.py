"""Kinds of values of flags: argparse types that say in one sentence what is wrong."""
import argparse
import os

MOST_EPOCHS = 10 ** 6


def at_least(bound, kind=int, most=float('inf')):
    """A finite number that is not below the bound, nor above `most`."""
    def number(text):
        value = kind(text)
        if value == float('inf'):
            raise argparse.ArgumentTypeError(f'{text} must be a finite number')
        if not value >= bound:
            raise argparse.ArgumentTypeError(f'{text} must be at least {bound}')
        if value > most:
            raise argparse.ArgumentTypeError(f'{text} must be at most {most}')
        return value
    return number


def between(low, high):
    """A number from low to high."""
    def number(text):
        value = float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f'{text} must be between {low} and {high}')
        return value
    return number


def positive(text):
    """A number above 0 that float32 can hold."""
    value = float(text)
    if not 1e-30 <= value <= 1e30:
        raise argparse.ArgumentTypeError(f'{text} must be positive, from 1e-30 to 1e30')
    return value


def loss_scale(text):
    """A positive number, or 'dynamic'."""
    return text if text == 'dynamic' else positive(text)


def folder(text):
    """The path of a folder, which may not be there yet."""
    if os.path.exists(text) and not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f'{text} is not a folder')
    return text


def new_file(text):
    """The path of a file that is not there, in a folder that is."""
    place = os.path.dirname(text) or '.'
    if os.path.exists(text):
        raise argparse.ArgumentTypeError(f'{text} exists: choose another one, or remove it')
    if not os.path.isdir(place):
        raise argparse.ArgumentTypeError(f'there is no folder {place}')
    return text


def epoch_list(text):
    """Epochs in ascending order, such as 300,350."""
    try:
        epochs = [int(epoch) for epoch in text.split(',')]
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is not a list of epochs such as 300,350') from None
    if epochs != sorted(set(epochs)) or epochs[0] < 0:
        raise argparse.ArgumentTypeError(f'{text} is not in ascending order')
    if epochs[-1] > MOST_EPOCHS:
        raise argparse.ArgumentTypeError(f'{text} names an epoch after the {MOST_EPOCHS:,} that a run may have')
    return epochs
