"""Judging a pair of Pyro programs: importance weights, log p(x), and how far to believe it."""

from pyrovae.evaluation.alternating import fit_alternating
from pyrovae.evaluation.annealing import AnnealedEstimate, ais
from pyrovae.evaluation.bidirectional import BidirectionalEstimate, bdmc
from pyrovae.evaluation.bits import BitsPerDim, bits_per_dim
from pyrovae.evaluation.bounds import BoundComparison, compare_bounds
from pyrovae.evaluation.export import to_arviz
from pyrovae.evaluation.gap import InferenceGap, inference_gap
from pyrovae.evaluation.importance import log_weights
from pyrovae.evaluation.imputation import impute
from pyrovae.evaluation.imputation_result import Imputation
from pyrovae.evaluation.latent_results import LatentSummary, SiteSummary
from pyrovae.evaluation.moments import PosteriorMoments, SiteMoments, posterior_moments
from pyrovae.evaluation.out_of_distribution import Auroc, OutOfDistributionScores, auroc, ood_scores
from pyrovae.evaluation.posterior import posterior_samples
from pyrovae.evaluation.predictive import reconstruct_rows, sample_rows
from pyrovae.evaluation.prior_sampling import PriorEstimate, prior_log_px
from pyrovae.evaluation.reconstruction import ReconstructionErrors, reconstruction_errors
from pyrovae.evaluation.representation import latent_summary

__all__ = [
    "AnnealedEstimate",
    "Auroc",
    "BidirectionalEstimate",
    "BitsPerDim",
    "BoundComparison",
    "Imputation",
    "InferenceGap",
    "LatentSummary",
    "OutOfDistributionScores",
    "PosteriorMoments",
    "PriorEstimate",
    "ReconstructionErrors",
    "SiteMoments",
    "SiteSummary",
    "ais",
    "auroc",
    "bdmc",
    "bits_per_dim",
    "compare_bounds",
    "fit_alternating",
    "impute",
    "inference_gap",
    "latent_summary",
    "log_weights",
    "ood_scores",
    "posterior_moments",
    "posterior_samples",
    "prior_log_px",
    "reconstruct_rows",
    "reconstruction_errors",
    "sample_rows",
    "to_arviz",
]
