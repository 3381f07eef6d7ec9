"""What tracing costs: ``python -m benchmarks`` prints ratios from one interleaved run."""
