"""The tables of README.md, generated: `python -m gallery.ledger.tables` writes them, a test fails when they differ."""

import inspect
import json
import re
import statistics
import sys
from pathlib import Path

from gallery.catalogue.recipes import RECIPES, recipe_for
from gallery.ledger.fields import shown
from gallery.ledger.reproduce import read
from gallery.models import MODELS
from inference.pairs.capabilities import exact

README = Path(__file__).parents[2] / "README.md"
LEDGER = Path(__file__).parent / "results"


def models_table() -> str:
    """One row for each file of gallery/models: name, title, variants, what is exact, data of its recipe."""
    rows = ["| model | what it is | variants | known exactly | data |", "|---|---|---|---|---|"]
    for name, cls in MODELS.items():
        if ":" in name:
            continue
        title = inspect.getdoc(sys.modules[cls.__module__]).splitlines()[0].rstrip(".")
        variants = ", ".join(f"`{other}`" for other in MODELS if other.startswith(f"{name}:"))
        exact = ", ".join(word for word in ("log_evidence", "posterior", "e_step") if exact(cls, word))
        rows.append(
            f"| `{name}` | {title} | {variants} | {exact.replace('e_step', 'EM').replace('_', ' ')} | ",
        )
        rows[-1] += f"{recipe_for(name).data} |"
    return "\n".join(rows)


def experiments_table() -> str:
    """What `gallery reproduce` measured (gallery/ledger), beside what is published; nats per data point."""
    fa = json.loads((LEDGER / "experiments" / "factor_analysis" / "factor_analysis.json").read_text())
    eg = json.loads((LEDGER / "experiments" / "exponential_gaussian" / "exponential_gaussian.json").read_text())
    published, alternating = fa["published"], fa["experiment_2"]
    rows = ["| what | published | measured |", "|---|---|---|"]

    def row(what: str, number: float, known: float | None = None, form: str = ".4f") -> None:
        what = what.replace("|", "\\|")
        rows.append(f"| {what} | {'' if known is None else f'{known:.5g}'} | {number:{form}} |")

    row("FA, evidence of test data, true parameters", fa["true_parameters"]["test"], published["true_parameters_test"])
    row("FA, published start, step 999", fa["experiment_1"]["test_step_999"], published["test_step_999"])
    row("FA, guide and model in turn, step 4000", alternating[-1]["test"][1], published["alternating_4000_steps"])
    row("FA, exact gap after the first guide-only phase", alternating[0]["exact_gap"][1])
    row("FA, exact EM, training data", fa["em"]["train"])
    for schedule, ends in fa["seeds_3200_steps"].items():
        test = sorted(end["test"] for end in ends)
        what = f"FA, {len(ends)} seeds at 3200 steps, {schedule} rate, test data"
        row(f"{what}: median", statistics.median(test))
        row(f"{what}: worst", test[0])
    for when, kinds in fa["gradient_of_the_guide"].items():
        for name, how in {"trace": "sampled", "analytic": "in closed form"}.items():
            row(f"FA, variance of the guide's gradient {when}, KL {how}", kinds[name]["variance"], form=".4g")
    for factors, of in fa["prior_samples"].items():
        row(f"FA, number of factors {factors}: log p(x) from {of['draws'][-1]:,} prior draws, error", of["error"][-1])
    for name, entry in eg.items():
        row(f"`{name}`, gap log p(x) - ELBO, Monte Carlo error {entry['mc_se']:.4f}", entry["gap"])
    for name, entry in _experiment("contractive_autoencoder/matched.json").items():
        row(f"|dz/dx|^2: {name}; squared error {entry['squared_error']:.2f}", entry["jacobian_norm"], form=".4g")
        row(f"|dx'/dx|^2: {name}; squared error {entry['squared_error']:.2f}", entry["map_norm"], form=".4g")
    for point in _experiment("vae/rate_distortion.json").get("points", ()):
        what = f"`vae:notes` at beta {point['beta']:g}, rate {point['kl']:.2f} nats: distortion"
        row(what, -point["reconstruction"], form=".2f")
    for name, entry in _experiment("gmvae/gradients.json").items():
        row(f"`gmvae`, variance of the gradient: {name}", entry["all"]["variance"], form=".4g")
    for name, of in _experiment("loaded_die/conditionals.json").get("conditionals", {}).items():
        row(f"p(x | y), {of['bits'][-1]} bits of y, {name}: -log p(x | y) of new data", of["new"][-1])
    for point in _experiment("autoencoder/widths.json").get("widths", ()):
        what = f"`autoencoder`, code of {point['width']:,}, {point['images']:,} images: error on training images"
        row(what, point["train"], form=".2f")
        row(what.replace("training", "test"), point["test"], form=".2f")
    labels = _experiment("ss_vae/labels.json")
    for name in ("q(y | x)", "Bayes' rule", "logistic regression", "linear SVM") if labels else ():
        found = [entry[name] for entry in labels["errors"] if entry["labels"] == 100]
        row(
            f"`ss_vae` on digits, 100 labels, {len(found)} draws of them, median error: {name}",
            statistics.median(found),
        )
    for name, entry in labels.get("plane", {}).items():
        row(f"A plane of codes of MNIST, parted by {name}: accuracy", entry["value"])
    for name, entry in _experiment("vrnn/smoothing.json").items():
        if name != "epochs":
            row(f"`vrnn`, ELBO at the same generative weights: {name}", entry["value"])
    return "\n".join(rows)


def _experiment(path: str) -> dict:
    """What an experiment wrote, nothing if it was not run."""
    file = LEDGER / "experiments" / path
    return json.loads(file.read_text()) if file.exists() else {}


def results_table() -> str:
    """One row for each recipe: published numbers, measured ones (median [range] over seeds), seeds, minutes a seed."""
    ledger = read(LEDGER / "ledger.json")
    rows = ["| recipe | data | measured | published | seeds | minutes |", "|---|---|---|---|---|---|"]
    for name, recipe in RECIPES.items():
        row = ledger.get(name)
        published = [f"{what}: {number(known)}" for what, known, _ in shown(recipe, row) if known is not None]
        measured = [f"{what}: {_median(values)}" for what, _, values in shown(recipe, row) if values]
        cells = [
            f"`{name}`",
            recipe.data,
            "<br>".join(measured) or (row or {}).get("refused", "" if row and row["runs"] else "not run"),
            "<br>".join(published),
        ]
        if row and row["runs"]:
            seconds = statistics.median(entry["seconds"] for entry in row["runs"].values())
            cells += [", ".join(sorted(row["runs"], key=int)), f"{seconds / 60:.1f}"]
        else:
            cells += ["", ""]
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows)


def performance_table() -> str:
    """What `gallery bench --json gallery/ledger/results/bench.json` measured."""
    from gallery.bench import table

    path = LEDGER / "bench.json"
    return table(json.loads(path.read_text())) if path.exists() else "Not measured yet."


def number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"


def _median(values: list[float]) -> str:
    middle = number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} [{number(min(values))}, {number(max(values))}]"


def with_tables(text: str) -> str:
    """README with its generated parts as they should be."""
    tables = {
        "models": models_table,
        "results": results_table,
        "experiments": experiments_table,
        "performance": performance_table,
    }
    for name, table in tables.items():
        pattern = rf"(<!-- {name}:.*?-->\n).*?(<!-- /{name} -->)"
        text = re.sub(pattern, lambda match, table=table: f"{match[1]}{table()}\n{match[2]}", text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))
