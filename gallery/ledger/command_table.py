"""The commands of the published experiments, in Markdown."""

import json

from gallery.catalogue.recipes import RECIPES
from gallery.ledger.experiment_tables import EXPERIMENTS_FOLDER, markdown_table
from gallery.ledger.experiments import EXPERIMENTS

__all__ = ["commands_table"]


def commands_table() -> str:
    """Return a row for each recipe with experiments; data and processor where the folder has about.json."""
    header, rows = ["experiments on", "command", "data", "hash of the data", "processor"], []
    for recipe in EXPERIMENTS:
        model = RECIPES[recipe].model
        file = EXPERIMENTS_FOLDER / model / "about.json"
        about = json.loads(file.read_text()) if file.exists() else {}
        where = [about.get("data", ""), about.get("data_hash", "")[:8], about.get("processor", "")]
        rows.append([f"`{model}`", f"`gallery reproduce {recipe}`", *where])
    known = [i for i in range(len(header)) if any(row[i] for row in rows)]
    return markdown_table([header[i] for i in known], [[row[i] for i in known] for row in rows])
