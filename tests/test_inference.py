"""Networks made for scoring answer as the plain ones do; the inference API, evaluate.py and tools.classify on top."""
import json
import os
import subprocess
import sys
from functools import partial

import runtime
from runtime import UserError

import cv2
import mxnet as mx
import numpy as np
import pytest

import evaluate
import inference
import train_cifar
from cli.trained import load_calibration
from data import DATASETS
from data.pictures import batch_of
from model import MODELS, get_model
from tests.cpu import DTYPES
from tests.faults.runs import write_tiny
from tests.test_scripts import ROOT, refusal
from tools.look import classify
from training import scoring
from training.weights.arrays import load_weights
from training.weights.params_file import write_params

NETWORK = ['--model', 'atac', '--act-type', 'ChaATAC', '--useReLU', '--r', '4', '--blocks', '1']
OPTIONS = dict(act_type='ChaATAC', r=4, blocks=1)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """(.params file, data folder, test pixels (N, 32, 32, 3), labels) of a network that knows most of a small set."""
    folder = tmp_path_factory.mktemp('trained')
    data = write_tiny(str(folder / 'data'), 400, 201)
    train_cifar.main([*NETWORK[2:], '--data-dir', data, '--num-epochs', '3', '--batch-size', '20', '--lr', '0.1',
                      '--lr-mode', 'cosine', '-j', '0', '--log-interval', '0', '--save-dir', str(folder / 'run'),
                      '--logging-file', str(folder / 'run.log')])
    pixels, labels, _ = DATASETS['fashion-mnist-mini'].load(False, data)
    return str(folder / 'run' / 'last.params'), data, pixels.transpose(0, 2, 3, 1), labels


def settled(name, shape, stages=(1, 1, 1, 1), **options):
    """(network, images): BatchNorm's statistics are those of the images, as if trained. stages: its blocks."""
    if MODELS[name].host.name == 'cifar':
        net = get_model(name, blocks=1, **options)
    else:
        net = get_model(name, layers=stages, input_size=shape[-1], classes=10, **options)
    mx.random.seed(0)
    net.initialize(mx.init.MSRAPrelu())
    random = np.random.RandomState(0)
    images = random.randn(*shape).astype('float32')
    with mx.autograd.record():
        loss = net(mx.nd.array(images)).sum()
    loss.backward()
    mx.nd.waitall()
    for name, parameter in net.collect_params('.*gamma|.*beta').items():
        parameter.set_data(mx.nd.array(random.randn(*parameter.shape) * 0.3 + name.endswith('gamma')))
    return net, images


def logits_of(net, images):
    return net(mx.nd.array(images)).astype('float32').asnumpy()


def cosine(a, b):
    a, b = a.ravel().astype('float64'), b.ravel().astype('float64')
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize('name,options', [
    *(('cifar_resnet', {'act_type': unit}) for unit in ('ChaATAC', 'relu', 'SeqATAC', 'DY-ReLU-A')),
    ('atac_resnet50_v1b', {}), ('aa_resnet50', {})])
def test_folded_float32_equals_the_plain_network(name, options):
    net, images = settled(name, (5, 3, 32, 32), **options)
    expected = logits_of(net, images)
    folded = scoring.compile_for_scoring(net)
    for count in (5, 2, 5):
        assert abs(logits_of(folded, images[:count]) - expected[:count]).max() < 1e-4 * expected.std()
    operators = [node['op'] for node in json.loads(folded(mx.sym.var('data')).tojson())['nodes']]
    assert '_sg_mkldnn_conv' in operators and 'Convolution' not in operators


def test_mxnets_own_folding_is_wrong_where_a_convolution_is_read_twice():
    """Why part_convolutions is there; once this fails it may go."""
    net, images = settled('cifar_resnet', (5, 3, 32, 32), act_type='relu')
    plain = net(mx.sym.var('data'))
    folded = scoring._block(plain.get_backend_symbol('MKLDNN'), net)
    assert abs(logits_of(folded, images) - logits_of(net, images)).max() > 0.1


def test_compiling_leaves_the_weights_alone():
    net, images = settled('cifar_resnet', (4, 3, 32, 32), act_type='ChaATAC')
    before = {name: array.data().asnumpy() for name, array in net.collect_params().items()}
    for dtype in DTYPES:
        scoring.compile_for_scoring(net, dtype, np.repeat(images, 4, axis=0))(mx.nd.array(images)).wait_to_read()
    for name, array in net.collect_params().items():
        assert (array.data().asnumpy() == before[name]).all(), name


