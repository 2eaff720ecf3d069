"""The published experiments, run again: each writes its numbers and its figures into a folder."""

from . import exponential_gaussian, factor_analysis

EXPERIMENTS = {
    "exponential_gaussian": exponential_gaussian.reproduce,
    "factor_analysis": factor_analysis.reproduce,
}
