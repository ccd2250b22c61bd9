"""Distributions that Pyro does not have."""

from pyrovae.distributions.bernoulli import IndependentBernoulli
from pyrovae.distributions.beta import Beta
from pyrovae.distributions.binomial import Binomial
from pyrovae.distributions.categorical_levels import CategoricalLevels
from pyrovae.distributions.columns import Columns, ColumnValues
from pyrovae.distributions.constraints import EquallySpaced, OpenInterval
from pyrovae.distributions.continuous_bernoulli import ContinuousBernoulli
from pyrovae.distributions.discretized_logistic import DiscretizedLogistic
from pyrovae.distributions.lkj_cholesky import LKJCholesky
from pyrovae.distributions.multivariate_normal import LowRankMultivariateNormal, MultivariateNormal, Reshaped
from pyrovae.distributions.negative_binomial import NegativeBinomial
from pyrovae.distributions.normal import IndependentNormal, NormalInUnits
from pyrovae.distributions.optimal_normal import OptimalNormal
from pyrovae.distributions.partly_observed import EntryOrMissing, PartlyObserved
from pyrovae.distributions.poisson import Poisson
from pyrovae.distributions.student_t import StudentT
from pyrovae.distributions.zero_inflated import ZeroInflated

__all__ = [
    "Beta",
    "Binomial",
    "CategoricalLevels",
    "ColumnValues",
    "Columns",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "EntryOrMissing",
    "EquallySpaced",
    "IndependentBernoulli",
    "IndependentNormal",
    "LKJCholesky",
    "LowRankMultivariateNormal",
    "MultivariateNormal",
    "NegativeBinomial",
    "NormalInUnits",
    "OpenInterval",
    "OptimalNormal",
    "PartlyObserved",
    "Poisson",
    "Reshaped",
    "StudentT",
    "ZeroInflated",
]