@pytest.mark.parametrize('unit', ['ChaATAC', 'swish', 'prelu'])
def test_bfloat16_and_int8_come_close_for_every_kind_of_unit(unit):
    """swish multiplies by elemwise_mul, which int8 must leave alone, as bfloat16 must prelu."""
    net, images = settled('cifar_resnet', (32, 3, 32, 32), act_type=unit)
    expected = logits_of(net, images)
    for dtype, bound in {'float32': 1 - 1e-9, 'bfloat16': 0.999, 'int8': 0.99}.items():
        if dtype not in DTYPES:
            continue
        ready = scoring.compile_for_scoring(net, dtype, images)
        assert cosine(logits_of(ready, images), expected) > bound
        assert abs(logits_of(ready, images[:5]) - logits_of(ready, images)[:5]).max() < 1e-5


def test_int8_computes_in_int8():
    net, images = settled('cifar_resnet', (16, 3, 32, 32), act_type='ChaATAC')
    nodes = json.loads(scoring.compile_for_scoring(net, 'int8', images)(mx.sym.var('data')).tojson())['nodes']
    quantised = [node['name'] for node in nodes if node['name'].startswith('quantized_sg_mkldnn_conv')]
    convolutions = [node['name'] for node in nodes if node['op'] == '_sg_mkldnn_conv']
    assert len(convolutions) - len(quantised) == 1 and len(quantised) > 20
    assert sum('quantized_batch_norm' in node['op'] for node in nodes) == 0


@pytest.mark.skipif(os.environ.get('ATAC_NATIVE') == '0', reason='without it smaller networks are enough')
def test_int8_keeps_the_direction_of_the_logits_of_the_whole_atac_resnet50():
    net, images = settled('atac_resnet50_v1b', (16, 3, 160, 160), stages=(3, 4, 6, 3))
    assert cosine(logits_of(scoring.compile_for_scoring(net, 'int8', images), images), logits_of(net, images)) >= 0.98


def test_a_trained_network_keeps_its_guesses(trained):
    params, data, pixels, labels = trained
    calibration = batch_of(DATASETS['fashion-mnist-mini'].load(True, data).pixels[:64].transpose(0, 2, 3, 1),
                          'fashion-mnist-mini')
    net = get_model('cifar_resnet', **OPTIONS)
    load_weights(net, params)
    plain = logits_of(net, batch_of(pixels, 'fashion-mnist-mini'))
    right = plain.argmax(1) == labels
    assert right.mean() > 0.5  # it has learnt something, or the rest says nothing
    bounds = {'float32': (1, 1 - 1e-9), 'bfloat16': (0.97, 0.999), 'int8': (0.9, 0.98)}
    for dtype in DTYPES:
        agreeing, bound = bounds[dtype]
        ready = scoring.compile_for_scoring(net, dtype, calibration)
        found = logits_of(ready, batch_of(pixels, 'fashion-mnist-mini'))
        assert (found.argmax(1) == plain.argmax(1)).mean() >= agreeing and cosine(found, plain) >= bound


def test_calibration_needs_images_and_a_known_mode():
    net, images = settled('cifar_resnet', (16, 3, 32, 32))
    for calibration in (None, images[:0], images[:15]):
        with pytest.raises(UserError, match='at least 16, and (0|15) were given'):
            scoring.compile_for_scoring(net, 'int8', calibration)
    for calibration in (images[:, 0], images * float('nan')):
        with pytest.raises(UserError, match='calibrated on finite images'):
            scoring.compile_for_scoring(net, 'int8', calibration)
    with pytest.raises(UserError, match='unknown calibration mode'):
        scoring.compile_for_scoring(net, 'int8', images, 'percentile')


def test_every_calibration_image_counts_once(monkeypatch):
    """The batches of MXNet's iterator are whole for any number of images."""
    net, images = settled('cifar_resnet', (16, 3, 32, 32))
    sizes = {}

    def note(block, calib_data, **options):
        batches = list(calib_data)
        sizes[sum(len(batch.data[0]) for batch in batches)] = {batch.pad for batch in batches}
        return block

    monkeypatch.setattr(scoring, 'quantize_net_v2', note)
    for count in (16, 17, 48, 100):
        scoring.compile_for_scoring(net, 'int8', np.zeros((count, 3, 32, 32), 'float32'))
    assert sizes == {count: {0} for count in (16, 17, 48, 100)}


