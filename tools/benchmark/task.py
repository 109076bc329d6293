"""What is to be computed, for everything that runs on MXNet."""
import atexit
import os
import shutil
import tempfile

import runtime  # noqa: F401  (before mxnet)

import cv2
import mxnet as mx
import numpy as np
from matplotlib import cbook

from cli.command import Parser
from model import complexity, get_model
from tools.benchmark.rounds import SIZES, add_task_arguments, serve

LR = 0.01
PHOTOGRAPH = 'grace_hopper.jpg'  # among the samples that matplotlib brings


class Workload:
    """host, unit, blocks, batch, steps: as on the command line. images, labels: a batch, as NumPy arrays.

    parameters: trainable ones of the last network(), or None.
    """

    def __init__(self, args):
        self.host, self.unit, self.blocks, self.steps = args.host, args.unit, args.blocks, args.steps
        self.parameters = None
        self.images, self.labels = self.pixels(args.batch)
        self.images = self.images.astype('float32') / 255

    def pixels(self, count):
        random, size = np.random.RandomState(0), SIZES[self.host]
        return random.randint(0, 256, (count, 3, size, size)).astype('uint8'), random.randint(0, 10, count)

    def network(self):
        """Initialised, and compiled as `hybridize()` does it."""
        if self.host == 'cifar':
            net = get_model('cifar_resnet', blocks=self.blocks, act_type=self.unit)
        else:
            net = get_model('atac_resnet50_v1b', act_type=self.unit)
        mx.random.seed(0)
        net.initialize(mx.init.MSRAPrelu())
        net.hybridize()
        self.parameters = complexity.parameters(net)[1]
        return net


def jpeg_records(task):
    """(path of a RecordIO file of 500x375 JPEGs, their number): views of a photograph, of quality 95."""
    folder = tempfile.mkdtemp(prefix='benchmark-')
    atexit.register(shutil.rmtree, folder)
    path, random = os.path.join(folder, 'images.rec'), np.random.RandomState(0)
    with cbook.get_sample_data(PHOTOGRAPH, asfileobj=True) as file:
        photograph = cv2.imdecode(np.frombuffer(file.read(), 'uint8'), cv2.IMREAD_COLOR)
    count, writer = task.steps * len(task.images), mx.recordio.MXIndexedRecordIO(path[:-3] + 'idx', path, 'w')
    for row in range(count):
        top, left = (random.randint(length // 4) for length in photograph.shape[:2])
        image = cv2.resize(photograph[top:, left:], (500, 375), interpolation=cv2.INTER_AREA)
        jpeg = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
        writer.write_idx(row, mx.recordio.pack(mx.recordio.IRHeader(0, row % 10, row, 0), jpeg))
    writer.close()
    return path, count


def reading_round(source):
    """A round of reading every batch of a source, a loader or an iterator."""
    def one_round():
        if isinstance(source, mx.io.DataIter):
            source.reset()
        return sum(len(batch.data[0] if isinstance(batch, mx.io.DataBatch) else batch[0])
                   for batch in (source.epoch(0) if hasattr(source, 'epoch') else source))
    return one_round


def inference_round(task, net, batch):
    def one_round():
        for _ in range(task.steps):
            net(batch).wait_to_read()
        return task.steps * len(batch)
    return one_round


def main(contestants, about):
    """Serve one of {name: function of a Workload to a round}, as the command line says."""
    parser = Parser(description=about)
    parser.add_argument('contestant', choices=list(contestants))
    add_task_arguments(parser)
    args = parser.parse_args()
    task = Workload(args)
    one_round = contestants[args.contestant](task)
    serve(one_round, task.parameters)
