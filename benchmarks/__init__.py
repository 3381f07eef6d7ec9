"""What tracing and requests cost: ``python -m benchmarks`` prints ratios from one interleaved run."""
