"""The configs that come with the program."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent.parent / "configs"


def names() -> list[str]:
    """Return the names of all shipped configs, in order."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def path(name: str) -> Path:
    """Return the file of a shipped config."""
    return FOLDER / f"{name}.yaml"


def summary(name: str) -> str:
    """Return the first line of a shipped config's comment."""
    return path(name).read_text(encoding="utf-8").split("\n", 1)[0].lstrip("# ")