def test_entropy_calibration_runs():
    net, images = settled('cifar_resnet', (16, 3, 8, 8), act_type='relu')
    ready = scoring.compile_for_scoring(net, 'int8', images, 'entropy')
    assert cosine(logits_of(ready, images), logits_of(net, images)) > 0.9


def test_dtypes_that_the_cpu_lacks_are_refused(monkeypatch):
    with pytest.raises(UserError, match='float16 is not for CPUs: there are float32, bfloat16, int8'):
        scoring.check_dtype('float16')

    def fails(*_, **__):
        raise mx.base.MXNetError('could not create a primitive descriptor iterator')

    monkeypatch.setattr(mx.nd, 'Convolution', fails)
    with pytest.raises(UserError, match='bfloat16 needs a CPU with AVX-512, which this one has not: use float32'):
        scoring.check_dtype('bfloat16')
    scoring.check_dtype('int8')


def test_an_older_cpu_refuses_bfloat16_in_one_sentence(trained):
    """oneDNN told to take this CPU for one with AVX2 only."""
    done = subprocess.run([sys.executable, 'evaluate.py', *NETWORK, '--dataset', 'fashion-mnist-mini', '--data-dir',
                           trained[1], '--params', trained[0], '--dtype', 'bfloat16'], cwd=ROOT, timeout=60, text=True,
                          capture_output=True, env=dict(os.environ, DNNL_MAX_CPU_ISA='AVX2'))
    assert done.returncode == 2 and done.stderr.strip().splitlines() == [
        'evaluate.py: error: bfloat16 needs a CPU with AVX-512, which this one has not: use float32 or int8']


