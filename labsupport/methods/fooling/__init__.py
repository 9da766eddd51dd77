"""Fooling a network: a change of the picture that nobody sees, and another answer.

Szegedy, Zaremba, Sutskever, Bruna, Erhan, Goodfellow and Fergus, "Intriguing properties of neural
networks", 2013: `smallest`. Goodfellow, Shlens and Szegedy, "Explaining and harnessing adversarial
examples", 2014: `fgsm`, `sign_line`, `adversarial`. Many small steps: `pgd`. What helps against it,
and what does not: `try_defences`, `harden`.

All of them keep their promise to the last bit: no pixel changes by more than eps or leaves [0, 1].
"""

from labsupport.methods.fooling.fooling import (
    DEFENCES,
    DIGIT_NETWORKS,
    TABLE,
    Classes,
    Fooled,
    Hardening,
    Lesson,
    Search,
    SignLine,
    Step,
    Struck,
    Trial,
    adversarial,
    defend,
    error,
    fgsm,
    for_file,
    harden,
    lessons,
    noisy,
    pgd,
    pgd_frames,
    sign_line,
    smallest,
    smallest_frames,
    strike,
    taught,
    transfer,
    try_defence,
)
