"""Likelihoods p(x|z): modules that map z to a Pyro distribution over one row of data."""

from pyrovae.likelihoods.bernoulli import Bernoulli
from pyrovae.likelihoods.beta import Beta
from pyrovae.likelihoods.binomial import Binomial
from pyrovae.likelihoods.categorical import Categorical
from pyrovae.likelihoods.columns import Columns
from pyrovae.likelihoods.continuous_bernoulli import ContinuousBernoulli
from pyrovae.likelihoods.discretized_logistic import DiscretizedLogistic
from pyrovae.likelihoods.discretized_logistic_mixture import DiscretizedLogisticMixture
from pyrovae.likelihoods.full_covariance_normal import FullCovarianceNormal
from pyrovae.likelihoods.laplace import Laplace
from pyrovae.likelihoods.log_normal import LogNormal
from pyrovae.likelihoods.low_rank_normal import LowRankNormal
from pyrovae.likelihoods.negative_binomial import NegativeBinomial
from pyrovae.likelihoods.normal import Normal
from pyrovae.likelihoods.partly_observed import PartlyObserved
from pyrovae.likelihoods.poisson import Poisson
from pyrovae.likelihoods.student_t import StudentT
from pyrovae.likelihoods.zero_inflated_negative_binomial import ZeroInflatedNegativeBinomial
from pyrovae.likelihoods.zero_inflated_poisson import ZeroInflatedPoisson

__all__ = [
    "Bernoulli",
    "Beta",
    "Binomial",
    "Categorical",
    "Columns",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "FullCovarianceNormal",
    "Laplace",
    "LogNormal",
    "LowRankNormal",
    "NegativeBinomial",
    "Normal",
    "PartlyObserved",
    "Poisson",
    "StudentT",
    "ZeroInflatedNegativeBinomial",
    "ZeroInflatedPoisson",
]
