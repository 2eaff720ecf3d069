"""Small pairs around one distribution, and the property that everything works on them or is refused in one line."""

import math
import warnings
from collections.abc import Mapping
from functools import partial

import families
import pyro
import pyro.distributions as dist
import torch
from torch import nn
from torch.nn.functional import softplus

import data
from gallery.cli.check import findings_of, sentence_of
from gallery.report.export import export
from gallery.runs.specification import Run
from inference import SVI, Settings, encode, evaluate, monitor_elbo, reconstruct, sample
from inference.contract import STAGES, Case
from inference.errors import UserError

__all__ = ["ROLES", "SHAPES", "Masked", "N", "Small", "arguments", "fit", "holds", "objective"]

N = 6  # data points, minibatches of 3
ROLES = ("likelihood", "local", "global")
SHAPES = {"number": (), "vector": (3,), "matrix": (2, 3)}  # of a in `families`, for a data point


def linear(width, out):
    """Return a linear map; of no numbers too, of which torch warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Linear(width, out)


class Small(nn.Module):
    """A pair with the family in one role.

    likelihood   z ~ Normal, a number; x ~ family(network of z)
    local        z ~ family(weights), x ~ Normal(network of z); the guide is family(network of x)
    global       the same with one z for all data, and guide family(weights)

    :param shape: of the real numbers that the family is a function of
    :param enumerates: "", or what enumerates the latent: "both" guide and model, or the "model" alone
    """

    def __init__(self, name, role="likelihood", shape=(3,), enumerates=""):
        super().__init__()
        self.name, self.role, self.shape, self.enumerates = name, role, shape, enumerates
        self.make = (families.FAMILIES | families.TORCH)[name]
        self.families, self.has_mask = {name}, False
        width = math.prod(shape)
        if role == "likelihood":
            self.decoder = nn.Linear(1, width)
            self.encoder = linear(math.prod(self.family(torch.zeros(2, *shape)).event_shape), 2)
        else:
            prior = self.family(torch.zeros(2, *shape) if role == "local" else torch.zeros(shape), role == "local")
            self.theta = nn.ParameterDict({"a": 0.3 * torch.randn(shape)})
            self.decoder = linear(math.prod(prior.event_shape), 2)
            if enumerates == "model":
                return
            self.encoder = nn.Linear(2, width) if role == "local" else nn.ParameterDict({"a": 0.3 * torch.randn(shape)})

    def family(self, a, plate=True):
        """Return the distribution at real numbers (n, *shape), or (*shape,) outside the plate."""
        fn = self.make(a)
        more = len(fn.batch_shape) - plate if isinstance(fn, dist.Distribution) else 0
        return fn.to_event(more) if more > 0 else fn

    def latent(self, a, part):
        enumerated = {"enumerate": "parallel"} if self.enumerates in ("both", part) else {}
        return pyro.sample("z", self.family(a, self.role == "local"), infer=enumerated)

    def model(self, x, total=None):
        pyro.module("decoder", self.decoder)
        if self.role != "likelihood":
            pyro.module("theta", self.theta)
        if self.role == "global":
            z = self.latent(self.theta["a"], "model")
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            if self.role == "likelihood":
                z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
                pyro.sample("x", self.family(self.out(z)), obs=x)
            else:
                if self.role == "local":
                    z = self.latent(self.theta["a"].expand(len(x), *self.shape), "model")
                pyro.sample("x", dist.Normal(self.mean(z, x), 1.0).to_event(1), obs=x)

    @property
    def likelihood(self):
        """The name of the family of x, its distribution at real numbers, and their shape; None of a normal one."""
        return (self.name, self.family, self.shape) if self.role == "likelihood" else None

    def draws_have_gradients(self):
        if self.role == "likelihood":
            return True
        return self.family(torch.zeros(2, *self.shape), self.role == "local").has_rsample

    def out(self, z):
        return self.decoder(z.unsqueeze(-1)).reshape(*z.shape, *self.shape)

    def mean(self, z, x):
        """Return the mean of x, of bounded functions of z."""
        events = self.family(torch.zeros(2, *self.shape).to(x), True).event_shape
        z = z.reshape(*z.shape[: z.dim() - len(events)], -1).to(x.dtype)
        return self.decoder((z + 0.5).atan())

    def guide(self, x, total=None):
        if self.enumerates == "model":
            return
        pyro.module("encoder", self.encoder)
        if self.role == "global":
            self.latent(self.encoder["a"], "guide")
            return
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            out = self.encoder(x.to(next(self.parameters()).dtype).flatten(1))
            if self.role == "likelihood":
                pyro.sample("z", dist.Normal(out[:, 0], softplus(out[:, 1]) + 0.5))
            else:
                self.latent(out.reshape(-1, *self.shape), "guide")


class Masked(Small):
    """The same with x unknown where `given` is 0."""

    def __init__(self, *args):
        super().__init__(*args)
        self.has_mask = True

    def model(self, x, given, total=None):
        with pyro.poutine.mask(mask=given[:, 0] > 0):
            super().model(x, total)

    def guide(self, x, given, total=None):
        super().guide(x, total)


def arguments(pair, dtype=torch.float32):
    """Return (x,), or (x, given) of a masked pair: draws of the likelihood, or of a normal distribution."""
    x = torch.randn(N, 2, dtype=dtype)
    if pair.likelihood:
        name, family, shape = pair.likelihood
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fn = family(0.5 * torch.randn(N, *shape, dtype=dtype))
            x = families.drawn(name, fn)
            x = x.expand(N, *x.shape[len(fn.batch_shape) :]).to(dtype)
    return (x, torch.tensor([[1.0], [0.0]]).repeat(N // 2, 1).to(dtype)) if pair.has_mask else (x,)


def objective(pair):
    """Return the objective that suits the draws of the guide."""
    if pair.enumerates:
        return "enum"
    return "trace" if pair.draws_have_gradients() else "reinforce"


def one_line(action):
    """Return what an action returns, or its error if that is one line for a user; any other exception passes."""
    try:
        return action()
    except (UserError, data.DataError) as error:
        refusal = error
    assert str(refusal).strip()
    assert "\n" not in str(refusal), str(refusal)
    return refusal


def numbers(value):
    """Yield every number within dictionaries and lists, as tensors."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for entry in value:
            yield from numbers(entry)
    elif isinstance(value, float | int | torch.Tensor):
        yield torch.as_tensor(value)


