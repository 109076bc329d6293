"""What the documents say of the code is what the code says."""
import glob
import os
import re
import subprocess
import sys

import pytest

from tests.test_scripts import ROOT
from tools.share import flags


def read(*path):
    with open(os.path.join(ROOT, *path)) as file:
        return file.read()


def test_the_page_of_flags_is_that_of_the_table():
    assert read('docs', 'flags.md') == flags.text(), 'python -m tools.flags > docs/flags.md'
    with pytest.raises(SystemExit):
        flags.main(['docs/flags.md'])


# Folder -> what its files may import of the others. Nothing imports tests.
IMPORTS = {'model': set(), 'native': set(), 'data': set(), 'training': {'native'},
           'cli': {'data', 'model', 'native', 'training'}, 'tools': {'cli', 'data', 'model', 'native', 'training'}}


@pytest.mark.parametrize('folder', IMPORTS)
def test_imports_go_one_way(folder):
    files = [os.path.join(place, name) for place, _, names in os.walk(os.path.join(ROOT, folder)) for name in names
             if name.endswith('.py')]
    found = {name for path in files for name in re.findall(r'^ *(?:from|import) (\w+)', read(path), flags=re.M)}
    assert files and (found & {*IMPORTS, 'tests'}) - {folder} <= IMPORTS[folder]


DOCUMENTS = ['README.md', *(os.path.join('docs', name) for name in os.listdir(os.path.join(ROOT, 'docs'))
                            if name.endswith('.md')), os.path.join('params', 'README.md')]


@pytest.mark.parametrize('document', sorted(DOCUMENTS))
def test_every_link_and_file_that_a_document_names_is_there(document):
    """Links to files of the repository, and paths of its folders in code."""
    text, folder = re.sub(r'```.*?```', '', read(document), flags=re.S), os.path.dirname(os.path.join(ROOT, document))
    links = [link for link in re.findall(r'\]\(([^)#]+?)(?:#[^)]*)?\)', text) if '://' not in link]
    missing = [link for link in links if not os.path.exists(os.path.join(folder, link))]
    folders = 'cli|data|docs|logs|model|native|params|requirements|tests|tools|training'
    named = re.findall(r'`((?:%s)/[\w/.*-]+)`' % folders, text)
    missing += [path for path in named if not glob.glob(os.path.join(ROOT, path))]
    assert not missing


def test_the_readme_is_read_in_six_minutes():
    assert len(read('README.md').split()) <= 1500


@pytest.mark.parametrize('document', sorted(DOCUMENTS))
def test_every_module_that_a_document_runs_is_there(document):
    import importlib.util
    named = set(re.findall(r'python -m ((?:cli|data|model|native|runtime|tests|tools|training)[\w.]*)', read(document)))
    for module in named - {'tools.NAME'}:
        found = importlib.util.find_spec(module.rstrip('.'))
        found = importlib.util.find_spec(found.name + '.__main__') if found.submodule_search_locations else found
        with open(found.origin) as file:
            assert "__name__ == '__main__'" in file.read(), f'{module} does nothing when it is run'


def test_the_tools_are_listed_and_nothing_is_begun():
    listed = subprocess.run([sys.executable, '-m', 'tools'], cwd=ROOT, timeout=60, capture_output=True, text=True)
    assert listed.returncode == 0 and not listed.stderr
    names = [line.split()[0] for line in listed.stdout.splitlines()]
    assert {'benchmark', 'classify', 'export', 'launch', 'prepare_imagenet', 'sweep'} <= set(names)
    assert all(len(line.split()) > 3 for line in listed.stdout.splitlines())


def test_the_first_python_of_the_readme_finds_a_coat(monkeypatch):
    monkeypatch.chdir(ROOT)
    code = re.findall(r'```python\n(.*?)```', read('README.md'), re.S)[0]
    names = {}
    exec(code, names)
    (name, probability), *_ = names['classifier'].top_k(['docs/coat.png'], k=3)[0]
    assert name == 'coat' and probability == pytest.approx(0.97, abs=0.006)


def test_the_unit_that_the_page_shows_is_one(monkeypatch):
    """Also by the entry that the page has for the registry, and by that of a user of the package."""
    import mxnet as mx
    from mxnet.gluon import nn

    import model
    from model import comparison_units, units
    page = read('docs', 'units.md')
    code, used = re.findall(r'```python\n(.*?)```', page, re.S)
    names = {'nn': nn, 'atac': model}
    exec(code, names)
    monkeypatch.setattr(comparison_units, 'ScaledReLU', names['ScaledReLU'], raising=False)
    entry, = re.findall(r"`'ScaledReLU': (Unit\(.*?\))`", page)
    unit = eval(entry, vars(units))(3, r=2)
    unit.initialize()
    x = mx.nd.random.normal(shape=(2, 3, 4, 4))
    assert (unit(x) == mx.nd.relu(x)).asnumpy().all()
    monkeypatch.setitem(model.ACTIVATIONS, 'ScaledReLU', None)  # which is gone afterwards
    exec(used, names)
    assert sum(name.endswith('scale') for name in names['net'].collect_params()) == 19
