"""Keeps torch's waiting threads from burning the CPU that others need: import it before torch.

An OpenMP thread that has nothing to do spins before it sleeps. With the defaults of GNU OpenMP
(torch's on Linux) it spins for so long that on a machine with other work the threads of one
process mostly wait for each other, each holding a core. A short spin costs next to nothing on a
quiet machine. `dsetkit` imports this module first, so that every command, its workers, and every
program that imports `dsetkit` before `torch` has the setting. A user's own settings win.

    runtime                 variable         here      without it
    GNU (torch on Linux)    GOMP_SPINCOUNT   2000      about 300,000, or 30 billion turns
    LLVM, Intel (conda)     KMP_BLOCKTIME    1 [ms]    200 ms

Measured: docs/results.md, "Beside other work".
"""

import os

SETTINGS = {"GOMP_SPINCOUNT": "2000", "KMP_BLOCKTIME": "1"}

# What users set to decide the same question themselves.
DECIDED_BY = ("OMP_WAIT_POLICY", *SETTINGS)

if not any(name in os.environ for name in DECIDED_BY):
    os.environ.update(SETTINGS)
