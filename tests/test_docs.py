"""What the documents say of the code is what the code says."""
import os
import re

import pytest

from tests.test_scripts import ROOT
from tools.share import flags


def read(*path):
    with open(os.path.join(ROOT, *path)) as file:
        return file.read()


def test_the_page_of_flags_is_that_of_the_table():
    assert read('docs', 'flags.md') == flags.text(), 'python -m tools.flags > docs/flags.md'


DOCUMENTS = ['README.md', *(os.path.join('docs', name) for name in os.listdir(os.path.join(ROOT, 'docs'))
                            if name.endswith('.md')), os.path.join('params', 'README.md')]


@pytest.mark.parametrize('document', sorted(DOCUMENTS))
def test_every_link_and_file_that_a_document_names_is_there(document):
    """Links to files of the repository, and paths of its folders in code."""
    text, folder = re.sub(r'```.*?```', '', read(document), flags=re.S), os.path.dirname(os.path.join(ROOT, document))
    links = [link for link in re.findall(r'\]\(([^)#]+?)(?:#[^)]*)?\)', text) if '://' not in link]
    missing = [link for link in links if not os.path.exists(os.path.join(folder, link))]
    named = re.findall(r'`((?:cli|data|docs|model|native|requirements|tests|tools|training)/[\w/.-]+)`', text)
    missing += [path for path in named if not os.path.exists(os.path.join(ROOT, path))]
    assert not missing


def test_the_readme_is_read_in_six_minutes():
    assert len(read('README.md').split()) <= 1500


@pytest.mark.parametrize('document', sorted(DOCUMENTS))
def test_every_module_that_a_document_runs_is_there(document):
    import importlib.util
    named = set(re.findall(r'python -m ((?:tools|data|native|runtime|tests)[\w.]*)', read(document)))
    for module in named - {'tools.NAME'}:
        assert importlib.util.find_spec(module.rstrip('.')), module
