"""Descriptions of weights that are damaged, or made by a stranger to do harm."""
import json
import os
import shutil

import evaluate
from tests.faults.harm import REFUSALS, content_of, cut, flip, write
from training.weights.checksums import sealed
from training.weights.description import description_path, read_description

DAMAGED = 200  # tries of either kind
# Fields of a description that is sealed as it should be.
HOSTILE = [
    {'network': 'os.system'}, {'network': '../../etc/passwd'}, {'network': 'resnet50_v1b' * 10 ** 5}, {'options': {}},
    {'options': {'blocks': 10 ** 9}}, {'options': {'blocks': -1}}, {'options': {'classes': 0}},
    {'options': {'classes': 10 ** 18}}, {'options': {'kernel_size': 10 ** 9, 'act_type': 'SpaATAC'}},
    {'options': {'r': 0}}, {'options': {'__class__': 1}}, {'options': {'norm_layer': 'os.system'}},
    {'options': {'act_type': 'x' * 10 ** 6}}, {'options': {'gate': 'os.system'}}, {'options': {'params': 'x'}},
    {'network': 'resnet50_v1b', 'options': {'params': 'x'}}, {'network': 'resnet50_v1b', 'options': {'prefix': 3}},
    {'network': 'resnet50_v1b', 'options': {'classes': 10 ** 12}},
    {'network': 'resnet50_v1b', 'options': {'gates': ''}},
    {'options': {str(number): number for number in range(10 ** 5)}},
    {'dataset': '/dev/zero'}, {'dataset': 'imagenet'}, {'label_set': 'x'}, {'class_names': ['x' * 10 ** 6] * 5},
    {'class_names': ['\x1b[2J']}, {'class_names': []}, {'input_size': 10 ** 30}, {'input_size': -1},
    {'input_size': True},
    {'crop_ratio': 1e-300}, {'crop_ratio': float('nan')}, {'mean': [float('inf')] * 3}, {'std': [float('nan')] * 3},
    {'std': [1e-300] * 3}, {'epoch': 10 ** 400}, {'errors': {'val_top1_error': float('nan')}}, {'command': '$(reboot)'},
    {'params_sha256': ''}, {'params_sha256': None}, {'format': None}, {'format': 10 ** 30}, {'colour_order': None}]


def hostile_descriptions(bench):
    """Beside weights that are whole: refused, or not believed, or what they say of the network is true."""
    folder = bench.copy_of_first('descriptions')
    path = os.path.join(folder, 'x.params')
    shutil.copy(os.path.join(folder, 'run', 'last.params'), path)
    shutil.copy(os.path.join(folder, 'run', 'last.json'), description_path(path))
    right, whole = read_description(path), content_of(description_path(path))
    contents = [harm(whole, bench.random) for harm in (cut, flip) for _ in range(DAMAGED)]
    contents += [json.dumps(sealed({'weights': {**right.content(), **fields}})).encode() for fields in HOSTILE]
    survived = 0
    for content in contents:
        write(description_path(path), content)
        try:
            found = evaluate.parse_args(['--params', path]).description
            survived += found.network == right.network and found.options == right.options
        except REFUSALS:
            survived += 1
    return len(contents), survived
