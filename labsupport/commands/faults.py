"""What can go wrong before a lab is open: for each fault one sentence, and the way out."""

from labsupport.core.errors import LabError


class Fault(LabError):
    """A command cannot go on; its text says why, and what to do. The exit status is 1.

    >>> print(Fault("Port {port} is taken.", port=8888))
    Port 8888 is taken.
    """

    def __init__(self, words: str, **facts: object) -> None:
        super().__init__(words.format(**facts) if facts else words)


PYTHON_TOO_OLD = (
    "The workbook needs Python {needed} or newer, and {python} is Python {version}. "
    "Name a newer one: python3 -m labsupport lab --python python3.12"
)
NO_SUCH_PYTHON = (
    "There is no Python that starts as '{python}'. "
    "Name one that does, or leave --python out: python3 -m labsupport lab"
)
# Debian and its relatives ship Python without `ensurepip`.
NO_VENV_MODULE = (
    "{python} cannot make environments: its module venv or ensurepip is missing. "
    "On Debian and Ubuntu install it with: sudo apt install python3-venv "
    "(or python{feature_version}-venv), then start again."
)
VENV_FAILED = (
    "{python} could not make the environment .venv: {last_words} "
    "Delete the folder .venv and start again, or name another Python with --python."
)
# Systems for which PyPI has no PyTorch from 2.9 on, and what to do there.
OTHER_WAYS = (
    "Or read the labs as pages, which an instructor makes with `render`, or work on a server that "
    "has them."
)
NO_PYTORCH = {
    "darwin-x86_64": (
        "PyTorch's packages for Macs with an Intel processor ended with version 2.2, which is made "
        "for NumPy 1; the workbook needs PyTorch 2.9 and NumPy 2. On a Mac with an Apple chip, "
        "name a Python made for it: --python /opt/homebrew/bin/python3. "
    ),
    "win-arm64": (
        "There are no packages of PyTorch and OpenCV for a Python for Windows on ARM. Windows 11 "
        "can also run the Python for x86-64 from python.org; name that one: --python PATH. "
    ),
    "linux-musl": (
        "PyTorch's packages for Linux need the C library glibc, and this system has musl. Use a "
        "system or a container with glibc, such as Debian. "
    ),
    "32 bits": (
        "This Python has 32 bits, and PyTorch has packages for 64 bits alone. On a 64-bit system, "
        "install a 64-bit Python and name it: --python PATH. "
    ),
}
NO_NETWORK = (
    "The packages cannot be downloaded: no package index answered (pip: {reason}). Connect this "
    "computer to the network and start again; what is already there is kept. Behind a proxy, set "
    "HTTPS_PROXY first."
)
NO_SPACE = (
    "There is not enough disk space for the environment in {folder}: {amount}. "
    "Make room (python3 -m pip cache purge often helps; the folder for temporary files counts too) "
    "and start again."
)
BECAME_FULL = "the disk became full during the install"  # the amount that is known then
READ_ONLY = (
    "The folder {folder} cannot be written to, so no environment can be made in it. "
    "Copy the workbook to a folder of your own and start it there."
)
FOREIGN_ENVIRONMENT = (
    "{folder} is there, but no Python starts in it, and the workbook did not make it. "
    "Move it away or delete it, then start again."
)
STOPPED = (
    "Stopped before the install was complete. The next start finishes it: python3 -m labsupport lab"
)
INSTALL_FAILED = (
    "The packages could not be installed (pip: {last_words}). The whole story is in {log}. "
    "Mend that and start again; what is already there is kept."
)
LACKS_PACKAGES = (
    "This Python lacks what the installed workbook needs, or has other versions of it. "
    "Bring it with: python3 -m pip install {lacking}"
)
NO_FOLDER = (
    "The installed workbook unpacks its notebooks into a folder of yours. "
    "Name one, which may be there already: labsupport lab --into FOLDER"
)
PORT_TAKEN = (
    "Port {port} is taken by another program. "
    "Leave --port out, and a free one is chosen, or name another: --port 8890"
)
BAD_PORT = (
    "Port {port} cannot be used. A port is a number from 1024 to 65535 here; "
    "leave --port out, and a free one is chosen."
)
NO_PORT = (
    "No port of this computer can be listened on. A firewall or a security program forbids "
    "it: allow Python to listen on 127.0.0.1, then start again."
)
