"""Bulk actions: what they mean, that they are done to the end, and that they can be followed."""
import json
import os
import signal
import subprocess
import sys

import rqtest

checks = rqtest.Checks()
equal, that = checks.equal, checks.that
MANY = 12_000


def rq(server, *words, **more):
    return subprocess.run([rqtest.RQ_BIN, *words], env={**os.environ, 'RQ_DIR': str(server.dir)},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=rqtest.REPLY_SECONDS, **more)


def counts(server, queue):
    return server.get(f'/v1/queues/{queue}').json['counts']


def put_many(server, queue, n, **fields):
    line = json.dumps({'payload': 'x', **fields}) + '\n'
    for first in range(0, n, 5000):
        r = server.post(f'/v1/queues/{queue}/messages', line * min(5000, n - first),
                        headers={'Content-Type': 'application/x-ndjson'})
        equal(r.status, 200, 'put')


def end(server, queue, outcome, n, **more):
    """The next n messages of the queue end so."""
    got = server.post('/v1/reserve', {'queues': [queue], 'limit': n}).json['messages']
    equal(len(got), n, 'reserved')
    r = server.post('/v1/finish', {'items': [{'token': m['lease']['token'], 'outcome': outcome,
                                              **more} for m in got]})
    equal(r.status, 200, outcome)


def bulk(server, action, filter=None, **more):
    body = {'action': action, **more}
    if filter is not None:
        body['filter'] = filter
    return server.post('/v1/messages/bulk', body)


def test_whom(server):
    """faults.md C2: a retry of a queue ran its 100 successes again."""
    server.put('/v1/queues/w', {})
    put_many(server, 'w', 12, tags=['w'])
    end(server, 'w', 'done', 4)
    end(server, 'w', 'err', 3)
    server.post('/v1/reserve', {'queues': ['w'], 'limit': 2, 'lease_s': 600})
    dry = bulk(server, 'retry', {'queue': 'w'}, dry_run=True).json
    equal((dry['matched'], dry['phase']), (3, 'done'), 'a dry run counts what would change')
    equal(bulk(server, 'retry', {'tag': 'w'}, dry_run=True).json['matched'], 3, 'likewise by tag')
    named = bulk(server, 'retry', {'queue': 'w', 'state': 'done,err'}, dry_run=True).json
    equal(named['matched'], 7, 'the others when they are named')
    # faults.md C2, relatives
    for action, matched in [('requeue', 3), ('clone', 3), ('cancel', 5), ('kill', 2), ('run_now', 3),
                            ('commit', 0)]:
        equal(bulk(server, action, {'queue': 'w'}, dry_run=True).json['matched'], matched, action)
    equal(bulk(server, 'move', {'queue': 'w'}, dry_run=True, queue='w2').json['matched'], 3, 'move')
    r = bulk(server, 'remove', {'queue': 'w'}, dry_run=True)
    equal((r.status, r.code), (422, 'bad_value'), 'what goes for good must be named')
    that('state' in r.json['error']['message'], f'by its state: {r}')
    equal(bulk(server, 'remove', {'queue': 'w', 'state': 'done'}, dry_run=True).json['matched'], 4,
          'remove')
    r = bulk(server, 'retry', {'queue': 'w', 'state': 'que'}, dry_run=True)
    equal(r.status, 422, 'a state that cannot be meant')
    that('done, relayed, err, cancelled' in r.json['error']['remedy'], f'says which can: {r}')
    ran = rq(server, 'retry', '--queue', 'w', '-y')
    that(ran.stdout.startswith('3 matched, 3 retried, 0 refused'), f'the command line: {ran}')
    equal(counts(server, 'w')['done'], 4, 'what was done stays done')
    equal(bulk(server, 'cancel', {'queue': 'nowhere'}).code, 'not_found', 'no such queue')


