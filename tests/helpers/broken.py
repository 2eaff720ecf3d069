"""The skeleton with one fault at a time: what each is, the clauses of the contract that have to name it, words of what
they say, and the pieces of the skeleton with what stands in their place."""

from pathlib import Path

import gallery.cli.skeleton

GOOD = Path(gallery.cli.skeleton.__file__).read_text().replace("hidden: int = 128", "hidden: int = 8")

PRIOR = 'z = pyro.sample("z", dist.Normal(zero, zero + 1).to_event(1))'
DATA = 'pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)'
DRAW = 'pyro.sample("z", dist.Normal(loc, F.softplus(pre_scale)).to_event(1))'
PLATE = 'with pyro.plate("data", total or len(x), subsample_size=len(x)):'
PLATES = f"        {PLATE}\n            zero", f"        {PLATE}\n            loc"
LAST = "        self.decoder = nn.Sequential("  # the last line of the constructor begins so
INIT = "        super().__init__()\n"
TORCH = {"import pyro\n": "import torch\nimport pyro\n"}
DISCRETE = {
    DATA: 'y = pyro.sample("y", dist.Bernoulli(zero[:, 0] + 0.5))\n'
    '            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z) + y.unsqueeze(-1)).to_event(1), obs=x)',
    DRAW: DRAW + '\n            pyro.sample("y", dist.Bernoulli(logits=loc[:, 0]))',
}
BROKEN = {
    "the guide lacks a site": ("sites", ["the guide has no z"], {DRAW: DRAW.replace('pyro.sample("z", ', "print(")}),
    "the guide has a site more": (
        "sites",
        ["w is latent in the guide", "is_auxiliary"],
        {DRAW: DRAW + '\n            pyro.sample("w", dist.Normal(loc, 1.0).to_event(1))'},
    ),
    "the guide has another name": (
        "sites",
        ["the guide has the latent code where the model has z"],
        {DRAW: DRAW.replace('"z"', '"code"')},
    ),
    "the data have another name": ("sites", ["observed", "image", '"x"'], {'pyro.sample("x"': 'pyro.sample("image"'}),
    "two data of other names": (
        "sites",
        ["x, b; expected x alone", "columns of x from left to right", 'pyro.sample("x_1"'],
        {DATA: f'{DATA}\n            pyro.sample("b", dist.Bernoulli(logits=z).to_event(1), obs=x[:, :5])'},
    ),
    "nothing is observed": ("sites", ["the guide has no x", "none"], {", obs=x": ""}),
    "a scale that may be negative": (
        "runs",
        ["softplus(...)", "the parameter scale of Normal has values outside (0, inf)"],
        {DRAW: DRAW.replace("F.softplus(pre_scale)", "pre_scale")},
    ),
    "probabilities that are logits": ("runs", ["write logits="], {DATA: DATA.replace("logits=", "")}),
    "a plate without the total": (
        "plate",
        ["model: plate 'data'", "expected size 12"],
        {PLATES[0]: PLATES[0].replace("total or ", "")},
    ),
    "a plate without the minibatch": (
        "plate",
        ["guide: plate 'data'", "subsample_size=len(x)"],
        {PLATES[1]: PLATES[1].replace(", subsample_size=len(x)", "")},
    ),
    "a plate of another name": ("plate", ["'batch'"], {'"data"': '"batch"'}),
    "an observation outside the plate": (
        "plate",
        ["model: site x", "outside"],
        {f"            {DATA}": f"        {DATA}"},
    ),
    "a scale of one's own": (
        "plate",
        ["model: site x", "scale 6; expected 3"],
        {f"            {DATA}": f"            with pyro.poutine.scale(scale=2.0):\n                {DATA}"},
    ),
    "data that are read by the model": (
        "values",
        ["computes x from the values of x", "pyro.sample returns"],
        {DATA: DATA.replace("self.decoder(z)", "self.decoder(z) + x.mean(1, keepdim=True)")},
    ),
    "the batch in the event of the data": (
        "shapes",
        ["x of the model", "(4, 64)", "(12, 64)", "to_event(1)"],
        {DATA: DATA.replace("to_event(1)", "to_event(2)")},
    ),
    "the batch in the event of a latent": (
        "shapes",
        ["z of the guide", "(4, 5)"],
        {DRAW: DRAW.replace("to_event(1)", "to_event(2)")},
    ),
    "a datum's dimension left to the plate": (
        "shapes",
        ["z has 5 values", "plate 'data' counts 4 rows", "mine.py:"],
        {DRAW: DRAW.replace(".to_event(1)", "")},
    ),
    "a datum's only dimension left to the plate": (
        "shapes",
        ["z of the guide", "(4, 4)", "the plate of the data", "to_event(1)"],
        {"latent_dim: int = 5": "latent_dim: int = 1", DRAW: DRAW.replace(".to_event(1)", "")},
    ),
    "as many dimensions as rows": (
        "shapes",
        ["z has 4 values", "plate 'data' counts 12 rows"],
        {"latent_dim: int = 5": "latent_dim: int = 4", DRAW: DRAW.replace(".to_event(1)", "")},
    ),
    "a global latent of several dimensions": (
        "shapes",
        ["w of the model", "(3,)", "one draw for all data"],
        {
            PLATES[0]: f'        pyro.sample("w", dist.Normal(x.new_zeros(3), 1.0))\n{PLATES[0]}',
            PLATES[1]: f'        pyro.sample("w", dist.Normal(x.new_zeros(3), 1.0))\n{PLATES[1]}',
        },
    ),
    "model and guide differ in width": (
        "shapes",
        ["(5,)", "(4,)"],
        {"Normal(loc, F": "Normal(loc[:, :4], F", "(pre_scale)": "(pre_scale[:, :4])"},
    ),
    "it cannot be run": (
        "runs",
        ["RuntimeError", "mine.py:", "self.decoder(z)"],
        {"nn.Linear(latent_dim, hidden)": "nn.Linear(7, hidden)"},
    ),
    "the guide outside the prior": (
        "support",
        ["KL(guide || prior) is infinite", "[0, inf)"],
        {"dist.Normal(zero, zero + 1)": "dist.Exponential(zero + 1)"},
    ),
    "the guide outside a wide prior": (
        "support",
        ["impossible under its prior"],
        {
            "dist.Normal(zero, zero + 1)": "dist.Uniform(zero - 9, zero + 9)",
            "F.softplus(pre_scale)": "F.softplus(pre_scale) + 9",
        },
    ),
    "a network that is not registered": (
        "registered",
        ["encoder.0.weight", "pyro.module('encoder', self.encoder)"],
        {'pyro.module("encoder", self.encoder)': "pass"},
    ),
    "a network that is not used": (
        "gradients",
        ["unused.weight, unused.bias", "neither registered nor used"],
        {LAST: "        self.unused = nn.Linear(2, 2)\n" + LAST},
    ),
    "a network that the guide only borrows": (
        "gradients",
        ["registered by both"],
        {
            'pyro.module("encoder", self.encoder)': 'pyro.module("encoder", self.encoder)\n'
            '        pyro.module("decoder", self.decoder)'
        },
    ),
    "a parameter of Pyro's store": (
        "registered",
        ["pyro.param('shift')", "nn.ParameterDict"],
        {"dist.Normal(loc,": 'dist.Normal(loc + pyro.param("shift", x.new_zeros(())),'},
    ),
    "a draw that is cut off": (
        "gradients",
        ["encoder.0.weight", "rsample"],
        {DRAW: 'pyro.sample("z", dist.Delta(dist.Normal(loc, F.softplus(pre_scale)).sample(), event_dim=1))'},
    ),
    "a scale that is detached": (
        "gradients",
        ["the guide computes scale of z", "detach"],
        {DRAW: DRAW.replace("(pre_scale)", "(pre_scale.detach())")},
    ),
    "a scale of shares that is detached": (
        "gradients",
        ["the guide computes scale of z", "detach"],
        {DRAW: DRAW.replace("F.softplus(pre_scale)", "pre_scale.softmax(-1).detach()")},
    ),
    "a transform that is detached": (
        "gradients",
        ["the guide computes scale of AffineTransform of z"],
        {
            DRAW: "unit = dist.Normal(loc * 0, 1.0)\n"
            "            affine = dist.transforms.AffineTransform(loc, F.softplus(pre_scale).detach())\n"
            '            pyro.sample("z", dist.TransformedDistribution(unit, [affine]).to_event(1))'
        },
    ),
    "a variance without a gradient": (
        "gradients",
        ["the guide computes covariance_matrix of z", "no_grad"],
        {
            **TORCH,
            DRAW: "with torch.no_grad():\n"
            "                scale = F.softplus(self.encoder(x).chunk(2, dim=-1)[1])\n"
            '            pyro.sample("z", dist.MultivariateNormal(loc, torch.diag_embed(scale)))',
        },
    ),
    "a scale of the data that is detached": (
        "gradients",
        ["the model computes scale of x"],
        {
            DATA: "loc, pre = self.decoder(z).repeat(1, 2).chunk(2, dim=-1)\n"
            '            pyro.sample("x", dist.Normal(loc, F.softplus(pre.detach())).to_event(1), obs=x)'
        },
    ),
    "a stated draw that is cut off": (
        "draws",
        ["z in the guide", "rsample"],
        {
            DRAW: "q = dist.Normal(loc, F.softplus(pre_scale)).to_event(1)\n"
            '            pyro.sample("z", q, obs=q.sample(), infer={"is_observed": False})'
        },
    ),
    "a latent that the model detaches": (
        "draws",
        ["computes x from z", "detach"],
        {"self.decoder(z)": "self.decoder(z.detach())"},
    ),
    "it cannot be evaluated": (
        "runs",
        ["in evaluation mode", "ZeroDivisionError", "mine.py:"],
        {PLATES[0]: f"        self.training or 1 / 0\n{PLATES[0]}"},
    ),
    "it draws no data": (
        "evaluation",
        ["`sample`", "IndexError", "mine.py:"],
        {PLATES[0]: f"        x[x > 0][0]\n{PLATES[0]}"},
    ),
    "noise of another generator": (
        "repeatable",
        ["random or numpy"],
        {"import pyro\n": "import random\nimport pyro\n", "self.decoder(z))": "self.decoder(z) + random.random())"},
    ),
    "a tensor that is not kept": (
        "state, device",
        ["self.shift keeps a Tensor", "register_buffer('shift'"],
        {
            **TORCH,
            LAST: f"        self.shift = torch.ones(data_dim)\n{LAST}",
            "self.decoder(z))": "self.decoder(z) + self.shift)",
        },
    ),
    "a number that is not kept": (
        "state",
        ["not in state_dict"],
        {
            **TORCH,
            LAST: f"        self.shift = torch.rand(()).item()\n{LAST}",
            "self.decoder(z))": "self.decoder(z) + self.shift)",
        },
    ),
    "a tensor that evaluation alone uses": (
        "state",
        ["self.kept keeps a Tensor"],
        {
            **TORCH,
            INIT: f"{INIT}        self.kept = torch.ones(())\n",
            "self.decoder(z))": "self.decoder(z) if self.training else self.decoder(z) + self.kept)",
        },
    ),
    "another default dtype": (
        "leftovers",
        ["torch's default dtype to torch.float64"],
        {"import pyro\n": "import torch\nimport pyro\n\ntorch.set_default_dtype(torch.float64)\n"},
    ),
    "no gradients any more": (
        "leftovers",
        ["recording of gradients to False"],
        {**TORCH, INIT: f"{INIT}        torch.set_grad_enabled(False)\n"},
    ),
    "a seed": (
        "leftovers",
        ["seeds torch's generator"],
        {**TORCH, INIT: f"{INIT}        torch.manual_seed(0)\n"},
    ),
    "a parameter in the store": (
        "leftovers",
        ["leaves scale in Pyro's store"],
        {**TORCH, INIT: f'{INIT}        pyro.param("scale", torch.ones(1))\n'},
    ),
    "a tensor of the host": (
        "device",
        ["meta", "x.new_zeros"],
        {**TORCH, "x.new_zeros(": "torch.zeros("},
    ),
    "a tensor of one precision": (
        "device",
        ["torch.float64", "x.new_zeros"],
        {"self.encoder(x)": "self.encoder(x.float())"},
    ),
    "given in the model alone": (
        "signature",
        ["guide takes (x, total)", "x, given, total=None"],
        {"def model(self, x: Tensor": "def model(self, x: Tensor, given: Tensor"},
    ),
    "given of another name": (
        "signature",
        ["model takes (x, y, total)", "x, given, total=None"],
        {f"def {part}(self, x: Tensor": f"def {part}(self, x: Tensor, y: Tensor" for part in ("model", "guide")},
    ),
}


def write(changes: dict[str, str], file: str = "mine.py") -> str:
    """The skeleton with these changes, in a file here; returns the name of the model."""
    text = GOOD
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    Path(file).write_text(text)
    return f"{file}:Skeleton"
