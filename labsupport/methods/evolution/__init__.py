"""Pictures that evolve until a network is sure of them, and that no person would recognize.

Nguyen, Yosinski and Clune, "Deep neural networks are easily fooled", CVPR 2015. MAP-Elites keeps
an archive with one cell for each class, and in each cell the picture that the network holds for
this class with the highest probability so far, its champion. Children of champions are drawn, the
network answers to them, and every child competes in every class's cell: a step towards one class
may be the beginning of another.

    for generation in evolve(network, "CPPN", budget=4000):  # regular patterns
        generation.confidence, generation.best(20)
    for generation in evolve(network, "direct"):             # irregular ones
    for more in resume(network, generation, budget=8000):    # just as if it had never stopped

- `Cppn(...)` and `Direct(...)` are the encodings with their knobs; "CPPN" and "direct" mean them as
  they stand.
- The paper's third kind of pictures needs gradients, not evolution: `optimize.visualize(network,
  names, recipe=optimize.SIMONYAN)`, a class's score under an L2 penalty.

The archive is our own and short: in pyribs, the library for MAP-Elites, a solution has one cell
(here it competes in all) and is a row of numbers (here a network); it would bring numba and pandas.
"""

from labsupport.methods.evolution.evolution import (
    ENCODINGS,
    FUNCTIONS,
    OUTPUTS,
    PARENTS,
    Champion,
    Cppn,
    Direct,
    Encoding,
    Generation,
    Genome,
    Pattern,
    Plan,
    compete,
    evolve,
    polynomial,
    resume,
    rgb,
)
