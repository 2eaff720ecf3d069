#!/usr/bin/env bash
# What only a GPU can show, in one call of at most five minutes after the installation:
#   bash tests/gpu/run.sh RESULTS.json [--device cpu] [other flags of measure.py]
# Needs torch 2.11 or newer, that of the machine; installs what else is missing. `gallery bench --merge RESULTS.json`
# adds the file to the committed measurements.
set -euo pipefail
results="$(realpath "${1:-gpu.json}")"
shift || true
python="${PYTHON:-python3}"
cd "$(dirname "$0")/../.."
"$python" - <<'CHECK' || exit 2
import importlib.metadata
try:
    version = importlib.metadata.version("torch")
except importlib.metadata.PackageNotFoundError:
    raise SystemExit(0)  # it is installed below
if tuple(int(part) for part in version.split(".")[:2]) < (2, 11):
    raise SystemExit(f"torch {version} is here, and 2.11 or newer is needed: install it for the card of this machine.")
CHECK
PYTHONPATH=. "$python" -c 'import gallery.bench, gallery.cli.main' 2>/dev/null ||
    "$python" -m pip install --quiet --no-compile .
PYTHONPATH=. exec timeout "${LIMIT:-300}" "$python" tests/gpu/measure.py "$results" "$@"
