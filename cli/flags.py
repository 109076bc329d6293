"""The table of flags: FLAGS says everything about every flag of the scripts, once.

The parsers of the scripts are made from it, and so is docs/flags.md. Resuming reads which flags change a result, the
networks which are options of theirs, the sweep and its figures which flags a run reads.
"""
from cli.kinds import MOST_EPOCHS, at_least, between, epoch_list, loss_scale, positive
from data import DATASETS, SMALL_DATASETS
from data.cifar import LABEL_SETS
from data.images import CROP_RATIOS
from model import ACTIVATIONS, MODELS
from training.distributed import KVSTORES
from training.schedule import MODES
from training.scoring import CALIBRATION_MODES, DTYPES

# The scripts that have flags of this table.
CIFAR = 'train_cifar'
IMAGENET = 'train_imagenet'
SCRIPTS = (CIFAR, IMAGENET, 'evaluate')                    # the others are tools
TRAIN = (CIFAR, IMAGENET)
TRAINED = ('evaluate', 'classify', 'export', 'visualize')  # they take a network that is trained
ANY_DTYPE = ('evaluate', 'classify', 'export')               # these compute in any type of numbers
CALIBRATING = ('classify', 'export')                       # these read a data set only to calibrate int8
HOSTS = {'cifar': CIFAR, 'imagenet': IMAGENET}             # of networks -> the script that trains them

# --model of train_cifar.py -> the name in model.MODELS
CIFAR_MODELS = {'atac': 'cifar_resnet', 'se': 'se_cifar_resnet', 'ge': 'ge_cifar_resnet'}
IMAGENET_MODELS = [name for name, network in MODELS.items() if network.host.name == 'imagenet']


class Flag:
    """A flag, and everything that is known of it.

    names: as users write it. group: its heading. of: the scripts that have it. says: the help.
    option: what get_model calls it, if it describes the network.
    needs: 'flag' or 'flag=value', or several of them, without which it does nothing; a dict is of scripts.
    unless: a flag beside which it does nothing.
    free: it does not change what is computed, so it may differ when a run is resumed.
    before: what older logs and checkpoints, which do not name it, meant; None: its default.
    argparse: its other keywords; one that is a dict with names of scripts is of these.
    """

    def __init__(self, names, group, of, says, option=None, needs=None, unless=None, free=False, before=None,
                 **keywords):
        self.names = names.split()
        self.group = group
        self.of = of
        self.says = says
        self.option = option
        self.needs = needs
        self.unless = unless
        self.free = free
        self.before = before
        self.keywords = keywords
        self.dest = self.names[-1].lstrip('-').replace('-', '_')

    def keywords_of(self, script):
        """The keywords of argparse for a script."""
        keywords = {'help': self.says, **self.keywords}
        return {name: value[script] if isinstance(value, dict) else value for name, value in keywords.items()
                if not isinstance(value, dict) or script in value}

    def needs_of(self, script):
        """What it needs in a script, as a list."""
        needs = self.needs.get(script) if isinstance(self.needs, dict) else self.needs
        return needs.split() if needs else []

    def default(self, script):
        keywords = self.keywords_of(script)
        return keywords.get('default', False if keywords.get('action') == 'store_true' else None)


def units_with(option):
    return ', '.join(name for name, unit in ACTIVATIONS.items() if option in unit.options)


_ON_OFF = {'action': 'store_true'}
_UNIT = {'choices': list(ACTIVATIONS), 'metavar': 'UNIT'}
_CIFAR_NET = (CIFAR, *TRAINED)
_IMAGE_NET = (IMAGENET, *TRAINED)
_SCORED = (IMAGENET, 'evaluate', 'visualize')
_EVERY = (*TRAIN, *TRAINED)
_RECORDS = '~/.mxnet/datasets/imagenet/rec/'

