"""This repository in the benchmark: python -m tools.benchmark.ours CONTESTANT cifar|imagenet UNIT BLOCKS BATCH STEPS"""
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import runtime

import cv2
import mxnet as mx
import numpy as np

from data.batches import ArrayBatches
from data.cifar import MEAN, STD
from data.images import ImageBatches
from data.recordio import RecordFile
from tools.benchmark.task import LR, inference_round, jpeg_records, main, reading_round
from training.learner import Learner, compile_network, make_trainer
from training.loop import train_epoch
from training.loss import Objective
from training.precision import use_dtype
from training.scoring import compile_for_scoring

CPU = [mx.cpu()]


def step(task, dtype='float32'):
    """Training steps on one batch in memory."""
    use_dtype(dtype, CPU)
    take_step = stepper(task)

    def one_round():
        for _ in range(task.steps):
            take_step()
        mx.nd.waitall()
        return task.steps * len(task.images)
    return one_round


def host_time(task):
    """The same, but only the time counts that Python takes to queue a step, which bounds a fast device."""
    take_step = stepper(task)

    def one_round():
        seconds = 0
        for _ in range(task.steps):
            mx.nd.waitall()
            start = time.perf_counter()
            take_step()
            seconds += time.perf_counter() - start
        return task.steps * len(task.images), seconds
    return one_round


def learner_of(task):
    """The Learner of a Workload, its network compiled as the training script of its host does it."""
    net = task.network()
    compile_network(net, CPU)
    return Learner(net, make_trainer(net, momentum=0.9, wd=1e-4), lambda epoch, batch: LR, Objective(10), CPU)


def stepper(task):
    learner = learner_of(task)
    learner.trainer.set_learning_rate(LR)
    return lambda: learner.step(task.images, task.labels.astype('int32'), len(task.images), 0, 0)


def epoch(task):
    """Training on images that are read and augmented as the training scripts do it."""
    source = small_source(task, workers=1) if task.host == 'cifar' else record_source(task)
    learner = learner_of(task)

    def one_round():
        train_epoch(learner, source, 0)
        return source.images
    return one_round


def small_source(task, workers):
    return ArrayBatches(*task.pixels(task.steps * len(task.images)), 10, MEAN, STD, len(task.images), train=True,
                        workers=workers)


def input_small(task):
    """Batches of 32x32 images, without a thread beside this one."""
    return reading_round(small_source(task, workers=0))


def input_records(task):
    """Batches from RecordIO with the whole augmentation, by a thread for each core."""
    return reading_round(record_source(task))


def record_source(task):
    records, count = jpeg_records(task)
    return ImageBatches(RecordFile(records), 10, count // task.steps, train=True, workers=runtime.physical_cores())


def input_decode(task):
    """JPEGs decoded and nothing else, by a thread for each core."""
    records, count = jpeg_records(task)
    source, pool = RecordFile(records), ThreadPoolExecutor(runtime.physical_cores())
    encoded = [np.frombuffer(source.read(row)[0], 'uint8') for row in range(count)]

    def one_round():
        return len(list(pool.map(lambda image: cv2.imdecode(image, cv2.IMREAD_COLOR), encoded)))
    return one_round


def inference(task, dtype):
    """Forward passes of a network prepared for a dtype as evaluate.py does."""
    net = task.network()
    batch = mx.nd.array(task.images)
    net(batch)
    return inference_round(task, compile_for_scoring(net, dtype, calibration=task.images), batch)


def plain(task):
    """The float32 network as it was trained, with nothing folded."""
    net = task.network()
    net.hybridize(static_alloc=True, static_shape=True)
    return inference_round(task, net, mx.nd.array(task.images))


CONTESTANTS = {'step': step, 'step-bfloat16': partial(step, dtype='bfloat16'), 'host': host_time, 'epoch': epoch,
               'input-small': input_small, 'input-records': input_records, 'input-decode': input_decode, 'plain': plain,
               'float32': partial(inference, dtype='float32'), 'bfloat16': partial(inference, dtype='bfloat16'),
               'int8': partial(inference, dtype='int8')}

if __name__ == '__main__':
    main(CONTESTANTS, __doc__)
