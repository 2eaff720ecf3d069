"""Type what the engine needs of a pair."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from torch import Tensor, nn

__all__ = ["Pair"]


class Pair(Protocol):
    """A torch module with the methods `model`, which samples p(x, z), and `guide`, which samples q(z | x).

    Both take x, (n, ...), and a conditional model takes `given`, (n, ...), after it. `total`, the number of all data
    points, is optional: with it x is a minibatch. Any `nn.Module` with the two methods is a `Pair`; it inherits nothing
    else. CONTRIBUTING.md states the whole contract.

    >>> import torch
    >>> from pyro import poutine
    >>> from inference.examples import LinearGaussian
    >>> pair, x = LinearGaussian(), torch.zeros(5, 1)
    >>> poutine.trace(pair.guide).get_trace(x, total=100).nodes["z"]["value"].shape
    torch.Size([5, 1])
    """

    training: bool

    @property
    def model(self) -> Callable[..., Any]: ...

    @property
    def guide(self) -> Callable[..., Any]: ...

    def __getattr__(self, name: str) -> Any: ...

    def parameters(self, recurse: bool = ...) -> Iterator[nn.Parameter]: ...

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]: ...

    def buffers(self, recurse: bool = ...) -> Iterator[Tensor]: ...

    def named_buffers(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, Tensor]]: ...

    def modules(self) -> Iterator[nn.Module]: ...

    def named_modules(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Module]]: ...

    def named_children(self) -> Iterator[tuple[str, nn.Module]]: ...

    def state_dict(self, *args: Any, **kwargs: Any) -> Any: ...

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any: ...

    def train(self, mode: bool = ...) -> Any: ...

    def eval(self) -> Any: ...

    def to(self, *args: Any, **kwargs: Any) -> Any: ...

    def requires_grad_(self, requires_grad: bool = ...) -> Any: ...