def fit(make, args, engine, batch_size=3, **settings):
    """Return (pair, losses of two steps) by an engine, or the refusal."""
    torch.manual_seed(0)
    pair = make()
    svi = SVI(
        pair, *args, settings=Settings(epochs=1, batch_size=batch_size, lr=1e-3, objective=objective(pair), **settings)
    )
    svi.runner.mode = engine
    torch.manual_seed(1)
    return pair, torch.stack([svi.train_step() for _ in range(2)])


def holds(make, args, engines=("pyro",), to=(), out=None, batch_size=3):
    """Assert that fits, evaluation, draws, checks and exports of a pair work, or are refused in one line.

    :param make: returns a new pair
    :param args: (x,) or (x, given)
    :param engines: of the fit
    :param to: formats of exports
    :return: the refusals, by what was refused
    """
    name, refusals, losses = make().name, {}, {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a step that is not traced, and of torch on values
        for engine in engines:
            fitted = one_line(partial(fit, make, args, engine, batch_size))
            if isinstance(fitted, Exception):
                refusals[f"fit {engine}"] = fitted
            else:
                pair, losses[engine] = fitted
                assert torch.isfinite(losses[engine]).all()
        if losses and refusals:  # Pyro checks every draw of a guide that may leave the support, a graph the first ones
            assert not getattr(pair, "same_support", True), refusals
            return refusals
        for engine, of in losses.items():
            torch.testing.assert_close(of, losses[engines[0]], rtol=1e-4, atol=1e-4, msg=engine)
        faults = checked(make, args)
        if faults:
            refusals["check"] = faults[0]
        if not losses:
            refusal = str(refusals[f"fit {engines[0]}"])
            assert faults or "is the first value that is not" in refusal or "a minibatch" in refusal
            return refusals
        shape = (2,) if name in families.NUMBERS else (2, 3)
        if pair.enumerates == "model" and not isinstance(families.FAMILIES[name](torch.zeros(shape)), dist.Categorical):
            assert "enumerated by the model alone" in faults.pop(0)
        breaches = tuple(clause for name in pair.families for clause in families.BREACHES.get(name, ()))
        breaches += ("support",) * (not getattr(pair, "same_support", True))
        assert all(fault.startswith(breaches) for fault in faults), faults
        x, *rest = args
        given = rest[0] if rest else None
        uses = {
            "evaluate": lambda: evaluate(pair, x, given, particles=3),
            "evaluate one": lambda: evaluate(pair, x, given, particles=1),
            "monitor": lambda: monitor_elbo(pair, x, given),
            "sample": lambda: sample(pair, x, len(x), given),
            "encode": lambda: encode(pair, x, given),
            "reconstruct": lambda: reconstruct(pair, x, given),
        }
        if x.dim() != 2:  # data sets hold flat rows
            to = ()
        uses |= {kind: lambda kind=kind: exported(pair, args, kind, out) for kind in to}
        for what, use in uses.items():
            value = one_line(use)
            if isinstance(value, Exception):
                refusals[what] = value
                continue
            for number in numbers(value):
                assert not number.isnan().any(), (what, value)
            if what == "evaluate one" and "iwae" in value and not pair.enumerates:
                assert value["iwae"]["value"] == value["elbo"]["value"]
    return refusals


def checked(make, args):
    """Return the faults of `gallery check`, as it prints them."""
    with torch.random.fork_rng():
        case = Case(make, args, objective(make()))
        for stage in STAGES:
            findings = [(clause.__name__, finding) for clause in stage for finding in findings_of(clause, case)]
            faults = []
            for name, finding in findings:
                sentence = " ".join(sentence_of(finding).split())
                assert not sentence.endswith((":", "Error")), sentence
                if not finding.remark:
                    faults.append(f"{name}: {sentence}")
            if faults:
                return faults
    return []


def exported(pair, args, to, out):
    """Return the arrays of an export to ArviZ, or the lines that `gallery export` prints for ONNX."""
    x, *rest = args
    dataset = data.Dataset("cases", "train", x, tuple(x.shape[1:]), covariates=rest[0] if rest else None, first_row=0)
    if to == "onnx":
        return export(out, Run("mine", {}, "cases", Settings()), pair, dataset, to, out / "onnx", 2, 0)
    from gallery.report.export.arviz import groups

    return [torch.as_tensor(v.values) for group in groups(pair, dataset, 2).values() for v in group.data_vars.values()]
