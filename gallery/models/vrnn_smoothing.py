"""Smoothing variational recurrent network: the model of vrnn.py with a guide that depends on the rows to come.

    b_t = GRU(b_{t+1}, x_t)                       a summary of the rows x_t, ..., x_T, in R^state_dim; T is the last
    q(z_t | h_t, x_t:T) = encoder(h_t + C b_t, x_t)      the guide; C is a matrix

The posterior of z_t depends on later rows, which the filtering guide q(z_t | h_t, x_t) = encoder(h_t, x_t) does not
use. (The posterior also depends on the whole memory of the LSTM, of which both guides use h_t only.) With C = 0 the two
guides are the same, so a smoothing fit can start from a filtering one.

In training mode: the latents are one site z, as in vrnn_vectorised.py.
In evaluation mode: they are the sites z_1, z_2, ..., as in vrnn.py.

    >>> import torch
    >>> sizes = {"data_dim": 6, "steps": 3, "latent_dim": 2, "state_dim": 4, "hidden": (8,)}
    >>> filtering, smoothing = VectorisedVRNN(**sizes), SmoothingVRNN(**sizes)
    >>> smoothing.start_from(filtering)
    >>> bool(smoothing.future(torch.ones(5, 3, 2), torch.ones(5, 3).bool()).eq(0).all())
    True

    Krishnan, Shalit and Sontag, Structured inference networks for nonlinear state space models, 2017.
"""

from typing import Any

import pyro
from torch import Tensor, nn

from gallery.models._nn import reverse
from gallery.models.vrnn import VRNN
from gallery.models.vrnn_vectorised import VectorisedVRNN

__all__ = ["SmoothingVRNN"]


class SmoothingVRNN(VectorisedVRNN):
    """x: (n, data_dim), in {0, 1}. The guide depends on later rows as well as on earlier ones.

    In training mode: one site z, (n, steps, latent_dim), as VectorisedVRNN.
    In evaluation mode: a site z_t per row, (n, latent_dim), as VRNN.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.backward_recurrence = nn.GRU(self.row_dim, self.state_dim, batch_first=True)
        self.C = nn.Linear(self.state_dim, self.state_dim, bias=False)

    def future(self, rows: Tensor, within: Tensor) -> Tensor:
        """Compute C b_t of each row, (n, steps, state_dim), from the last row of each sequence on."""
        pyro.module("backward_recurrence", self.backward_recurrence)
        pyro.module("C", self.C)
        return self.C(reverse(self.backward_recurrence(reverse(rows, within))[0], within))

    def start_from(self, filtering: VRNN) -> None:
        """Copy the weights of a filtering pair and set C to 0, so that the two guides are the same."""
        self.load_state_dict(filtering.state_dict(), strict=False)
        nn.init.zeros_(self.C.weight)