def test_all(server):
    """faults.md C4: an empty filter was every message of every queue."""
    for queue in ['a1', 'a2']:
        server.put(f'/v1/queues/{queue}', {})
        put_many(server, queue, 2, prep=True)
    for body in [{'filter': {}}, {}, {'all': False}, {'filter': {}, 'all': False},
                 {'filter': {'queue': 'a1'}, 'all': True}]:
        r = server.post('/v1/messages/bulk', {'action': 'commit', **body})
        equal(r.status, 422, f'refused: {body}')
    that('"all":true' in bulk(server, 'commit', {}).json['error']['remedy'], 'says what to say')
    equal(rq(server, 'cancel', '-y').returncode, 2, 'nothing named')
    # faults.md C4, relative: a variable that was not set widened the filter to everything.
    for name in ['queue', 'state', 'mark', 'tag', 'key', 'text', 'after', 'before']:
        for filter in [{name: ''}, {'queue': 'a1', name: ''}]:
            r = bulk(server, 'commit', filter)
            that(r.status == 422 and name in r.json['error']['message'], f'{filter}: {r}')
        equal(bulk(server, 'commit', {name: None}).status, 422, f'{name}: null names nothing')
        equal(server.get(f'/v1/messages?{name}=').status, 422, f'list {name}')
        for verb in [('cancel', '-y'), ('list',)]:
            also = () if name == 'queue' else ('--queue', 'a1')
            ran = rq(server, *verb, *also, f'--{name}', '')
            that(ran.returncode == 2 and f'--{name} is empty' in ran.stderr, f'{verb} {name}: {ran}')
    equal(counts(server, 'a1')['prep'], 2, 'nothing was changed')
    equal(bulk(server, 'commit', all=True).json['changed'], 4, 'all')
    ran = rq(server, 'run-now', '--all', '--dry-run')
    that(ran.returncode == 0 and 'messages would be' in ran.stdout, f'--all: {ran}')


def test_to_the_end(server):
    """faults.md C5, C11: it ended after 1,000, or said nothing for 74 s."""
    server.put('/v1/queues/many', {})
    put_many(server, 'many', MANY, tags=['t'])
    dry = rq(server, 'cancel', '--tag', 't', '--dry-run', '--json')
    equal(json.loads(dry.stdout)['matched'], MANY, 'a dry run counts all')
    ran = rq(server, 'cancel', '--queue', 'many', '--tag', 't', '-y')
    that(ran.stdout.startswith('12,000 matched, 12,000 cancelled, 0 refused')
         or ran.stdout.startswith('12 000 matched, 12 000 cancelled, 0 refused'), f'all: {ran}')
    equal(counts(server, 'many')['cancelled'], MANY, 'all are cancelled')
    equal(bulk(server, 'clone', {'tag': 't', 'state': 'cancelled'}).json['changed'], MANY,
          'clones are not met again')


def test_job(server):
    """faults.md C11: it runs on the server, and can be followed and cancelled."""
    server.put('/v1/queues/j', {})
    put_many(server, 'j', MANY)
    r = bulk(server, 'cancel', {'queue': 'j'}, wait_s=0)
    equal((r.status, r.json['phase'], r.json['ended']), (202, 'counting', None), 'begun')
    path = f"/v1/bulk/{r.json['job']}"
    r = server.delete(path)
    job = r.json
    equal((r.status, job['phase']), (200, 'cancelled'), 'cancelled')
    equal(counts(server, 'j')['cancelled'], job['changed'], 'what it did stays done')
    that(job['changed'] < MANY, f'it stopped: {job}')
    equal(server.get(path).json, job, 'it can still be asked for')
    equal(server.delete(path).json, job, 'to cancel it again changes nothing')
    # The client that began it is gone.
    with server.connect_unix() as sock:
        body = json.dumps({'action': 'cancel', 'filter': {'queue': 'j'}})
        sock.sendall(f'POST /v1/messages/bulk HTTP/1.1\r\nHost: x\r\nContent-Type: application/json'
                     f'\r\nContent-Length: {len(body)}\r\n\r\n{body}'.encode())
        while True:
            jobs = server.get('/v1/bulk').json['jobs']
            if jobs[-1]['job'] != job['job']:
                break
    r = server.get(f"/v1/bulk/{jobs[-1]['job']}?wait_s=60")
    equal((r.status, r.json['phase'], r.json['changed']), (200, 'done', MANY - job['changed']),
          'it went on')
    equal(counts(server, 'j')['cancelled'], MANY, 'to its end')
    for bad in ['/v1/bulk/999999', '/v1/bulk/x', '/v1/bulk/-1']:
        equal(server.get(bad).code, 'not_found', bad)
        equal(server.delete(bad).code, 'not_found', bad)
    equal(server.get(path + '?wait_s=x').status, 422, 'a bad wait')


