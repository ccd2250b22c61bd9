"""Posteriors q(z|x): modules that map rows of data to a Pyro distribution over z."""

from pyrovae.posteriors.denoising import Denoising
from pyrovae.posteriors.diagonal_normal import DiagonalNormal
from pyrovae.posteriors.flow import Flow
from pyrovae.posteriors.full_covariance_normal import FullCovarianceNormal
from pyrovae.posteriors.low_rank_normal import LowRankNormal
from pyrovae.posteriors.mixture_of_normals import MixtureOfNormals
from pyrovae.posteriors.partly_observed import PartlyObserved

__all__ = [
    "Denoising",
    "DiagonalNormal",
    "Flow",
    "FullCovarianceNormal",
    "LowRankNormal",
    "MixtureOfNormals",
    "PartlyObserved",
]
