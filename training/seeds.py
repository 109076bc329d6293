"""MXNet's own generator, seeded by a function of numbers. The data and mixup have streams of their own."""
import mxnet as mx
import numpy as np

INITIALISATION, DROPOUT = 0, 1  # streams; every further worker drops out by one more


def seed_mxnet(*numbers):
    """Seed MXNet's generators with a function of only these numbers, such as (seed, stream, epoch, batch)."""
    mx.random.seed(int(np.random.SeedSequence(numbers).generate_state(1)[0] >> 1))
