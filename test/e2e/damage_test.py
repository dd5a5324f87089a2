"""A few rounds of flipped bits and edited rows in every test run; damage.py says what it does.

faults.md D3, and C22: that doctor checks the store."""
# ctest-timeout: 600
import os
import sys

import damage

SEED = 311416  # the same rounds in each run; others by hand
# A server's check of its store takes a hundredth of the time, and is slow under a sanitizer.
SIZE = ({'rounds': 2, 'edits': 6, 'messages': 300} if os.environ.get('RQ_SANITIZE') else
        {'rounds': 8, 'edits': 30, 'messages': 2000})

sys.exit(damage.run(seed=SEED, **SIZE))
