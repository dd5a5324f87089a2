"""Tokens on the command line, as docs/SECURITY.md shows them: made, used, rotated, revoked; a worker that
calls with one; and no secret anywhere that it does not belong (pitfalls NA2, NA4).
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import rqtest

checks = rqtest.Checks()
equal, that = checks.equal, checks.that


def rq(*args, env=None, **more):
    plain = {k: v for k, v in os.environ.items() if not k.startswith('RQ_') or k == 'RQ_BIN'}
    return subprocess.run([rqtest.RQ_BIN, *map(str, args)], capture_output=True, text=True, timeout=60,
                          env={**plain, **(env or {})}, **more)


class Place:
    """A server where nobody is anonymous, and how to get there."""

    def __init__(self, server, folder):
        self.server, self.folder = server, pathlib.Path(folder)
        self.url = f'http://127.0.0.1:{server.port}'
        self.secrets = []

    def owner(self, *args):
        return rq(*args, '--dir', self.server.dir)

    def create(self, name, *args):
        """The token file of a new token."""
        made = self.owner('token', 'create', name, *args)
        equal(made.returncode, 0, f'create {name}: {made}')
        return self.keep(name, made.stdout)

    def keep(self, name, text):
        that(re.fullmatch(r'rq_[a-z2-9]{12}_\S{43}\n', text), f'the token alone: {text!r}')
        self.secrets.append(text.strip().rpartition('_')[2])
        path = self.folder / f'{name}.token'
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w') as file:
            file.write(text)
        return path

    def call(self, token_file, *args, env=None):
        where = ['--token-file', token_file] if token_file else []
        return rq(*args, '--server', self.url, *where, env=env)


def try_life(place):
    place.owner('queue', 'create', 'mail-a')
    place.owner('queue', 'create', 'other')
    token = place.create('deploy', '--right', 'enqueue:mail-*', '--right', 'read', '--expires', '90d')
    equal(place.call(token, 'put', 'mail-a', 'hello').returncode, 0, 'it may put there')
    refused = place.call(token, 'put', 'other', 'hello')
    equal(refused.returncode, 6, f'and nowhere else: {refused}')
    that("token:deploy has not the right 'enqueue' for queue 'other'" in refused.stderr, refused.stderr)
    equal(place.call(token, 'stats').returncode, 0, 'it may look')
    nobody = place.call(None, 'stats')
    equal(nobody.returncode, 6, 'without it nobody may anything')
    that('--token-file' in nobody.stderr, f'which is said: {nobody.stderr}')
    text = token.read_text().strip()
    equal(place.call(None, 'stats', env={'RQ_TOKEN': text}).returncode, 0, 'RQ_TOKEN')
    equal(place.call(None, 'stats', env={'RQ_TOKEN_FILE': str(token)}).returncode, 0, 'RQ_TOKEN_FILE')
    listed = place.owner('token', 'list')
    that(re.search(r'deploy +holds .* user:\S+ +enqueue:mail-\*, read', listed.stdout), listed.stdout)
    rotated = place.owner('token', 'rotate', 'deploy', '--overlap', '1h')
    that('the one before holds until' in rotated.stderr, f'{rotated}')
    newer = place.keep('newer', rotated.stdout)
    for file in (token, newer):
        equal(place.call(file, 'stats').returncode, 0, f'both hold: {file}')
    wrong = place.owner('token', 'revoke', 'deplyo')
    that("did you mean 'deploy'" in wrong.stderr, f'{wrong}')
    equal(place.owner('token', 'revoke', 'deploy').returncode, 0, 'revoked')
    for file in (token, newer):
        equal(place.call(file, 'stats').returncode, 6, f'neither holds: {file}')


def try_bad_input(place):
    for args, said in ((('--right', 'reed'), "did you mean 'read'"), (('--right', 'read:m*l'), 'm*l'),
                       (('--right', 'read:*mail'), 'last character'), ((), '--right'),
                       (('--right', 'read', '--expires', 'soon'), 'soon')):
        made = place.owner('token', 'create', 'bad', *args)
        that(made.returncode == 2 and said in made.stderr, f'{args}: {made}')
    equal(place.owner('token', 'create', 'a b', '--right', 'read').returncode, 2, 'a bad name')
    token = place.create('open', '--right', 'read')
    os.chmod(token, 0o644)
    told = place.call(token, 'stats')
    that(told.returncode == 6 and f'chmod 600 {token}' in told.stderr, f'others can read it: {told}')
    os.chmod(token, 0o600)
    away = rq('stats', '--server', 'http://192.0.2.7:3333', '--token-file', token)
    that(away.returncode == 6 and 'unencrypted' in away.stderr, f'not in the open: {away}')


def try_audit(place):
    told = place.owner('audit')
    for said in ('token created', 'token rotated', 'token revoked', 'queue created', 'unix socket'):
        that(said in told.stdout, f'{said}: {told.stdout}')
    entries = place.owner('audit', '--subject', 'deploy', '--json').stdout.splitlines()
    equal(len(entries), 3, 'of one token')


def try_worker(place):
    script = place.server.dir / 'scripts' / 'env.sh'
    script.write_text('#!/bin/sh\nenv\ntr "\\0" "\\n" < /proc/$PPID/environ\n'
                      'tr "\\0" " " < /proc/$PPID/cmdline\n')
    script.chmod(0o755)
    place.owner('queue', 'create', 'work', '--script', script)
    token = place.create('worker', '--right', 'work', '--right', 'read')
    refused = rq('worker', '--server', place.url, '--dir', place.folder / 'w',
                 env={'RQ_TOKEN': token.read_text().strip()})
    that(refused.returncode == 2 and 'RQ_TOKEN_FILE' in refused.stderr, f'a file only: {refused}')
    (place.folder / 'w').mkdir()
    with open(place.folder / 'w' / 'log', 'w') as log:
        worker = subprocess.Popen([rqtest.RQ_BIN, 'worker', '--server', place.url, '--dir',
                                   place.folder / 'w', '--token-file', token], stdout=log, stderr=log)
    try:
        put = place.owner('put', 'work', 'x', '--wait')
        equal(put.returncode, 0, f'its script has run: {put} {(place.folder / "w" / "log").read_text()}')
        shown = ' '.join(path.read_text(errors='replace') for path in place.folder.glob('w/**/stdio.log'))
        that('RQ_' in shown, f'the script has told its environment: {shown}')
        for secret in place.secrets:
            that(secret not in shown, 'which has no token')
    finally:
        worker.terminate()
        worker.wait()


def try_secrets(place):
    """Nothing of them on the server's disk, in its log, or in the list of processes."""
    place.server.terminate()
    said = place.server.log()
    held = b''.join(path.read_bytes() for path in place.server.dir.rglob('*') if path.is_file())
    seen = subprocess.run(['ps', 'axeww'], capture_output=True, text=True).stdout
    that(len(place.secrets) > 3 and len(held) > 10000, 'there is something to look for')
    for secret in place.secrets:
        that(secret not in said, 'not in the log')
        that(secret.encode() not in held, 'not in a file')
        that(secret not in seen, 'not in the list of processes')


def main():
    with rqtest.Server(manual_clock=False, start=False) as server, tempfile.TemporaryDirectory() as folder:
        (server.dir / 'rq.toml').write_text("auth = 'required'\nlog_level = 'trace'\n")
        server.start()
        place = Place(server, folder)
        for attempt in (try_life, try_bad_input, try_audit, try_worker, try_secrets):
            attempt(place)
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
