"""What is maximised, and how its gradient is estimated: ELBO, importance-weighted bounds, low-variance gradients."""

from pyrovae.objectives.elbo import Trace_ELBO, TraceMeanField_ELBO
from pyrovae.objectives.gradient_comparison import GradientComparison, ObjectiveGradients
from pyrovae.objectives.gradient_moments import GradientNoise
from pyrovae.objectives.gradients import compare_gradients
from pyrovae.objectives.importance_weighted import IWAE, Renyi
from pyrovae.objectives.kl_forms import KlForm, kl_forms
from pyrovae.objectives.module import ObjectiveModule
from pyrovae.objectives.named import as_objective
from pyrovae.objectives.objective import Objective
from pyrovae.objectives.path_gradients import DReG, StickingTheLanding
from pyrovae.objectives.schedules import Cosine, Cyclical, Linear, Schedule, Sigmoid, Stages
from pyrovae.objectives.score_function import ScoreFunction
from pyrovae.objectives.terms import ObjectiveTerms
from pyrovae.objectives.wake_sleep import ReweightedWakeSleep

__all__ = [
    "IWAE",
    "Cosine",
    "Cyclical",
    "DReG",
    "GradientComparison",
    "GradientNoise",
    "KlForm",
    "Linear",
    "Objective",
    "ObjectiveGradients",
    "ObjectiveModule",
    "ObjectiveTerms",
    "Renyi",
    "ReweightedWakeSleep",
    "Schedule",
    "ScoreFunction",
    "Sigmoid",
    "Stages",
    "StickingTheLanding",
    "TraceMeanField_ELBO",
    "Trace_ELBO",
    "as_objective",
    "compare_gradients",
    "kl_forms",
]
