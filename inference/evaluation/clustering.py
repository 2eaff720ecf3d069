"""Nobody told the model of classes: how well do the components that it found agree with them?"""

import pyro.distributions as dist
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from inference.errors import InferenceError
from inference.evaluation.classification import entry
from inference.evaluation.predictive import encode
from inference.pairs.capabilities import capability
from inference.pairs.info import inspect_pair
from inference.pairs.run import arguments, eval_mode
from inference.pairs.sites import is_local


def component_probabilities(pair: nn.Module, x: Tensor, given: Tensor | None = None) -> Tensor | None:
    """q(y | x), (n, components), of the discrete latent y that every datum has one of, where y is summed out: the
    guide's or, where the model alone sums it out, that of its posterior.

    None where there is no such latent, or another discrete one; and where the pair has a classifier of its own
    (`pair.classify`), for its y are classes that it was told of.
    """
    if capability(pair, "classify"):
        return None
    with eval_mode(pair):
        seen = inspect_pair(pair, arguments(pair, x, given))
    if len(seen.discrete_sites) != 1:
        return None
    ((name, site),) = seen.discrete_sites.items()
    categorical = isinstance(site["fn"], dist.Categorical | dist.OneHotCategorical)
    if not (categorical and is_local(site) and name in seen.enumerated):
        return None
    return encode(pair, x, given)[name]


def match(counts: Tensor) -> list[int | None]:
    """The class of each component, one to one, that agree on the most data (the Hungarian method), from how many data
    each pair of them shares, (components, classes). Of what there is more, some are left over: their class is None.
    """
    found = dict(zip(*(side.tolist() for side in linear_sum_assignment(counts.cpu(), maximize=True)), strict=True))
    return [found.get(component) for component in range(len(counts))]


def cluster(probabilities: Tensor, labels: Tensor) -> dict:
    """From q(y | x), (n, components), and the classes of the data, (n,) integers from 0 on.

    A datum's component is the most probable one. With it are found

        accuracy                 the fraction of data whose component is matched to their class: the best one-to-one
                                 matching on these same data, so it is above chance for any components
        nmi                      mutual information of component and class over the mean of their entropies:
                                 0 if independent, 1 if each tells the other; no matching is needed
        class_given_component    the entropy H(class | component), nats: what is unknown of the class of a datum
                                 whose component is told; ln classes if nothing is known and all are as frequent
        shares                   the fraction of data in each component, a list
        matching                 the class of each component, a list of integers and None

    and without labels, of the probabilities themselves,

        entropy_of_q             the mean over data of H(q(y | x)), nats: how undecided the guide is; low also where it
                                 is sure and wrong. The "conditional entropy" of the GMVAE's tutorial.

    Entropies are of the empirical frequencies, so biased by about cells / 2n; all standard errors are over data, to
    first order (the delta method), and at the matching found.

    :return: every number, those of the list too, as {"value", "se", "n", "unit"}; "matching" as it is
    :raises InferenceError: if probabilities and labels do not go together, or all data are of one class
    """
    if labels is None:
        raise InferenceError("components are judged by labels, and the data have none.")
    if probabilities.dim() != 2 or labels.shape != probabilities.shape[:1]:
        shapes = f"{tuple(probabilities.shape)} and {tuple(labels.shape)}"
        raise InferenceError(f"cluster expects probabilities (n, components) and labels (n,), not {shapes}.")
    q, labels = probabilities.detach().cpu().double(), labels.cpu()
    if not torch.isfinite(q).all() or (q < 0).any() or not torch.allclose(q.sum(1), q.new_ones(()), atol=1e-3):
        raise InferenceError("cluster expects the probabilities of each datum to be finite and to sum to 1.")
    if labels.unique().numel() < 2 or labels.min() < 0:
        raise InferenceError("components are judged by labels 0, 1, ... of at least two classes, none of them missing.")
    n, components = q.shape
    component, one = q.argmax(1), q.new_ones(n)
    counts = q.new_zeros(components, int(labels.max()) + 1).index_put_((component, labels), one, accumulate=True)
    matching = match(counts)
    matched = torch.tensor([-1 if y is None else y for y in matching])

    # -log of the frequency of what each datum has, (n,): their means are the entropies
    of_both = -(counts / n)[component, labels].log()
    of_component, of_class = -(counts.sum(1) / n)[component].log(), -(counts.sum(0) / n)[labels].log()
    entropies, information = of_component + of_class, of_component + of_class - of_both
    nmi = 2 * information.mean() / entropies.mean()
    first_order = nmi + (2 * information - nmi * entropies) / entropies.mean()  # of a ratio of means: its mean is nmi
    return {
        "accuracy": entry((matched[component] == labels).double(), "fraction"),
        "nmi": entry(first_order, "fraction"),
        "entropy_of_q": entry(torch.special.entr(q).sum(1), "nats per data point"),
        "class_given_component": entry(of_both - of_component, "nats per data point"),
        "shares": [entry((component == k).double(), "fraction") for k in range(components)],
        "matching": matching,
    }
