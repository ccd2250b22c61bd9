"""What is minimised: bounds on log p(x), by Pyro's estimators."""

from pyrovae.objectives.elbo import BoundObjective, BoundTerms, ObjectiveName
from pyrovae.objectives.kl_forms import KlForm, kl_forms

__all__ = ["BoundObjective", "BoundTerms", "KlForm", "ObjectiveName", "kl_forms"]
