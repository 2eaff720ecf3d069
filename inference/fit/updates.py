"""Updates of parameters by an optimiser of `torch.optim`."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from inference.errors import InferenceError
from inference.fit import distributed
from inference.fit.settings import OPTIMISERS, Settings

__all__ = ["FUSED_SKIP_OPTIMISERS", "Updates"]

FUSED_SKIP_OPTIMISERS = ("Adam", "AdamW", "SGD")  # with a fused kernel that skips the update where found_inf is 1


def _make_optimiser(settings: Settings, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    kind: Callable[..., torch.optim.Optimizer] = OPTIMISERS[settings.optimiser]
    keywords: dict[str, Any] = {}
    if "betas" in inspect.signature(kind).parameters:
        keywords["betas"] = (0.9, settings.adam_beta2)
    if settings.optimiser in FUSED_SKIP_OPTIMISERS:
        keywords["fused"] = True
    try:
        return kind(parameters, lr=settings.lr, **keywords)
    except ValueError as error:
        raise InferenceError(
            f"optimiser {settings.optimiser} cannot fit this pair: {str(error).rstrip('.')}.",
            None if settings.optimiser == "Adam" else ("optimiser", "Adam"),
        ) from None


MOMENTS = ("exp_avg", "exp_avg_sq")  # torch's names in the state of Adam


class Updates:
    """The optimiser of a fit, which skips updates after a loss that is not finite.

    :param settings: of the fit: optimiser, lr and adam_beta2
    :param parameters: the parameters that are fitted; there may be none
    :param failed: a scalar on the device: no updates where it is 1
    :raises InferenceError: if the optimiser cannot take the parameters
    """

    def __init__(self, settings: Settings, parameters: list[nn.Parameter], failed: Tensor):
        self.settings, self.parameters, self.failed = settings, parameters, failed
        self.optimiser = _make_optimiser(settings, parameters) if parameters else None
        self._skips_on_device = settings.optimiser in FUSED_SKIP_OPTIMISERS
        if self.optimiser is not None and self._skips_on_device:
            vars(self.optimiser).update(found_inf=failed, grad_scale=None)  # read by the fused kernels

    @property
    def is_adam(self) -> bool:
        """Whether the updates are those of torch's Adam, in one process."""
        return self.settings.optimiser == "Adam" and self.optimiser is not None and distributed.workers() == 1

    @property
    def betas(self) -> tuple[float, float]:
        """The decays of the averages of gradients and squared gradients, of Adam."""
        return self._group["betas"]

    @property
    def epsilon(self) -> float:
        """What Adam adds to the root of the average of squared gradients."""
        return self._group["eps"]

    @property
    def _group(self) -> dict[str, Any]:
        assert self.optimiser is not None
        return self.optimiser.param_groups[0]

    def moments(self, parameters: list[nn.Parameter]) -> tuple[list[Tensor], list[Tensor]]:
        """Return Adam's averages of gradients and of squared gradients, zero before the first step, to be updated."""
        assert self.optimiser is not None
        for p in parameters:
            if not self.optimiser.state[p]:
                zeros = torch.zeros_like(p), torch.zeros_like(p)
                self.optimiser.state[p] = dict(zip(MOMENTS, zeros, strict=True)) | {
                    "step": torch.zeros((), dtype=torch.float32)
                }
        first, second = ([self.optimiser.state[p][name] for p in parameters] for name in MOMENTS)
        return first, second

    def set_beta2(self, value: float) -> bool:
        """Change the decay of the average of squared gradients; return whether it was another."""
        groups = self.optimiser.param_groups if self.optimiser is not None else []
        if not groups or "betas" not in groups[0] or groups[0]["betas"][1] == value:
            return False
        groups[0]["betas"] = (groups[0]["betas"][0], value)
        return True

    def count(self, steps: int) -> None:
        """Count steps of Adam that were made outside of `apply`."""
        assert self.optimiser is not None
        torch._foreach_add_([values["step"] for values in self.optimiser.state.values() if values], steps)

    def apply(self, gradients: list[Any], lr: float) -> None:
        """Update all parameters.

        :param gradients: a tensor, or None, for each parameter; the list is emptied, so that its memory is free for the
            next step
        :param lr: learning rate
        """
        if self.optimiser is None:
            return
        for parameter in reversed(self.parameters):
            parameter.grad = gradients.pop()
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        if self._skips_on_device or not self.failed.item():
            self.optimiser.step()
        for parameter in self.parameters:
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """Return the optimiser's tensors as {"NUMBER OF PARAMETER.NAME": tensor}."""
        if self.optimiser is None:
            return {}
        entries = self.optimiser.state_dict()["state"].items()
        return {f"{i}.{name}": v for i, values in entries for name, v in values.items() if torch.is_tensor(v)}

    def set_state(self, tensors: dict[str, Tensor], begun: bool = True) -> None:
        """Restore what `state` returned.

        :param begun: whether a step was done
        :raises InferenceError: if the tensors are not those of this optimiser and these parameters
        """
        if self.optimiser is None:
            return
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            number, _, name = key.partition(".")
            state.setdefault(int(number) if number.isdecimal() else -1, {})[name] = value
        self._check_state(state, begun)
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        for i, entries in state.items():  # torch casts each to the type of the parameter: restore its own
            kept = self.optimiser.state[self.parameters[i]]
            kept |= {name: value.to(kept[name].device) for name, value in entries.items()}

    def _check_state(self, state: dict[int, dict[str, Tensor]], begun: bool) -> None:
        """Check names, shapes and types: a fused kernel writes outside of a tensor of another shape.

        The expected ones are those after a step with gradients of zero.
        """
        copies = [nn.Parameter(parameter.detach().clone()) for parameter in self.parameters]
        for copied in copies:
            copied.grad = torch.zeros_like(copied)
        other = _make_optimiser(self.settings, copies)
        other.step()
        expected = other.state_dict()["state"]
        if begun and not state and any(torch.is_tensor(v) for values in expected.values() for v in values.values()):
            raise InferenceError(f"the checkpoint has no state of optimiser {self.settings.optimiser}.")
        for number, values in state.items():
            kinds = {name: (v.shape, v.dtype) for name, v in expected.get(number, {}).items() if torch.is_tensor(v)}
            if {name: (value.shape, value.dtype) for name, value in values.items()} != kinds:
                raise InferenceError(
                    f"the state of optimiser {self.settings.optimiser} in the checkpoint is not one of this pair: "
                    f"{', '.join(values)[:100]} of parameter {number}."
                )
