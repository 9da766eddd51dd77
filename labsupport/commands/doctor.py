"""`doctor`: what is there, what is wrong, and the one line that fixes it."""

import json
import platform
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from labsupport.commands import environment, interpreters, machine, requirements
from labsupport.commands.notebooks import read, tags, text_of
from labsupport.commands.requirements import ROOT, Requirement, unmet, wanted
from labsupport.core import bundled
from labsupport.core.errors import DamagedData

INSTALL = "python3 -m labsupport lab"
MANAGER = "@jupyter-widgets/jupyterlab-manager"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass(frozen=True)
class Finding:
    """One row: what was looked at, what is there, and for a fault the line that fixes it."""

    topic: str
    words: str
    fix: str = ""

    @property
    def verdict(self) -> str:
        """ "ok", or "FAULT" when there is something to fix."""
        return "FAULT" if self.fix else "ok"


def add_arguments(parser: ArgumentParser) -> None:
    """`doctor` has no options."""
    parser.epilog = "The exit status is 0 if all is well, else 1."


def main(_options: Namespace) -> int:
    """Examine the environment that the labs would use, and print a table."""
    if not unmet(wanted()) or not environment.is_complete(()):
        return report()
    return interpreters.in_interpreter(interpreters.inside(environment.HOME), report)


def report() -> int:
    """Print the findings in a table, then how many faults there are."""
    findings = [finding for look in EXAMINATIONS for finding in examined(look)]
    print(table(findings))
    faults = [finding for finding in findings if finding.fix]
    print(f"\n{len(faults)} to fix." if faults else "\nAll is well.")
    return 1 if faults else 0


def try_out(labs: Sequence[Path]) -> int:
    """The report, then each lab's setup cell in a kernel of its own, as JupyterLab starts it."""
    faults = report()
    for path in labs:
        start = time.perf_counter()
        words = setup_error(path) or "starts"
        faults += words != "starts"
        print(f"{path.stem}: {words}, {time.perf_counter() - start:.0f} s", flush=True)
    return 1 if faults else 0


def setup_error(path: Path) -> str:
    """The error that stops a lab's setup cell; "" when it runs."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from nbformat.v4 import new_code_cell, new_notebook

    sources = [text_of(cell) for cell in read(path)["cells"] if "setup" in tags(cell)]
    cells = [new_code_cell(source) for source in sources]  # type: ignore[no-untyped-call]
    notebook = new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    try:
        client = NotebookClient(notebook, timeout=300, extra_arguments=["--log-level=ERROR"])
        client.execute(env=interpreters.environment_variables(), cwd=str(path.parent))
    except (CellExecutionError, OSError, RuntimeError, TimeoutError) as error:
        return f"does not start ({str(error).strip().splitlines()[-1]})"
    return ""


def examined(look: Callable[[], list[Finding]]) -> list[Finding]:
    """What one look finds; a look that fails is a finding too, not the end of the table."""
    try:
        return look()
    except Exception as error:
        topic = look.__name__.removeprefix("look_at_")
        words = f"could not be examined: {type(error).__name__}: {error}"
        return [Finding(topic, words, "python3 -m labsupport test --quick")]


def table(findings: Iterable[Finding]) -> str:
    """The findings as text, a column each for topic and verdict."""
    rows = list(findings)
    width = max(len(row.topic) for row in rows)
    lines = []
    for row in rows:
        lines.append(f"{row.topic:{width}}  {row.verdict:5}  {row.words}")
        if row.fix:
            lines.append(f"{'':{width}}         fix: {row.fix}")
    return "\n".join(lines)


def look_at_python() -> list[Finding]:
    """The interpreter and its environment."""
    needed = f"{requirements.oldest_python()} or newer is needed"
    words = f"{platform.python_version()} ({sys.executable}), {needed}"
    stamp = environment.Stamp.read(environment.HOME)
    findings = [Finding("Python", words)]
    if stamp is not None and not stamp.finished:
        findings.append(Finding("environment", "an install into .venv was interrupted", INSTALL))
    elif Path(sys.prefix).resolve() == environment.HOME.resolve():
        findings.append(Finding("environment", ".venv, beside the README"))
    else:
        findings.append(Finding("environment", f"this Python's own, {sys.prefix}"))
    return findings


def look_at_packages() -> list[Finding]:
    """Each package of pyproject.toml: which version there is."""
    return [package(requirement) for requirement in wanted()]


def package(requirement: Requirement) -> Finding:
    """One package: required and found."""
    bounds = str(requirement).removeprefix(requirement.name) or "any version"
    version = requirements.installed(requirement.name)
    if version is None:
        return Finding(requirement.name, f"missing ({bounds} is needed)", INSTALL)
    good = requirement.admits(version)
    words = f"{version} ({bounds}{'' if good else ' is needed'})"
    return Finding(requirement.name, words, "" if good else INSTALL)


def look_at_test_tools() -> list[Finding]:
    """What `test` needs on top; its absence is no fault."""
    missing = [lack.name for lack in unmet(wanted("test")[len(wanted()) :])]
    words = f"missing: {', '.join(missing)}; 'test' installs them" if missing else "all there"
    browser = next(filter(None, map(shutil.which, CHROMIUM)), None)
    seen = browser or "no Chromium; the browser tests will be skipped"
    return [Finding("test tools", words), Finding("test browser", seen)]


def look_at_widgets() -> list[Finding]:
    """ipywidgets on both sides: JupyterLab must draw them, and the kernel must have them."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
        from jupyter_core.paths import jupyter_path
    except ImportError:
        return [Finding("widgets", "no Jupyter in this environment", INSTALL)]
    places = [Path(folder, MANAGER, "package.json") for folder in jupyter_path("labextensions")]
    place = next(filter(Path.exists, places), None)
    if place is None:
        fix = f"{sys.executable} -m pip install --force-reinstall jupyterlab_widgets"
        server = Finding("widgets, server", f"JupyterLab lacks {MANAGER}", fix)
    else:
        version = json.loads(place.read_text(encoding="utf-8"))["version"]
        server = Finding("widgets, server", f"{MANAGER} {version}")
    try:
        spec = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel:
        return [server, Finding("widgets, kernel", "no kernel called python3", KERNEL_FIX)]
    return [server, kernel(spec.argv[0])]


