"""Speed, beside peers and limits: ``python -m benchmarks`` (see README.md)."""
