"""The scripts as a user runs them; in this process where that is the same thing."""
import fcntl
import glob
import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

from runtime import UserError

import mxnet as mx
import numpy as np
import pytest

import evaluate
import train_cifar
import train_imagenet
from cli import build, command, exits
from cli.flags import BY_DEST, IMAGENET_MODELS
from data import cifar
from model import ACTIVATIONS, MODELS, get_model
from tests.test_data_cifar import small, write_cifar
from training import checkpoint
from training.distributed import ALONE
from training.logs import read_run
from training.loss import Objective
from training.resume import ERRORS
from training.weights.checksums import sealed
from training.weights.params_file import read_params

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PUBLISHED_IMAGENET = (
    '--mode hybrid --lr 0.075 --lr-mode cosine --num-epochs 160 --batch-size 128 --num-gpus 2 -j 48 --warmup-epochs 5 '
    '--dtype float16 --use-rec --last-gamma --no-wd --label-smoothing --save-dir params_resnet50_v1b_ChaATAC_2 '
    '--logging-file resnet50_v1b_ChaATAC_2.log --r 2 --act-layers 2').split()
PUBLISHED_CIFAR = (
    '--gpus 0 --num-epochs 400 --mode hybrid -j 32 --batch-size 128 --wd 0.0001 --lr 0.2 --lr-decay 0.1 '
    '--lr-decay-epoch 300,350 --dataset cifar100 --model atac --act-type ChaATAC --useReLU --r 2 --blocks 3').split()


def run(script, *flags, cwd=ROOT, timeout=120, **environment):
    """Exit code, standard output and standard error of a script run as a process."""
    done = subprocess.run([sys.executable, os.path.join(ROOT, script), *map(str, flags)], cwd=str(cwd), timeout=timeout,
                          capture_output=True, text=True, env=dict(os.environ, **environment))
    return done.returncode, done.stdout, done.stderr


def refusal(main, flags, capsys, monkeypatch):
    """The sentence with which a script leaves with exit code 2, without a traceback."""
    monkeypatch.setattr(sys, 'argv', ['script.py', *map(str, flags)])
    with pytest.raises(SystemExit) as leaving:
        exits.run_script(main)
    text = capsys.readouterr().err
    assert leaving.value.code == 2 and 'Traceback' not in text
    return text.strip().splitlines()[-1]


@pytest.mark.parametrize('defect, says', [
    (lambda: np.pad(np.ones(3), 1, mode='nonsense'), 'nonsense'),  # raised by Python code of a library
    (lambda: np.ones(3).reshape(2, 2), 'cannot reshape'),          # raised by C code, which has no frame
    (lambda: int('three'), 'invalid literal')])
def test_only_a_user_error_is_a_mistake_of_the_user(defect, says, capsys, monkeypatch):
    with pytest.raises(ValueError, match=says):
        exits.run_script(defect)

    def mistake():
        raise UserError('--r 3 does not divide 16')
    assert refusal(mistake, [], capsys, monkeypatch) == 'script.py: error: --r 3 does not divide 16'


@pytest.mark.parametrize('module, name', [
    (None, 'train_cifar.py'), ('tools.seal', 'python -m tools.seal'), ('pytest.__main__', 'train_cifar.py'),
    ('tools.plot_sweep', 'python -m tools.plot_sweep'), ('tools.sweep.__main__', 'python -m tools.sweep'),
    ('tools.benchmark.profile', 'python -m tools.benchmark.profile')])
def test_a_command_has_the_name_that_the_user_typed(module, name, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['folder/train_cifar.py'])
    monkeypatch.setattr(sys.modules['__main__'], '__spec__', module and SimpleNamespace(name=module))
    assert command.program() == command.Parser().prog == name


