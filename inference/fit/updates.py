"""Updates of parameters by an optimiser of `torch.optim`."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
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


SMALLEST = 1e5  # times the least normal number: still normal after a hundred steps of 0.9 each, Adam's decay
MOMENTS = ("exp_avg", "exp_avg_sq")  # torch's names in the state of Adam


@dataclass(frozen=True)
class _Kernel:
    """Arguments of the kernel of Adam.

    :param fitted: the parameters that have a gradient
    :param moments: their averages of gradients, and of squared gradients
    :param steps: scalar, the number of steps, which they share here
    """

    fitted: list[Tensor]
    moments: tuple[list[Tensor], list[Tensor]]
    steps: Tensor


def _laid_out(value: Tensor, parameter: Tensor) -> Tensor:
    """Return a tensor in the layout of a parameter in memory, in whose order the fused kernels read both."""
    same = value.layout != torch.strided or value.shape != parameter.shape or value.stride() == parameter.stride()
    return value if same else torch.empty_like(parameter, dtype=value.dtype).copy_(value)


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
        self._kernel: _Kernel | None = None
        self._present: tuple[bool, ...] | None = None  # which of the parameters have a gradient, of the kernel
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

    @property
    def _state(self) -> dict[Tensor, dict[str, Tensor]]:
        assert self.optimiser is not None
        return self.optimiser.state

    def moments(self, parameters: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return Adam's averages of gradients and of squared gradients, zero before the first step, to be updated."""
        for p in parameters:
            if not self._state[p]:
                zeros = torch.zeros_like(p), torch.zeros_like(p), torch.zeros((), device=p.device, dtype=torch.float32)
                self._state[p] = dict(zip((*MOMENTS, "step"), zeros, strict=True))
        first, second = ([self._state[p][name] for p in parameters] for name in MOMENTS)
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
        torch._foreach_add_([values["step"] for values in self._state.values() if values], steps)

    def apply(self, gradients: list[Any], lr: float) -> None:
        """Update all parameters.

        :param gradients: a tensor, or None, for each parameter; the list is emptied, so that its memory is free for the
            next step
        :param lr: learning rate
        """
        if self.optimiser is None:
            return
        gradients[:] = [g if g is None else _laid_out(g, p) for g, p in zip(gradients, self.parameters, strict=True)]
        if self._applied_by_kernel(gradients, lr):
            return
        for parameter in reversed(self.parameters):
            parameter.grad = gradients.pop()
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        if self._skips_on_device or not self.failed.item():
            self.optimiser.step()
        for parameter in self.parameters:
            parameter.grad = None

    def drop_subnormal(self) -> None:
        """Set to zero the moments that are close to the subnormal numbers, on a CPU; to be called every hundred steps.

        A weight may have no gradient any more, as that of a pixel which is rarely on. The average of its gradients then
        shrinks to a subnormal number, with which a processor takes ten times as long, and stays there. To make it zero
        changes no update of a weight above 1e-18, since Adam and its variants divide by more than 1e-8.
        """
        for values in [] if self.optimiser is None or self.failed.is_cuda else self._state.values():
            for moment in (values[name] for name in MOMENTS if name in values):
                least = SMALLEST * torch.finfo(moment.dtype).tiny
                if least < 1e-30:  # not of float16
                    moment.copy_(F.hardshrink(moment, least))

    def _applied_by_kernel(self, gradients: list[Any], lr: float) -> bool:
        """Update by the kernel of Adam alone, if this can be done, as `apply` does and to the same bits.

        Around it the optimiser spends as long as the kernel takes for a network of a few hundred units.
        """
        if not self.is_adam:
            return False
        present = tuple(gradient is not None for gradient in gradients)
        if present != self._present:
            self._settle()
            self._kernel, self._present = self._kernel_of(gradients, present), present
        if self._kernel is None:
            return False
        fitted, steps, (mean, square) = self._kernel.fitted, self._kernel.steps, self._kernel.moments
        steps.add_(1)
        with torch.no_grad():
            torch._fused_adam_(
                fitted,
                [gradient for gradient in gradients if gradient is not None],
                mean,
                square,
                [],
                [steps] * len(fitted),
                lr=lr,
                beta1=self.betas[0],
                beta2=self.betas[1],
                weight_decay=0.0,
                eps=self.epsilon,
                amsgrad=False,
                maximize=False,
                found_inf=self.failed,
            )
        steps.sub_(self.failed)
        gradients.clear()
        return True

    def _kernel_of(self, gradients: list[Any], present: tuple[bool, ...]) -> "_Kernel | None":
        """Return the arguments of the kernel; None where there are no gradients, or sparse ones, or where parameters
        differ in type, device or number of steps."""
        fitted: list[Tensor] = [p for p, is_present in zip(self.parameters, present, strict=True) if is_present]
        tensors = [*fitted, *(gradient for gradient in gradients if gradient is not None)]
        kinds = {(value.device, value.dtype, value.layout) for value in tensors}
        if len(kinds) != 1 or not tensors[0].is_floating_point() or tensors[0].layout != torch.strided:
            return None
        moments = self.moments(fitted)
        steps = [self._state[p]["step"] for p in fitted]
        if len({step.item() for step in steps}) > 1:
            return None
        return _Kernel(fitted, moments, steps[0].clone())

    def _settle(self) -> None:
        """Write the number of steps that the kernel made into the state of the optimiser."""
        if self._kernel is not None:
            for p in self._kernel.fitted:
                self._state[p]["step"].copy_(self._kernel.steps)
        self._kernel = self._present = None

    def state(self) -> dict[str, Tensor]:
        """Return the optimiser's tensors as {"NUMBER OF PARAMETER.NAME": tensor}."""
        if self.optimiser is None:
            return {}
        self._settle()
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
        self._kernel = self._present = None
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        for i, entries in state.items():  # torch casts each to the type of the parameter: restore its own
            kept = self._state[self.parameters[i]]
            values = {name: value.to(kept[name].device) for name, value in entries.items()}
            kept |= {name: _laid_out(value, self.parameters[i]) for name, value in values.items()}

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
