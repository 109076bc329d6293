"""The product of two activations in oneDNN's own layout: an operator for MXNet 1.9.1, compiled on this machine.

    product.cc     the operator
    build.py       compiles it and has it checked (make setup)
    check.py       the check: bit for bit what broadcast_mul computes, in a process of its own
    library.py     which compiled library may be loaded, or why none is
    product.py     loads it and puts it into compiled networks

Everything works without it. ATAC_NATIVE=0 switches it off.
"""
