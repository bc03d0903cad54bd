"""The installed command: `pediatric-pneumonia predict IMAGE...`."""

import sys
from importlib import import_module

COMMANDS = {"predict": "helpers.predict.__main__"}


def main(arguments: list[str] | None = None) -> int:
    """Call the command that is named first with the rest; returns its exit code."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    if name not in COMMANDS:
        print(f"usage: pediatric-pneumonia {{{','.join(COMMANDS)}}} ...", file=sys.stderr)
        return 2
    try:
        return import_module(COMMANDS[name]).main(rest)
    except ModuleNotFoundError as error:
        print(
            f"error: {error.name} is not installed, which this needs. "
            "Install the extra full: pip install 'pediatric-pneumonia[full]'",
            file=sys.stderr,
        )
        return 1


if __name__ == "__main__":
    sys.exit(main())
