"""The same networks in PyTorch and ONNX Runtime, for the benchmark: run by the Python of requirements/bench.txt.

    python -m tools.benchmark.peers train  pytorch|pytorch-channels-last[-bfloat16]  cifar|imagenet UNIT BLOCKS ...
    python -m tools.benchmark.peers infer  pytorch[-bfloat16][-frozen]|onnxruntime[-int8|-uint8]  ...

Random weights and images: only the speed counts. The benchmark compares the numbers of parameters with ours.
"""
import os
import tempfile

import numpy as np
import torch
from torch import nn

from cli.command import Parser
from tools.benchmark.rounds import SIZES, add_task_arguments, serve


class ChaATAC(nn.Module):
    """x * sigmoid(BN(W2 relu(BN(W1 x)))), reduction 2."""

    def __init__(self, channels, r=2):
        super().__init__()
        self.gate = nn.Sequential(nn.Conv2d(channels, channels // r, 1, bias=False), nn.BatchNorm2d(channels // r),
                                  nn.ReLU(inplace=True), nn.Conv2d(channels // r, channels, 1, bias=False),
                                  nn.BatchNorm2d(channels), nn.Sigmoid())

    def forward(self, x):
        return x * self.gate(x)


def relu(_):
    return nn.ReLU(inplace=True)


UNITS = {'ChaATAC': ChaATAC, 'relu': relu}


class CifarBlock(nn.Module):
    """Pre-activation: BN, unit, conv, BN, unit, conv, and the input beside it."""

    def __init__(self, channels_in, channels, stride, unit):
        super().__init__()
        self.body = nn.Sequential(nn.BatchNorm2d(channels_in), unit(channels_in),
                                  nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
                                  nn.BatchNorm2d(channels), unit(channels),
                                  nn.Conv2d(channels, channels, 3, 1, 1, bias=False))
        self.shortcut = nn.Conv2d(channels_in, channels, 1, stride, bias=False) if channels != channels_in else None

    def forward(self, x):
        return self.body(x) + (x if self.shortcut is None else self.shortcut(x))


def cifar_resnet(unit, blocks, classes=10):
    layers, channels = [nn.BatchNorm2d(3, affine=False), nn.Conv2d(3, 16, 3, 1, 1, bias=False)], 16
    for width, stride in ((16, 1), (32, 2), (64, 2)):
        for block in range(blocks):
            layers.append(CifarBlock(channels, width, stride if block == 0 else 1, unit))
            channels = width
    return nn.Sequential(*layers, nn.BatchNorm2d(64), unit(64), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(64, classes))


class Bottleneck(nn.Module):
    """ResNet-v1b: the stride is that of the 3x3 convolution; the last activation stays a ReLU."""

    def __init__(self, channels_in, planes, stride, unit):
        super().__init__()
        channels = 4 * planes
        self.body = nn.Sequential(nn.Conv2d(channels_in, planes, 1, bias=False), nn.BatchNorm2d(planes), unit(planes),
                                  nn.Conv2d(planes, planes, 3, stride, 1, bias=False), nn.BatchNorm2d(planes),
                                  unit(planes), nn.Conv2d(planes, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.shortcut = nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False),
                                      nn.BatchNorm2d(channels)) if channels != channels_in or stride > 1 else None

    def forward(self, x):
        return torch.relu(self.body(x) + (x if self.shortcut is None else self.shortcut(x)))


def resnet50_v1b(unit, classes=1000):
    """The unit in the last two stages."""
    layers, channels = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
                        nn.MaxPool2d(3, 2, 1)], 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            layers.append(Bottleneck(channels, 64 << stage, 2 if stage and block == 0 else 1,
                                     unit if stage >= 2 else relu))
            channels = 256 << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, classes))


def train_round(net, images, labels, layout, bfloat16, steps):
    """A round of training steps of SGD with Nesterov's momentum on one batch in memory.   bfloat16: mixed precision"""
    net, images = net.train().to(memory_format=layout), images.to(memory_format=layout)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, nesterov=True)
    loss_of = nn.CrossEntropyLoss()

    def one_round():
        for _ in range(steps):
            optimiser.zero_grad(set_to_none=True)
            with torch.autocast('cpu', torch.bfloat16, enabled=bfloat16):
                logits = net(images)
            loss = loss_of(logits.float(), labels)
            loss.backward()
            optimiser.step()
        loss.item()
        return steps * len(images)
    return one_round


def torch_round(net, images, dtype, frozen, steps):
    """A round of forward passes.   frozen: traced, with the convolutions folded by torch.jit"""
    net = net.eval().to(dtype, memory_format=torch.channels_last)
    images = images.to(dtype, memory_format=torch.channels_last)
    if frozen:
        with torch.inference_mode():
            net = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(net, images)))

    def one_round():
        with torch.inference_mode():
            for _ in range(steps):
                net(images).sum().item()
        return steps * len(images)
    return one_round


def onnx_round(net, images, activations, steps):
    """A round of forward passes of ONNX Runtime.

    activations: None for float32; 'int8', the default of its static quantisation (QDQ, per channel), or 'uint8', which
    is what VNNI multiplies with the weights' int8.
    """
    import onnxruntime
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'net.onnx')
        torch.onnx.export(net.eval(), images, path, input_names=['data'], dynamo=False, opset_version=17)
        if activations:
            path = quantised(path, images.numpy(), activations, folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ['OMP_NUM_THREADS'])
        session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    feed = {'data': images.numpy()}

    def one_round():
        for _ in range(steps):
            session.run(None, feed)
        return steps * len(images)
    return one_round


def quantised(path, images, activations, folder):
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.left = [{'data': images}]

        def get_next(self):
            return self.left.pop() if self.left else None
    prepared, out = os.path.join(folder, 'prepared.onnx'), os.path.join(folder, 'quantised.onnx')
    quantization.quant_pre_process(path, prepared)
    kind = {'int8': quantization.QuantType.QInt8, 'uint8': quantization.QuantType.QUInt8}[activations]
    quantization.quantize_static(prepared, out, Reader(), per_channel=True, activation_type=kind)
    return out


def main():
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument('task', choices=['train', 'infer'])
    parser.add_argument('peer')
    add_task_arguments(parser)
    args = parser.parse_args()
    torch.manual_seed(0)
    unit = UNITS[args.unit]
    net = cifar_resnet(unit, args.blocks) if args.host == 'cifar' else resnet50_v1b(unit)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    images = torch.from_numpy(np.random.RandomState(0).rand(args.batch, 3, SIZES[args.host], SIZES[args.host])
                              .astype('float32'))
    peer, *how = args.peer.split('-')
    if args.task == 'train':
        labels = torch.arange(args.batch) % 10
        layout = torch.channels_last if 'channels' in how else torch.contiguous_format
        one_round = train_round(net, images, labels, layout, 'bfloat16' in how, args.steps)
    elif peer == 'pytorch':
        one_round = torch_round(net, images, torch.bfloat16 if 'bfloat16' in how else torch.float32, 'frozen' in how,
                                args.steps)
    else:
        one_round = onnx_round(net, images, how[0] if how else None, args.steps)
    serve(one_round, parameters)


if __name__ == '__main__':
    main()
