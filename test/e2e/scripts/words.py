#!/usr/bin/env python3
"""Counts the words of the payload."""
import os
import sys

rq = os.fdopen(3, 'w', buffering=1)  # buffered by line: each line goes out when it is whole

words = {}
for number, line in enumerate(sys.stdin, 1):
    for word in line.lower().split():
        words[word] = words.get(word, 0) + 1
    if number % 1000 == 0:
        rq.write(f'run {number} lines\n')

if not words:
    rq.write('err the payload has no words\n')
    sys.exit(1)
for word, count in sorted(words.items(), key=lambda item: (-item[1], item[0]))[:10]:
    print(f'{count:8} {word}')
rq.write(f'done {sum(words.values())} words, {len(words)} different\n')
