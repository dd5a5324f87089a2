"""Folders of removed messages that cannot be deleted: they keep no other folder waiting, rq doctor
names them, and they go when they can. faults.md D13"""
import json
import os
import sqlite3
import subprocess
import sys

import rqtest

checks = rqtest.Checks()
eventually = rqtest.eventually
STUCK, OTHERS = 3, 5


def immutable(path, on):
    return subprocess.run(['chattr', '+i' if on else '-i', path], capture_output=True).returncode == 0


def doctor(server):
    done = subprocess.run([rqtest.RQ_BIN, 'doctor', '--json', '--dir', str(server.dir)],
                          capture_output=True, text=True)
    return [c['text'] for c in json.loads(done.stdout)['checks'] if c['check'] == 'folder']


# A row that names no folder of a message is not followed, and not forgotten without a word.
# faults.md D13, relative
with rqtest.Server(manual_clock=False) as s:
    s.terminate()
    outside = s.dir / 'outside'
    outside.mkdir()
    with sqlite3.connect(s.dir / 'db' / 'rq.db') as db:
        db.execute("INSERT INTO waste VALUES ('queue/../outside')")
    s.start()
    eventually(lambda: "'queue/../outside' is none" in s.log(), 'the log names it')
    checks.that(outside.is_dir(), 'it stays')

with rqtest.Server(manual_clock=False, worker=True) as s:
    script = s.dir / 'script'
    script.write_text('#!/bin/sh\ntouch file\nmkdir -p a/b/c\necho done >&3\n')
    script.chmod(0o755)
    s.put('/v1/queues/q', {'script': str(script), 'num_workers': 2})
    ids = [s.post('/v1/queues/q/messages', {'payload': 'x'}).json['id']
           for _ in range(STUCK + OTHERS)]
    eventually(lambda: s.get('/v1/queues/q').json['counts']['done'] == len(ids), 'all are done')
    folders = {id: s.dir / 'queue' / 'q' / id for id in ids}
    files = [folders[id] / 'job' / 'file' for id in sorted(ids)[:STUCK]]
    if not all(immutable(file, True) for file in files):
        print('skipped: chattr +i does not work here')
        for file in files:
            immutable(file, False)
        sys.exit(rqtest.SKIPPED)
    # Whatever stands in the place of the file for rq doctor, it keeps nobody waiting. D13, relative
    os.mkfifo(s.dir / 'run' / 'undeleted')
    try:
        for id in ids:
            s.delete(f'/v1/messages/{id}')
        eventually(lambda: not any(folders[id].exists() for id in sorted(ids)[STUCK:]),
                   'the others are deleted')
        eventually(lambda: len(doctor(s)) == STUCK, 'doctor names those that stay')
        checks.that(all(id in ' '.join(doctor(s)) for id in sorted(ids)[:STUCK]), 'by name')
    finally:
        for file in files:
            immutable(file, False)
    s.terminate()
    s.start()
    eventually(lambda: not any(f.exists() for f in folders.values()), 'they go at the next start')
    eventually(lambda: doctor(s) == [], 'doctor is content')
sys.exit(checks.report())
