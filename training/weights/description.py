"""What a file of weights is: a small JSON beside it, of the same name, that everything reads that takes the file.

    0.2360-cifar100-ResNet8_ChaATAC-399-best.params     the arrays
    0.2360-cifar100-ResNet8_ChaATAC-399-best.json       {"weights": {"network": "cifar_resnet", ...}, "sha256": ...}

`last.json`, the JSON of a checkpoint, has the key "weights" too. A description holds the SHA-256 of the file that it
describes, so it is never believed of another one, and one of itself, so a damaged one is noticed.
"""
import os
from typing import Any, Dict, List, NamedTuple, Optional

from .checksums import read_sealed
from .ground import UserError, file_digest

FORMAT = 1
OPTION_TYPES = (bool, int, str, type(None))


class Description(NamedTuple):
    """network, options: the arguments of get_model. dataset: a name of data.DATASETS, with its label_set if it has
    several. class_names: of the outputs, in order; outputs after them have none. input_size: side of the images.
    crop_ratio: of the validation crop, None for small images. mean, std: of the colours in 0..1. colour_order: of the
    planes. epoch: from 0, and errors: of that epoch, fractions by the names in the log; None and {} where they are not
    known. command, version, commit: that made it. params_sha256: of the .params file.
    """
    network: str
    options: Dict[str, Any]
    dataset: str
    label_set: Optional[str]
    class_names: List[str]
    input_size: int
    crop_ratio: Optional[float]
    mean: List[float]
    std: List[float]
    colour_order: str = 'RGB'
    epoch: Optional[int] = None
    errors: Dict[str, float] = {}
    command: str = ''
    version: str = ''
    commit: str = ''
    params_sha256: str = ''

    def of(self, params_sha256, numbers=None):
        """The same, of a file with this SHA-256, after an epoch with these numbers of the log."""
        if numbers is None:
            return self._replace(params_sha256=params_sha256)
        errors = {name: numbers[name] for name in ('val_top1_error', 'val_top5_error')}
        return self._replace(params_sha256=params_sha256, epoch=numbers['epoch'], errors=errors)

    def content(self):
        """What "weights" is in JSON."""
        return {'format': FORMAT, **self._asdict()}


def description_path(params):
    """Where the description of a .params file is."""
    return os.path.splitext(params)[0] + '.json'


def read_description(params, digest=None):
    """The Description of a .params file, or None if there is none beside it.

    digest: SHA-256 of the file, if it is known. Raises UserError if the description is damaged, of a later format, or
    of another file than this one is now.
    """
    path = description_path(params)
    facts = None if path == params else read_sealed(path)
    if facts is None or 'weights' not in facts:
        return None
    found = description_from_json(facts['weights'], path)
    if found.params_sha256 != (digest or file_digest(params)):
        cure = 'continue its run by --resume' if 'arrays' in facts else f'remove {path} if they are other weights'
        raise UserError(f'{params} is damaged, or not the file that {path} describes: copy it again, or {cure}')
    return found


def description_from_json(content, path):
    """The Description of what "weights" is in JSON. UserError, which names the file, if it cannot be one."""
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        found = content.get('format') if isinstance(content, dict) else None
        raise UserError(f'{path} is of format {found}: this version reads format {FORMAT} of a description')
    fields = {name: value for name, value in content.items() if name != 'format'}
    wrong = [name for name in Description._fields if name not in fields or not SOUND[name](fields[name])]
    if wrong or fields.keys() - set(Description._fields):
        raise UserError(f'{path} is not a description of weights: its {", ".join(wrong) or "fields"} cannot be')
    return Description(**fields)


def _is(*kinds):
    return lambda value: type(value) in kinds


def _is_list(kind, length=None):
    return lambda value: isinstance(value, list) and all(type(item) is kind for item in value) and \
        length in (None, len(value))


def _is_dict(*kinds):
    return lambda value: isinstance(value, dict) and all(type(item) in kinds for item in value.values())


# What each field of a description can be.
SOUND = {'network': _is(str), 'options': _is_dict(*OPTION_TYPES), 'dataset': _is(str),
         'label_set': _is(str, type(None)), 'class_names': _is_list(str),
         'input_size': lambda size: type(size) is int and 0 < size <= 4096,
         'crop_ratio': lambda ratio: ratio is None or type(ratio) in (int, float) and 0 < ratio <= 1,
         'mean': _is_list(float, 3), 'std': lambda std: _is_list(float, 3)(std) and min(std) > 0,
         'colour_order': lambda order: order == 'RGB', 'epoch': _is(int, type(None)), 'errors': _is_dict(int, float),
         'command': _is(str), 'version': _is(str), 'commit': _is(str), 'params_sha256': _is(str)}
