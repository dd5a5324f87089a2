"""docs/STORAGE.md lists the files of a server's directory: all that are there, and no other."""
import re
import sys

import rqtest

checks = rqtest.Checks()
SCRIPT = '#!/bin/sh\necho done >&3\n'
# Of the test itself.
OURS = re.compile(r'server\.log|scripts/hello\.sh')
# What a sound server need not have.
MAY_LACK = {'rq.toml', 'db/rq.db.damaged-N', 'db/rq.db.rebuild', 'db/rq.db.making',
            'db/rq.db.fresh-N-ID', 'run/undeleted', 'run/worker-NAME.lock',
            'run/worker-NAME.pid', 'run/worker-NAME.untold'}


def rows():
    """The first column of the table: [(as it stands there, what it fits)]"""
    page = (rqtest.ROOT / 'docs' / 'STORAGE.md').read_text().partition('## The files of DIR')[2]
    names = re.findall(r'^\| `([^`]+)` \|', page, re.MULTILINE)
    return [(name, re.compile(re.sub(r'\b(QUEUE|ID|NAME|N)\b', '[^/]+', re.escape(name))
                              + ('.*' if name.endswith('/') else '')))
            for name in names]


def main():
    with rqtest.Server(manual_clock=False, worker=True, start=False) as server:
        scripts = server.dir / 'scripts'
        scripts.mkdir()
        (scripts / 'hello.sh').write_text(SCRIPT)
        (scripts / 'hello.sh').chmod(0o755)
        server.start()
        assert server.put('/v1/queues/hello', {'script': 'hello.sh'}).status == 201
        ran = server.post('/v1/queues/hello/messages', {}).json['seq']
        rqtest.eventually(lambda: server.get(f'/v1/messages/{ran}').json['state'] == 'done',
                          'the script ends')
        files = [p.relative_to(server.dir).as_posix() for p in server.dir.rglob('*')
                 if not p.is_dir()]
        table = rows()
        checks.that(len(table) > 5, 'the table is found')
        names = [name for name, _ in table]
        checks.equal(names, list(dict.fromkeys(names)), 'each is listed once')
        checks.that('run/' not in names, 'the files of run/ are listed one by one')
        for name in files:
            if not OURS.fullmatch(name):
                checks.that(any(form.fullmatch(name) for _, form in table),
                            f'{name} is in the list of docs/STORAGE.md')
        for name, form in table:
            if name not in MAY_LACK:
                checks.that(any(form.fullmatch(file) for file in files),
                            f'{name} of docs/STORAGE.md is there')
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
