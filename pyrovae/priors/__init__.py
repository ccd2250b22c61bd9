"""Priors p(z): modules that, called without arguments, return a Pyro distribution."""

from pyrovae.priors.diagonal_normal import DiagonalNormal
from pyrovae.priors.flow import Flow
from pyrovae.priors.gaussian_mixture import GaussianMixture
from pyrovae.priors.hierarchical import Hierarchical
from pyrovae.priors.laplace import Laplace
from pyrovae.priors.standard_normal import StandardNormal
from pyrovae.priors.student_t import StudentT
from pyrovae.priors.vamp_prior import VampPrior

__all__ = [
    "DiagonalNormal",
    "Flow",
    "GaussianMixture",
    "Hierarchical",
    "Laplace",
    "StandardNormal",
    "StudentT",
    "VampPrior",
]
