"""Run one notebook with papermill: `python -m helpers.execute IN OUT [-y YAML]`.

`make run` calls it for each notebook. Beyond papermill's own command, the messages between
papermill and the kernel are encrypted, so that the kernel has nothing to warn of; and an error is
told once, with the notebook, its cell, the parameters and the command that repeats it.
"""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import papermill
import psutil
import yaml
from nbclient.exceptions import DeadKernelError
from traitlets.config import Config

from helpers import paths
from helpers.parameters import check_values
from helpers.utils import UserError, cannot_write

COLORS_OF_TERMINALS = re.compile(r"\x1b\[[0-9;]*m")


def parameters_of(name: str, notebooks: Collection[str], **common) -> dict[str, dict]:
    """The parameters of each notebook: those in common and those of `all` that it has, its own.

    Args:
        name: of a file in `parameters/`, without its ending; every notebook is told it.
        notebooks: names of the series.
        common: further ones, if the file does not give them.

    Raises:
        UserError: there is no such file, or it holds what no notebook has or may have.
    """
    path = paths.PARAMETERS / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
        raise UserError(f"no parameters file {path}. PARAMETERS can be {known}")
    try:
        sections = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())
        raise UserError(f"{path} is no YAML: {told}. Mend that line") from error
    if not isinstance(sections, dict) or not all(isinstance(x, dict) for x in sections.values()):
        raise UserError(f"{path} must name notebooks or `all`, with `PARAMETER: value` below each")
    if unknown := set(sections) - {"all", *notebooks}:
        raise UserError(f"{path} names {', '.join(sorted(unknown))}, which is no notebook")
    chosen = {}
    for notebook in notebooks:
        has = papermill.inspect_notebook(str(paths.NOTEBOOKS / f"{notebook}.ipynb"))
        own = sections.get(notebook, {})
        if unknown := set(own) - set(has):
            raise UserError(f"{path}: {notebook} has no parameter {', '.join(sorted(unknown))}")
        given = {"PARAMETERS": name} | common | sections.get("all", {}) | own
        check_values(given)
        chosen[notebook] = {key: value for key, value in given.items() if key in has}
    return chosen


def execute(source: Path, target: Path, parameters: dict) -> None:
    """Run a notebook in its folder; the executed copy stays also where a cell fails.

    Raises:
        papermill.PapermillExecutionError: a cell failed.
        UserError: there is no such notebook, the kernel died, or the copy cannot be written.
    """
    if not source.is_file():
        raise UserError(f"no notebook at {source}. Give the path of one")
    try:
        _execute(source, target, parameters)
    except DeadKernelError as error:
        raise UserError(
            f"the kernel of {source.name} died, most often for want of memory. Finished fits are "
            "kept: free some memory, or run fewer notebooks at a time (JOBS=1), and run again"
        ) from error
    except OSError as error:
        raise cannot_write(target, error) from error


def _execute(source: Path, target: Path, parameters: dict) -> None:
    with tempfile.TemporaryDirectory(prefix="kernel-") as place:
        settings = {"connection_file": f"{place}/connection.json", "transport_encryption": "auto"}
        try:
            papermill.execute_notebook(
                source,
                target,
                parameters,
                kernel_name="python3",
                language="python",
                cwd=source.parent,
                progress_bar=sys.stderr.isatty(),
                config=Config(KernelManager=settings),
            )
        except KeyboardInterrupt:  # a kernel that has only begun would write the file again
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
                    process.wait()
            raise


def explain(error: papermill.PapermillExecutionError, source: Path, target: Path) -> str:
    """What failed and where; a UserError without its traceback, since its line says it all."""
    told = f"{error.ename}: {error.evalue}"
    if error.ename != "UserError":
        told = COLORS_OF_TERMINALS.sub("", "\n".join(error.traceback))
    first_line = error.source.strip().partition("\n")[0]
    return (
        f"{told}\n"
        f"error: {source.name} stopped in cell {error.cell_index + 1} (In [{error.exec_count}]), "
        f"which begins `{first_line}`. The executed copy: {target}"
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.execute", description="run one notebook with papermill"
    )
    parser.add_argument("source", type=Path, metavar="IN", help="the notebook")
    parser.add_argument("target", type=Path, metavar="OUT", help="its executed copy")
    parser.add_argument("-y", dest="parameters", metavar="YAML", default="{}", help="parameters")
    parser.add_argument("--repeat", metavar="COMMAND", help="shown where a cell fails")
    options = parser.parse_args(arguments)
    print(f"{options.source.stem} is executed as {options.target}", file=sys.stderr)
    os.environ["TQDM_DISABLE"] = "1"  # for the kernel; papermill has its bar already
    parameters = yaml.safe_load(options.parameters)
    try:
        execute(options.source, options.target, parameters)
    except papermill.PapermillExecutionError as error:
        told = explain(error, options.source, options.target)
    except UserError as error:
        told = f"error: {error}"
    except KeyboardInterrupt:
        print(f"{options.source.stem} was stopped; the next run goes on", file=sys.stderr)
        return 130
    else:
        return 0
    print(f"{told}\nparameters: {parameters}", file=sys.stderr)
    if options.repeat:
        print(f"repeat it with: {options.repeat}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
