"""docs/OPERATIONS.md: the commands of the page, in its order, on a machine that is a folder.

What the page does as root is done by stand-ins that keep to that folder: systemctl starts and stops
what the installed unit says. Between the boxes it is looked at what they have done. And the example of
docs/API.md.
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import rqtest

checks = rqtest.Checks()
RQ = os.path.abspath(rqtest.RQ_BIN)
PAGE = (rqtest.ROOT / 'docs' / 'OPERATIONS.md').read_text()

STUBS = {
    'sudo': 'if [ "$1" = -u ]; then shift 2; fi; exec "$@"',
    'make': '[ $# = 0 ] || exec /usr/bin/make --no-print-directory "$@"',
    'chown': 'echo "chown $*" >> $T/calls',
    'useradd': 'echo "useradd $*" >> $T/calls',
    'usermod': 'echo "usermod $*" >> $T/calls',
    'journalctl': 'cat $T/journal',
    'systemctl': r'''
unit=$T/etc/systemd/system/rq.service
pid() { cat $T/main.pid; }
start() {
  command=$(sed -n 's/^ExecStart=//p' $unit | sed "s|/usr/local|$T&|; s|/var/lib|$T&|")
  mkdir -p $T/var/lib/rq
  setsid $command --http '' >> $T/journal 2>&1 < /dev/null &
  echo $! > $T/main.pid
  until rq stats --dir $T/var/lib/rq > /dev/null 2>&1; do sleep 0.1; kill -0 $(pid) || exit 1; done
}
stop() { kill -TERM $(pid); while kill -0 $(pid) 2> /dev/null; do sleep 0.1; done; }
case $1 in
  daemon-reload) test -f $unit ;;
  enable) test "$2" = --now && start ;;
  start) start ;;
  stop) stop ;;
  restart) stop; start ;;
  reload) eval "$(sed -n 's/^ExecReload=//p' $unit | sed "s/\$MAINPID/$(pid)/")" ;;
  *) exit 1 ;;
esac''',
}

# What is done and looked at beside the page: title of the section -> commands before it, and after.
BEFORE = {
    'Logs': f'''
rq queue create keep --dir /var/lib/rq
rq put keep first --key first --dir /var/lib/rq
echo 'echo done >&3' > /var/lib/rq/scripts/work.sh; chmod +x /var/lib/rq/scripts/work.sh
echo 'log_level = "debug"' > /var/lib/rq/rq.toml''',
    # A folder of a message that is removed while tar reads: after the first bytes that it has written.
    'Backup': '''
mkdir -p /var/lib/rq/queue/going/1 /var/lib/rq/queue/going/2
head -c 1000000 /dev/urandom > /var/lib/rq/queue/going/1/stdio.log
export TAR_OPTIONS='--sort=name --checkpoint=10 --checkpoint-action=exec="rm -rf /var/lib/rq/queue/going/2"'
''',
    'Restore': '''
rq queue create work --script work.sh --dir /var/lib/rq
rq put keep second --key second --dir /var/lib/rq''',
}
AFTER = {
    'Install': 'test -x $T/usr/local/bin/rq; test -S /var/lib/rq/run/rq.sock',
    'Logs': "until grep -q 'log_level' $T/journal; do sleep 0.1; done",
    'Backup': '''
unset TAR_OPTIONS
test ! -e /var/lib/rq/queue/going/2
rm -r /var/lib/rq/queue/going''',
    'Restore': '''
rq show key:first --dir /var/lib/rq
if rq show key:second --dir /var/lib/rq; then exit 1; fi
test -x /var/lib/rq/scripts/work.sh
rq queue create again --script work.sh --dir /var/lib/rq
rq put again x --wait --dir /var/lib/rq''',
}


def boxes():
    """[(title of the section, the commands of its boxes)]"""
    found = []
    for section in re.split(r'^## ', PAGE, flags=re.M)[1:]:
        commands = re.findall(r'^```bash\n(.*?)^```', section, re.M | re.S)
        if commands:
            found.append((section.partition('\n')[0], ''.join(commands)))
    return found


def unit_is_sound():
    unit = (rqtest.ROOT / 'tools' / 'rq.service').read_text()
    for line in ('User=rq', 'ExecReload=/bin/kill -HUP $MAINPID', 'KillMode=process',
                 'StateDirectoryMode=0710'):
        checks.that(f'\n{line}\n' in unit, f'the unit says {line}')


def run(root):
    stubs = root / 'stubs'
    stubs.mkdir()
    (root / 'journal').touch()
    for name, text in STUBS.items():
        (stubs / name).write_text('#!/bin/bash\n' + text + '\n')
        (stubs / name).chmod(0o755)
    titles = [title for title, _ in boxes()]
    for title in [*BEFORE, *AFTER]:
        checks.that(title in titles, f'the page has a section {title!r}')
    script = ''
    for title, commands in boxes():
        script += f'echo "== {title}" >&2\n{BEFORE.get(title, "")}\n{commands}\n{AFTER.get(title, "")}\n'
    for place in ('/var/lib/rq', '/var/backups'):
        script = script.replace(place, f'{root}{place}')
    env = {k: v for k, v in os.environ.items() if not k.startswith(('RQ_', 'MAKE', 'MFLAGS'))}
    env.update(T=str(root), DESTDIR=str(root), RQ_BINARY=RQ,
               PATH=f'{stubs}:{root}/usr/local/bin:{env["PATH"]}')
    ran = subprocess.run(['bash', '-c', f'set -e -x -o pipefail\n{script}'], cwd=rqtest.ROOT, env=env,
                         stdin=subprocess.DEVNULL, capture_output=True, timeout=240)
    text = ran.stdout.decode() + ran.stderr.decode()[-2500:] + (root / 'journal').read_text()[-1500:]
    checks.equal(ran.returncode, 0, f'the commands of the page: {text}')
    out = ran.stdout.decode()
    checks.that('"status":"ok"' in out, f'health is told: {out[-2000:]}')
    checks.that('\nok\n' in out, f'the backup is sound: {out[-2000:]}')
    calls = (root / 'calls').read_text()
    for call in ('useradd --system', 'usermod -aG rq', f'chown -R rq:rq {root}/var/lib/rq'):
        checks.that(call in calls, f'{call}: {calls}')


def api_example():
    """The box of docs/API.md, on a server without a worker."""
    page = (rqtest.ROOT / 'docs' / 'API.md').read_text()
    box = re.search(r'^```bash\n(.*?)^```', page, re.M | re.S).group(1)
    with rqtest.Server(manual_clock=False) as server:
        ran = subprocess.run(['bash', '-c', f'set -e\n{box}'], capture_output=True, timeout=120,
                             cwd=server.dir, env={**os.environ, 'RQ_DIR': str(server.dir)})
        checks.equal(ran.returncode, 0, f'the example of API.md: {ran}')
        states = sorted(m['state'] for m in server.get('/v1/messages?queue=mail').json['messages'])
        checks.equal(states, ['done', 'que'], f'the example of API.md: {ran}')


def end_all(root):
    """What still runs below the folder: the last server and its worker. Of the worker's two processes each goes
    on when the other is killed, so they are looked for until none is left."""
    def left():
        found = []
        for line in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
            try:
                if str(root).encode() in line.read_bytes():
                    found.append(int(line.parent.name))
            except OSError:
                pass
        return found
    for _ in range(100):
        pids = left()
        if not pids:
            break
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass


def main():
    unit_is_sound()
    api_example()
    root = pathlib.Path(tempfile.mkdtemp(prefix='rq-operations-'))
    try:
        run(root)
    finally:
        end_all(root)
        shutil.rmtree(root, ignore_errors=True)
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
