"""Measures of tailrace against its bars: `make bench`, or `python -m benchmarks --help`."""