def test_interrupted(server):
    """faults.md C11: Ctrl-C stops it, and the exit code says so."""
    server.put('/v1/queues/i', {})
    put_many(server, 'i', MANY)
    known = len(server.get('/v1/bulk').json['jobs'])
    process = subprocess.Popen([rqtest.RQ_BIN, 'cancel', '--queue', 'i', '-y'],
                               env={**os.environ, 'RQ_DIR': str(server.dir)}, text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    while len(jobs := server.get('/v1/bulk').json['jobs']) == known:
        that(process.poll() is None, 'it runs')
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=rqtest.REPLY_SECONDS)
    job = server.get(f"/v1/bulk/{jobs[-1]['job']}?wait_s=60").json
    # A quick machine may have been at the end already.
    equal((job['phase'], process.returncode), ('cancelled', 130) if process.returncode != 0 else
          ('done', 0), f'stopped: {out} {err}')
    equal(counts(server, 'i')['cancelled'], job['changed'], 'as far as it came')


def test_retention(server):
    """faults.md A9: the dry run says what retention will take."""
    server.put('/v1/queues/r', {'keep_cancelled': {'count': 5}, 'keep_done': {'count': 1}})
    put_many(server, 'r', 8, tags=['r'])
    dry = bulk(server, 'cancel', {'queue': 'r'}, dry_run=True).json
    equal((dry['matched'], dry['retention_removes']), (8, 3), 'what it will take')
    ran = rq(server, 'cancel', '--queue', 'r', '--dry-run')
    that('retention will then remove 3 messages' in ran.stdout, f'said to people: {ran}')
    equal(bulk(server, 'cancel', {'queue': 'r'}).json['retention_removes'], 3, 'and when it is done')
    while counts(server, 'r')['cancelled'] > 5:
        server.advance(1)
    queue = server.get('/v1/queues/r').json
    equal((queue['counts']['cancelled'], queue['totals']['expired'],
           queue['totals']['expired_errs']), (5, 3, 0), 'counted')  # faults.md A8
    that('removed by retention: 3' in ' '.join(rq(server, 'queue', 'show', 'r').stdout.split())
         or 'removed by retention 3' in ' '.join(rq(server, 'queue', 'show', 'r').stdout.split()),
         'and shown')
    that(server.get('/v1/stats').json['totals']['expired'] >= 3, 'in the statistics')
    settings = server.put('/v1/queues/s', {}).json['settings']
    equal((settings['keep_err']['count'], settings['keep_cancelled']['count']), (None, None),
          'no number bounds failures, unless asked')
    settings = server.patch('/v1/queues/s', {'keep_err': {'count': 7}}).json['settings']
    equal(settings['keep_err'], {'age_s': 7776000, 'count': 7}, 'asked')
    ran = rq(server, 'queue', 'set', 's', '--keep-err', '90d,any', '--keep-cancelled', '9')
    settings = server.get('/v1/queues/s').json['settings']
    equal((ran.returncode, settings['keep_err']['count'], settings['keep_cancelled']['count']),
          (0, None, 9), 'and taken back')


def test_delete_queue(server):
    """faults.md C3: a queue was deleted with its failures, unasked."""
    server.put('/v1/queues/d', {})
    put_many(server, 'd', 3)
    end(server, 'd', 'done', 2)
    end(server, 'd', 'err', 1)
    ran = rq(server, 'queue', 'delete', 'd')
    equal(ran.returncode, 4, 'refused')
    that('2 done' in ran.stderr and '1 err' in ran.stderr and '--force' in ran.stderr,
         f'with what is there, and how: {ran}')
    equal(rq(server, 'queue', 'delete', 'd', '--force', '-y').returncode, 0, 'forced')
    equal(server.get('/v1/queues/d').status, 404, 'gone')


def main():
    with rqtest.Server() as server:
        for test in [test_whom, test_all, test_to_the_end, test_job, test_interrupted,
                     test_retention, test_delete_queue]:
            test(server)
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
