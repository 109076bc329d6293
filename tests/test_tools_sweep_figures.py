"""How figures look, and which of them are written over."""
import os

from runtime import UserError

import matplotlib.text
import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.sweeps import plot, write_sweep
from tools import figures
from tools.sweep import drawing, groups, lines, plot_sweep
from tools.sweep.lines import STYLED, Line


def panels_of(folder, *flags):
    """{title of a panel: {label: places on its axis}} of plot_sweep over the depth."""
    args = plot_sweep.parse_args([str(folder), '--published', '--x', 'depth', *flags])
    found = plot_sweep.compare(args)
    figure = plot_sweep.draw(found.lines, found.references, args, found.title)
    return {axes.get_title(): {line.get_label(): list(line.get_xdata()) for line in axes.lines} for axes in figure.axes}


def figure_of(folder, *flags):
    args = plot_sweep.parse_args([str(folder), *flags])
    found = plot_sweep.compare(args)
    return plot_sweep.draw(found.lines, found.references, args, found.title)


def test_lines_go_through_the_means_with_bars_of_one_standard_deviation(tmp_path):
    for blocks, errors in (('1', [0.1, 0.2, 0.12]), ('2', [0.1])):
        write_sweep(tmp_path, {'relu': errors}, '--blocks', blocks)
    parameters, depth = figure_of(tmp_path).axes
    for axes, places in ((parameters, [1.004, 2.004]), (depth, [0, 1])):
        line, = [line for line in axes.lines if line.get_label() == 'relu']
        np.testing.assert_allclose(line.get_xdata(), places)
        np.testing.assert_allclose(line.get_ydata(), [86, 90])
        bar, = [bars.get_segments()[0] for bars in axes.collections]
        np.testing.assert_allclose(bar[:, 1], 86 + np.std([80, 88, 90], ddof=1) * np.array([-1, 1]))
        seeds, = [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == 3]
        np.testing.assert_allclose(seeds, [90, 80, 88])
        hollow, = [line for line in axes.lines if line.get_markerfacecolor() == 'white']
        np.testing.assert_allclose(hollow.get_ydata(), 90)
    assert [label.get_text() for label in depth.get_xticklabels()] == ['8', '14']
    assert depth.get_ylabel() == 'test accuracy, last epoch (%)'
    assert figure_of(tmp_path, '--score', 'best').axes[0].get_ylabel() == 'test accuracy, best epoch (%)'
    text = ' '.join(words.get_text() for words in figure_of(tmp_path).legends[-1].findobj(matplotlib.text.Text))
    assert 'of 1 to 3 seeds' in text and 'hollow: one seed' in text


def test_a_level_is_the_mean_of_what_is_compared_with(tmp_path):
    write_sweep(tmp_path, {'relu': [0.1, 0.2]})
    for r in '2', '4':
        write_sweep(tmp_path, {'ChaATAC': [0.1, 0.15]}, '--r', r)
    axes, = figure_of(tmp_path, '--x', 'r').axes
    level, = [line for line in axes.lines if line.get_label().startswith('relu')]
    np.testing.assert_allclose(level.get_ydata(), [85, 85])


def test_runs_of_the_published_length_share_the_panel_of_the_paper(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, 'PUBLISHED_EPOCHS', 2)
    write_sweep(tmp_path, {'relu': [0.1, 0.2], 'swish': [0.1, 0.2]}, '--dataset', 'cifar10')
    panel, = panels_of(tmp_path).values()
    assert panel['ReLU (Fig. 7, best epoch)'] == [0, 1, 2, 3, 4] and panel['ATAC (Fig. 7, best epoch)'] == [0, 1, 2, 3]
    assert panel['relu'] == [-0.0625] and panel['swish'] == [0.0625]


def test_shorter_runs_have_a_panel_of_their_own(tmp_path):
    write_sweep(tmp_path, {'relu': [0.1, 0.2], 'swish': [0.1, 0.2]}, '--dataset', 'cifar10')
    panels = panels_of(tmp_path)
    assert list(panels) == ['400 epochs, published', '2 epochs']
    paper, ours = panels.values()
    assert 'relu' not in paper and paper['SELU (Fig. 7, best epoch)'] == [0, 1, 2, 3, 4]
    assert {'relu', 'swish'} < ours.keys() and 'SELU (Fig. 7, best epoch)' not in ours


