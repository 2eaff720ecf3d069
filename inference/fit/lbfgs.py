"""L-BFGS that yields its path: the points, and the estimate of the covariance at each.

The estimate H is the inverse of minus the second derivative of a log-density, by BFGS updates over the last steps, from
a diagonal that is updated too. The line search is exact on a normal density of d coordinates. There the steps are
conjugate directions, and after d of them H is the covariance (Nocedal and Wright, Numerical optimization, 2006, theorem
6.4; it holds for any diagonal, which may change from step to step). What no step has explored is probed at the mode.

    Gilbert and Lemarechal, Some numerical experiments with variable-storage quasi-Newton algorithms, 1989.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

__all__ = ["Point", "lbfgs"]

MAX_STEPS, MAX_TRIALS = 200, 20
MEMORY = 100  # steps that H consists of, at most as many as there are coordinates
ARMIJO, WOLFE = 1e-4, 0.9  # of the line search
MARGIN = 0.1  # share of a bracket, from its ends, that later trials keep
CURVATURE = 1e-12  # least curvature of a step that H takes up

Point = tuple[Tensor, Tensor, Tensor]
"""(u, its log-density, the gradient of it), (d,), () and (d,)"""


def lbfgs(evaluate: Callable[[Tensor], Point], start: Point, diagonal: Tensor) -> Iterator[tuple[Point, Tensor]]:
    """Climb a log-density; yield each point after the start with L, (d, d), where L L' = H.

    A climb ends where the next step would gain less than the root of the rounding error in nats, where the line search
    fails, or after MAX_STEPS steps. A probe is a random step, conjugate to those before, whose point is not kept.

    >>> scale = torch.tensor([1.0, 3.0])
    >>> def evaluate(u):
    ...     return u, -0.5 * (u / scale).square().sum(), -u / scale.square()
    >>> points, factors = zip(*lbfgs(evaluate, evaluate(torch.ones(2)), torch.ones(2)))
    >>> len(points), (factors[-1] @ factors[-1].T).diagonal()
    (2, tensor([1.0000, 9.0000]))

    :param evaluate: returns the `Point` at u, (d,)
    :param diagonal: the first H, (d,), a guess of the variances
    """
    point, alpha = start, diagonal
    memory = min(len(alpha), MEMORY)
    pairs: deque[tuple[Tensor, Tensor]] = deque(maxlen=memory)
    L = alpha.sqrt().diag()
    for _ in range(MAX_STEPS):
        u, _, gradient = point
        direction = L @ (L.T @ gradient)
        climbs, found = bool(gradient @ direction > torch.finfo(u.dtype).eps ** 0.5), None
        if climbs:
            found = _search(evaluate, point, direction, 1.0 if pairs else min(1.0, 1 / direction.norm().item()))
        elif len(pairs) < memory:
            found = evaluate(u + _conjugate(L @ torch.randn_like(u), pairs))
        if found is None:
            return
        s, y = found[0] - u, gradient - found[2]
        bends = bool(s @ y > CURVATURE * (y @ y))
        if climbs:
            point = found
        elif not bends:
            return
        if bends:
            alpha = _diagonal(alpha, s, y)
            pairs.append((s, y))
            L = _factor(alpha, pairs)
        yield point, L


def _search(evaluate: Callable[[Tensor], Point], start: Point, direction: Tensor, t: float) -> Point | None:
    """Return a point along the direction that meets the strong Wolfe conditions; None if there is none.

    The root of the line through two slopes is always tried, so that the search is exact on a normal density.

    :param t: the first length to try, in units of the direction
    """
    u, value, gradient = start
    slope = low_slope = (gradient @ direction).item()
    low, high = 0.0, math.inf
    for trial in range(MAX_TRIALS):
        point = evaluate(u + t * direction)
        now = (point[2] @ direction).item()
        rises = (point[1] - value).item() >= ARMIJO * t * slope  # False if it is not a number
        if trial and rises and abs(now) <= WOLFE * slope:
            return point
        root = low + low_slope * (t - low) / (low_slope - now) if now < low_slope else math.inf
        if rises and now > 0:
            low, low_slope = t, now
        else:
            high = t
        if high == math.inf:
            t = root if root < math.inf else 10 * t
        else:
            margin = MARGIN * (high - low) if trial else 0.0
            t = min(max(root, low + margin), high - margin) if low < root < high else (low + high) / 2
    return None


def _conjugate(direction: Tensor, pairs: deque[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the part of a direction that is conjugate to all steps s, whose product with the curvature is y."""
    for s, y in [*pairs, *pairs]:  # twice, because of rounding
        direction = direction - s * (y @ direction) / (s @ y)
    return direction


def _diagonal(alpha: Tensor, s: Tensor, y: Tensor) -> Tensor:
    """Update the diagonal that H starts from, (d,), by a step s and the fall y of the gradient over it."""
    a, b, c = (alpha * y * y).sum(), s @ y, (s * s / alpha).sum()
    inverse = a / (b * alpha) + y * y / b - a * s * s / (b * c * alpha * alpha)
    return torch.where(inverse > 0, 1 / inverse, alpha)


def _factor(alpha: Tensor, pairs: deque[tuple[Tensor, Tensor]]) -> Tensor:
    """Return L, (d, d) and triangular, with L L' = H, the BFGS updates of the diagonal by (s, y), the oldest first."""
    columns = alpha.sqrt().diag()
    for s, y in pairs:  # H becomes (1 - s y' / b) H (1 - y s' / b) + s s' / b
        b = s @ y
        columns = torch.cat([columns - torch.outer(s / b, y @ columns), (s / b.sqrt()).unsqueeze(1)], 1)
    return torch.linalg.qr(columns.T, mode="r").R.T
