"""The tables of README.md, generated: `python -m gallery.tables` writes them, a test fails when they differ."""

import inspect
import re
import sys
from pathlib import Path

from .models import MODELS
from .recipes import recipe_for

README = Path(__file__).parents[1] / "README.md"


def models_table() -> str:
    """One row for each file of gallery/models: name, title, variants, what is exact, data of its recipe."""
    rows = ["| model | what it is | variants | known exactly | data |", "|---|---|---|---|---|"]
    for name, cls in MODELS.items():
        if ":" in name:
            continue
        title = inspect.getdoc(sys.modules[cls.__module__]).splitlines()[0].rstrip(".")
        variants = ", ".join(f"`{other}`" for other in MODELS if other.startswith(f"{name}:"))
        exact = ", ".join(word for word in ("log_evidence", "posterior", "e_step") if getattr(cls, word, None))
        rows.append(
            f"| `{name}` | {title} | {variants} | {exact.replace('e_step', 'EM').replace('_', ' ')} | ",
        )
        rows[-1] += f"{recipe_for(name).data} |"
    return "\n".join(rows)


def with_tables(text: str) -> str:
    """README with its generated parts as they should be."""
    return re.sub(r"(<!-- models:.*?-->\n).*?(<!-- /models -->)", rf"\g<1>{models_table()}\n\2", text, flags=re.DOTALL)


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))
