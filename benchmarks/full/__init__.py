"""What `make bench-full` measures beside the table of `make bench`: lines 14 to 19, and growth.

Each part is a module with a function that returns records, which `benchmarks.report` prints as it
does those of pytest-benchmark. Peers have the memory that kvengine has by default (`base.OURS`).
"""
