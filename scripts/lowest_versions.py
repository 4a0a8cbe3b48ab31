"""The lowest version of each requirement that pyproject.toml admits, as constraints for pip.

``make lowest`` installs these into an environment of their own and downloads the demo with them.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent


def lowest(requirements: list[str]) -> list[str]:
    """``name==version`` for each requirement that has a lower bound.

    Args:
        requirements: As in ``[project] dependencies``.
    """
    found: dict[str, str] = {}
    for text in requirements:
        requirement = Requirement(text)
        for bound in requirement.specifier:
            if bound.operator == ">=":
                found[requirement.name] = bound.version
    return [f"{name}=={version}" for name, version in sorted(found.items())]


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    print("\n".join(lowest(project["dependencies"])))