def test_a_flag_that_there_is_not_is_one_sentence():
    done = subprocess.run([sys.executable, '-m', 'tools.seal', '--nonsense', 'FILE'], cwd=ROOT, timeout=60,
                          capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr == 'python -m tools.seal: error: unrecognized arguments: --nonsense\n'


def test_every_command_has_the_parser_of_one_sentence():
    product = [path for folder in ('', 'cli/', 'data/', 'model/', 'native/', 'tools/**/', 'training/**/')
               for path in glob.glob(os.path.join(ROOT, folder + '*.py'), recursive=True)]
    others = {os.path.relpath(path, ROOT) for path in product if 'ArgumentParser' in open(path).read()}
    assert others == {'cli/command.py'} and len(product) > 100


def test_a_full_memory_is_one_sentence(capsys, monkeypatch):
    for error in MemoryError(), mx.MXNetError('Check failed: out of memory'):
        def full(error=error):
            raise error
        assert refusal(full, [], capsys, monkeypatch).endswith(
            'the memory is full: smaller batches may fit')


def imagenet_flags(record_folder, tmp_path):
    """The first five say that images come from RecordIO, and where they are."""
    return ['--use-rec', '--rec-train', record_folder / 'train.rec', '--rec-val', record_folder / 'val.rec', '-j', 2,
            '--num-classes', 10, '--input-size', 32, '--batch-size', 16, '--lr', 0.002, '--lr-mode', 'step',
            '--last-gamma', '--no-wd', '--label-smoothing', '--log-interval', 1, '--save-dir', tmp_path / 'run',
            '--logging-file', tmp_path / 'run.log']


@pytest.fixture
def small_resnet(monkeypatch):
    """train_imagenet.py and evaluate.py on a ResNet of one block a stage under the name of the published one."""
    for name in IMAGENET_MODELS:
        network = MODELS[name]
        monkeypatch.setitem(MODELS, name, network._replace(make=partial(network.make, layers=(1, 1, 1, 1))))


def test_train_cifar_learns_saves_and_is_scored(cifar_flags, tmp_path, capsys):
    summary = train_cifar.main(cifar_flags)
    files = sorted(os.listdir(str(tmp_path / 'run')))
    assert {'last.json', 'last.params', 'last.states'} < set(files)
    best, = [name for name in files if name.endswith('best.params')]
    assert re.fullmatch(r'0\.\d{4}-fashion-mnist-mini-ResNet8_ChaATAC-\d-best.params', best)
    with open(str(tmp_path / 'run.jsonl')) as file:
        epochs = [json.loads(line) for line in file]
    assert [epoch['epoch'] for epoch in epochs] == [0, 1] and epochs[1]['train_loss'] < epochs[0]['train_loss']
    assert set(epochs[0]) == {'epoch', 'lr', 'train_loss', 'train_error', 'val_top1_error', 'val_top5_error',
                              'images_per_second', 'seconds'}
    log = (tmp_path / 'run.log').read_text()
    assert '"act_type": "ChaATAC"' in log and 'Epoch[0] Batch [1]' in log and 'Best epoch' in log and 'Last' in log
    capsys.readouterr()
    data = cifar_flags[:2]
    scores = evaluate.main(['--model', 'atac', '--act-type', 'ChaATAC', '--useReLU', '--r', '4', '--blocks', '1', *data,
                            '--dataset', 'fashion-mnist-mini', '--json', '--params', str(tmp_path / 'run/last.params')])
    assert json.loads(capsys.readouterr().out) == scores
    assert set(scores) == {'top1_error', 'top5_error', 'images', 'images_per_second'} and scores['images'] == 70
    assert scores['top1_error'] == pytest.approx(100 * summary['last']['val_top1_error'])


def kill_after_the_first_checkpoint(flags, monkeypatch):
    """Begin a run of train_cifar.py that ends as soon as it has saved."""
    save = checkpoint.save

    def save_and_die(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, 'save', save_and_die)
    with pytest.raises(KeyboardInterrupt):
        train_cifar.main(flags)
    monkeypatch.undo()


@pytest.mark.parametrize('unit', ['ChaATAC', 'SE-ReLU'])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(cifar_flags, tmp_path, monkeypatch, capsys, unit):
    cifar_flags = cifar_flags + ['--act-type', unit]
    train_cifar.main(cifar_flags)
    whole = read_params(str(tmp_path / 'run/last.params'))
    split = cifar_flags + ['--save-dir', str(tmp_path / 'split'), '--logging-file', str(tmp_path / 'split.log')]
    kill_after_the_first_checkpoint(split, monkeypatch)
    capsys.readouterr()
    train_cifar.main(split + ['--resume'])
    assert '[Epoch 0]' not in capsys.readouterr().out
    again = read_params(str(tmp_path / 'split/last.params'))
    assert whole.keys() == again.keys() and all((whole[name] == again[name]).all() for name in whole)
    epochs = [[json.loads(line) for line in open(str(tmp_path / (name + '.jsonl')))] for name in ('run', 'split')]
    for one, other in zip(*epochs):
        assert {**one, 'seconds': 0, 'images_per_second': 0} == {**other, 'seconds': 0, 'images_per_second': 0}
    # A finished run that is resumed has its two last lines once more, and nothing else.
    assert train_cifar.main(split + ['--resume'])['last']['epoch'] == 1
    log = (tmp_path / 'split.log').read_text()
    assert log.count('Last epoch: 1') == log.count('Continues after epoch 1: all 2 epochs are done\n') == 1
    assert log.count('Continues after epoch 0\n') == 1


def test_more_epochs_under_a_schedule_that_depends_on_their_number_are_warned_of(cifar_flags, caplog):
    train_cifar.main([*cifar_flags, '--lr-mode', 'cosine', '--num-epochs', '1'])
    assert 'neither schedule' not in caplog.text
    train_cifar.main([*cifar_flags, '--lr-mode', 'cosine', '--num-epochs', '2', '--resume'])
    assert 'num_epochs was 1 and is 2: the learning rate follows neither schedule' in caplog.text


def test_a_run_of_two_threads_resumes_bit_for_bit_too(cifar_flags, tmp_path):
    flags = [*cifar_flags, '--lr-mode', 'step', '--log-interval', '0']
    for name, epochs in (('run', '2'), ('split', '1'), ('split', '2')):
        places = ['--save-dir', str(tmp_path / name), '--logging-file', str(tmp_path / f'{name}.log')]
        done = run('train_cifar.py', *flags, *places, '--num-epochs', epochs, '--resume', OMP_NUM_THREADS='2',
                   OMP_WAIT_POLICY='passive')
        assert done[0] == 0, done
    whole, again = (read_params(str(tmp_path / name / 'last.params')) for name in ('run', 'split'))
    assert all((whole[name] == again[name]).all() for name in whole)
    assert 'OMP_NUM_THREADS=2' in (tmp_path / 'split.log').read_text()


@pytest.mark.parametrize('flags', [['--mode', 'imperative'], ['--mixup', '--label-smoothing', '--num-epochs', '1'],
                                   ['--act-layers', '2', '--act-order', 'pre', '--replace-act', 'swish', '--no-wd']])
def test_other_flags_train_too(cifar_flags, flags):
    assert np.isfinite(train_cifar.main(cifar_flags + ['--num-epochs', '1'] + flags)['last']['train_loss'])


def test_the_objective_is_that_of_the_flags(cifar_flags, tmp_path):
    teacher = get_model('cifar_resnet', classes=10)
    teacher.initialize(mx.init.MSRAPrelu())
    teacher.save_parameters(str(tmp_path / 'teacher.params'))
    one = cifar_flags + ['--num-epochs', '1']
    flags = ['--mixup', '--mixup-alpha', '0.3', '--mixup-off-epoch', '7', '--label-smoothing', '--teacher',
             'cifar_resnet', '--teacher-params', str(tmp_path / 'teacher.params'), '--temperature', '3',
             '--hard-weight', '0.25', '--seed', '5']
    args = train_cifar.parse_args(one + flags)
    train, _ = build.load_data(args, args.batch_size)
    found = build.objective_of(args, train, build.Hardware([mx.cpu()], 'float32', ALONE))
    images = mx.nd.random.uniform(shape=(2, 3, 32, 32))
    assert abs(found.teacher(images) - teacher(images)).max().asscalar() < 1e-4
    assert found._replace(teacher=None) == Objective(10, label_smoothing=0.1, mixup_alpha=0.3, mixup_off_epoch=7,
                                                     teacher=None, temperature=3.0, hard_weight=0.25, seed=5)
    args = train_cifar.parse_args(one)
    assert build.objective_of(args, train, None) == Objective(10, label_smoothing=0.0, mixup_alpha=0.0)


def test_a_run_has_the_objective_of_its_flags(cifar_flags, tmp_path):
    losses = [train_cifar.main([*cifar_flags, '--num-epochs', '1', '--save-dir', str(tmp_path / str(number)),
                                '--logging-file', str(tmp_path / f'{number}.log'), *flags])['last']['train_loss']
              for number, flags in enumerate([[], ['--mixup'], ['--label-smoothing']])]
    assert len(set(losses)) == 3


@pytest.mark.parametrize('main, flags, warned', [
    (train_cifar.main, ['--act-type', 'relu', '--skernel', '5', '--useReLU', '--r', '4'], '--r, --skernel, --useReLU:'),
    (train_cifar.main, ['--act-type', 'ChaATAC', '--act-order', 'pre', '--useReLU'], '--act-order: no unit'),
    (train_cifar.main, ['--act-type', 'swish', '--act-layers', '2', '--replace-act', 'ChaATAC', '--use-global'], None),
    (train_cifar.main, ['--act-type', 'ChaATAC', '--act-layers', '0', '--replace-act', 'swish', '--r', '4'], '--r: no'),
    (train_cifar.main, ['--act-type', 'ChaATAC'], 'without --useReLU there is no ReLU inside of ChaATAC'),
    (train_imagenet.main, ['--act-type', 'ChaATAC', '--skernel', '5', '--act-order', 'pre'], '--skernel: no unit')])
def test_flags_of_a_unit_that_change_nothing_are_said(main, flags, warned, caplog, monkeypatch):
    monkeypatch.setattr(build, 'hardware_of', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(flags)
    messages = [record.message for record in caplog.records if 'GPU' not in record.message]
    assert len(messages) == bool(warned) and all(message.startswith(warned) for message in messages), messages


def test_train_imagenet_learns_saves_resumes_and_is_scored(record_folder, tmp_path, small_resnet, capsys):
    flags = list(map(str, imagenet_flags(record_folder, tmp_path)))
    first = train_imagenet.main(flags + ['--num-epochs', '2'])
    second = train_imagenet.main(flags + ['--num-epochs', '3', '--resume'])
    assert first['last']['epoch'] == 1 and second['last']['epoch'] == 2
    assert second['last']['train_loss'] < first['last']['train_loss']
    assert any(re.fullmatch(r'[01]\.\d{4}-imagenet-ResNet50_v1b_ChaATAC-\d-best.params', name)
               for name in os.listdir(str(tmp_path / 'run')))
    capsys.readouterr()
    shared = ['--model', 'atac_resnet50_v1b', '--num-classes', '10', '--input-size', '32', '--params',
              str(tmp_path / 'run/last.params'), '--batch-size', '5', '--json']
    scores = [evaluate.main(shared + data) for data in (
        ['--use-rec', '--rec-val', str(record_folder / 'val.rec')], ['--data-dir', str(record_folder)])]
    assert [score['images'] for score in scores] == [21, 21]
    assert scores[0]['top1_error'] == scores[1]['top1_error'] == pytest.approx(100 * second['last']['val_top1_error'])


@pytest.mark.parametrize('name', ['se_resnet50', 'aa_resnet50', 'fa_resnet50', 'ge_theta_plus_resnet50', 'resnet50'])
def test_every_network_trains_and_is_scored_by_its_name_alone(name, record_folder, tmp_path, small_resnet, capsys):
    flags = [*map(str, imagenet_flags(record_folder, tmp_path)), '--input-size', '64', '--model', name]
    last = train_imagenet.main(flags + ['--num-epochs', '1'])['last']
    capsys.readouterr()
    scores = evaluate.main(['--model', name, '--num-classes', '10', '--input-size', '64', '--use-rec', '--rec-val',
                            str(record_folder / 'val.rec'), '--params', str(tmp_path / 'run/last.params'), '--json'])
    assert scores['top1_error'] == pytest.approx(100 * last['val_top1_error'])


@pytest.mark.parametrize('unit', ACTIVATIONS)
def test_every_unit_trains_by_its_name_alone(unit, cifar_flags):
    last = train_cifar.main(cifar_flags + ['--num-epochs', '1', '--act-type', unit])['last']
    assert np.isfinite(last['train_loss'])


@pytest.mark.parametrize('model', ['se', 'ge'])
def test_the_other_cifar_networks_train(model, cifar_flags, tmp_path):
    at = cifar_flags.index('--act-type')
    train_cifar.main(cifar_flags[:at] + cifar_flags[at + 2:] + ['--num-epochs', '1', '--model', model])
    best, = [name for name in os.listdir(str(tmp_path / 'run')) if name.endswith('best.params')]
    unit = 'SE-ReLU' if model == 'se' else 'relu'
    assert '-%sResNet8_%s-0-best' % (model.upper(), unit) in best


def test_class_folders_train(record_folder, tmp_path, small_resnet):
    flags = [*map(str, imagenet_flags(record_folder, tmp_path)[5:]),
             '--data-dir', str(record_folder), '--num-epochs', '1', '--act-type', 'SpaATAC', '--lr-mode', 'poly']
    assert train_imagenet.main(flags)['last']['epoch'] == 0


def test_the_published_imagenet_command_says_what_is_missing(tmp_path):
    code, _, error = run('train_imagenet.py', *PUBLISHED_IMAGENET, cwd=tmp_path)
    assert code == 2 and 'GPUs asked: 2, found: 0' in error and 'float16 needs a GPU' in error
    assert len(error.strip().splitlines()) == 1 and os.listdir(str(tmp_path)) == []


def test_the_published_cifar_command_parses_to_the_published_run():
    args = train_cifar.parse_args(PUBLISHED_CIFAR)
    assert args.lr_decay_epoch == [300, 350] and args.useReLU and args.label_set == 'coarse' and args.act_layers == 4
    name = train_cifar.run_of(args).save_dir
    assert name == 'params/cifar100-coarse-atac-ChaATAC-r2-al4bac-b3-seed0'


@pytest.mark.parametrize('labels,highest', [('coarse', 20), ('fine', 100)])
def test_the_published_cifar_command_trains_on_the_labels_that_it_announces(labels, highest, tmp_path, monkeypatch):
    """On a file of CIFAR-100's form; the flags after the published ones make it small."""
    variant = small(cifar.CIFAR100, 24)
    write_cifar(str(tmp_path / 'data'), variant)
    monkeypatch.setattr(cifar, 'CIFAR100', variant)
    train_cifar.main(PUBLISHED_CIFAR + [
        '--num-epochs', '1', '--batch-size', '8', '--label-set', labels, '--data-dir', str(tmp_path / 'data'),
        '--save-dir', str(tmp_path / 'run'), '--logging-file', str(tmp_path / 'run.log')])
    assert 'labels: the %d %s ones' % (highest, labels) in (tmp_path / 'run.log').read_text()
    assert read_params(str(tmp_path / 'run/last.params'))['output.weight'].shape == (100, 64)


@pytest.mark.parametrize('script,flags,total', [('train_cifar', ['--useReLU'], '310,310'),
                                                ('train_imagenet', ['--num-gpus', '2'], '28,006,312')])
def test_summary_needs_no_data(script, flags, total, capsys):
    assert sys.modules[script].main(flags + ['--summary']) is None
    text = capsys.readouterr().out
    assert 'parameters: %s in all' % total in text and 'multiply-adds: ' in text


def test_a_unit_without_its_inner_relu_is_named(caplog):
    for flags, names in (([], True), (['--act-type', 'MSSeqATAC'], True), (['--useReLU'], False),
                         (['--act-type', 'relu'], False), (['--model', 'se'], False)):
        caplog.clear()
        with pytest.raises(UserError, match='not a list of numbers'):
            train_cifar.main([*flags, '--blocks', '1', '--gpus', 'x'])
        assert ('there is no ReLU inside of' in caplog.text) == names


def test_mistakes_are_one_sentence(cifar_flags, record_folder, tmp_path, capsys, monkeypatch):
    def refused(main, *flags):
        return refusal(main, flags, capsys, monkeypatch)

    cifar = cifar_flags + ['--save-dir', str(tmp_path / 'new'), '--logging-file', str(tmp_path / 'new.log')]
    for flags, sentence in (
            (['--act-type', 'x'], "invalid choice: 'x' (choose from"), (['--model', 'x'], "invalid choice: 'x'"),
            (['--dataset', 'x'], "invalid choice: 'x'"), (['--r', '0'], '0 must be at least 1'),
            (['--r', '3'], 'r=3 must divide the 16 channels'), (['--blocks', '0'], 'at least 1'),
            (['--blocks', '1001'], '1001 must be at most 1000'),
            (['--act-layers', '5'], 'invalid choice: 5'), (['--lr-decay-epoch', ''], 'is not a list of epochs'),
            (['--lr-decay-epoch', '5,3'], 'is not in ascending order'), (['--batch-size', '151'], 'larger than'),
            (['--data-dir', '/absent'], 'no Fashion-MNIST in /absent'), (['--gpus', 'x'], 'not a list of numbers'),
            (['--save-dir', '/dev/null/x'], '/x is not a folder'), (['--data-dir', ''], '--data-dir is empty'),
            (['--freeze', ''], '--freeze is empty'), (['--logging-file', '/dev/null/x'], '/dev/null'),
            (['--warmup-epochs', '2'], 'warm-up epochs must be fewer'), (['--wd', 'inf'], 'must be a finite number'),
            (['--num-epochs', '1', '--batch-size', '150'], 'over a single step is not a schedule'),
            (['--gpus', '-1'], 'ids are not negative'), (['--hard-weight', '2'], 'between 0 and 1'),
            (['--teacher', 'x'], '--teacher does nothing without --teacher-params'),
            (['--teacher', 'x', '--teacher-params', __file__], "unknown teacher 'x'"), (['--lr', 'nan'], 'be positive'),
            (['--teacher', 'ssd_300_vgg16_atrous_voc', '--teacher-params', __file__], 'a network for classification'),
            (['--model', 'se', '--act-type', 'relu'], '--act-type relu does not go with it'),
            (['--mixup-alpha', '1'], '--mixup-alpha does nothing without --mixup'),
            (['--hard-weight', '1'], '--hard-weight does nothing without --teacher'),
            (['--label-set', 'fine'], '--label-set does nothing without --dataset cifar100'),
            (['--teacher', 'resnet18_v1b_custom', '--teacher-params', __file__], 'not a network for classification'),
            (['--mixup', '--mixup-alpha', '1e-15'], '1e-15 must be between 0.001 and 1000'),  # no end of drawing it
            (['--num-epochs', '1' + 400 * '0'], 'must be at most 1000000'),
            (['--lr-decay-epoch', '9' * 400], 'names an epoch after the 1,000,000'),
            (['--warmup-epochs', '1', '--warmup-lr', '1e300'], '1e300 must be at most 1e+30'),
            (['--dtype', 'float16'], 'float16 needs a GPU')):
        assert sentence in refused(train_cifar.main, *cifar, *flags), flags
        assert not os.path.exists(str(tmp_path / 'new.log'))
    imagenet = imagenet_flags(record_folder, tmp_path)
    for flags, sentence in ((['--rec-train', '/absent.rec'], '/absent.rec'),
                            (['--model', 'se_resnet50', '--act-type', 'relu'], 'se_resnet50 takes no unit'),
                            (['--model', 'aa_resnet50', '--r', '4'], 'aa_resnet50 takes no unit: --r is for'),
                            (['--num-gpus', '-1'], '-1 must be at least 0'),
                            (['--data-dir', '/absent'], 'give one of them'),
                            (['--crop-ratio', '0'], 'must be between'),
                            (['--model', 'x'], "invalid choice: 'x'"), (['--num-gpus', '1'], 'GPUs asked: 1'),
                            (['--model', 'fa_resnet50', '--input-size', '16'],
                             'input_size=16 must be a whole number of at least 17'),
                            (['--num-classes', 10 ** 12], '1000000000000 must be at most 1000000'),
                            (['--num-classes', '3'], 'is out of range: there are 3 classes')):
        assert sentence in refused(train_imagenet.main, *imagenet, *flags), flags
    for main, flags in ((train_imagenet.main, ['--rec-train', 'x']),
                        (evaluate.main, ['--model', 'resnet50', '--dataset', 'imagenet', '--params', os.devnull,
                                         '--rec-val', 'x'])):
        assert 'does nothing without --use-rec' in refused(main, *flags)


def test_the_log_of_a_whole_run_outlives_its_checkpoint(cifar_flags, tmp_path, capsys, monkeypatch):
    flags = cifar_flags + ['--num-epochs', '1', '--resume']
    train_cifar.main(flags)
    shutil.rmtree(str(tmp_path / 'run'))
    before = (tmp_path / 'run.log').read_bytes()
    again = refusal(train_cifar.main, flags[:-1], capsys, monkeypatch)  # without --resume
    sentence = refusal(train_cifar.main, flags, capsys, monkeypatch)
    assert again == sentence
    assert 'run.log holds epochs, but there is no checkpoint to continue from' in sentence
    assert (tmp_path / 'run.log').read_bytes() == before


def test_a_log_that_holds_no_epoch_is_begun_anew(cifar_flags, tmp_path, capsys, monkeypatch):
    """That of a run that was killed before its first checkpoint, or refused; unless it is being written."""
    flags = cifar_flags + ['--num-epochs', '1']
    train_cifar.main(flags)
    header = [line for line in (tmp_path / 'run.log').read_text().splitlines(True) if 'Epoch' not in line]
    for begun in (header, [*header, header[0][:24] + 'Epoch[0] Batch [1]\tSpeed: 1.0 samples/sec\n']):
        shutil.rmtree(str(tmp_path / 'run'))
        (tmp_path / 'run.log').write_text(''.join(begun))
        (tmp_path / 'run.jsonl').write_text('')
        train_cifar.main([*flags, '--seed', '3'])
        assert (tmp_path / 'run.log').read_text().count('Command: ') == 1
    for end in range(1, 5):  # killed within the header
        shutil.rmtree(str(tmp_path / 'run'))
        (tmp_path / 'run.log').write_text(''.join(header[:end])[:-1 if end == 4 else None])
        (tmp_path / 'run.jsonl').write_text('')
        train_cifar.main([*flags, '--seed', '3'] + ['--resume'] * (end % 2))
        assert (tmp_path / 'run.log').read_text().count('Command: ') == 1
    shutil.rmtree(str(tmp_path / 'run'))
    whole = (tmp_path / 'run.log').read_bytes()
    (tmp_path / 'run.jsonl').write_text('')  # an epoch is in the .log only
    assert 'exists and is not of a run in' in refusal(train_cifar.main, flags, capsys, monkeypatch)
    assert 'run.log holds epochs, but' in refusal(train_cifar.main, [*flags, '--seed', '3'], capsys, monkeypatch)
    assert (tmp_path / 'run.log').read_bytes() == whole
    (tmp_path / 'run.log').write_text(''.join(header))
    with open(tmp_path / 'run.jsonl', 'a') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert 'another run is using' in refusal(train_cifar.main, flags, capsys, monkeypatch)
    assert (tmp_path / 'run.log').read_text() == ''.join(header)


def test_nothing_is_written_over(cifar_flags, tmp_path, capsys, monkeypatch):
    train_cifar.main(cifar_flags + ['--num-epochs', '1'])
    before = {name: (tmp_path / 'run' / name).read_bytes() for name in os.listdir(str(tmp_path / 'run'))}
    log = (tmp_path / 'run.log').read_bytes()
    assert 'continue it by --resume' in refusal(train_cifar.main, cifar_flags, capsys, monkeypatch)
    other = cifar_flags + ['--resume', '--lr', '0.1', '--seed', '3']
    assert 'lr was 0.05 and is 0.1; ' in refusal(train_cifar.main, other, capsys, monkeypatch)
    elsewhere = cifar_flags + ['--save-dir', str(tmp_path / 'other')]
    for more in ([], ['--resume']):
        sentence = refusal(train_cifar.main, elsewhere + more, capsys, monkeypatch)
        assert 'run.log exists and is not of a run in' in sentence
        assert not (tmp_path / 'other').exists()
    at = cifar_flags.index('--save-dir')  # without a folder: that of another seed is another one
    unnamed = cifar_flags[:at] + cifar_flags[at + 2:] + ['--resume', '--seed', '3']
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'run.log').write_text(log.decode().replace('"save_dir": "%s"' % (tmp_path / 'run'), '"save_dir": null'))
    assert 'run.log exists and is not of a run in' in refusal(train_cifar.main, unnamed, capsys, monkeypatch)
    (tmp_path / 'run.log').write_bytes(log)
    (tmp_path / 'mine.jsonl').write_text('keep me')
    for path, sentence in (('mine.log', 'mine.jsonl exists'), ('new.jsonl', 'must be a file whose name ends in')):
        flags = cifar_flags + ['--save-dir', str(tmp_path / 'other'), '--logging-file', str(tmp_path / path)]
        assert sentence in refusal(train_cifar.main, flags, capsys, monkeypatch)
    assert (tmp_path / 'mine.jsonl').read_text() == 'keep me'
    assert before == {name: (tmp_path / 'run' / name).read_bytes() for name in os.listdir(str(tmp_path / 'run'))}
    assert log == (tmp_path / 'run.log').read_bytes()


def test_best_weights_of_another_run_are_not_replaced(cifar_flags, tmp_path, capsys, monkeypatch):
    train_cifar.main(cifar_flags + ['--num-epochs', '1'])
    best, = (tmp_path / 'run').glob('*-best.params')
    (tmp_path / 'kept').mkdir()
    best.rename(tmp_path / 'kept' / best.name)
    flags = cifar_flags + ['--save-dir', str(tmp_path / 'kept'), '--logging-file', str(tmp_path / 'kept.log')]
    assert '%s of another run' % best.name in refusal(train_cifar.main, flags, capsys, monkeypatch)
    # With --resume it may be this run's own, of an epoch whose checkpoint was not written; one of a later epoch not.
    late = best.name.replace('-0-best', '-399-best')
    (tmp_path / 'kept' / late).write_bytes((tmp_path / 'kept' / best.name).read_bytes())
    assert '%s of another run' % late in refusal(train_cifar.main, [*flags, '--resume'], capsys, monkeypatch)
    (tmp_path / 'run' / late).write_bytes((tmp_path / 'kept' / late).read_bytes())
    assert '%s of another run' % late in refusal(train_cifar.main, [*cifar_flags, '--resume'], capsys, monkeypatch)
    (tmp_path / 'kept' / late).unlink()
    train_cifar.main([*flags, '--num-epochs', '1', '--resume'])


def test_a_log_that_was_deleted_is_begun_anew_as_often_as_the_run_is_resumed(cifar_flags, tmp_path, monkeypatch,
                                                                               caplog):
    flags = [*cifar_flags, '--lr-mode', 'step', '--resume']
    train_cifar.main([*flags, '--num-epochs', '1'])
    for name in 'run.log', 'run.jsonl':
        os.remove(tmp_path / name)
    train_cifar.main([*flags, '--num-epochs', '1'])
    assert 'run.log begins with epoch 1: the log of the epochs before it is another file, or is gone' in caplog.text
    kill_after_the_first_checkpoint([*flags, '--num-epochs', '2', '--save-every-steps', '1'], monkeypatch)
    for epochs in 2, 3, 4:
        train_cifar.main([*flags, '--num-epochs', str(epochs)])
    with open(tmp_path / 'run.jsonl') as file:
        assert [json.loads(line)['epoch'] for line in file] == [1, 2, 3]
    with pytest.raises(UserError, match='run.jsonl begins with epoch 1: the log of those before it is another file'):
        read_run(str(tmp_path / 'run.log'))


def test_a_run_that_is_not_resumed_is_told_whether_it_could_be(cifar_flags, tmp_path, capsys, monkeypatch):
    flags = [*cifar_flags, '--num-epochs', '1', '--lr-mode', 'step']
    train_cifar.main(flags)
    cure = 'choose another --save-dir and --logging-file'
    said = refusal(train_cifar.main, flags, capsys, monkeypatch)
    assert said.endswith('/run holds a checkpoint: continue it by --resume, or ' + cure)
    said = refusal(train_cifar.main, [*flags, '--wd', '0.5'], capsys, monkeypatch)
    assert said.endswith('had other options: wd was 0.0001 and is 0.5: ' + cure)
    (tmp_path / 'run' / 'last.json').write_text('{')
    assert 'last.json is damaged: its checksum is another, or it is no JSON: ' + cure in refusal(
        train_cifar.main, flags, capsys, monkeypatch)


def test_a_default_is_the_same_as_its_value(cifar_flags):
    flags = [flag for flag in cifar_flags if flag not in ('--act-type', 'ChaATAC')] + ['--lr-mode', 'step']
    train_cifar.main([*flags, '--num-epochs', '1'])
    train_cifar.main([*flags, '--num-epochs', '2', '--resume', '--act-type', 'ChaATAC'])
    with pytest.raises(UserError, match='act_type was ChaATAC and is relu'):
        train_cifar.main([*flags, '--num-epochs', '2', '--resume', '--act-type', 'relu'])


def test_epochs_after_the_end_are_said(cifar_flags, tmp_path, caplog):
    train_cifar.main([*cifar_flags, '--num-epochs', '1', '--lr-mode', 'step'])
    assert 'the run ends before it' not in caplog.text
    train_cifar.main([*cifar_flags, '--num-epochs', '2', '--lr-mode', 'step', '--lr-decay-epoch', '1,5',
                      '--save-dir', str(tmp_path / 'other'), '--logging-file', str(tmp_path / 'other.log')])
    assert '--lr-decay-epoch 5: the run ends before it, after 2 epochs' in caplog.text


@pytest.mark.parametrize('facts, names', [
    ({'options': []}, 'options'), ({'options': {}}, 'options'), ({'weights': None}, 'weights'),
    ({'epoch': 'a'}, 'epoch'), ({'best': 'x', 'within': []}, 'within, best'), ({'last': 5}, 'last'),
    ({'weights': {'class_names': 5}}, 'weights'), ({'within': {}}, 'within'), ({'best': {}, 'last': {}}, 'best, last'),
    ({'within': {'epoch': 0, 'batches': 'x', 'images': 5}}, 'within'), ({'means': 3}, 'means'),
    ({'within': {'epoch': 1, 'batches': 1.0, 'images': 5}}, 'within'),
    ({'within': {'epoch': 1, 'batches': 1, 'images': 0}}, 'within'),
    ({'within': {'epoch': 55, 'batches': 1, 'images': 5}}, 'within'),
    ({'best': {**dict.fromkeys(ERRORS, 0.5), 'file': '../x'}}, 'best'),
    ({'best': {**dict.fromkeys(ERRORS, 0.5), 'file': 'a\x1b'}}, 'best'),
    ({'loss_scale': {'value': 'x', 'steps': 1}}, 'loss_scale')])
def test_a_checkpoint_that_cannot_be_of_a_run_is_one_sentence(facts, names, cifar_flags, tmp_path, capsys, monkeypatch):
    train_cifar.main([*cifar_flags, '--num-epochs', '1', '--lr-mode', 'step'])
    path = tmp_path / 'run' / 'last.json'
    path.write_text(json.dumps(sealed({**json.loads(path.read_text()), **facts})))
    sentence = refusal(train_cifar.main, [*cifar_flags, '--resume'], capsys, monkeypatch)
    assert f'is of no run: its {names} cannot be' in sentence


def test_a_run_of_one_epoch_that_was_killed_before_its_checkpoint_is_resumed(cifar_flags, tmp_path, monkeypatch,
                                                                            capsys):
    flags = [*cifar_flags, '--num-epochs', '1', '--lr-mode', 'step']

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr('training.checkpoint.save', killed)
        train_cifar.main(flags)
    assert len((tmp_path / 'run.jsonl').read_text().splitlines()) == 1
    train_cifar.main([*flags, '--resume'])
    shutil.rmtree(tmp_path / 'run')
    assert 'there is no checkpoint to continue from' in refusal(train_cifar.main, [*flags, '--resume'], capsys,
                                                                monkeypatch)


def test_a_copied_run_does_not_cut_the_log_of_the_first_one(cifar_flags, tmp_path, capsys, monkeypatch):
    train_cifar.main([*cifar_flags, '--num-epochs', '1', '--lr-mode', 'step'])
    shutil.copytree(tmp_path / 'run', tmp_path / 'copy')
    train_cifar.main([*cifar_flags, '--num-epochs', '3', '--lr-mode', 'step', '--resume'])
    whole = (tmp_path / 'run.jsonl').read_bytes()
    flags = [*cifar_flags, '--num-epochs', '4', '--lr-mode', 'step', '--resume', '--save-dir', str(tmp_path / 'copy')]
    assert 'run.log is the log of the run in %s: choose' % (tmp_path / 'run') \
        in refusal(train_cifar.main, flags, capsys, monkeypatch)
    shutil.rmtree(tmp_path / 'run')  # as if it had been moved
    assert 'run.jsonl holds 3 epochs, and the checkpoint in %s is after 1: it is the log of a run that has' \
        % (tmp_path / 'copy') in refusal(train_cifar.main, flags, capsys, monkeypatch)
    assert (tmp_path / 'run.jsonl').read_bytes() == whole


@pytest.mark.parametrize('named', [True, False])
def test_a_run_that_is_copied_with_its_log_continues_in_the_copy(cifar_flags, tmp_path, monkeypatch, named):
    """named: whether the first start has named its log."""
    at = cifar_flags.index('--logging-file')
    monkeypatch.chdir(tmp_path)
    train_cifar.main([*cifar_flags[:at], *cifar_flags[at if named else at + 2:], '--num-epochs', '1', '--lr-mode',
                      'step'])
    for path in () if named else (tmp_path / 'logs').iterdir():
        path.rename(tmp_path / ('run' + path.suffix))
    shutil.copytree(tmp_path / 'run', tmp_path / 'copy')
    for ending in '.log', '.jsonl':
        shutil.copy(tmp_path / ('run' + ending), tmp_path / ('copy' + ending))
    before = (tmp_path / 'run.log').read_bytes()
    train_cifar.main([*cifar_flags, '--num-epochs', '2', '--lr-mode', 'step', '--resume', '--save-dir',
                      str(tmp_path / 'copy'), '--logging-file', str(tmp_path / 'copy.log')])
    assert (tmp_path / 'run.log').read_bytes() == before and len(read_run(str(tmp_path / 'copy.log')).epochs) == 2


def test_a_log_without_an_epoch_is_kept_where_its_run_has_a_checkpoint(cifar_flags, tmp_path, capsys, monkeypatch):
    flags = [*cifar_flags, '--save-every-steps', '1']
    kill_after_the_first_checkpoint(flags, monkeypatch)
    before = (tmp_path / 'run.log').read_bytes()
    for more in ([], ['--resume']):
        other = [*flags, '--save-dir', str(tmp_path / 'other'), *more]
        assert 'run.log exists and is not of a run in' in refusal(train_cifar.main, other, capsys, monkeypatch)
    assert (tmp_path / 'run.log').read_bytes() == before
    shutil.rmtree(tmp_path / 'run')
    train_cifar.main([*flags, '--save-dir', str(tmp_path / 'other')])


def test_a_run_continues_in_no_log_but_its_own(cifar_flags, tmp_path, capsys, monkeypatch):
    def flags(name, *more):
        return [*cifar_flags, '--save-dir', str(tmp_path / name), '--resume', '--num-epochs', '2', *more]

    def log(name):
        return ['--logging-file', str(tmp_path / name)]

    train_cifar.main(flags('run', '--num-epochs', '1'))
    train_cifar.main(flags('other', *log('other.log'), '--seed', '1'))
    before = {path: path.read_bytes() for path in tmp_path.glob('*.log')}
    sentence = refusal(train_cifar.main, flags('run', *log('other.log')), capsys, monkeypatch)
    assert 'other.log had other options: seed was 1 and is ' in sentence
    (tmp_path / 'mine.log').write_text('keep me')
    assert 'is not the log of the run' in refusal(train_cifar.main, flags('run', *log('mine.log')), capsys, monkeypatch)
    (tmp_path / 'alone.jsonl').write_text('keep me')
    assert 'alone.jsonl exists and is not' in refusal(train_cifar.main, flags('run', *log('alone.log')), capsys,
                                                      monkeypatch)
    (tmp_path / 'run.jsonl').write_text('{"epoch": "x"}\n')
    assert 'run.jsonl is damaged' in refusal(train_cifar.main, flags('run'), capsys, monkeypatch)
    assert (tmp_path / 'run.jsonl').read_text() == '{"epoch": "x"}\n'
    (tmp_path / 'run.jsonl').write_text('')
    assert 'holds 0 epochs, and the checkpoint' in refusal(train_cifar.main, flags('run'), capsys, monkeypatch)
    assert all(path.read_bytes() == content for path, content in before.items())
    train_cifar.main(flags('run', *log('new.log')))
    assert 'Best epoch' in (tmp_path / 'new.log').read_text()


def test_an_exploding_run_stops_and_names_the_last_good_checkpoint(cifar_flags, tmp_path, capsys, monkeypatch):
    train_cifar.main(cifar_flags + ['--num-epochs', '1'])
    monkeypatch.setattr(build, 'schedule_of', lambda *_: lambda *_: 1e30)
    with pytest.raises(FloatingPointError, match=r'not finite in epoch 1, batch \d; the last good checkpoint is .*last'
                                                 r'.params of epoch 0'):
        train_cifar.main(cifar_flags + ['--num-epochs', '2', '--resume'])


@pytest.mark.parametrize('script', [train_cifar, train_imagenet, evaluate])
def test_every_flag_is_read(script):
    argv = ['--model', 'atac', '--dataset', 'cifar10', '--params', os.devnull] if script is evaluate else []
    files = [script.__name__ + '.py', 'cli/build.py', 'cli/teacher.py', 'cli/trained.py']
    code = ''.join(open(os.path.join(ROOT, name)).read() for name in files)
    for name in vars(script.parse_args(argv)):
        is_option = name in BY_DEST and BY_DEST[name].option  # which network_of reads
        assert is_option or re.search(r"args\.%s\b|'%s'" % (name, name), code), name


def test_evaluate_as_a_process_prints_one_json_object(tiny_data, tmp_path):
    net = get_model('cifar_resnet', blocks=1, act_type='relu', classes=10)
    net.initialize()
    net.save_parameters(str(tmp_path / 'x.params'))
    flags = ['--model', 'atac', '--act-type', 'relu', '--blocks', 1, '--dataset', 'fashion-mnist-mini', '--data-dir',
             tiny_data, '--params', tmp_path / 'x.params']
    code, out, error = run('evaluate.py', *flags, '--json')
    assert code == 0 and json.loads(out)['images'] == 70, error
    code, out, error = run('evaluate.py', *flags, '--act-type', 'ChaATAC')
    assert (code, out) == (2, '') and 'is of another architecture: it lacks features.1.0.act1' in error


@pytest.mark.parametrize('flags,sentence', [
    (['--dataset', 'cifar10', '--use-rec'], '--use-rec does nothing without --dataset imagenet'),
    (['--dataset', 'imagenet', '--use-rec', '--data-dir', 'x'], 'give one of them'),
    (['--dataset', 'cifar10', '--label-set', 'fine'], '--label-set does nothing without --dataset cifar100')])
def test_evaluate_refuses_flags_that_would_do_nothing(flags, sentence, capsys, monkeypatch):
    assert sentence in refusal(evaluate.main, ['--model', 'atac', '--params', os.devnull, *flags], capsys, monkeypatch)


def test_runtime_alone_prepares_a_process():
    code = ('import runtime, os, sys; assert "mxnet" not in sys.modules; import mxnet, numpy; '
            'print(os.environ["OMP_NUM_THREADS"], os.environ["MXNET_SAFE_ACCUMULATION"], runtime.physical_cores(), '
            'numpy.bool is bool)')
    environment = {name: value for name, value in os.environ.items() if not name.startswith(('OMP', 'MXNET'))}
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], cwd=ROOT, env=environment, timeout=60,
                          capture_output=True, text=True)
    threads, safe, cores, alias = done.stdout.split()
    assert threads == cores and safe == '1' and alias == 'True'
