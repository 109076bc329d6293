"""What the papers print for the networks of the comparison, and how each of them counted.

The table of "Attention as Activation" (its Table IV) takes every row but its own from other papers, which count in
different ways: that is why each row has a rule of its own here. A rule is a function of the layers of a network
(model.complexity.Layer) to floating point operations.
"""
from collections import namedtuple

# gflops, parameters (millions): as printed. counted: which of (all, trainable) the printed parameters are.
# rule: layers -> operations. says: the rule in words.
Row = namedtuple('Row', 'gflops parameters counted rule says')


def multiply_adds(rows):
    return sum(row.macs for row in rows)


def with_pooling(rows):
    """A multiply-add for every element that a global average pooling reads, beside those of the layers."""
    return multiply_adds(rows) + sum(row.pooled for row in rows)


def dense_doubled(rows):
    """The authors' flops.py: a dense layer counts 2 in * out - in + out, everything else its multiply-adds."""
    return sum(2 * row.macs + row.output_shape[0] * (row.output_shape[-1] - row.inputs)
               if row.op == 'FullyConnected' else row.macs
               for row in rows)


def attention_once(rows):
    """Two operations for each multiply-add of a convolution or dense layer, one for those of attention products."""
    return sum(row.macs if row.op == 'batch_dot' else 2 * row.macs for row in rows)


def every_neighbour(rows):
    """Two operations for each multiply-add, of FA-ResNet as its formula reads.

    q . r is counted for each pixel of a neighbourhood as q . k is, where this implementation multiplies q with the 2k
    rows and columns once; and the stem applies its four value matrices before it mixes them, per pixel.
    """
    total = 0
    for row in rows:
        if row.name.endswith('local_qk'):
            total += 2 * row.macs
        elif 'relative' in row.name:
            continue
        elif row.name.endswith('stem0_value'):
            # 3 inputs and 4 matrices: 4 times the multiply-adds of one, and 4 shares for each of its outputs.
            total += 4 * row.macs + 4 * row.macs // 3
        else:
            total += row.macs
    return 2 * total


PUBLISHED = {
    'resnet50': Row(3.86, 25.6, 'all', multiply_adds, 'multiply-adds, strides of ResNet-v1'),
    'se_resnet50': Row(3.87, 28.1, 'all', with_pooling,
                       'multiply-adds and one operation an element of each squeeze, strides of ResNet-v1'),
    'aa_resnet50': Row(8.3, 25.8, 'trainable', attention_once,
                       'two operations a multiply-add, one in attention products'),
    'fa_resnet50': Row(7.2, 18.0, 'trainable', every_neighbour,
                       'two operations a multiply-add, q.r for every neighbour, values mixed per pixel'),
    'ge_theta_plus_resnet50': Row(3.87, 33.7, 'all', multiply_adds, 'multiply-adds, strides of ResNet-v1'),
    'atac_resnet50_v1b': Row(4.4, 28.0, 'all', dense_doubled,
                             'multiply-adds, two operations in the dense layer, strides of ResNet-v1b'),
}
