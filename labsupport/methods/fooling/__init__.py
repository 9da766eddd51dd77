"""Fooling a network: a change of the picture that nobody sees, and another answer.

Szegedy, Zaremba, Sutskever, Bruna, Erhan, Goodfellow and Fergus, "Intriguing properties of neural
networks", 2013: `minimal_perturbation`, `transfer`. Goodfellow, Shlens and Szegedy, "Explaining
and harnessing adversarial examples", 2014: `fgsm`, `sign_line`, `robustness`. Many small steps:
`pgd`. What helps against it, and what does not: `adversarial_training`, `try_defence`.

All attacks keep their promise to the last bit: no pixel changes by more than eps or leaves [0, 1].
"""

from labsupport.core import modes
from labsupport.methods.fooling.defences import (
    DEFENCES,
    AdversarialBatches,
    AdversarialTraining,
    DefenceTrial,
    Robustness,
    adversarial_training,
    defend,
    error_rate,
    noisy,
    quantize,
    robustness,
    transfer,
    try_defence,
)
from labsupport.methods.fooling.digit_networks import (
    DIGIT_NETWORKS,
    TABLE_1,
    DigitFrame,
    train_digits,
)
from labsupport.methods.fooling.gradient_signs import AttackFrame, SignLine, fgsm, pgd, sign_line
from labsupport.methods.fooling.minimal import SearchFrame, minimal_perturbation
from labsupport.methods.fooling.results import AttackResult, Classes, concatenate

modes.keep(__name__)
