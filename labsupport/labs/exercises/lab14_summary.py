"""Lab 14: no exercise any more, but two questions before the looking."""

from labsupport.ui.checking import Exercise, Question, Right

EXERCISES: tuple[Exercise, ...] = ()

QUESTIONS = {
    "14.q1": Question(
        "The same picture and network, another class as the target. Which answers stay the same?",
        (
            "all of them, because the picture is the same",
            Right("filters, neighbors and activations"),
            "occlusion and saliency",
        ),
        why="They do not ask about a class: filters are weights, neighbors and activations follow "
        "from the picture alone. So do the reconstruction and the dream of that layer.",
    ),
    "14.q2": Question(
        "The network is untrained: its weights are random. What do the koala's nearest neighbors "
        "by code have in common with it?",
        (
            "they are animals, most of them",
            "they are green or gray, as it is",
            Right("nothing that we would name"),
        ),
        why="Random filters respond to everything, so all pictures have nearly the same code. "
        "What brings animals together in lab 04 was learned.",
    ),
}
