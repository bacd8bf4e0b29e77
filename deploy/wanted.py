"""Writes what each extra of pyproject.toml asks for as a file for pip: FOLDER/EXTRA.txt.

wanted.py PYPROJECT FOLDER
"""

import sys
import tomllib
from pathlib import Path


def main() -> None:
    """Write one file an extra; each has the project's own dependencies too."""
    source, folder = map(Path, sys.argv[1:])
    project = tomllib.loads(source.read_text())["project"]
    folder.mkdir()
    for extra, requirements in project["optional-dependencies"].items():
        (folder / f"{extra}.txt").write_text("\n".join([*project["dependencies"], *requirements, ""]))


if __name__ == "__main__":
    main()
