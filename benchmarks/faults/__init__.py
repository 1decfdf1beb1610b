"""Whether kept files can be trusted: runs that are killed, damaged or doubled, compared with an undisturbed run.

    python -m benchmarks.faults kills
    python -m benchmarks.faults flips
    python -m benchmarks.faults two

All runs use the test environment (`--env=test`: a tiny random model) in scratch copies of the project. `kills` ends
runs with SIGKILL at random moments and starts them again. `flips` damages one kept file at a time and runs again.
`two` starts two runs in one folder. In each the tables must be those of a run that nothing disturbed.
"""
