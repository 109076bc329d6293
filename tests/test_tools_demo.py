"""The demo: with real runs on a tiny data set, and with a stand-in of train_cifar.py where it must fail."""
import os

from runtime import UserError

import pytest

from tests.stand_in import StandIn
from tools import ROOT, demo

NAME = 'fashion-mnist-mini-atac-%s-r2-al4bac-b1-seed0'


def test_the_demo_leaves_logs_weights_and_a_figure_and_says_what_it_shows(tiny_data, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, 'FLAGS', [*demo.FLAGS, '--data-dir', tiny_data, '--batch-size', '50'])
    rows = demo.main(['--num-epochs', '2'])
    assert [(row['unit'], row['n']) for row in rows] == [('relu', 1), ('ChaATAC', 1)]
    out = capsys.readouterr().out
    assert 'ChaATAC ' in out and '2 epochs on 6,400 images are no evidence' in out and demo.EVIDENCE in out
    assert (tmp_path / 'demo' / 'error.png').read_bytes().startswith(b'\x89PNG')
    for unit in demo.UNITS:
        assert (tmp_path / 'demo' / (NAME % unit) / 'last.params').exists()
        assert len((tmp_path / 'demo' / (NAME % unit + '.jsonl')).read_text().splitlines()) == 2


def test_the_figure_that_is_evidence_is_there():
    assert os.path.exists(os.path.join(ROOT, demo.EVIDENCE))


def test_an_earlier_demo_is_replaced_and_nothing_else(tmp_path, monkeypatch):
    stand_in = StandIn(tmp_path, monkeypatch)
    stand_in({NAME % unit: {'errors': [0.5]} for unit in demo.UNITS}, flags=[*demo.FLAGS, '--num-epochs', '1'])
    demo.main(['--num-epochs', '1'])
    mine = ['demo/mine.log', f'demo/{NAME % "relu"}/notes.txt']
    os.makedirs(os.path.dirname(mine[1]), exist_ok=True)
    saved = os.path.join(os.path.dirname(mine[1]), 'last.params')
    for path in [*mine, saved]:
        with open(path, 'w') as file:
            file.write('mine')
    demo.main(['--num-epochs', '1'])
    assert len(stand_in.calls()) == 4 and all(map(os.path.exists, mine)) and not os.path.exists(saved)


@pytest.mark.parametrize('path', [f'demo/{NAME % "ChaATAC"}/last.params', 'demo/error.png'])
def test_what_is_of_no_demo_stays(path, tmp_path, monkeypatch):
    stand_in = StandIn(tmp_path, monkeypatch)
    os.makedirs(os.path.dirname(path))
    with open(path, 'w') as file:
        file.write('mine')
    with pytest.raises(UserError, match='choose another --out'):
        demo.main(['--num-epochs', '1'])
    with open(path) as file:
        assert file.read() == 'mine' and not stand_in.calls()


def test_a_run_that_fails_fails_the_demo(tmp_path, capsys, monkeypatch):
    stand_in = StandIn(tmp_path, monkeypatch)
    stand_in({NAME % 'relu': {'code': 1}}, flags=[*demo.FLAGS, '--num-epochs', '1'])
    with pytest.raises(SystemExit) as leaving:
        demo.main(['--num-epochs', '1'])
    said = capsys.readouterr()
    assert leaving.value.code == 1 and f'failed: {NAME % "relu"}, exit code 1' in said.err
    assert 'everything works' not in said.out
