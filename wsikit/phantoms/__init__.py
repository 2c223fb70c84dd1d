"""H&E-like slides made by program, with exact truth: for the demo, the tests and the benchmarks."""
