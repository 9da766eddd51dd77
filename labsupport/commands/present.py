"""`present`: one lab for the screen of a lecture hall, its code hidden, its panels live (Voila).

It shows a copy whose formulas are MathML already, because Voila would fetch what draws formulas
from the web.
"""

import secrets
import sys
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

from labsupport.commands import environment, interpreters, lab
from labsupport.commands.notebooks import Notebook, chosen, text_of, write
from labsupport.commands.render import prepared
from labsupport.commands.requirements import ROOT

COPIES = ROOT / "build" / "present"


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `present`."""
    parser.add_argument("lab", help="its number or name, as 05")
    parser.add_argument("--solved", action="store_true", help="with every exercise solved")
    lab.add_server_arguments(parser)


def main(options: Namespace) -> int:
    """Write the copy, then become Voila on this computer alone."""
    (path,) = chosen([options.lab])
    port = lab.checked_port(options.port)
    python = environment.ready("instructor")
    return interpreters.in_interpreter(python, partial(show, path, port, options))


def show(path: Path, port: int, options: Namespace) -> int:
    """Hand over to Voila."""
    copy = COPIES / path.name
    write(with_formulas(prepared(path, solved=options.solved, presenter=False)), copy)
    token = secrets.token_hex(24)
    print(f"The lab opens at http://{lab.HOST}:{port}/?token={token}")
    print("Its cells run first, which takes up to a minute. Ctrl-C closes it.", flush=True)
    command = server_command(copy, port, browser=not options.no_browser)
    return interpreters.exec_program(command, JUPYTER_TOKEN=token)


def server_command(copy: Path, port: int, *, browser: bool) -> list[str]:
    """The words that start Voila; its token comes in JUPYTER_TOKEN, unseen by other users."""
    return [
        sys.executable,
        "-m",
        "voila",
        str(copy),
        f"--Voila.ip={lab.HOST}",
        f"--Voila.port={port}",
        "--Voila.port_retries=0",
        f"--Voila.open_browser={browser}",
        "--Voila.auto_token=True",
        "--VoilaConfiguration.strip_sources=True",
    ]


def with_formulas(notebook: Notebook) -> Notebook:
    """The notebook with the formulas of its prose as MathML."""
    from labsupport.commands.pages import prose

    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = prose(text_of(cell))
    return notebook
