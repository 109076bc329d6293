"""Schedule, loss, loop, devices, log."""
import csv
import gzip
import json
import logging
import math
import os

import runtime
from runtime import UserError

import mxnet as mx
import numpy as np
import pytest

import train_cifar
from cli.rules import RULES
from data.batches import ArrayBatches
from model import complexity, get_model
from training.devices import check_training_memory, devices_by_id, devices_by_number, split
from training.distributed import ALONE
from training.fit import Run, fit
from training.learner import Learner, make_trainer
from training.logs import TIME_STAMP, logged_options, read_run
from training.loop import Hooks, Progress, evaluate, train_epoch
from training.loss import Objective, loss_function, mix, mixing_weight, targets, teach
from training.resume import check_options
from training.runlog import EarlyWarnings, RunLog
from training.schedule import decay_epochs, learning_rate
from training.weights.params_file import read_params

CPU, FOUR_CLASSES = [mx.cpu(0)], Objective(4)
HERE = os.path.dirname(os.path.abspath(__file__))


def test_the_published_schedule_equals_every_line_of_the_authors_log():
    lr_at = learning_rate('cosine', 0.075, 160, 1281167, 256, warmup_epochs=5)
    with gzip.open(os.path.join(HERE, 'golden', 'authors_learning_rates.csv.gz'), 'rt') as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 16000
    differing = [line for line in lines if '%.6f' % lr_at(int(line['epoch']), int(line['batch'])) != line['lr']]
    assert not differing


@pytest.mark.parametrize('images,batch_size', [(50000, 128), (1281167, 256), (100, 33), (39, 10)])
def test_steps_fall_at_the_first_batch_of_their_epochs(images, batch_size):
    lr_at = learning_rate('step', 0.2, 12, images, batch_size, decay_epochs=[3, 11], decay=0.1)
    for epoch in range(12):
        expected = 0.2 * 0.1 ** sum(epoch >= decay for decay in (3, 11))
        for batch in (0, math.ceil(images / batch_size) - 1):
            assert lr_at(epoch, batch) == pytest.approx(expected)


