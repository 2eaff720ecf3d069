"""Schedules over the steps of a fit: learning rate, weight of the KL, temperature."""

from inference.fit.settings import SCHEDULES, Settings
from inference.pairs.pair import Pair

__all__ = ["Schedules"]


class Schedules:
    """Learning rate, weight of the KL and temperature at a step, from 0.

    :param settings: of the fit
    :param steps: number of steps of the fit
    :param rows: number of rows of the data
    :param batch_size: rows of a minibatch, of all processes
    :param temperature: temperature of the pair before the fit, if it is to fall
    """

    def __init__(self, settings: Settings, steps: int, rows: int, batch_size: int, temperature: float | None = None):
        self.settings, self.steps, self.first_temperature = settings, steps, temperature
        self.warmup_steps = settings.warmup * rows / batch_size

    def lr(self, step: int) -> float:
        """Return the learning rate."""
        return self.settings.lr * SCHEDULES[self.settings.lr_schedule](step / self.steps)

    def beta(self, step: int) -> float:
        """Return the weight of the KL, which rises linearly during the warm-up."""
        return self.settings.beta * min(1.0, (step + 1) / self.warmup_steps if self.warmup_steps else 1.0)

    def temperature(self, step: int) -> float | None:
        """Return the temperature, which falls geometrically; None if it stays as it is."""
        if self.first_temperature is None or self.settings.final_temperature is None:
            return None
        ratio = self.settings.final_temperature / self.first_temperature
        return self.first_temperature * ratio ** (step / self.steps)

    def set_temperature(self, pair: Pair, step: int) -> None:
        """Set the temperature of the pair, unless it stays as it is."""
        if (temperature := self.temperature(step)) is not None:
            pair.temperature.fill_(temperature)
