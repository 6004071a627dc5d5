"""One thread for each test process: they run side by side, one for each core (see pyproject).

On pictures as small as these, several threads mostly wait for each other.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded; for commands that tests start, too
