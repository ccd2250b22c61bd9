"""What is minimised: bounds on log p(x), by Pyro's estimators."""

from pyrovae.objectives.elbo import BoundObjective, BoundTerms, ObjectiveName

__all__ = ["BoundObjective", "BoundTerms", "ObjectiveName"]