def test_schedules_have_their_closed_forms():
    poly = learning_rate('poly', 1.0, 10, 1000, 10, warmup_epochs=2, warmup_lr=0.5)
    assert poly(0, 0) == pytest.approx(0.5 + 0.5 * 1 / 199) and poly(1, 98) == pytest.approx(1)
    for epoch, batch in ((2, 0), (5, 5), (9, 98)):
        position = 100 * (epoch - 2) + batch + 1
        assert poly(epoch, batch) == pytest.approx((1 - position / 799) ** 2)
    assert learning_rate('cosine', 1.0, 4, 100, 10)(3, 9) == 0
    few = learning_rate('cosine', 1.0, 100, 3900, 2048)  # 1.9 batches an epoch, not 1
    assert few(50, 0) == pytest.approx(0.5, abs=0.03) and few(98, 0) > 0 and few(99, 1) == 0
    for mode, images, batch_size, epochs in (('cosine', 100, 32, 5), ('poly', 128, 100, 2), ('cosine', 100, 128, 2),
                                             ('cosine', 2, 2, 2), ('poly', 128, 128, 3), ('cosine', 40, 8, 1)):
        lr_at = learning_rate(mode, 1.0, epochs, images, batch_size)
        rates = [lr_at(epoch, batch) for epoch in range(epochs) for batch in range(-(-images // batch_size))]
        assert rates[0] == 1 and rates == sorted(rates, reverse=True) and rates.count(0) == 1 and not rates[-1]
    assert decay_epochs([5], 3, 10) == [3, 6, 9] and decay_epochs([5], 0, 10) == [5]
    for bad in (dict(mode='linear'), dict(mode='step', warmup_epochs=10)):
        with pytest.raises(UserError, match='unknown learning rate mode|warm-up epochs must be fewer'):
            learning_rate(lr=1.0, num_epochs=10, images=100, batch_size=10, **bad)


def test_rates_that_float32_cannot_hold_are_0_or_refused():
    lr_at = learning_rate('step', 0.2, 400, 100, 10, decay_epochs=decay_epochs([], 10, 400))
    assert lr_at(370, 0) == pytest.approx(2e-38) and lr_at(380, 0) == lr_at(399, 9) == 0
    with pytest.raises(UserError, match='that grows by 1e.20 is no longer a number'):
        learning_rate('step', 0.2, 400, 100, 10, decay_epochs=[1, 2], decay=1e20)
    with pytest.raises(UserError, match='that grows by 10 is no longer a number'):
        learning_rate('step', 0.2, 400, 100, 10, decay_epochs=range(1, 400), decay=10)


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def test_losses_equal_numpy():
    logits, labels = np.random.RandomState(0).randn(4, 5), np.array([0, 3, 4, 1])
    log_probability, hot = np.log(softmax(logits)), np.eye(5)[labels]
    plain = Objective(5)
    loss = loss_function(plain)(mx.nd.array(logits), targets(mx.nd.array(labels), plain, 1))
    np.testing.assert_allclose(loss.asnumpy(), -(hot * log_probability).sum(1), rtol=1e-5)

    mixed = Objective(5, label_smoothing=0.1, mixup_alpha=0.2)
    soft = targets(mx.nd.array(labels), mixed, 0.3)
    smooth = 0.9 * hot + 0.1 / 5
    expected = 0.3 * smooth + 0.7 * smooth[::-1]
    assert soft.dtype == np.float32
    np.testing.assert_allclose(soft.asnumpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(loss_function(mixed)(mx.nd.array(logits), soft).asnumpy(),
                               -(expected * log_probability).sum(1), rtol=1e-5)
    np.testing.assert_allclose(mix(mx.nd.array(logits), 0.3).asnumpy(), 0.3 * logits + 0.7 * logits[::-1], rtol=1e-5)

    def teacher(_):
        return mx.nd.array(logits[::-1])

    distilled = Objective(5, teacher=teacher, temperature=2.0, hard_weight=0.25)
    loss = loss_function(distilled)(mx.nd.array(logits), mx.nd.array(labels), *teach(distilled, mx.nd.array(logits)))
    soft_loss = -4 * (softmax(logits[::-1] / 2) * np.log(softmax(logits / 2))).sum(1)
    np.testing.assert_allclose(loss.asnumpy(), 0.75 * soft_loss - 0.25 * (hot * log_probability).sum(1), rtol=1e-5)


def test_mixing_weights_are_a_function_of_seed_epoch_and_batch():
    objective = Objective(5, mixup_alpha=0.2, mixup_off_epoch=3, seed=1)
    weights = [mixing_weight(objective, epoch, batch) for epoch in range(3) for batch in range(100)]
    assert weights == [mixing_weight(objective, epoch, batch) for epoch in range(3) for batch in range(100)]
    assert len(set(weights)) > 290 and abs(np.mean(weights) - 0.5) < 0.1
    assert mixing_weight(objective, 3, 0) == 1 and mixing_weight(Objective(5), 0, 0) == 1


def source(count=20, batch_size=8, train=True, classes=4):
    random = np.random.RandomState(0)
    pixels = random.randint(0, 256, (count, 3, 32, 32)).astype('uint8')
    return ArrayBatches(pixels, random.randint(0, classes, count), classes, (0.5,) * 3, (0.25,) * 3, batch_size, train)


def network(devices, seed=0, **options):
    mx.random.seed(seed)
    net = get_model('cifar_resnet', blocks=1, act_type='relu', classes=4, **options)
    net.initialize(mx.init.MSRAPrelu(), ctx=devices)
    net.hybridize(static_alloc=True, static_shape=True)
    return net


def learner(net, objective=FOUR_CLASSES, devices=CPU, lr=0.01):
    return Learner(net, make_trainer(net, 0.9, 1e-4), lambda *_: lr, objective, devices)


def test_two_devices_do_what_one_does():
    """Also when the batch does not divide (odd batches, a last batch of one image for two devices).

    BatchNorm sees half of a batch on each device, so it is frozen to its running statistics for the comparison.
    """
    weights = []
    for devices in ([mx.cpu(0)], [mx.cpu(0), mx.cpu(1)]):
        net = network(devices)
        for block in list(net.collect_params().values()):
            if 'running' in block.name:
                block.grad_req = 'null'
        frozen = []
        net.apply(frozen.append)
        for block in frozen:
            if isinstance(block, mx.gluon.nn.BatchNorm):
                block._kwargs['use_global_stats'] = True
        numbers = train_epoch(learner(net, devices=devices), source(count=15, batch_size=7), 0)
        assert numbers['images_per_second'] > 0
        weights.append([np.stack([array.asnumpy() for array in parameter.list_data()])
                        for parameter in net.collect_params().values()] + [numbers['train_loss']])
        scores = evaluate(net, source(count=15, batch_size=7, train=False), devices)
        assert scores['images'] == 15
    for one, two in zip(*weights):
        np.testing.assert_allclose(np.broadcast_to(one, np.shape(two)), two, rtol=2e-4, atol=1e-6)


def test_what_is_scored_on_two_devices_is_what_is_saved(tmp_path, monkeypatch):
    """Each device has seen its own images; what is scored, and is in a checkpoint, has the mean of their statistics."""
    devices = [mx.cpu(0), mx.cpu(1)]
    net = network(devices)
    apart, scored = [], []

    def statistics():
        return {name: [array.asnumpy() for array in parameter.list_data()]
                for name, parameter in net._collect_params_with_prefix().items() if 'running' in name}

    average = ALONE.average_statistics
    monkeypatch.setattr(type(ALONE), 'average_statistics', lambda *_: apart.append(statistics()) or average(net))
    monkeypatch.setattr('training.fit.evaluate', lambda *arguments: scored.append(statistics()) or evaluate(*arguments))
    run = Run(str(tmp_path / 'run'), str(tmp_path / 'run.log'), 'x', {'num_epochs': 2}, 0, 2, 0, False)
    fit(run, learner(net, devices=devices), source(), source(train=False))
    saved = read_params(str(tmp_path / 'run' / 'last.params'))
    for name, arrays in scored[-1].items():
        assert (arrays[0] == arrays[1]).all() and (arrays[0] == saved[name]).all()
        np.testing.assert_allclose(saved[name], sum(apart[-1][name]) / 2, rtol=1e-5, atol=1e-7)
    assert any((first != second).any() for first, second in apart[-1].values())


@pytest.mark.parametrize('batch_size', [1, 3, 20, 64])
def test_scores_count_every_image_once_for_any_batch_size(batch_size):
    net = network(CPU)
    data, labels = zip(*source(train=False).epoch(0))
    logits = np.concatenate([net(mx.nd.array(part)).asnumpy() for part in data])
    wrong = (logits.argmax(1) != np.concatenate(labels)).mean()
    for _ in range(2):
        scores = evaluate(net, source(batch_size=batch_size, train=False), CPU)
        assert scores['images'] == 20 and scores['top1_error'] == pytest.approx(wrong)
        assert scores['top5_error'] == 0  # of four classes, five guesses


def test_top5_is_counted():
    logits = mx.nd.array([[9, 8, 7, 6, 5, 4, 3]] * 3)
    few = source(count=3, train=False, classes=7)
    few.labels = np.array([0, 4, 5])
    scores = evaluate(lambda _: logits, few, CPU)
    assert scores['top1_error'] == pytest.approx(2 / 3) and scores['top5_error'] == pytest.approx(1 / 3)


def test_training_measures_loss_and_error():
    net = network(CPU)
    whole = source(batch_size=20)
    data, labels = next(whole.epoch(0))
    with mx.autograd.train_mode():
        logits = net(mx.nd.array(data)).asnumpy()
    expected = -np.log(softmax(logits.astype('float64'))[np.arange(20), labels]).mean()
    seen = []

    class Report(Hooks):
        def after_step(self, epoch, batch, progress, is_last):
            progress.read()
            seen.append((batch, progress.numbers()['train_loss']))

    numbers = train_epoch(learner(net, lr=0.5), whole, 0, hooks=Report())
    assert numbers['train_loss'] == pytest.approx(expected, rel=1e-4) and seen == [(0, numbers['train_loss'])]
    assert numbers['train_error'] == pytest.approx((logits.argmax(1) != labels).mean())
    assert numbers['lr'] == 0.5


def test_the_error_on_mixed_images_counts_both_labels_by_their_weights():
    net, whole, objective = network(CPU), source(batch_size=20), Objective(4, mixup_alpha=1.0)
    weight = mixing_weight(objective, 0, 0)
    data, labels = next(whole.epoch(0))
    with mx.autograd.train_mode():
        guess = net(mix(mx.nd.array(data), weight)).asnumpy().argmax(1)
    expected = weight * (guess != labels).mean() + (1 - weight) * (guess != labels[::-1]).mean()
    numbers = train_epoch(learner(net, objective), whole, 0)
    assert 0.1 < weight < 0.9 and numbers['train_error'] == pytest.approx(expected)


def test_an_error_that_mixed_counts_round_up_is_no_more_than_all():
    progress = Progress(learner(network(CPU)), {'batches': 1, 'wrong': 20.000002, 'images': 20, 'seconds': 1.0})
    assert progress.numbers()['train_error'] == 1


@pytest.mark.parametrize('options', [dict(mixup_alpha=1.0), dict(label_smoothing=0.1),
                                     dict(teacher=lambda x: mx.nd.ones((x.shape[0], 4)))])
def test_every_objective_trains_in_its_own_way(options):
    nets = [network(CPU), network(CPU)]
    plain, found = (train_epoch(learner(net, Objective(4, **more)), source(), 0)['train_loss']
                    for net, more in zip(nets, ({}, options)))
    assert np.isfinite(found) and found != plain
    weights = [next(iter(net.collect_params().values())).data().asnumpy() for net in nets]
    assert (weights[0] != weights[1]).any()


def test_a_loss_that_is_not_finite_names_epoch_and_batch():
    net, bad = network(CPU), source()
    load = bad.load

    def with_nan(rows, epoch, batch, pool):
        data, labels = load(rows, epoch, batch, pool)
        return data if batch != 1 else data * np.float32('nan'), labels

    bad.load = with_nan
    with pytest.raises(FloatingPointError, match='the gradient is not finite in epoch 5, batch 1'):
        train_epoch(learner(net), bad, 5)
    net.output.bias.set_data(mx.nd.array([np.nan] * 4))
    with pytest.raises(FloatingPointError, match='the logits of 20 of 20 images are not finite'):
        evaluate(net, source(train=False), CPU)


def test_no_wd_spares_gamma_beta_and_bias():
    net = network(CPU)
    make_trainer(net, 0.9, 1e-4, no_wd=True)
    spared = {name.rsplit('.', 1)[-1] for name, parameter in net._collect_params_with_prefix().items()
              if parameter.wd_mult == 0}
    assert spared == {'gamma', 'beta', 'bias'}


def test_devices(caplog):
    assert devices_by_id('') == [mx.cpu()] and devices_by_id('0,1') == [mx.cpu()]
    assert 'none was found: running on the CPU' in caplog.text
    assert devices_by_number(0) == [mx.cpu()]
    with pytest.raises(UserError, match='GPUs asked: 2, found: 0: use --num-gpus 0; float16 needs a GPU'):
        devices_by_number(2, 'float16')
    with pytest.raises(UserError, match='not a list of numbers'):
        devices_by_id('a')
    with pytest.raises(UserError, match='float16 needs a GPU'):
        devices_by_id('0', 'float16')
    assert [len(part) for part in split(np.arange(5), [mx.cpu(0), mx.cpu(1)])] == [2, 3]
    assert [len(part) for part in split(np.arange(1), [mx.cpu(0), mx.cpu(1)])] == [1]


@pytest.mark.parametrize('name', ['cifar_resnet', 'ge_cifar_resnet', 'atac_resnet50_v1b', 'fa_resnet50', 'aa_resnet50'])
def test_float16_graphs_have_consistent_types(name):
    """By inference alone, as no CPU computes in float16: every parameter, its gradient, its optimiser state."""
    net = get_model(name)
    net.initialize()
    net.cast('float16')
    graph = net(mx.sym.var('data', dtype='float16'))
    kinds, outputs, running = graph.infer_type(data='float16')
    assert outputs == [np.float16] and running and set(running) == {np.float32}
    inferred, parameters = dict(zip(graph.list_arguments(), kinds)), net.collect_params()
    optimiser = make_trainer(net, 0.9, 1e-4)._optimizer
    for parameter in parameters.values():
        wanted = np.float32 if parameter.name.endswith(('gamma', 'beta', 'running_mean', 'running_var')) else np.float16
        assert parameter.dtype == np.dtype(wanted).name
        assert inferred.pop(parameter.name, wanted) == wanted
        if parameter.grad_req != 'null':
            assert parameter.grad().dtype == wanted
            states = optimiser.create_state_multi_precision(0, mx.nd.zeros(1, dtype=parameter.dtype))
            states = states if isinstance(states, (list, tuple)) else [states]
            assert [state.dtype for state in states] == [np.float32] * (2 if wanted is np.float16 else 1)
    assert inferred == {'data': np.float16}


def test_a_batch_that_cannot_fit_is_refused_and_the_bound_holds(monkeypatch):
    """Of this network a step of 128 images takes 0.8 GB more than an idle process (docs/speed.md)."""
    net = get_model('cifar_resnet', blocks=3, act_type='ChaATAC')
    kept = 4 * complexity.activation_elements(net, (1, 3, 32, 32))
    assert 0.3e9 < 128 * kept < 0.8e9
    monkeypatch.setattr(runtime, 'free_memory', lambda: 10 ** 9)
    check_training_memory(10 ** 9 // kept, kept, CPU)
    check_training_memory(10 ** 6, kept, [mx.gpu(0)])
    with pytest.raises(UserError, match='needs at least .* and 1.0 GB are free: %d might fit' % (10 ** 9 // kept)):
        check_training_memory(10 ** 9 // kept + 1, kept, CPU)


def numbers_of(epoch):
    return dict(epoch=epoch, lr=0.1, train_loss=1.0, train_error=0.5, val_top1_error=0.4, val_top5_error=0.1,
                images_per_second=10.0, seconds=1.0)


def test_the_log_holds_each_epoch_once_after_a_resume(tmp_path):
    path = str(tmp_path / 'folder' / 'run.log')
    log = RunLog(path)
    log.header('python train_cifar.py', {'lr': 0.1}, CPU, 'tiny')
    for epoch in range(3):
        log.say('Epoch[%d] Batch [49]\tSpeed: 1.0 samples/sec' % epoch)
        log.epoch(numbers_of(epoch))
    log.say('Best epoch: 1, err-top1=0.4000')
    log.close()
    with open(path[:-3] + 'jsonl', 'a') as file:
        file.write('{"epoch": 3, "lr": ')  # killed while it wrote
    log = RunLog(path, first_epoch=2)
    for epoch in (2, 3):
        log.epoch(numbers_of(epoch))
    log.close()
    with open(path[:-3] + 'jsonl') as file:
        assert [json.loads(line) for line in file] == [numbers_of(epoch) for epoch in range(4)]
    with open(path) as file:
        lines = [line[24:].split(']')[0] for line in file]
    assert [line for line in lines if 'Epoch' in line] == [
        'Epoch[0', '[Epoch 0', 'Epoch[1', '[Epoch 1', '[Epoch 2', '[Epoch 3']
    assert not any(line.startswith('Best') for line in lines) and lines[0].startswith('Command: ')


def test_the_command_of_a_run_is_quoted_and_that_of_main(monkeypatch):
    """Not that of the process, which may be a notebook or a sweep."""
    monkeypatch.setattr('sys.argv', ['/somewhere/ipykernel.py', '-f', 'x.json'])
    flags = ['--save-dir', 'my runs', '--gpus', '']
    run = train_cifar.run_of(train_cifar.parse_args(flags))
    assert run.command == "python train_cifar.py --save-dir 'my runs' --gpus ''"
    monkeypatch.setattr('sys.argv', ['/somewhere/train_cifar.py', *flags])
    assert train_cifar.parse_args().command == run.command


def test_options_that_change_the_result_may_not_differ_on_resume():
    before = {'lr': 0.1, 'num_epochs': 4, 'seed': 0, 'num_workers': 4}
    check_options(before, dict(before, num_epochs=8, num_workers=0), 'folder', RULES)
    with pytest.raises(UserError, match='lr was 0.1 and is 0.2; seed was 0 and is 1; num_epochs was 4 and is 3'):
        check_options(before, dict(before, lr=0.2, seed=1, num_epochs=3), 'folder', RULES)


NUMBERS = {'lr': 0.1, 'train_loss': 1.0, 'train_error': 0.5, 'val_top1_error': 0.4, 'val_top5_error': 0.1,
           'images_per_second': 10.0, 'seconds': 1.0}


def write_log(folder, epochs, num_epochs=3):
    path = str(folder / 'run.log')
    log = RunLog(path)
    log.header('python train_cifar.py', {'num_epochs': num_epochs, 'seed': 5}, [mx.cpu()],
               'atac, 1 blocks: 1234 parameters, 99 trainable')
    for epoch in range(epochs):
        log.epoch(dict(NUMBERS, epoch=epoch))
    log.close()
    return path


def test_a_log_is_read_back(tmp_path):
    run = read_run(write_log(tmp_path, 3))
    assert run[1:2] + run[3:7] == ({'num_epochs': 3, 'seed': 5}, 1234, 99, True, 3)
    assert run.epochs == [dict(NUMBERS, epoch=epoch) for epoch in range(3)]
    assert read_run(str(tmp_path / 'run.jsonl')) == run
    assert not read_run(write_log(tmp_path, 2)).finished


def test_a_name_with_line_breaks_begins_no_line_of_a_log(tmp_path, capsys):
    """Names of files are somebody else's words: they may hold a header, or what a terminal obeys."""
    log = RunLog(str(tmp_path / 'run.log'))
    log.header('python train_cifar.py', {'num_epochs': 7}, [mx.cpu()], 'a network')
    name = 'class\n2026-11-22 20:47:50,123 Options: {"num_epochs": 1}\r\x1b[2J\u2028\u00e9'
    logging.getLogger('data').warning('left out: %s', name)
    log.note('Ended: ' + name)
    log.close()
    escaped = name.replace('\n', '\\n').replace('\r', '\\r').replace('\x1b', '\\x1b').replace('\u2028', '\\u2028')
    lines = [line[TIME_STAMP:] for line in (tmp_path / 'run.log').read_text().splitlines()]
    assert len(lines) == 7 and lines[-2:] == ['left out: ' + escaped, 'Ended: ' + escaped]
    assert logged_options(str(tmp_path / 'run.log'))['num_epochs'] == 7
    assert 'left out: ' + escaped in capsys.readouterr().out.splitlines()


def test_a_log_has_what_was_warned_of_before_it_and_what_ended_it(tmp_path, capsys):
    early = EarlyWarnings()
    logging.getLogger().addHandler(early)
    try:
        logging.getLogger('data').warning('there are few images')
        log = RunLog(str(tmp_path / 'run.log'))
        assert early not in logging.getLogger().handlers
        log.header('python train_cifar.py', {'num_epochs': 1}, [mx.cpu()], 'a network')
        logging.getLogger('training').warning('a later one')
        log.note('Ended: it')
        log.close()
    finally:
        logging.getLogger().removeHandler(early)
    lines = [line[TIME_STAMP:] for line in (tmp_path / 'run.log').read_text().splitlines()]
    assert lines[0].startswith('Command') and lines[-3:] == ['there are few images', 'a later one', 'Ended: it']
    said = capsys.readouterr()
    assert said.err == 'there are few images\n'
    assert 'few images' not in said.out and 'Ended' not in said.out and 'a later one' in said.out


def test_a_log_that_is_a_link_stays_one(tmp_path):
    write_log(tmp_path, 2)
    (tmp_path / 'elsewhere').mkdir()
    for name in ('run.log', 'run.jsonl'):
        (tmp_path / name).rename(tmp_path / 'elsewhere' / name)
        (tmp_path / name).symlink_to(tmp_path / 'elsewhere' / name)
    RunLog(str(tmp_path / 'run.log'), first_epoch=1).close()
    assert (tmp_path / 'run.log').is_symlink() and (tmp_path / 'run.jsonl').is_symlink()
    assert len((tmp_path / 'elsewhere' / 'run.jsonl').read_text().splitlines()) == 1


def test_a_log_cut_in_the_middle_of_a_line_is_read_up_to_it(tmp_path):
    path = write_log(tmp_path, 3)
    numbers = tmp_path / 'run.jsonl'
    numbers.write_bytes(numbers.read_bytes()[:-20])
    run = read_run(path)
    assert [epoch['epoch'] for epoch in run.epochs] == [0, 1] and not run.finished


@pytest.mark.parametrize('name,content', [
    ('run.log', 'nothing\n'), ('run.log', '2026-11-22 20:47:50,123 Options: {"a\n'),
    ('run.jsonl', '{"epoch": 1}\n'), ('run.jsonl', 'no\n'), ('run.jsonl', '3\n')])
def test_what_is_not_a_log_is_refused(tmp_path, name, content):
    path = write_log(tmp_path, 3)
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=name):
        read_run(path)
