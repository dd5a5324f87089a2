"""A full disk: what frees room is served, all else is refused with the reason, and it ends by itself.

Runs on a small file system of its own, mounted where no other process sees it.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import rqtest

checks = rqtest.Checks()
equal, that = checks.equal, checks.that
DISK_MIB = 96


def fill(path):
    """Takes all that is left."""
    with open(path, 'wb', buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            pass


def until(what, holds):
    deadline = time.monotonic() + rqtest.REPLY_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            return that(False, f'never came: {what}')
        time.sleep(0.05)
    return that(True, what)


def test(folder):
    filler = folder / 'filler'
    (folder / 'rq').mkdir()
    with rqtest.Server(dir=folder / 'rq') as s:
        s.put('/v1/queues/q', {'keep_done': {'count': 0}})
        ids = [s.post('/v1/queues/q/messages', {'payload': 'x' * 2000}).json['id']
               for _ in range(200)]
        equal(s.get('/v1/health').status, 200, 'healthy')
        fill(filler)
        # faults.md C15: health said 200 while every put was refused.
        until('health says so', lambda: s.get('/v1/health').status == 503)
        that('disk is full: puts are refused until 32 MiB are free'
             in s.get('/v1/health').json['error']['message'], 'with the reason')
        # faults.md D15: removes were refused as well.
        fill(folder / 'more')  # others take what was kept for us, in part or all
        os.unlink(folder / 'more')
        r = s.post('/v1/queues/q/messages', {'payload': 'x'})
        equal((r.status, r.code), (507, 'disk_full'), 'a put')
        that('until 32 MiB are free' in r.json['error']['message'], f'says how long: {r}')
        that('remove messages' in r.json['error']['remedy'], f'says what to do: {r}')
        equal(s.post('/v1/queues/q/messages', [{}]).json['items'][0]['error']['code'], 'disk_full', 'many')
        equal(s.delete(f'/v1/messages/{ids[0]}').status, 200, 'a remove')
        equal(s.post(f'/v1/messages/{ids[1]}/cancel').status, 200, 'a cancel')
        m = s.post('/v1/reserve', {'queues': ['q']}).json['messages'][0]
        equal(s.post('/v1/done', {'token': m['lease']['token']}).json['state'], 'done', 'an end')
        r = s.post('/v1/messages/bulk', {'action': 'remove', 'filter': {'queue': 'q',
                                                                       'state': 'que'}})
        equal(r.json['changed'], 197, f'many: {r}')
        equal(s.delete('/v1/queues/q?force=1').status, 200, 'a queue')
        s.put('/v1/queues/q2', {})
        s.kill()
        s.start()
        equal(s.get('/v1/health').status, 503, 'a start on a full disk')
        equal(s.post('/v1/queues/q2/messages', {}).code, 'disk_full', 'changes nothing')
        os.unlink(filler)
        until('health is well again', lambda: s.get('/v1/health').status == 200)
        equal(s.post('/v1/queues/q2/messages', {}).status, 201, 'a put')


def main():
    if len(sys.argv) == 1:
        # Its own mounts; without root, its own user as well.
        words = ['unshare', '--mount'] + ([] if os.geteuid() == 0 else ['--user', '--map-root-user'])
        return subprocess.run([*words, sys.executable, __file__, 'mounted'], check=False).returncode
    with tempfile.TemporaryDirectory(prefix='rqtest-') as folder:
        subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={DISK_MIB}m', 'rqtest', folder],
                       check=True)
        try:
            test(pathlib.Path(folder))
        finally:
            subprocess.run(['umount', '--lazy', folder], check=True)
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
