"""python -m tools.flags > docs/flags.md: every flag of the scripts, from the table that they are made from."""
import sys

import runtime  # noqa: F401  (before mxnet)

from cli import flags
from cli.command import Parser
from cli.exits import run_script
from tools.markdown import markdown_table

SHORT = {'train_cifar': 'C', 'train_imagenet': 'I', 'evaluate': 'E', 'classify': 'c', 'export': 'x', 'visualize': 'v'}
COLUMNS = 'flag', 'scripts', 'default', 'resume', 'needs', 'what'
HEAD = '''# Flags

Made by `python -m tools.flags` from the table in `cli/flags.py`; a test compares the two.

Scripts: C `train_cifar.py`, I `train_imagenet.py`, E `evaluate.py`; c `tools.classify`, x `tools.export`,
v `tools.visualize`. A flag that needs another one is refused without it. "free" flags may differ when a run is
resumed; every other flag must be what it was. Flags that describe trained weights (`data`, `network`, `unit`) are
taken from the description of the weights where it exists, and checked against it; without one E, c, x and v need
`--model` and `--dataset` (an ImageNet network with --use-rec or --data-dir needs no `--dataset`). Epochs count from 0.
'''


def row(flag):
    """The cells of a flag."""
    needs = {}
    for script in flag.of:
        for need in flag.needs_of(script):
            needs.setdefault(flags.as_flag(need), []).append(SHORT[script])
    needs = [f'`{need}`' + ('' if len(scripts) == len(flag.of) else f' ({" ".join(scripts)})')
             for need, scripts in needs.items()]
    defaults = {script: str(flag.default(script)) for script in flag.of}
    defaults = {script: default for script, default in defaults.items() if default not in ('None', 'False', '')}
    if flag.keywords.get('required'):
        defaults = dict.fromkeys(flag.of, 'required')
    is_one = len(set(defaults.values())) == 1 and len(defaults) == len(flag.of)
    default = next(iter(defaults.values())) if is_one else ', '.join(f'{SHORT[script]}: {default}'
                                                                     for script, default in defaults.items())
    return (f'`{" ".join(flag.names)}`', ' '.join(SHORT[script] for script in flag.of), default,
            'free' if flag.free else '', ', '.join(needs), flag.says + values_of(flag))


def values_of(flag):
    """What a flag may be, for the end of its help; units are named by --act-type."""
    values = dict.fromkeys(str(value) for script in flag.of for value in flag.keywords_of(script).get('choices', ()))
    return f' ({", ".join(values)})' if values and flag.keywords.get('metavar') != 'UNIT' else ''


def text():
    """The whole page."""
    lines = [HEAD]
    for group in dict.fromkeys(flag.group for flag in flags.FLAGS):
        lines += [f'## {group}\n', markdown_table(COLUMNS, [row(flag) for flag in flags.FLAGS if flag.group == group]),
                  '']
    return '\n'.join(lines)


def main(argv=None):
    """Print the page."""
    Parser(description=__doc__.splitlines()[0]).parse_args(argv)
    print(text(), end='')


if __name__ == '__main__':
    sys.exit(run_script(main))
