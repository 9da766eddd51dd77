"""The workbook's commands: `python3 -m labsupport lab`, `test`, `doctor` and the rest.

Until the environment exists there is only the standard library, so every module here imports
anything else inside the function that needs it.
"""

import importlib
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from labsupport.core.errors import LabError, nearest

# By the word to type: the module that knows what to do, with `main` and `add_arguments`; and what
# it is for.
COMMANDS = {
    "lab": ("lab", "make the environment if need be, and open the notebooks"),
    "test": ("gates", "check everything: lint, types, tests, notebooks, browser"),
    "doctor": ("doctor", "what is there, what is wrong, and what fixes it"),
    "solve": ("solve", "write the notebooks with all exercises solved"),
    "update": ("update", "bring a newer version into this folder, and keep your work"),
    "handout": ("handout", "write the folder that an instructor gives to a class"),
    "grade": ("grade", "mark a folder of submitted notebooks: a table, and a page to read"),
    "render": ("render", "write the labs as pages to read, executed, with their pictures"),
    "present": ("present", "show one lab to a room: code hidden, panels live"),
    "gallery": ("gallery", "make the README's pictures anew, one from each lab"),
    "bench": ("bench", "time our way and other ways side by side"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; the exit status is 0 if all is well. Faults are said in a sentence."""
    try:
        return dispatch(sys.argv[1:] if arguments is None else arguments)
    except LabError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


def dispatch(arguments: Sequence[str]) -> int:
    """Find the command, read its options, carry it out."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    name = arguments[0]
    if name in COMMANDS and name not in available():
        raise LabError(f"'{name}' is for instructors, and this folder is a student's. {overview()}")
    if name not in COMMANDS:
        close = nearest(name, available(), count=1)[0]
        raise LabError(
            f"There is no command '{name}'; the nearest is: python3 -m labsupport {close}"
        )
    home, purpose = COMMANDS[name]
    module = importlib.import_module(f"labsupport.commands.{home}")
    parser = ArgumentParser(
        prog=f"python3 -m labsupport {name}",
        description=purpose,
        formatter_class=RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    options, rest = parser.parse_known_args(arguments[1:])
    if rest and "rest" not in options:
        parser.error(f"what is {' '.join(rest)}? Try --help")
    options.rest = rest
    status: int = module.main(options)
    return status


def available() -> dict[str, tuple[str, str]]:
    """The commands that are here: a handout comes without those for instructors."""
    here = Path(__file__).parent
    return {word: one for word, one in COMMANDS.items() if (here / f"{one[0]}.py").is_file()}


def overview() -> str:
    """What there is to type.

    >>> print(overview().splitlines()[0])
    python3 -m labsupport COMMAND
    """
    there = available()
    width = max(map(len, there))
    lines = [f"  {name:{width}}  {purpose}" for name, (_, purpose) in there.items()]
    return "\n".join(
        ["python3 -m labsupport COMMAND", "", *lines, "", "COMMAND --help tells more."]
    )
