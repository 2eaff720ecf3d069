"""Ten short fits, one for each kind of pair, held to the bits of an earlier version on the same processor and torch.

python tests/regression/test_regression.py    # writes expected.json anew: only where numbers are meant to change
"""

import hashlib
import json
import tempfile
from pathlib import Path

import pytest
import torch

EXPECTED = Path(__file__).parent / "expected.json"
DIGITS = "--batch-size 100 --precision float32"
TRACE = f"--objective trace {DIGITS}"
CASES = {
    "exact": "factor_analysis --epochs 4 --objective trace",
    "enumerated in the guide": f"gmvae --data digits:threshold --epochs 2 --hidden 32 {DIGITS}",
    "enumerated by the model": "gaussian_mixture --epochs 2",
    "Delta": f"denoising_autoencoder --data digits:grey --epochs 3 {DIGITS}",
    "per data point": "exponential_gaussian:per_datum --epochs 20",
    "conditional": f"cvae --data digits:dequantized --epochs 3 --objective trace {DIGITS}",
    "semi-supervised": f"ss_vae --data digits:threshold:100-labels --epochs 3 {DIGITS}",
    "sequential": f"vrnn --data digits:threshold --steps 8 --epochs 1 --objective trace {DIGITS}",
    "global latent": "linear_regression --epochs 5",
    "relaxed": f"gmvae:relaxed --data digits:threshold --epochs 2 --hidden 32 --final-temperature 0.1 {DIGITS}",
    "compiled": f"vae --data digits:dynamic --epochs 2 --hidden 32 --engine compiled --warmup 1 {TRACE}",
}
OF_THE_MACHINE = ("seconds", "steps_per_second", "processor", "products")


def machine() -> str:
    """The processor and the version of torch, on which the last bits of a sum depend."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = {line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "cpu family", "model\t"))}
    return f"{', '.join(sorted(cpu))}; torch {torch.__version__}"


def digest(arguments: str, folder: Path) -> dict:
    """The SHA-256 of the weights, and of history and metrics without what a clock measured."""
    from gallery.cli.main import main
    from inference.fit.checkpoint import load_tensors

    torch.set_num_threads(1)
    assert main(["fit", *arguments.split(), "--products", "default", "--run", str(folder)]) == 0
    weights, _ = load_tensors(folder / "weights.safetensors")
    hashed = hashlib.sha256()
    for name in sorted(weights):
        hashed.update(name.encode())
        hashed.update(weights[name].contiguous().numpy().tobytes())
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    history = [{key: value for key, value in line.items() if key != "seconds"} for line in lines]
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics = {key: value for key, value in metrics.items() if key not in OF_THE_MACHINE}
    return {"weights": hashed.hexdigest(), "history": history, "metrics": metrics}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_same_to_the_bit(case, tmp_path):
    expected = json.loads(EXPECTED.read_text())
    if expected["machine"] != machine():
        pytest.skip(f"the bits are those of another machine: {expected['machine']}; this is {machine()}")
    assert digest(CASES[case], tmp_path / "run") == expected[case]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        found = {case: digest(arguments, Path(folder) / str(i)) for i, (case, arguments) in enumerate(CASES.items())}
    EXPECTED.write_text(json.dumps({"machine": machine()} | found, indent=1) + "\n")
