#!/usr/bin/env python3
"""A queue script in Python: counts the words of a text.

The payload comes on standard input; here it is the name of a file. fd 3 is the way back to rq.
"""
import collections
import os
import re
import sys

back = os.fdopen(int(os.environ['RQ_WRITE']), 'w', buffering=1)
path = sys.stdin.read().strip()

try:
    with open(path, encoding='utf-8', errors='replace') as text:
        lines = text.read().splitlines()
except OSError as error:
    print('err', error, file=back)
    sys.exit(0)

counts = collections.Counter()
for number, line in enumerate(lines, 1):
    counts.update(re.findall(r'[a-z]{4,}', line.lower()))
    if number % max(1, len(lines) // 4) == 0:
        print(f'run {number * 100 // len(lines)} %', file=back)

for word, count in counts.most_common(5):
    print(f'{count:6}  {word}')
best = ', '.join(f'{word} {count}' for word, count in counts.most_common(3))
print(f'done {sum(counts.values())} words, {len(counts)} different; most often: {best}', file=back)
