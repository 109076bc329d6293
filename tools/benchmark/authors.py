"""The authors' way of doing the same, in the benchmark, and MXNet's own readers.

    python -m tools.benchmark.authors CONTESTANT cifar|imagenet UNIT BLOCKS BATCH STEPS

The benchmark starts it with the number of threads that MXNet takes by itself, as the authors' scripts leave it.
"""
import runtime

import mxnet as mx
from gluoncv.data.transforms.block import RandomCrop
from mxnet import gluon
from mxnet.gluon.data.vision import transforms

from data.cifar import MEAN, STD
from tools.benchmark.task import LR, inference_round, jpeg_records, main, reading_round

LOADER_WORKERS = 2


def step(task):
    """Their loop on one batch in memory: it waits for the loss and the metric in every step."""
    return training_round(task, [(mx.nd.array(task.images), mx.nd.array(task.labels))] * task.steps)


def epoch(task):
    """Their loop on their loader, which crops, flips and normalises image by image."""
    return training_round(task, gluon_loader(task, LOADER_WORKERS))


def gluon_loader(task, workers):
    images, labels = task.pixels(task.steps * len(task.images))
    data = gluon.data.ArrayDataset(mx.nd.array(images.transpose(0, 2, 3, 1), dtype='uint8'), labels)
    augmented = data.transform_first(transforms.Compose([
        RandomCrop(32, pad=4), transforms.RandomFlipLeftRight(), transforms.ToTensor(),
        transforms.Normalize(MEAN, STD)]))
    return gluon.data.DataLoader(augmented, len(task.images), shuffle=True, last_batch='discard', num_workers=workers)


def network(task):
    """As their script of the host compiles it, for training and scoring alike: for CIFAR only by hybridize()."""
    net = task.network()
    if task.host == 'imagenet':
        net.hybridize(static_alloc=True, static_shape=True)
    return net


def training_round(task, batches):
    net, loss_of, metric = network(task), gluon.loss.SoftmaxCrossEntropyLoss(), mx.metric.Accuracy()
    trainer = gluon.Trainer(net.collect_params(), 'nag', {'learning_rate': LR, 'momentum': 0.9, 'wd': 1e-4})

    def one_round():
        total = images = 0
        for batch in batches:
            data, label = (part.as_in_context(mx.cpu()) for part in batch)  # workers hand over shared memory
            with mx.autograd.record():
                output = net(data)
                loss = loss_of(output, label)
            loss.backward()
            trainer.step(len(data))
            total += loss.sum().asscalar()
            metric.update([label], [output])
            images += len(data)
        return images
    return one_round


def inference(task):
    return inference_round(task, network(task), mx.nd.array(task.images))


def loader(task):
    return reading_round(gluon_loader(task, workers=0))


def iterator(task):
    """MXNet's own iterator with the same augmentation; it caps its threads at half of the processors."""
    records, count = jpeg_records(task)
    jitter = dict.fromkeys(['brightness', 'contrast', 'saturation'], 0.4)
    return reading_round(mx.io.ImageRecordIter(
        path_imgrec=records, path_imgidx=records[:-3] + 'idx', data_shape=(3, 224, 224), batch_size=count // task.steps,
        shuffle=True, preprocess_threads=runtime.physical_cores(), random_resized_crop=True, min_random_area=0.08,
        rand_mirror=True, pca_noise=0.1, **jitter))


CONTESTANTS = {'step': step, 'epoch': epoch, 'infer': inference, 'loader': loader,
               'iterator': iterator}

if __name__ == '__main__':
    main(CONTESTANTS, __doc__.splitlines()[0])
