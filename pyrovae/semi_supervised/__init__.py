"""Classifiers that learn from a few labelled rows and many unlabelled ones, with the interface of scikit-learn."""

from pyrovae.semi_supervised.labels import check_labels
from pyrovae.semi_supervised.m1 import M1
from pyrovae.semi_supervised.m1m2 import M1M2
from pyrovae.semi_supervised.m1m2_programs import M1M2Programs
from pyrovae.semi_supervised.m2 import M2
from pyrovae.semi_supervised.m2_programs import M2Programs
from pyrovae.semi_supervised.parts import CorruptedInput, DropoutConv, DropoutMLP
from pyrovae.semi_supervised.pcvae import PCVAE, PCVAEPrograms

__all__ = [
    "M1",
    "M1M2",
    "M2",
    "PCVAE",
    "CorruptedInput",
    "DropoutConv",
    "DropoutMLP",
    "M1M2Programs",
    "M2Programs",
    "PCVAEPrograms",
    "check_labels",
]
