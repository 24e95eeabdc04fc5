"""Speed against peers: `python -m benchmarks CASE` runs one case, paired, in one process."""
