"""Speed, measured side by side: each contender takes its turn in the same process.

A machine's speed drifts, so single times say little. The contenders of a contest take turns, round
by round, and what is reported are medians over the rounds and ratios between them.
"""
