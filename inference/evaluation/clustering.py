"""Compare the components of a discrete latent, which was fitted without labels, with the classes of the data."""

import pyro.distributions as dist
import torch
from torch import Tensor

from inference.errors import InferenceError
from inference.evaluation.estimate import NATS, Estimate
from inference.evaluation.predictive import encode
from inference.pairs.capabilities import capability
from inference.pairs.info import inspect_pair
from inference.pairs.pair import Pair
from inference.pairs.run import arguments, eval_mode
from inference.pairs.sites import is_local

__all__ = ["cluster", "component_probabilities", "match"]


def component_probabilities(pair: Pair, x: Tensor, given: Tensor | None = None, seed: int = 0) -> Tensor | None:
    """Return q(y | x), (n, components), of the one discrete latent y of each data point, where y is summed out.

    It is the guide's or, where the model alone sums y out, the posterior of the model. None where there is no such
    latent or a second discrete one, and where the pair has a classifier (`pair.classify`): its y are labelled classes.

    :param x: (n, ...)
    :param given: (n, ...) what a conditional model conditions on
    :param seed: of the noise, where y depends on other latents
    """
    if capability(pair, "classify"):
        return None
    with eval_mode(pair):
        info = inspect_pair(pair, arguments(pair, x, given))
    if len(info.discrete_sites) != 1:
        return None
    ((name, site),) = info.discrete_sites.items()
    categorical = isinstance(site["fn"], dist.Categorical | dist.OneHotCategorical)
    if not (categorical and is_local(site) and name in info.enumerated):
        return None
    return encode(pair, x, given, seed)[name]


def match(counts: Tensor) -> list[int | None]:
    """Match components to classes, one to one, so that they agree on the most data points (the Hungarian method).

    :param counts: (components, classes) number of data points of each component and class
    :return: the class of each component; None for a component beyond the number of classes
    """
    from scipy.optimize import linear_sum_assignment  # here, so that `import inference` does not load it

    rows, columns = linear_sum_assignment(counts.cpu(), maximize=True)
    matched = dict(zip(rows.tolist(), columns.tolist(), strict=True))
    return [matched.get(component) for component in range(len(counts))]


def cluster(probabilities: Tensor, labels: Tensor | None) -> dict:
    """Compare q(y | x), (n, components), with the classes of the data, (n,) integers from 0 on.

    The component of a data point is the most probable one under q. These numbers compare it with the class:

        accuracy                 the fraction of data points whose component is matched to their class. The matching is
                                 the best one-to-one matching on these same data, so that even components without
                                 meaning have an accuracy above chance
        nmi                      mutual information of component and class over the mean of their entropies:
                                 0 if independent, 1 if each determines the other; it needs no matching
        class_given_component    the entropy H(class | component), nats: the uncertainty about the class if the
                                 component is known; at most ln(number of classes)
        shares                   the fraction of data points in each component, a list
        matching                 the class of each component, a list of integers and None

    This number depends on the probabilities alone:

        entropy_of_q             the mean over data of H(q(y | x)), nats: the uncertainty of the guide; low also
                                 where it is certain and wrong

    Entropies are those of the empirical frequencies, which biases them by about (number of cells) / 2n. All standard
    errors are over data, to first order (the delta method), for the chosen matching.

    :return: an `Estimate` for every number, those of the list too; "matching" is a plain list
    :raises InferenceError: if there are no labels, shapes differ, probabilities are not finite or do not sum to 1, or
        labels have fewer than two classes or a missing one
    """
    if labels is None:
        raise InferenceError("clusters are compared with labels, and these data have none. Choose data with labels.")
    if probabilities.dim() != 2 or labels.shape != probabilities.shape[:1]:
        shapes = f"{tuple(probabilities.shape)} and {tuple(labels.shape)}"
        raise InferenceError(f"cluster expects probabilities (n, components) and labels (n,); got {shapes}.")
    q, labels = probabilities.detach().cpu().double(), labels.cpu()
    if not torch.isfinite(q).all() or (q < 0).any() or not torch.allclose(q.sum(1), q.new_ones(()), atol=1e-3):
        raise InferenceError("cluster expects the probabilities of each data point to be finite and to sum to 1.")
    if labels.unique().numel() < 2 or labels.min() < 0:
        raise InferenceError("cluster expects labels 0, 1, ... of at least two classes, none of them missing.")
    n, components = q.shape
    component, one = q.argmax(1), q.new_ones(n)
    counts = q.new_zeros(components, int(labels.max()) + 1).index_put_((component, labels), one, accumulate=True)
    matching = match(counts)
    matched = torch.tensor([-1 if y is None else y for y in matching])

    # -log of the frequency of each data point's component, class or both, (n,): their means are the entropies
    of_both = -(counts / n)[component, labels].log()
    of_component, of_class = -(counts.sum(1) / n)[component].log(), -(counts.sum(0) / n)[labels].log()
    entropies, information = of_component + of_class, of_component + of_class - of_both
    nmi = 2 * information.mean() / entropies.mean()
    first_order = nmi + (2 * information - nmi * entropies) / entropies.mean()  # of a ratio of means: its mean is nmi
    return {
        "accuracy": Estimate.of_mean((matched[component] == labels).double(), "fraction"),
        "nmi": Estimate.of_mean(first_order, "fraction"),
        "entropy_of_q": Estimate.of_mean(torch.special.entr(q).sum(1), NATS),
        "class_given_component": Estimate.of_mean(of_both - of_component, NATS),
        "shares": [Estimate.of_mean((component == k).double(), "fraction") for k in range(components)],
        "matching": matching,
    }
