"""Graphs of MXNet, and how they are changed."""
import json
from collections import Counter

import runtime  # noqa: F401  (before mxnet)

import mxnet as mx


def content_of(symbol):
    """A graph as JSON has it, with the casts of mixed precision."""
    return json.loads(symbol.tojson(remove_amp_cast=False))


def nodes_of(symbol):
    """The nodes of a graph, as JSON has them: [{'op', 'name', 'inputs': [[position, output, version], ...], ...}]."""
    return content_of(symbol)['nodes']


def readers_of(symbol):
    """{(position of a node, which output of it): how often it is read, as the output of the whole graph too}."""
    content = content_of(symbol)
    entries = content['heads'] + [entry for node in content['nodes'] for entry in node['inputs']]
    return Counter(tuple(entry[:2]) for entry in entries)


def with_operators(symbol, operators):
    """The same graph with other operators.   operators: {position of a node: name}"""
    content = content_of(symbol)
    for position, name in operators.items():
        content['nodes'][position]['op'] = name
    return mx.sym.load_json(json.dumps(content))


def with_nodes_after(symbol, positions, operator, suffix, **attributes):
    """The same graph with a new node after each of some: what has read the first output of the one reads the other.

    The new node is named as the old one with a suffix.
    """
    content, nodes, moved = content_of(symbol), [], {}
    for position, node in enumerate(content['nodes']):
        nodes.append(dict(node, inputs=moved_entries(node['inputs'], moved)))
        moved[position] = len(nodes) - 1
        if position in positions:
            nodes.append({'op': operator, 'name': node['name'] + suffix, 'attrs': attributes,
                          'inputs': [[len(nodes) - 1, 0, 0]]})
            moved[position, 0] = len(nodes) - 1
    return symbol_of(nodes, moved, content)


def with_graphs(symbol, graphs):
    """The same graph with other graphs instead of some nodes, all of one output.

    graphs: {position of a node: a graph whose variables, named '0', '1' and so on, are the inputs of the node}
    """
    content, nodes, moved = content_of(symbol), [], {}
    for position, node in enumerate(content['nodes']):
        inputs, places = moved_entries(node['inputs'], moved), []
        for part in nodes_of(graphs[position]) if position in graphs else ():
            if part['op'] == 'null':
                places.append(inputs[int(part['name'])])
            else:
                nodes.append(dict(part, name=node['name'] + '_' + part['name'],
                                  inputs=[places[source] for source, _, _ in part['inputs']]))
                places.append([len(nodes) - 1, 0, 0])
        if position not in graphs:
            nodes.append(dict(node, inputs=inputs))
        moved[position] = len(nodes) - 1
    return symbol_of(nodes, moved, content)


def moved_entries(entries, moved):
    """[[position of a node, output, version], ...] in a new graph.

    moved: {position of an old node: that of the new one whose outputs its outputs are, or (position, output): the new
    one whose only output this output is}
    """
    return [[moved.get((source, output), moved[source]), output, *rest] for source, output, *rest in entries]


def symbol_of(nodes, moved, content):
    """The graph of new nodes.   moved: of moved_entries; content: of the old graph"""
    return mx.sym.load_json(json.dumps({
        'nodes': nodes, 'heads': moved_entries(content['heads'], moved),
        'arg_nodes': [position for position, node in enumerate(nodes) if node['op'] == 'null'],
        'node_row_ptr': list(range(len(nodes) + 1)), 'attrs': content['attrs']}))
