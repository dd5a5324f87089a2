"""A few rounds of flipped bits and edited rows in every test run; damage.py says what it does.

faults.md D3, and C22: that doctor checks the store."""
# ctest-timeout: 600
import random
import sys

import damage

sys.exit(damage.run(rounds=8, edits=30, seed=random.randrange(1_000_000), messages=2000))
