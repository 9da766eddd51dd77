"""`python3 -m labsupport`: the workbook's commands.

Kept so plain that a Python far too old for the workbook can still read it, and say so.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        "The workbook needs Python 3.11 or newer, and this is Python %d.%d.%d (%s). "
        "Install a newer Python, then start with it, for example: python3.12 -m labsupport lab"
        % (sys.version_info[:3] + (sys.executable,))
    )

from labsupport.commands import main

if __name__ == "__main__":
    sys.exit(main())
