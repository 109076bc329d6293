"""The model of scaling: its bytes counted one by one, its fit, and that the document shows what the tool prints."""
import json
import os

from runtime import UserError

import pytest

from model import complexity, get_model
from tools.scaling import cost, draw, measure
from tools.scaling.__main__ import main
from tools.scaling.cost import Cluster, Fitted, Gpu, Gradient, Step, Sum

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MEASURED = os.path.join(ROOT, 'logs', 'scaling.json')
SOME = Gradient(2.5e7, 1e8)


@pytest.mark.parametrize('workers, servers', [(workers, servers) for workers in (2, 3, 4, 8)
                                              for servers in (1, 2, 3, 4, 8) if servers <= workers])
def test_the_busiest_link_carries_what_is_counted_host_by_host(workers, servers):
    sent = [0] * workers
    received = [0] * workers
    for worker in range(workers):
        for server in range(servers):  # lives on the host of this number
            if server != worker:
                sent[worker] += 1 / servers
                received[server] += 1 / servers  # its part of the gradient
                sent[server] += 1 / servers
                received[worker] += 1 / servers  # its part of the sum
    assert cost.busiest_link(1, workers, 1 / servers) == pytest.approx(max(sent + received))


def test_one_host_sums_without_a_link():
    assert cost.busiest_link(100, 1, 1.0) == 0
    found = cost.predict(Fitted(1.0, 1e-9, 0.5), SOME, Cluster(1, 8, 0, 0), Gpu(128, 64))
    assert found == (8, 512.0, 1.0, 'computing')


def test_the_bytes_are_those_of_the_trainable_parameters():
    trainable = complexity.parameters(get_model('atac_resnet50_v1b'))[1]
    assert cost.whole_gradient() == (trainable, 4 * trainable) == (27934760, 111739040)
    normalised = sum(parameter.shape[0] for name, parameter in get_model('atac_resnet50_v1b').collect_params().items()
                     if 'batchnorm' in name and name.endswith(('gamma', 'beta')) and parameter.grad_req != 'null')
    assert cost.whole_gradient('float16').bytes == 2 * trainable + 2 * normalised


def test_the_fullest_server_has_at_least_its_share():
    assert cost.fullest_server(1) == 1
    assert 1 / 2 < cost.fullest_server(2) < 0.53
    assert cost.fullest_server(64) > 1.9 / 64              # whole arrays on single servers
    assert cost.fullest_server(64, bound=1) == pytest.approx(1 / 64)


def test_the_fit_finds_the_numbers_that_made_the_times():
    truth = Fitted(1.1, 2e-9, 0.3)
    cores = 2
    jobs = [(2, 1, 5e7), (3, 3, 5e7), (4, 2, 1e8), (2, 1, None), (3, 3, None)]
    sums = [Sum(*job, cost.sum_seconds(truth, SOME, job[0], cost.fullest_server(job[1]), job[2], cores))
            for job in jobs]
    steps = [Step(*one[:3], cost.step_seconds(truth, 2.0, one.seconds), 2.0, one.seconds) for one in sums[:2]]
    assert cost.fit(SOME, sums, steps, cores) == pytest.approx(truth)


def test_what_a_step_waits_for():
    slow_link = Fitted(1.0, 1e-12, 0.2)
    slow_server = Fitted(1.0, 1e-6, 0.2)
    gpu = Gpu(128, 1000)
    assert cost.predict(slow_link, SOME, Cluster(8, 8, 8, 1e8), gpu).limit == 'links'
    assert cost.predict(slow_server, SOME, Cluster(8, 8, 8, 1e8), gpu).limit == 'servers'
    assert cost.predict(slow_link, SOME, Cluster(8, 8, 8, 1e12), gpu).limit == 'computing'


def test_the_document_has_what_the_tool_prints(tmp_path, capsys):
    out = str(tmp_path / 'scaling.png')
    main(['draw', MEASURED, '--out', out])
    with open(os.path.join(ROOT, 'docs', 'scaling.md')) as file:
        document = file.read()
    printed = capsys.readouterr().out.strip().splitlines()
    assert len(printed) > 30 and [line for line in printed if line not in document.splitlines()] == []
    assert os.path.getsize(out) > 10000


def test_bad_files_are_said(tmp_path, capsys):
    other = tmp_path / 'other.json'
    other.write_text('{"sums": 1}')
    with pytest.raises(UserError, match='is not what'):
        draw.read_measured(str(other))
    for out in ('s', 's.pdf'):
        with pytest.raises(UserError, match='must end in .png or .svg'):
            main(['draw', MEASURED, '--out', str(tmp_path / out)])
    with pytest.raises(SystemExit):
        main(['measure', '--json', str(other)])
    assert 'other.json exists: choose another one' in capsys.readouterr().err and other.read_text() == '{"sums": 1}'


@pytest.mark.parametrize('name, content', [
    ('sums', []), ('sums', [[2, 1, None, 1.0]]), ('sums', [[2, 1, None, 'x'], [2, 1, 5e7, 1.0]]), ('steps', []),
    ('sums', [[1, 1, None, 1.0], [1, 1, 5e7, 1.0]]), ('sums', [[2, 1, None, 1.0], [2, 1, 5e7, None]]),
    ('sums', [[2, 1.5, None, 1.0], [2, 1, 5e7, 1.0]]), ('sums', [[2, 10 ** 9, None, 1.0], [2, 1, 5e7, 1.0]]),
    ('sums', [[2, 1, None, 1e999], [2, 1, 5e7, 1.0]]), ('steps', [[None, 1, 5e7, 1.0, 1.0, 1.0]]),
    ('gradient', [0, 0]), ('cores', 0), ('cores', None)])
def test_numbers_that_were_not_measured_are_said(name, content, tmp_path):
    with open(MEASURED) as file:
        found = json.load(file)
    path = tmp_path / 'x.json'
    path.write_text(json.dumps({**found, name: content}))
    with pytest.raises(UserError, match='is not what'):
        draw.read_measured(str(path))


def test_what_is_measured_is_kept_when_a_later_job_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, 'seconds_of', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        measure.measure(str(tmp_path / 'x.json'))
    assert not os.listdir(tmp_path)  # so that the same command can be given again
    seconds = iter([1.5, 2.5])
    monkeypatch.setattr(measure, 'seconds_of', lambda *_: next(seconds))
    with pytest.raises(StopIteration):
        measure.measure(str(tmp_path / 'x.json'))
    with open(tmp_path / 'x.json') as file:
        assert [row[-1] for row in json.load(file)['sums']] == [1.5, 2.5]
    monkeypatch.setattr(measure, 'PATIENCE', 0.01)
    with pytest.raises(OSError, match='the job of 1 workers and 1 servers takes more than 0.01 s'):
        measure.run_job(['sleep', '5'], 1, 1, None)