FLAGS = [
    Flag('--dataset', 'data', _CIFAR_NET, 'the data set; imagenet is any RecordIO file or class folders',
         choices={CIFAR: SMALL_DATASETS, **dict.fromkeys(TRAINED, list(DATASETS))},
         default={CIFAR: 'fashion-mnist-mini'}),
    Flag('--label-set', 'data', _CIFAR_NET, 'the 20 labels of the published figure, or the 100 fine ones',
         needs='dataset=cifar100', choices=LABEL_SETS, default='coarse'),
    Flag('--data-dir', 'data', _EVERY, 'folder of the data set: of its files, or of train/ and val/ with a folder for '
         'each class (default: the places in docs/data.md)', unless='use_rec', free=True,
         needs={**dict.fromkeys(CALIBRATING, 'dtype=int8'), 'visualize': 'index'}),
    Flag('--use-rec', 'data', _IMAGE_NET, 'read RecordIO files instead of class folders',
         needs={**dict.fromkeys(TRAINED, 'dataset=imagenet'),
                **dict.fromkeys(CALIBRATING, 'dataset=imagenet dtype=int8'), 'visualize': 'dataset=imagenet index'},
         **_ON_OFF),
    Flag('--rec-train', 'data', (IMAGENET, *ANY_DTYPE), 'training images; int8 is calibrated on them',
         needs={IMAGENET: 'use_rec', **dict.fromkeys(ANY_DTYPE, 'use_rec dtype=int8')}, free=True,
         default=_RECORDS + 'train.rec'),
    Flag('--rec-train-idx', 'data', (IMAGENET,), 'their index (default: the .idx beside them)', needs='use_rec',
         free=True),
    Flag('--rec-val', 'data', _SCORED, 'validation images', needs='use_rec', free=True,
         default=_RECORDS + 'val.rec'),
    Flag('--rec-val-idx', 'data', _SCORED, 'their index (default: the .idx beside them)', needs='use_rec',
         free=True),
    Flag('--input-size', 'data', _IMAGE_NET, 'side of the image that the network sees', option='input_size',
         needs='dataset=imagenet', type=at_least(1, most=4096), default=224),
    Flag('--crop-ratio', 'data', _IMAGE_NET, 'of the validation crop to the shorter side of the image',
         needs='dataset=imagenet', type=between(*CROP_RATIOS), default=0.875),

    Flag('--model', 'network', _EVERY, 'the network',
         choices={CIFAR: list(CIFAR_MODELS), IMAGENET: IMAGENET_MODELS,
                  **dict.fromkeys(TRAINED, [*CIFAR_MODELS, *CIFAR_MODELS.values(), *IMAGENET_MODELS])},
         default={CIFAR: 'atac', IMAGENET: 'atac_resnet50_v1b'}, metavar='MODEL'),
    Flag('--params', 'network', TRAINED, 'its weights', required=True, metavar='FILE'),
    Flag('--blocks', 'network', _CIFAR_NET, 'blocks per stage: the depth is 6 * blocks + 2', option='blocks',
         type=at_least(1, most=1000), default=3),
    Flag('--num-classes', 'network', _IMAGE_NET, 'number of classes', option='classes',
         needs='dataset=imagenet', type=at_least(1, most=10 ** 6), default=1000),
    Flag('--last-gamma', 'network', _IMAGE_NET, 'start the last BatchNorm of each block at gamma 0',
         option='last_gamma', **_ON_OFF),

    Flag('--act-type', 'unit', _EVERY, 'the activation unit (default: that of --model): ' + ', '.join(ACTIVATIONS),
         option='act_type', **_UNIT),
    Flag('--useReLU', 'unit', _CIFAR_NET, 'the ReLU inside ' + units_with('use_relu'), option='use_relu', **_ON_OFF),
    Flag('--r', 'unit', _EVERY, 'reduction, C channels become C/r, inside ' + units_with('r'), option='r',
         type=at_least(1, most=4096), default=2),
    Flag('--act-layers', 'unit', _EVERY, 'how many of four positions get the unit: the stages, of a CIFAR net three '
         'and its last activation; the others get relu. Of an ImageNet network 2, if it is not given',
         option='act_layers', type=int, choices=range(5), default={CIFAR: 4}),
    Flag('--act-order', 'unit', _EVERY, 'count these positions from the back or from the front', option='act_order',
         choices=['bac', 'pre'], default='bac'),
    Flag('--replace-act', 'unit', _CIFAR_NET, 'the activation unit of the other positions', option='replace_act',
         default='relu', **_UNIT),
    Flag('--use-global', 'unit', _EVERY, 'global instead of local context inside ' + units_with('use_global'),
         option='use_global', **_ON_OFF),
    Flag('--skernel', 'unit', _EVERY, 'kernel size of ' + units_with('kernel_size'), option='kernel_size',
         type=at_least(1, most=4096), default=3),
    Flag('--act-dilation', 'unit', _EVERY, 'dilation of ' + units_with('dilation'), option='dilation',
         type=at_least(1, most=4096), default=1),

    Flag('--num-epochs', 'schedule', TRAIN, 'number of epochs', free=True, type=at_least(1, most=MOST_EPOCHS),
         default={CIFAR: 400, IMAGENET: 160}),
    Flag('--batch-size', 'schedule', (*TRAIN, 'evaluate'), 'images of a batch: of train_cifar.py in '
         'all, of the others on each device; a step has --accumulate such batches', type=at_least(1), default=128),
    Flag('--lr', 'schedule', TRAIN, 'learning rate', type=positive, default={CIFAR: 0.2, IMAGENET: 0.075}),
    Flag('--lr-mode', 'schedule', TRAIN, 'how the learning rate falls', choices=MODES,
         default={CIFAR: 'step', IMAGENET: 'cosine'}),
    Flag('--lr-decay', 'schedule', TRAIN, 'factor of each step', needs='lr_mode=step', type=positive, default=0.1),
    Flag('--lr-decay-epoch', 'schedule', TRAIN, 'epochs of these steps, such as 300,350', needs='lr_mode=step',
         unless='lr_decay_period', type=epoch_list, default={CIFAR: [300, 350], IMAGENET: [40, 60]}),
    Flag('--lr-decay-period', 'schedule', TRAIN, 'instead of them: a step each time this number of epochs has passed',
         needs='lr_mode=step', type=at_least(0), default=0),
    Flag('--warmup-epochs', 'schedule', TRAIN, 'epochs of linear warm-up', type=at_least(0), default=0),
    Flag('--warmup-lr', 'schedule', TRAIN, 'learning rate at its start', needs='warmup_epochs',
         type=at_least(0, float, 1e30), default=0.0),
    Flag('--momentum', 'schedule', TRAIN, 'Nesterov momentum', type=between(0, 0.9999), default=0.9),
    Flag('--wd', 'schedule', TRAIN, 'weight decay', type=at_least(0, float, 1e30), default=0.0001),
    Flag('--no-wd', 'schedule', TRAIN, 'no weight decay on gamma, beta and bias', **_ON_OFF),

    Flag('--label-smoothing', 'objective', TRAIN, 'smooth the labels by 0.1', **_ON_OFF),
    Flag('--mixup', 'objective', TRAIN, 'train on mixtures of two images', **_ON_OFF),
    Flag('--mixup-alpha', 'objective', TRAIN, 'of Beta(alpha, alpha), its weights', needs='mixup',
         type=between(0.001, 1000), default=0.2),
    Flag('--mixup-off-epoch', 'objective', TRAIN, 'no mixup from here on (0: to the end)', needs='mixup',
         type=at_least(0), default=0),
    Flag('--teacher', 'objective', TRAIN, 'network of --teacher-params, if they have no description: of get_model with '
         'its default options, or of GluonCV', needs='teacher_params', metavar='MODEL'),
    Flag('--teacher-params', 'objective', TRAIN, 'distil from the network with these weights', metavar='FILE'),
    Flag('--temperature', 'objective', TRAIN, 'softening of its predictions', needs='teacher_params', type=positive,
         default=20.0),
    Flag('--hard-weight', 'objective', TRAIN, 'weight of the labels beside it', needs='teacher_params',
         type=between(0, 1), default=0.5),

    Flag('--init-from', 'start', TRAIN, 'begin with these trained weights; the classifier is initialised if the '
         'classes are others', metavar='FILE'),
    Flag('--freeze', 'start', TRAIN, 'parameters that are not trained: those whose names, as in a .params file, hold '
         'this regular expression, running statistics too', metavar='REGEX'),
    Flag('--accumulate', 'start', TRAIN, 'add up the gradients of N batches for a step, which is then that of a batch '
         'N times as large, but for BatchNorm', before=1, type=at_least(1), default=1, metavar='N'),
    Flag('--clip-grad', 'start', TRAIN, 'shorten the gradient of a step to this norm where it is longer', type=positive,
         metavar='NORM'),

    Flag('--mode', 'run', TRAIN, 'compile the network, or run it operator by operator',
         choices=['hybrid', 'imperative'], default='hybrid'),
    Flag('--dtype', 'run', (*TRAIN, *ANY_DTYPE), 'float16 needs a GPU, bfloat16 a CPU with AVX-512, int8 is for '
         'scoring on a CPU. In training, weights in the optimiser, BatchNorm and loss stay float32',
         choices={**dict.fromkeys(TRAIN, ['float32', 'float16', 'bfloat16']),
                  **dict.fromkeys(ANY_DTYPE, [*DTYPES, 'float16'])}, default='float32'),
    Flag('--loss-scale', 'run', TRAIN, "what the loss is multiplied with before the backward pass, or 'dynamic', for "
         "float16 (default: 1, the authors')", before=1.0, type=loss_scale, default=1.0, metavar='SCALE'),
    Flag('--calib-images', 'run', ANY_DTYPE, 'training images to calibrate with', needs='dtype=int8', type=at_least(1),
         default=512, metavar='N'),
    Flag('--calib-mode', 'run', ANY_DTYPE, 'how their ranges are found', needs='dtype=int8', choices=CALIBRATION_MODES,
         default='naive'),
    Flag('--gpus', 'run', (CIFAR,), "GPUs such as 0,1 (default '': the CPU)", free=True, default=''),
    Flag('--num-gpus', 'run', (IMAGENET, 'evaluate'), 'number of GPUs (0: the CPU)', free=True, type=at_least(0),
         default=0),
    Flag('--kvstore', 'run', TRAIN, 'how gradients are summed: over the devices of this process (local, device, nccl), '
         'or over all workers of a job too', free=True, choices=KVSTORES, default='device'),
    Flag('--stall-timeout', 'run', TRAIN, 'a worker of a job gives up after a step that takes more than so many '
         'seconds (0: never)', free=True, type=at_least(0), default=600, metavar='SECONDS'),
    Flag('-j --num-workers', 'run', (*TRAIN, 'evaluate'), 'threads that prepare batches ahead (0: none)', free=True,
         type=at_least(0), default=4),
    Flag('--seed', 'run', TRAIN, 'of weights, order, augmentation and mixup', type=at_least(0), default=0),
    Flag('--save-dir', 'run', TRAIN, 'where checkpoints go (default: params/<run name>)', free=True),
    Flag('--logging-file', 'run', TRAIN, 'the log (default: logs/<run name>.log)', free=True),
    Flag('--log-interval', 'run', TRAIN, 'batches between log lines (0: none)', free=True, type=at_least(0),
         default=50),
    Flag('--resume', 'run', TRAIN, 'continue from <save-dir>/last.*', free=True, **_ON_OFF),
    Flag('--save-every-steps', 'run', TRAIN, 'also save within an epoch: every N batches, and before it is scored (0: '
         'only after each epoch)',
         free=True, type=at_least(0), default=0, metavar='N'),
    Flag('--tensorboard', 'run', TRAIN, 'also write the numbers for TensorBoard into this folder', free=True,
         metavar='DIR'),
    Flag('--summary', 'run', TRAIN, 'print the layers and leave; needs no data', free=True, **_ON_OFF),
]
BY_DEST = {flag.dest: flag for flag in FLAGS}


def meets(options, need):
    """Whether options have what a flag needs; what is not an option of a script cannot be lacking."""
    name, _, wanted = need.partition('=')
    return name not in options or (options[name] == wanted if wanted else bool(options[name]))


def as_flag(need):
    """What a flag needs, as a user writes it: 'lr_mode=step' is --lr-mode step."""
    name, _, wanted = need.partition('=')
    return ' '.join(filter(None, ['--' + name.replace('_', '-'), wanted]))


def defaults(script):
    """{flag: its value} in the logs of a script that do not name it."""
    return {flag.dest: flag.default(script) if flag.before is None else flag.before
            for flag in FLAGS if script in flag.of}


def unread(options):
    """The flags that do nothing with these options, as another one that they need is not there."""
    return {flag.dest for flag in FLAGS if flag.unless and options.get(flag.unless)
            or not all(meets(options, need) for need in flag.needs_of(CIFAR))}
