"""What makes networks faster on CPUs: a changed graph, and in it an operator for MXNet 1.9.1, compiled on this machine.

    compiled.py    lets a network run the changed graph
    graph.py       graphs, and how they are changed
    channels.py    gates of one value a channel, and means, as products of matrices
    product.py     loads the operator, and puts it into a graph
    product.cc     the operator: the product of two activations in oneDNN's own layout
    build.py       compiles it and has it checked (make setup)
    check.py       the check: bit for bit what broadcast_mul computes, in a process of its own
    library.py     which compiled library may be loaded, or why none is

Everything works without it. ATAC_NATIVE=0 switches it off.
"""
