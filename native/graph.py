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


def input_shapes(symbol, positions, shapes):
    """[shapes of what a node reads, as far as they are known] for each of some nodes.   shapes: {input: its shape}"""
    nodes, inner = nodes_of(symbol), symbol.get_internals()
    children = [inner[nodes[position]['name'] + '_output'].get_children() for position in positions]
    if not children:
        return []
    read = mx.sym.Group(children)
    known = set(read.list_inputs())
    found = iter(read.infer_shape_partial(**{name: shape for name, shape in shapes.items() if name in known})[1])
    return [[next(found) for _ in child.list_outputs()] for child in children]


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
        add_node(node, nodes, moved)
        if position in positions:
            nodes.append({'op': operator, 'name': node['name'] + suffix, 'attrs': attributes,
                          'inputs': [[len(nodes) - 1, 0, 0]]})
            moved[-1] += 1
    return assembled(nodes, moved, content)


def without_nodes(symbol, positions):
    """The same graph without some nodes of one input and one output: who has read the one reads the other."""
    content, nodes, moved = content_of(symbol), [], []
    for position, node in enumerate(content['nodes']):
        if position in positions:
            moved.append(moved[node['inputs'][0][0]])
        else:
            add_node(node, nodes, moved)
    return assembled(nodes, moved, content)


def add_node(node, nodes, moved):
    """Add a node of an old graph to a new one.   moved: [position in the new graph] of those of the old one so far"""
    nodes.append(dict(node, inputs=[[moved[source], *rest] for source, *rest in node['inputs']]))
    moved.append(len(nodes) - 1)


def assembled(nodes, moved, content):
    """A graph of these nodes, of which the outputs are those of an old one."""
    return mx.sym.load_json(json.dumps({
        'nodes': nodes, 'heads': [[moved[source], *rest] for source, *rest in content['heads']],
        'arg_nodes': [position for position, node in enumerate(nodes) if node['op'] == 'null'],
        'node_row_ptr': list(range(len(nodes) + 1)), 'attrs': content['attrs']}))
