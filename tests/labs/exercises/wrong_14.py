"""Lab 14 has no exercises, so there is nothing to answer wrongly."""

WRONG: dict[str, tuple] = {}
