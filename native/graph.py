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
    """The same graph with a new node after each of some: who has read the one, which has one output, reads the other.

    The new node is named as the old one with a suffix.
    """
    content, nodes, moved = content_of(symbol), [], []
    for position, node in enumerate(content['nodes']):
        node['inputs'] = [[moved[source], *rest] for source, *rest in node['inputs']]
        nodes.append(node)
        if position in positions:
            nodes.append({'op': operator, 'name': node['name'] + suffix, 'attrs': attributes,
                          'inputs': [[len(nodes) - 1, 0, 0]]})
        moved.append(len(nodes) - 1)
    return symbol_of(nodes, moved, content)


def with_graphs(symbol, graphs):
    """The same graph with other graphs in place of some nodes, all of one output.

    graphs: {position of a node: a graph whose variables, named '0', '1' and so on, are the inputs of the node}
    """
    content, nodes, moved = content_of(symbol), [], []
    for position, node in enumerate(content['nodes']):
        inputs, places = [[moved[source], *rest] for source, *rest in node['inputs']], []
        for part in nodes_of(graphs[position]) if position in graphs else ():
            if part['op'] == 'null':
                places.append(inputs[int(part['name'])])
            else:
                nodes.append(dict(part, name=node['name'] + '_' + part['name'],
                                  inputs=[places[source] for source, _, _ in part['inputs']]))
                places.append([len(nodes) - 1, 0, 0])
        if position not in graphs:
            nodes.append(dict(node, inputs=inputs))
        moved.append(len(nodes) - 1)
    return symbol_of(nodes, moved, content)


def symbol_of(nodes, moved, content):
    """The graph of new nodes.   moved: which of them has the output of each old one; content: of the old graph"""
    return mx.sym.load_json(json.dumps({
        'nodes': nodes, 'heads': [[moved[source], *rest] for source, *rest in content['heads']],
        'arg_nodes': [position for position, node in enumerate(nodes) if node['op'] == 'null'],
        'node_row_ptr': list(range(len(nodes) + 1)), 'attrs': content['attrs']}))