def test_a_batch_that_does_not_fit_says_which_would(monkeypatch):
    net, images = settled('cifar_resnet', (17, 3, 32, 32))
    ready = scoring.compile_for_scoring(net)
    scoring.check_scoring_memory(ready, (10 ** 4, 3, 32, 32))
    monkeypatch.setattr(runtime, 'free_memory', lambda: 10 ** 9)
    with pytest.raises(UserError, match=r'a batch of 1000000 images needs about .* GB .* 1.0 GB are free') as refused:
        scoring.check_scoring_memory(ready, (10 ** 6, 3, 32, 32))
    fitting = int(str(refused.value).split(': ')[1].split()[0])
    assert 10 ** 3 < fitting < 10 ** 5  # 10 KB to 1 MB an image; its input and the widest map alone have 78 KB
    scoring.check_scoring_memory(ready, (fitting // 2, 3, 32, 32))
    assert logits_of(ready, images).shape == (17, 10)


def test_free_memory_is_what_the_kernel_says():
    with open('/proc/meminfo') as file:
        total = int(file.readline().split()[1]) * 1024
    assert 0 < runtime.free_memory() < total


def test_the_classifier_names_pictures(trained, tmp_path):
    params, _, pixels, labels = trained
    classifier = inference.load(params)
    path = str(tmp_path / 'a.png')
    cv2.imwrite(path, pixels[0][..., ::-1])
    found = classifier.top_k([path, *pixels[:20]], k=3)
    assert len(found) == 21 and all(len(top) == 3 for top in found)
    assert [name for name, _ in found[0]] == [name for name, _ in found[1]]
    probabilities = classifier.probabilities(pixels[:20])
    assert abs(probabilities.sum(1) - 1).max() < 1e-5
    for top, row in zip(found[1:], probabilities):
        assert [name for name, _ in top] == [classifier.names[index] for index in np.argsort(-row)[:3]]
        assert [value for _, value in top] == pytest.approx(sorted(row, reverse=True)[:3], abs=1e-5)
    guessed = np.array([top[0][0] for top in classifier.top_k(pixels, 1)])
    assert (guessed == np.array(classifier.names)[labels]).mean() > 0.5


def test_classes_without_a_name_go_by_number():
    net, _ = settled('cifar_resnet', (2, 3, 32, 32), classes=100)
    picture = np.zeros((32, 32, 3), 'uint8')
    names = DATASETS['cifar100'].class_names('coarse')
    coarse = inference.Classifier(scoring.compile_for_scoring(net), 'cifar100', names).top_k([picture], 100)[0]
    names = {name for name, _ in coarse}
    assert len(names) == 100 and 'trees' in names and 'class 20' in names and 'class 19' not in names


def test_classes_of_somebodys_own_images_are_not_imagenets():
    net, _ = settled('atac_resnet50_v1b', (2, 3, 32, 32))
    picture = np.zeros((40, 40, 3), 'uint8')
    found = inference.Classifier(scoring.compile_for_scoring(net), 'imagenet', size=32).top_k([picture], 10)[0]
    assert {name for name, _ in found} == {'class %d' % number for number in range(10)}


def test_weights_of_another_network_and_no_pictures_are_refused(trained):
    with pytest.raises(UserError, match='holds cifar_resnet .*: --r 2 contradicts it'):
        inference.load(trained[0], 'cifar_resnet', dataset='fashion-mnist', act_type='ChaATAC', r=2, blocks=1)
    for wrong in ({'dataset': 'mnist'}, {'dataset': 'cifar100', 'label_set': 'all'}, {'model': 'resnet'}):
        with pytest.raises(UserError, match='unknown (data set|label set|model) .*; there are '):
            inference.load(**{'model': 'cifar_resnet', 'params': trained[0], **wrong})
    classifier = inference.load(trained[0], 'cifar_resnet', dataset='fashion-mnist', **OPTIONS)
    with pytest.raises(UserError, match='there is no picture'):
        classifier.top_k([])
    with pytest.raises(UserError, match='k=0 must be at least 1'):
        classifier.top_k(['a.png'], 0)
    for shape in (32, 32), (32, 32, 3):
        with pytest.raises(UserError, match='is one picture where a list'):
            classifier.top_k(np.zeros(shape, 'uint8'))
    with pytest.raises(UserError, match='a.png is one picture where a list'):
        classifier.top_k('a.png')


def evaluation(trained, *flags):
    params, data, *_ = trained
    return [*NETWORK, '--dataset', 'fashion-mnist-mini', '--data-dir', data, '--params', params, '-j', '0', *flags]


def test_evaluate_scores_every_image_in_every_dtype(trained, capsys):
    """201 images in batches of 64, the last one of 9."""
    scores = {dtype: evaluate.main(evaluation(trained, '--dtype', dtype, '--batch-size', '64',
                                              *['--calib-images', '100'] * (dtype == 'int8')))
              for dtype in DTYPES}
    text = capsys.readouterr().out
    plain = scores['float32']
    assert all(score['images'] == 201 for score in scores.values()) and plain['top1_error'] < 50
    assert scores['int8']['float32_top1_error'] == pytest.approx(plain['top1_error'])
    assert abs(scores.get('bfloat16', plain)['top1_error'] - plain['top1_error']) < 1.5  # 3 of 201 images
    assert abs(scores['int8']['top1_error'] - plain['top1_error']) < 3
    before, after = text.strip().splitlines()[-2:]
    assert before.startswith('float32: top-1 error %.3f' % plain['top1_error'])
    assert after.startswith('int8: top-1 error %.3f' % scores['int8']['top1_error'])


def test_calibration_images_are_spread_over_the_training_set_without_augmentation(trained, record_folder, monkeypatch):
    args = evaluate.parse_args(evaluation(trained, '--dtype', 'int8', '--calib-images', '5'))
    dataset = DATASETS['fashion-mnist-mini']
    source = dataset.batches(dataset.load(True, trained[1]), 5, train=False)
    rows = np.array([0, 99, 199, 299, 399])
    assert (load_calibration(args) == source.load(rows, 0, 0, map)[0]).all()
    flags = ['--model', 'resnet50_v1b', '--params', os.devnull, '--num-classes', '10', '--input-size', '32',
             '--dtype', 'int8', '--calib-images', '7']
    images = [load_calibration(evaluate.parse_args(flags + source)) for source in (
        ['--use-rec', '--rec-train', str(record_folder / 'train.rec')], ['--data-dir', str(record_folder)])]
    assert images[0].shape == (7, 3, 32, 32) and len({image.tobytes() for image in images[0]}) == 7
    assert images[0].dtype == images[1].dtype == np.float32
    monkeypatch.setattr('cli.trained.free_memory', lambda: 1e5)
    with pytest.raises(UserError, match='--calib-images 5 need 0.0 GB of memory and 0.0 GB are free: 4 would fit'):
        load_calibration(args)


@pytest.mark.parametrize('flags,sentence', [
    (['--dtype', 'int8', '--calib-images', '401'], '--calib-images 401: the training set has 400 images'),
    (['--dtype', 'int8', '--calib-images', '3'], 'at least 16, and 3 were given'),
    (['--dtype', 'float16'], 'float16 needs a GPU'),
    (['--dtype', 'int8', '--num-gpus', '1'], '--dtype int8 is for CPUs'),
    (['--blocks', '2'], '--blocks 2 contradicts it')])
def test_evaluate_refuses_in_one_sentence(trained, flags, sentence, capsys, monkeypatch):
    assert sentence in refusal(partial(evaluate.main, evaluation(trained, *flags)), [], capsys, monkeypatch)


def test_evaluate_refuses_a_batch_beyond_the_memory(trained, capsys, monkeypatch):
    monkeypatch.setattr(runtime, 'free_memory', lambda: 10 ** 6)
    assert 'would fit' in refusal(partial(evaluate.main, evaluation(trained)), [], capsys, monkeypatch)


def test_weights_that_are_not_finite_are_an_error(tmp_path):
    net, _ = settled('cifar_resnet', (2, 3, 32, 32))
    weights = {name: array.data().asnumpy() for name, array in net._collect_params_with_prefix().items()}
    weights['output.bias'][0] = np.nan
    write_params(str(tmp_path / 'nan.params'), weights)
    with pytest.raises(UserError, match='nan.params holds numbers that are not finite: output.bias'):
        inference.load(str(tmp_path / 'nan.params'), 'cifar_resnet', dataset='cifar10', blocks=1)
    weights['output.bias'][0], weights['output.weight'][:] = 3e38, 3e38
    write_params(str(tmp_path / 'huge.params'), weights)
    classifier = inference.load(str(tmp_path / 'huge.params'), 'cifar_resnet', dataset='cifar10', blocks=1)
    with pytest.raises(FloatingPointError, match='not finite'):
        classifier.top_k([np.zeros((32, 32, 3), 'uint8')])


def classified(*arguments):
    done = subprocess.run([sys.executable, '-m', 'tools.classify', *map(str, arguments)], cwd=ROOT, timeout=60,
                          capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_classify_as_a_process(trained, tmp_path):
    params, data, pixels, labels = trained
    images = [str(tmp_path / ('%d.png' % row)) for row in range(2)]
    for row, image in enumerate(images):
        cv2.imwrite(image, pixels[row][..., ::-1])
    flags = ['--params', params, '--top', 2]
    code, out, error = classified(*images, *flags, '--json')
    assert code == 0, error
    found = json.loads(out)
    expected = inference.load(params).top_k(images, 2)
    assert [entry['image'] for entry in found] == images
    for entry, top in zip(found, expected):
        assert [guess['class'] for guess in entry['top']] == [name for name, _ in top]
        assert [guess['probability'] for guess in entry['top']] == pytest.approx([value for _, value in top], abs=1e-5)


def test_classify_continues_after_a_bad_picture(trained, tmp_path):
    params, _, pixels, _ = trained
    good = [str(tmp_path / f'{row}.png') for row in range(2)]
    for row, image in enumerate(good):
        cv2.imwrite(image, pixels[row][..., ::-1])
    (tmp_path / 'text.png').write_text('no image')
    images = [good[0], tmp_path / 'text.png', tmp_path / 'absent.png', good[1]]
    code, out, error = classified(*images, '--params', params, '--top', 1)
    assert code == 2 and [line for line in out.splitlines() if line[0] != ' '] == good
    assert [line.split()[-1] for line in out.splitlines()[1::2]] == \
        [top[0][0].split()[-1] for top in inference.load(params).top_k(good, 1)]
    text, absent = error.splitlines()
    assert text.startswith(f'python -m tools.classify: error: {tmp_path}/text.png is not an image of a kind that')
    assert absent == f'python -m tools.classify: error: {tmp_path}/absent.png: No such file or directory'
    code, out, _ = classified(*images, '--params', params, '--json')
    assert code == 2 and [entry['image'] for entry in json.loads(out)] == good


def test_classify_prints_a_table_and_takes_int8(trained, tmp_path, capsys):
    params, data, pixels, _ = trained
    image = str(tmp_path / 'a.png')
    cv2.imwrite(image, pixels[0][..., ::-1])
    flags = [*NETWORK, '--dataset', 'fashion-mnist-mini', '--data-dir', data, '--params', params]
    found = classify.main([image, *flags, '--dtype', 'int8', '--calib-images', '64', '--top', '3'])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == image and len(lines) == 4 and found[0]['top'][0]['class'] in lines[1]
