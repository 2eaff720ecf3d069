"""The hyper-parameters of a model that follow from the data."""

from typing import Any

from data import Dataset

__all__ = ["from_data"]


def from_data(dataset: Dataset, has_steps: bool = False) -> dict[str, Any]:
    """Return the hyper-parameters that follow from a data set, unless a recipe or the user sets them."""
    support = str(dataset.support)
    likelihood = {"Boolean()": "bernoulli", "Interval(lower_bound=0.0, upper_bound=1.0)": "continuous_bernoulli"}
    derived: dict[str, Any] = {"data_dim": dataset.x.shape[1], "total": len(dataset)}
    derived["likelihood"] = likelihood.get(support, "gaussian")
    if has_steps and len(dataset.shape) == 2:
        derived["steps"], derived["step_dim"] = dataset.shape
    if dataset.classes is not None:
        derived["classes"] = dataset.classes
    if dataset.covariates is not None:
        derived["given_dim"] = dataset.covariates.shape[1]
    return derived
