#!/usr/bin/env bash
# What only a GPU can show, in one call of at most five minutes: bash tests/gpu/run.sh RESULTS.json
# Needs torch 2.11 or newer; installs what else is missing. `gallery bench --merge RESULTS.json` adds the file to the
# committed measurements.
set -euo pipefail
results="$(realpath "${1:-gpu.json}")"
cd "$(dirname "$0")/../.."
PYTHONPATH=. python3 -c 'import gallery.bench, gallery.cli.main' 2>/dev/null || python3 -m pip install --quiet --no-compile .
PYTHONPATH=. timeout 300 python3 tests/gpu/measure.py "$results"
