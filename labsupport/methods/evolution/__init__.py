"""Pictures that evolve until a network is sure of them, and that no person would recognize.

Nguyen, Yosinski and Clune, "Deep neural networks are easily fooled", CVPR 2015. MAP-Elites keeps
an archive with one cell for each class, and in each cell the picture that the network holds for
this class with the highest probability so far, its champion. Children of champions are drawn, the
network answers to them, and every child competes in every class's cell: a step towards one class
may be the beginning of another.

    for generation in evolve.frames(network, "CPPN", budget=4000):  # regular patterns
        generation.confidence, generation.best(20)
    last = evolve(network, "direct")                         # irregular ones
    evolve(network, start=generation, budget=8000)           # just as if it had never stopped

- `Cppn(...)` and `Direct(...)` are the encodings with their knobs; "CPPN" and "direct" mean them as
  they stand.
- The paper's third kind of pictures needs gradients, not evolution: `optimize.visualize(network,
  names, recipe=optimize.SIMONYAN)`, a class's score under an L2 penalty.
"""

from labsupport.core import modes
from labsupport.methods.evolution.encodings import (
    OUTPUTS,
    Cppn,
    CppnGenome,
    Direct,
    polynomial_mutation,
)
from labsupport.methods.evolution.map_elites import Champion, Generation, compete, evolve

modes.keep(__name__)
