"""Memory of notebooks while they run: `python -m tests.soak.memory SECONDS`, beside `make run`.

Each running notebook is its executing process with all that it started. Shared pages count once
(the proportional set size of Linux). Printed: the most of every five minutes, in megabytes.
"""

import sys
import time

import pandas as pd
import psutil


def megabytes() -> dict[str, float]:
    """Of every notebook that runs now on this machine."""
    found = {}
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if {"helpers.execute"} & {*words} or any(word.endswith("/papermill") for word in words):
                name = next(word for word in words if word.endswith(".ipynb"))
                tree = [process, *process.children(recursive=True)]
                found[name] = sum(one.memory_full_info().pss for one in tree) / 2**20
        except (psutil.Error, StopIteration):  # gone meanwhile
            continue
    return found


def main(seconds: float) -> None:
    """Look every five seconds; print the table."""
    start, rows = time.monotonic(), []
    while (passed := time.monotonic() - start) < seconds:
        minute = int(passed // 300) * 5
        rows += [(name, minute, value) for name, value in megabytes().items()]
        time.sleep(5)
    table = pd.DataFrame(rows, columns=["notebook", "minute", "megabytes"])
    print(table.pivot_table("megabytes", "notebook", "minute", "max").round().to_string())


if __name__ == "__main__":
    main(float(sys.argv[1]))