KERNEL_FIX = f"{sys.executable} -m ipykernel install --sys-prefix"


def kernel(command: str) -> Finding:
    """The kernel's interpreter: does it find the widgets and the workbook?"""
    python = sys.executable if command.startswith("python") else command
    question = "import ipykernel, ipywidgets, labsupport; print(ipywidgets.__version__)"
    try:
        reply = subprocess.run(
            [python, "-c", question],
            env=interpreters.environment_variables(),
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        words = f"the kernel python3 is {python}, and that lacks ipywidgets or the workbook"
        return Finding("widgets, kernel", words, KERNEL_FIX)
    return Finding("widgets, kernel", f"ipywidgets {reply.stdout.strip()} ({python})")


def look_at_device() -> list[Finding]:
    """The hardware that will compute."""
    try:
        import torch
        import torchvision
    except (ImportError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        fix = f"{sys.executable} -m pip install --force-reinstall torch torchvision"
        return [Finding("device", f"PyTorch does not start: {reason}", fix)]
    del torch, torchvision
    from labsupport.core import device

    try:
        return [Finding("device", device.describe(device.pick()))]
    except ValueError as error:
        return [Finding("device", str(error), f"unset {device.VARIABLE}")]


def look_at_room() -> list[Finding]:
    """Memory and disk."""
    memory, disk = machine.total_memory(), shutil.disk_usage(ROOT).free
    findings = []
    if memory is None:
        findings.append(Finding("memory", "this system does not say"))
    else:
        fix = "close other programs, or use a computer with 4 GB" if memory < 3e9 else ""
        findings.append(Finding("memory", machine.in_words(memory), fix))
    fix = f"make room on the disk of {ROOT}" if disk < 5e8 else ""
    return [*findings, Finding("disk", f"{machine.in_words(disk)} free", fix)]


def look_at_data() -> list[Finding]:
    """The bundled files, folder by folder, each compared with its checksum."""
    try:
        names = bundled.names()
    except DamagedData as error:
        return [Finding("data", str(error), bundled.way_back(bundled.SUMS))]
    folders: dict[str, list[str]] = {}
    for name in names:
        folders.setdefault(name.partition("/")[0], []).append(name)
    return [bundled_folder(folder, held) for folder, held in folders.items()]


def bundled_folder(folder: str, names: list[str]) -> Finding:
    """One folder of the data."""
    damaged, size = [], 0
    for name in names:
        try:
            size += bundled.path(name).stat().st_size
        except DamagedData:
            damaged.append(name)
    if damaged:
        words = f"damaged or missing: {', '.join(damaged[:3])}{' ...' if damaged[3:] else ''}"
        fix = bundled.way_back(*(damaged if len(damaged) < 4 else [folder]))
        return Finding(f"data/{folder}", words, fix)
    count = "1 file" if len(names) == 1 else f"{len(names)} files"
    return Finding(f"data/{folder}", f"{count}, {machine.in_words(size)}, as shipped")


def look_at_networks() -> list[Finding]:
    """Which networks work without a connection."""
    try:
        from labsupport.core import network as networks
    except (ImportError, OSError, RuntimeError):
        return [Finding("networks", "unknown without PyTorch", INSTALL)]
    offline = networks.offline_names()
    others = [name for name in networks.names() if name not in offline]
    fix = "" if offline else bundled.way_back("weights")
    findings = [Finding("networks, offline", ", ".join(offline) or "none", fix)]
    if others:
        words = f"{', '.join(others)} (downloaded on first use)"
        findings.append(Finding("networks, online", words))
    return findings


EXAMINATIONS: tuple[Callable[[], list[Finding]], ...] = (
    look_at_python,
    look_at_packages,
    look_at_test_tools,
    look_at_widgets,
    look_at_device,
    look_at_room,
    look_at_data,
    look_at_networks,
)
