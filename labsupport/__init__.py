"""Tested, device-aware implementations of every idea in the workbook.

Importing this package alone loads nothing heavy; import what a lab needs from
`labsupport.core`, `labsupport.methods` and `labsupport.ui`.
"""

__version__ = "0.1.0"