def test_many_units_stay_at_their_depth():
    groups_at = [[groups.Group('%d' % unit, {'blocks': blocks}, {}, 1, {0: 90}) for blocks in range(1, 6)]
                 for unit in range(10)]
    lines = [Line('x', 'x', dict(enumerate(row)), False) for row in groups_at]
    at = drawing.positions(lines, 'depth', list(range(5)))
    assert all(abs(at[group] - place) < 0.5 for row in groups_at for place, group in enumerate(row))
    assert len(set(at.values())) == 50


def test_no_seed_is_cut_off(tmp_path):
    write_sweep(tmp_path, {'relu': [0.1] * 8 + [0.2]})
    args = plot_sweep.parse_args([str(tmp_path)])
    found = plot_sweep.compare(args)
    for axes in plot_sweep.draw(found.lines, found.references, args, found.title).axes:
        assert axes.get_ylim()[0] < 80 and axes.get_ylim()[1] > 90


@pytest.mark.parametrize('axis', ['both', 'depth'])
def test_a_figure_can_be_read(tmp_path, axis):
    """In two columns and in one, with the longest legend: elu has one seed."""
    write_sweep(tmp_path, {'elu': [0.1], **{unit: [0.1, 0.11] for unit in ('relu', 'ChaATAC', 'swish', 'xUnit')}})
    args = plot_sweep.parse_args([str(tmp_path), '--x', axis])
    found = plot_sweep.compare(args)
    with figures.look():
        figure = plot_sweep.draw(found.lines, found.references, args, 'title')
        figures.save(figure, str(tmp_path / 'figure.png'))
        texts = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text()]
        assert min(text.get_fontsize() for text in texts) >= 8
        legend, = figure.legends
        boxes = [axes.get_tightbbox() for axes in figure.axes] + [legend.get_window_extent()]
        assert not any(box.overlaps(other) for number, box in enumerate(boxes) for other in boxes[:number])
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert [text.get_text() for text in legend.get_texts()] == ['relu', 'ChaATAC', 'swish', 'xUnit', 'elu']
    faint = [line for line in figure.axes[0].lines if line.get_alpha()]
    assert sorted(value for line in faint for value in line.get_ydata()) == pytest.approx([89] * 4 + [90] * 4)


def test_styles_differ_in_colour_and_without_it():
    styles = drawing.styles_of([Line('line %d' % number, 'relu', {}, False) for number in range(30)])
    assert len({(style['marker'], style['linestyle']) for style in styles.values()}) == 30
    assert len({style['color'] for style in list(styles.values())[:7]}) == 7


def test_the_line_with_the_name_of_a_unit_has_its_style_wherever_it_stands():
    lines = [Line(label, 'ChaATAC', {}, False) for label in ('ChaATAC, r 4', 'ChaATAC', 'ChaATAC, r 8')]
    styles = drawing.styles_of(lines)
    assert styles['ChaATAC'] == figures.style(STYLED.index('ChaATAC'))
    assert len({style['color'] for style in styles.values()}) == 3


def test_figures_of_others_are_not_replaced(tmp_path):
    path = str(tmp_path / 'a.png')
    Figure().savefig(path)
    with pytest.raises(UserError, match='a.png exists and was not written by this tool'):
        figures.check_replaceable(path)
    for ending in figures.ENDINGS:
        figures.save(Figure(), str(tmp_path / ('b' + ending)))
        figures.check_replaceable(str(tmp_path / ('b' + ending)))
    assert sorted(os.listdir(str(tmp_path))) == ['a.png', 'b.png', 'b.svg']
    (tmp_path / 'b.png.new').write_text('mine')  # what is written begins there
    with pytest.raises(UserError, match='b.png.new exists and was not written by this tool'):
        figures.check_replaceable(str(tmp_path / 'b.png'))


def test_a_unit_keeps_its_style_and_its_published_line_has_it_in_dots():
    lines = [Line(*line, {}, published) for line, published in (
        (('ours', 'ChaATAC'), False), (('r 4', 'ChaATAC'), False), (('paper', 'ChaATAC'), True))]
    ours, other, paper = drawing.styles_of(lines).values()
    assert ours == figures.style(STYLED.index('ChaATAC'))
    assert paper == dict(ours, linestyle=':', markerfacecolor='none', markersize=3)
    assert other['color'] not in (ours['color'], figures.style(STYLED.index('relu'))['color'])


def test_the_same_logs_give_the_same_files(tmp_path):
    write_sweep(tmp_path, {'relu': [0.1, 0.2], 'swish': [0.1, 0.2]})
    found = []
    for _ in range(2):
        plot(tmp_path, '--x', 'depth')
        found.append([(tmp_path / ('figure' + ending)).read_bytes() for ending in ('.png', '.svg', '.csv', '.md')])
    assert found[0] == found[1]
