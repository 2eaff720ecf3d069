"""The tables of the published experiments in Markdown, one for each experiment."""

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["EXPERIMENTS_FOLDER", "experiments_table", "markdown_table"]

EXPERIMENTS_FOLDER = Path(__file__).parent / "results" / "experiments"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, empty if it has no rows. Vertical bars in cells are escaped."""
    body = list(rows)
    lines = [header, ["---"] * len(header), *body] if body else []
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def experiments_table() -> str:
    """Return the tables of the experiments that were run, each under a heading."""
    sections = {
        "Factor analysis: evidence, nats per data point": _factor_analysis(),
        "Factor analysis: KL in closed form and sampled": _two_forms(),
        "Factor analysis: variance of the guide's gradient": _guide_gradient(),
        "Factor analysis: guides of fixed variance, test data, nats per data point": _fixed_variance(),
        "Factor analysis: log p(x) from draws of the prior": _prior_samples(),
        "Probabilistic PCA: units that live by the noise, of 10": _collapse(),
        "Topics by variational inference and by Gibbs sampling: perplexity of half of the words": _topics(),
        "Topics of news (`lda:reuters`), in the same ways": _topics("reuters.json"),
        "Exponential-Gaussian: gap log p(x) - ELBO of five guides, training data": _gaps(),
        "Contractive autoencoder: Jacobians at the same squared error": _contractive(),
        "`vae:notes`: rate and distortion by beta, nats per data point": _rate_distortion(),
        "`vae:notes`: information of the code about its image, all training images, nats": _information(),
        "A line by squared error and by KL: coefficients, and intervals over simulated data sets": _line(),
        "A line by mean field: gap log p(x) - ELBO, exactly and from draws": _gap_of_mean_field(),
        "`gmvae`: variance of the gradient, all parameters": _gmvae(),
        "Three parametrisations of p(x | y): -log p(x | y) of new data, nats per data point": _conditionals(),
        "`autoencoder`: squared error by width of the code": _widths(),
        "Sparse autoencoder of the slides, as printed: squared error on test images": _printed(),
        "`ss_vae` on digits: median error on test images by number of labels": _labels(),
        "Two digits in a plane: boundaries from 100 labelled images": _margins(),
        "`ss_vae`: calibration on test images": _calibration(),
        "A plane of codes of MNIST: accuracy of its regions": _plane(),
        "`vrnn` (of `vrnn:sampled`): ELBO of test data at the same generative weights": _vrnn(),
    }
    return "\n\n".join(f"### {title}\n\n{table}" for title, table in sections.items() if table)


def _load(path: str) -> dict[str, Any]:
    """Load the results of an experiment; empty if it was not run."""
    file = EXPERIMENTS_FOLDER / path
    return json.loads(file.read_text()) if file.exists() else {}


def _factor_analysis() -> str:
    fa = _load("factor_analysis/factor_analysis.json")
    if not fa:
        return ""
    published, alternating = fa["published"], fa["experiment_2"]
    rows = [
        ["true parameters, test data", fa["true_parameters"]["test"], published["true_parameters_test"]],
        ["published start, step 999, test data", fa["experiment_1"]["test_step_999"], published["test_step_999"]],
        [
            "guide and model in alternation, step 4000, test data",
            alternating[-1]["test"][1],
            published["alternating_4000_steps"],
        ],
        ["exact gap after the first phase, in which only the guide is fitted", alternating[0]["exact_gap"][1], None],
        ["exact EM, training data", fa["em"]["train"], None],
    ]
    for schedule, ends in fa["seeds_3200_steps"].items():
        values = [end["test"] for end in ends]
        of = f"{len(ends)} seeds, 3200 steps, {schedule} learning rate, test data"
        rows += [[f"{of}: median", statistics.median(values), None], [f"{of}: lowest", min(values), None]]
    return markdown_table(
        ["quantity", "measured", "published"],
        [[name, f"{value:.4f}", "" if known is None else f"{known:.5g}"] for name, value, known in rows],
    )


def _two_forms() -> str:
    fa = _load("factor_analysis/factor_analysis.json")
    gaps, rows = fa.get("gap_after_the_guide", {}), []
    for form, values in fa.get("noise_seeds_step_999", {}).items():
        spread = f"{statistics.median(values):.4f} [{min(values):.4f}, {max(values):.4f}]"
        rows.append([form, spread, str(len(values)), *(f"{gap:.4f}" for gap in gaps[form])])
    header = ["KL", "evidence, step 999: median [range]", "noise seeds", "gap, first guide phase", "gap, second"]
    if not rows:
        return ""
    published, seeds = fa["published"]["test_step_999"], fa["noise_seeds_step_999"]
    closed, drawn = (statistics.median(seeds[form]) for form in ("in closed form", "sampled"))
    return (
        f"{markdown_table(header, rows)}\n\nPublished, from one run with the KL in closed form: {published}. The "
        f"median differs from it by {closed - published:+.4f}, and that of the sampled KL from the median by "
        f"{drawn - closed:+.4f}."
    )


def _fixed_variance() -> str:
    points = _load("factor_analysis/factor_analysis.json").get("fixed_variances", [])
    rows = [
        [f"{point['variance']:g}", *(f"{statistics.median(point[name]):.3f}" for name in ("elbo", "evidence"))]
        for point in points
    ]
    return markdown_table(["variance", "exact ELBO, median over seeds", "log p(x), median"], rows)


def _guide_gradient() -> str:
    gradients = _load("factor_analysis/factor_analysis.json").get("gradient_of_the_guide", {})
    return markdown_table(
        ["weights", "KL sampled", "KL in closed form"],
        [
            [when, *(f"{kinds[name]['variance']:.4g}" for name in ("trace", "analytic"))]
            for when, kinds in gradients.items()
        ],
    )


def _prior_samples() -> str:
    prior = _load("factor_analysis/factor_analysis.json").get("prior_samples", {})
    return markdown_table(
        ["number of factors", "draws", "error, nats per data point"],
        [[factors, f"{of['draws'][-1]:,}", f"{of['error'][-1]:.4f}"] for factors, of in prior.items()],
    )


def _gaps() -> str:
    gaps = _load("exponential_gaussian/exponential_gaussian.json")
    parts = gaps.pop("parts", {})
    rows = [[f"`{name}`", f"{entry['gap']:.4f}", f"{entry['mc_se']:.4f}"] for name, entry in gaps.items()]
    for part, entry in parts.items():
        rows.append(
            [f"{part.replace('_', ' ')} of `exponential_gaussian`", f"{entry['value']:.2g}", f"{entry['mc_se']:.1g}"]
        )
    return markdown_table(["recipe", "gap, nats per data point", "Monte Carlo error"], rows)


def _collapse() -> str:
    rows = []
    for point in _load("ppca/collapse.json").get("points", []):
        fits = ", ".join(str(fit["living"]) for fit in point["fits"])
        short = max(point["elbo"] - fit["elbo"] for fit in point["fits"])
        rows.append([f"{point['sigma']:g}", str(point["living"]), fits, f"{short:.3f}"])
    return markdown_table(["sigma", "closed form", "fits", "largest distance of their ELBO from the maximum"], rows)


def _topics(file: str = "gibbs.json") -> str:
    found, rows = _load(f"lda/{file}"), []
    for of_topics, by in found.get("perplexity", {}).items():
        row, digits = [of_topics], 3 if by["Gibbs sampling"]["value"] < 100 else 0
        for shares in ("coordinate ascent", "Gibbs sampling"):
            row.append(" +- ".join(f"{by[shares][key]:.{digits}f}" for key in ("value", "se")))
        more = by["more than by Gibbs sampling"]
        rows.append([*row, f"{more['value']:.{digits}f} +- {more['se']:.{digits}f}"])
    header = [
        "topics",
        "shares by coordinate ascent",
        "shares by Gibbs sampling",
        "both, more than Gibbs sampling for both",
    ]
    return markdown_table(header, rows)


def _contractive() -> str:
    matched = _load("contractive_autoencoder/matched.json")
    return markdown_table(
        ["networks", "|dz/dx|^2", "|dx'/dx|^2", "squared error"],
        [
            [name, f"{entry['jacobian_norm']:.4g}", f"{entry['map_norm']:.4g}", f"{entry['squared_error']:.2f}"]
            for name, entry in matched.items()
        ],
    )


def _rate_distortion() -> str:
    points = _load("vae/rate_distortion.json").get("points", [])
    return markdown_table(
        ["beta", "rate", "distortion"],
        [[f"{point['beta']:g}", f"{point['kl']:.2f}", f"{-point['reconstruction']:.2f}"] for point in points],
    )


def _information() -> str:
    points = _load("vae/information.json").get("points", [])
    header = ["beta", "earlier pixels that the decoder sees", "I(x; z)", "standard error", "cap", "KL of test data"]
    rows = []
    for p in points:
        found = p["mutual_information"]
        numbers = f"{found['value']:.3f}", f"{found['se']:.1g}", f"{found['cap']:.2f}", f"{p['kl']:.3f}"
        rows.append([f"{p['beta']:g}", str(p["context"]), *numbers])
    return markdown_table(header, rows)


def _line() -> str:
    line = _load("linear_regression/squares_and_kl.json")
    rows = []
    for name, of in line.get("methods", {}).items():
        numbers = [f"{value:.4f}" for key in ("mean", "sd") for value in of.get(key, ())]
        covered = [f"{value:.1%}" for value in of.get("covered", ())]
        rows.append([name, *numbers, *[""] * (4 - len(numbers)), *(covered or ["", ""]), str(of.get("n", ""))])
    header = ["method", "intercept", "slope", "sd of the intercept", "sd of the slope"]
    level = line.get("level", 0)
    of = [f"{level:.0%} intervals with the true {name}" for name in ("intercept", "slope")]
    return markdown_table([*header, *of, "data sets"], rows)


def _gap_of_mean_field() -> str:
    gap = _load("linear_regression/squares_and_kl.json").get("gap", {})
    if not gap:
        return ""
    rows = [["exact", f"{gap['exact']:.5f}", ""]]
    rows += [
        [f"{point['draws']:,} draws", f"{point['value']:.5f}", f"{point['mc_se']:.1g}"] for point in gap["estimates"]
    ]
    return markdown_table(["estimate", "gap, nats per data point", "Monte Carlo error"], rows)


def _gmvae() -> str:
    gradients = _load("gmvae/gradients.json")
    return markdown_table(
        ["estimator", "variance"],
        [[name, f"{entry['all']['variance']:.4g}"] for name, entry in gradients.items()],
    )


def _conditionals() -> str:
    results = _load("loaded_die/conditionals.json").get("conditionals", {})
    return markdown_table(
        ["conditional", "-log p(x | y)", "bits of y"],
        [[name, f"{of['new'][-1]:.4f}", str(of["bits"][-1])] for name, of in results.items()],
    )


def _widths() -> str:
    widths = _load("autoencoder/widths.json").get("widths", [])
    return markdown_table(
        ["width", "training images", "error on training images", "error on test images"],
        [
            [f"{point['width']:,}", f"{point['images']:,}", f"{point['train']:.2f}", f"{point['test']:.2f}"]
            for point in widths
        ],
    )


def _printed() -> str:
    fits, rows = _load("sparse_autoencoder/printed.json").get("fits", []), []
    for name in dict.fromkeys(fit["recipe"] for fit in fits):
        errors = [fit.get("squared_error") for fit in fits if fit["recipe"] == name]
        ended = [error for error in errors if error is not None]
        spread = f"{min(ended):.1f} to {max(ended):.1f}" if ended else ""
        rows.append([f"`{name}`", str(len(errors)), str(len(errors) - len(ended)), spread])
    return markdown_table(["recipe", "seeds", "stopped at an infinite penalty", "squared error of the others"], rows)


def _labels() -> str:
    errors = [of for of in _load("ss_vae/labels.json").get("errors", []) if of["labels"] in (20, 100, 1000)]
    names = [name for name in (errors or [{}])[0] if name not in ("labels", "draw")]
    counts = sorted({entry["labels"] for entry in errors})
    rows = [
        [name, *(f"{statistics.median(of[name] for of in errors if of['labels'] == n):.4f}" for n in counts)]
        for name in names
    ]
    return markdown_table(["classifier", *(f"{n} labels" for n in counts)], rows)


def _margins() -> str:
    found = _load("ss_vae/margins.json").get("classifiers", {})
    return markdown_table(
        ["classifier", "error on test images", "support vectors", "width of the margin"],
        [
            [name, f"{of['error']:.4f}", str(of.get("support", "")), f"{of['margin']:.2f}" if "margin" in of else ""]
            for name, of in found.items()
        ],
    )


def _calibration() -> str:
    found = _load("ss_vae/calibration.json")
    return markdown_table(
        ["classifier", "accuracy", "mean probability of the chosen class", "expected calibration error"],
        [[name, *(f"{of[key]:.4f}" for key in ("accuracy", "confidence", "ece"))] for name, of in found.items()],
    )


def _plane() -> str:
    plane = _load("ss_vae/labels.json").get("plane", {})
    return markdown_table(
        ["classifier", "accuracy"], [[name, f"{entry['value']:.4f}"] for name, entry in plane.items()]
    )


def _vrnn() -> str:
    guides = {name: entry for name, entry in _load("vrnn/smoothing.json").items() if name != "epochs"}
    return markdown_table(
        ["guide", "ELBO, nats per data point"], [[name, f"{entry['value']:.4f}"] for name, entry in guides.items()]
    )
