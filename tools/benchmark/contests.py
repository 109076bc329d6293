"""The contests: who takes part in each, and what is wanted of whom."""
from collections import namedtuple

# What is computed; steps: a round.
Task = namedtuple('Task', 'host unit blocks batch steps')
# kind: subcommand. model: of --model. entries: label -> file of this folder and contestant in it.
Contest = namedtuple('Contest', 'kind title model task entries targets')
# Of the quantity of one label divided by that of another (None: by 1): at least `bound` for speeds, at most for memory.
Target = namedtuple('Target', 'of to bound quantity', defaults=('images_per_second',))

TRAINING = {
    'end to end': 'ours epoch', 'step': 'ours step', 'step, bfloat16': 'ours step-bfloat16',
    'queueing': 'ours host',
    "authors' way, end to end": 'authors epoch', "authors' way, step": 'authors step',
    'PyTorch, step': 'peers train pytorch', 'PyTorch channels_last, step': 'peers train pytorch-channels-last',
    'PyTorch channels_last, step, bfloat16': 'peers train pytorch-channels-last-bfloat16'}


def training(*labels):
    """Those contestants of TRAINING."""
    return {label: TRAINING[label] for label in labels}


def leaner(bound):
    return Target('step', "authors' way, step", bound, 'memory')


def faster_than_pytorch(bound):
    return Target('step', 'PyTorch channels_last, step', bound)


CONTESTS = [
    Contest('input', '32x32 images, on one core', 'cifar_resnet', Task('cifar', 'ChaATAC', 3, 128, 50),
            {'crop, flip, normalise': 'ours input-small', 'Gluon DataLoader': 'authors loader'},
            [Target('crop, flip, normalise', None, 100000)]),
    Contest('input', 'JPEGs of 500x375 to 224x224', 'atac_resnet50_v1b', Task('imagenet', 'ChaATAC', 0, 64, 12),
            {'RecordIO, all cores': 'ours input-records', 'decoding, all cores': 'ours input-decode',
             'ImageRecordIter': 'authors iterator'},
            [Target('RecordIO, all cores', 'decoding, all cores', 0.75)]),
    Contest('train', 'ATAC, CIFAR, 3 blocks, batch 128', 'cifar_resnet', Task('cifar', 'ChaATAC', 3, 128, 12), TRAINING,
            [Target('end to end', "authors' way, end to end", 1.9), faster_than_pytorch(1), leaner(0.9)]),
    Contest('train', 'ATAC, CIFAR, 1 block, batch 128', 'cifar_resnet', Task('cifar', 'ChaATAC', 1, 128, 24),
            training('step', "authors' way, step", 'PyTorch channels_last, step'), [faster_than_pytorch(1.05)]),
    Contest('train', 'ReLU, CIFAR, 3 blocks, batch 128', 'cifar_resnet', Task('cifar', 'relu', 3, 128, 16), TRAINING,
            [faster_than_pytorch(1), leaner(1)]),
    Contest('train', 'ATAC-ResNet-50, 224x224, batch 16', 'atac_resnet50_v1b', Task('imagenet', 'ChaATAC', 0, 16, 3),
            training('end to end', 'step', 'step, bfloat16', "authors' way, step", 'PyTorch channels_last, step',
                     'PyTorch channels_last, step, bfloat16'),
            [faster_than_pytorch(1.3), leaner(1)]),
    Contest('infer', 'ATAC-ResNet-50, 224x224, batch 16', 'atac_resnet50_v1b', Task('imagenet', 'ChaATAC', 0, 16, 6),
            {'float32': 'ours float32', 'float32, not folded': 'ours plain', 'bfloat16': 'ours bfloat16',
             'int8': 'ours int8', "authors' way": 'authors infer', 'ONNX Runtime float32': 'peers infer onnxruntime',
             'ONNX Runtime int8': 'peers infer onnxruntime-int8',
             'ONNX Runtime int8, activations uint8': 'peers infer onnxruntime-uint8',
             'PyTorch float32, frozen': 'peers infer pytorch-frozen',
             'PyTorch bfloat16': 'peers infer pytorch-bfloat16',
             'PyTorch bfloat16, frozen': 'peers infer pytorch-bfloat16-frozen'},
            [Target('int8', 'ONNX Runtime float32', 2.5), Target('int8', 'ONNX Runtime int8', 2.3),
             Target('bfloat16', 'ONNX Runtime float32', 1.2), Target('bfloat16', 'PyTorch bfloat16', 1.2),
             Target('float32', 'ONNX Runtime float32', 0.8), Target('float32', "authors' way", 1.5)]),
]
MODELS = sorted({contest.model for contest in CONTESTS})
