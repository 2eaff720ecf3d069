"""The published experiments, run again: each writes its numbers and its figures into a folder.

Each takes that folder and the one of the first run of the recipe that it belongs to.
"""

from . import exponential_gaussian, factor_analysis, vrnn

EXPERIMENTS = {
    "exponential_gaussian": exponential_gaussian.reproduce,
    "factor_analysis": factor_analysis.reproduce,
    "vrnn": vrnn.reproduce,
}
