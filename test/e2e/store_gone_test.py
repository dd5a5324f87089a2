"""The store disappears under a running server, also while nobody asks for anything: the server ends
and says why. faults.md D14"""
import os
import shutil
import subprocess
import sys

import rqtest

checks = rqtest.Checks()


def ends(what, take_away):
    with rqtest.Server(manual_clock=False) as server:
        server.put('/v1/queues/q', {})
        checks.equal(server.post('/v1/queues/q/messages', {'payload': 'x'}).status, 201, what)
        log = open(server.log_path, encoding='utf-8')
        take_away(server.dir)
        code = server.process.wait(rqtest.REPLY_SECONDS)
        checks.that(code != 0, f'{what}: it ends with {code}')
        text = log.read()
        log.close()
        checks.that('is not there any more' in text, f'{what}: it says why: {text[-500:]}')


def replace(directory):
    store = directory / 'db' / 'rq.db'
    shutil.copy(store, f'{store}.copy')
    os.rename(f'{store}.copy', store)


ends('the directory is deleted', shutil.rmtree)
ends('the directory is moved', lambda d: os.rename(d, f'{d}-moved'))
ends('db is deleted', lambda d: shutil.rmtree(d / 'db'))
ends('the file is deleted', lambda d: (d / 'db' / 'rq.db').unlink())
ends('the file is replaced', replace)

def doctor_knows():
    """What the server refuses at its start, rq doctor names."""
    with rqtest.Server(manual_clock=False) as one, rqtest.Server(manual_clock=False) as other:
        for server in (one, other):
            server.terminate()
        for what, change in (('is another one', lambda path: shutil.copy(other.dir / 'db' / 'rq.db', path)),
                             ('is gone or empty', lambda path: open(path, 'w').close())):
            change(one.dir / 'db' / 'rq.db')
            for more in ([], ['--quick']):
                ran = subprocess.run([rqtest.RQ_BIN, 'doctor', '--dir', one.dir, *more],
                                     capture_output=True, text=True)
                checks.that(what in ran.stdout and 'rq.db.identity' in ran.stdout, f'doctor: {what}: {ran}')
            ran = subprocess.run(one.command(), capture_output=True, text=True)
            checks.that(ran.returncode != 0 and what in ran.stdout + ran.stderr, f'the server: {what}: {ran}')


doctor_knows()
sys.exit(checks.report())
