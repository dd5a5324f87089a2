"""Wrong requests to every route and verb: each gets its status and code, and none changes anything.

The table CASES is held against /v1/openapi.json: every operation must have cases, and every path is
tried with every method that it does not have."""
import json
import sys

import rqtest

checks = rqtest.Checks()
LONG = 'x' * 300
NOBODY = '999999999'
DEEP = '[' * 40 + ']' * 40
METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'BREW']

# Names that are no names, percent-encoded where an address wants it.
BAD_NAMES = ['.hidden', '-dash', 'a%2Fb', 'a%20b', 'a%00b', '%C3%A4', LONG]
BAD_IDS = [('nonsense', 422), ('-1', 422), ('1.2.3', 422), ('9' * 40, 422), ('key:', 422),
           (NOBODY, 404), ('20200101.0000.00.000.1', 404), ('key:no%20such', 404),
           ('%zz', 400), ('%ff', 400)]


class Raw(bytes):
    """A body that goes as it is, with the content type of JSON."""


def json_cases(good, fields):
    """Bodies that are wrong for an object of which `good` is right, and `fields` say what is
    wrong for each field."""
    out = [(Raw(b'{'), 400), (Raw(b'nonsense'), 400), (Raw(b'{"a":1}trailing'), 400),
           (Raw(b'[]'), 422), (Raw(b'5'), 422), (Raw(b'"text"'), 422), (Raw(b'\xff\xfe'), 400),
           (Raw(b'{"a":"\xff"}'), 400), (Raw(b'{"a":' + DEEP.encode() + b'}'), 400),
           ({**good, 'no_such_field': 1}, 422)]
    for name, values in fields.items():
        out += [({**good, name: value}, 422) for value in values]
    return out


NUMBER = ['1', True, [], {}, 1e300, 0.5, -10**18, 10**30]
SECONDS = ['1', True, [], {}, -1, 1e300]
TEXT = [1, True, [], {}, 'a\0b']
BOOL = [1, 'true', [], {}]
NAME = [1, [], '.x', 'a/b', 'ä', 'a b', '', LONG]
TOKEN = [1, None, '', 'x', '1', '1.1', '1.1.1.1', '-1.1.1', '1.1.x', [], 'a\0']

SETTINGS = {
    'script': TEXT, 'exec_prefix': TEXT, 'num_workers': [*NUMBER, -1, 5000],
    'env_vars': [1, [], 'A=1', {'A': 1}, {'': 'x'}, {'A=B': 'x'}, {'A': 'a\0'}],
    'env_allow': [1, {}, 'PATH', [1], [''], ['A=B']], 'user': TEXT, 'nice': [*NUMBER, 20, -21],
    'limits': [1, [], {'no_such': 1}, {'cpu_s': -1}, {'memory_bytes': 'x'}],
    'timeout_s': SECONDS, 'grace_s': SECONDS, 'lease_s': [*SECONDS, 0, 1e9],
    'retries': [*NUMBER, -1], 'losses': [*NUMBER, -1],
    'backoff': [1, [], {'kind': 'linear'}, {'base_s': -1}, {'jitter_percent': 101}, {'x': 1}],
    'max_count': [*NUMBER, -1], 'keep_done': [1, {'age_s': -1}, {'count': -1}, {'x': 1}],
    'keep_err': [[], {'age_s': 'x'}, {'count': 0.5}], 'sync': [1, 'maybe', ''],
    'priority': NUMBER, 'messages_max': [*NUMBER, -1], 'payload_bytes_max': [*NUMBER, -1, 10**9],
}
PUT = {
    'payload': [1, True, [], {}], 'payload_base64': [1, '*', 'Zg=', 'Zm9v\n'],
    'key': TEXT, 'dest': TEXT, 'src': TEXT, 'orig_id': TEXT, 'param1': TEXT, 'param2': TEXT,
    'param3': TEXT, 'param4': TEXT, 'content_type': [1, 'a\nb', 'a\0b'], 'priority': NUMBER,
    'delay_s': [*SECONDS, 1e12], 'due': ['tomorrow', True, [], '2026-13-01T00:00:00Z', -1, 1e300],
    'count': [*NUMBER, -1], 'max_count': [*NUMBER, -1], 'retries': [*NUMBER, -1],
    'backoff': [1, [], {'kind': 'x'}, {'y': 1}], 'timeout_s': SECONDS, 'lease_s': [*SECONDS, 0],
    'tags': [1, 'x', {}, [1], ['']], 'headers': [1, [], {'a': 1}, {'': 'x'}],
    'webhooks': [1, 'x', [1]], 'force_remote': BOOL, 'prep': BOOL,
}
PUT_EXTRA = [({'payload': 'a', 'payload_json': 1}, 422), ({'delay_s': 1, 'due': 5}, 422),
             ({'key': 'k' * 257}, 413), ({'param1': 'p' * 65537}, 413),
             ({'payload': 'p' * (4 * 1024 * 1024 + 1)}, 413), ({'tags': ['t'] * 65}, 429),
             ({'tags': ['t' * 129]}, 413), ({'webhooks': ['http://x/']}, 415),
             ({'headers': {str(i): '' for i in range(65)}}, 429)]
REASON = {'reason': TEXT}
POST_MORTEM = [1, [], 'x', {'no_such': 1}, {'exit_code': 'x'}, {'wall_s': -1}, {'timed_out': 1}]
END = {'token': TOKEN, 'reason': TEXT, 'post_mortem': POST_MORTEM}
LOST = {'token': '1.999.1'}


def items_cases(good, fields):
    return [*json_cases(good, fields), (good, 409), ({'items': 1}, 422), ({'items': {}}, 422),
            ({'items': [], 'x': 1}, 422), ({'items': [LOST] * 10_001}, 429), ({}, 422)]


def ids(suffix=''):
    return [(i + suffix, None, status) for i, status in BAD_IDS]


def names(suffix='', body=None):
    return [(n + suffix, body, 422) for n in BAD_NAMES]


def with_body(path, cases):
    return [(path, body, status) for body, status in cases]


def queue_verb(verb, fields=None):
    return [*names('/' + verb), ('nope/' + verb, None, 404),
            *with_body('good/' + verb, json_cases({}, fields or {'for_s': [1]}))]


def action(verb, good, fields, **more):
    return [*[(i + '/' + verb, good, status) for i, status in BAD_IDS],
            *with_body('1/' + verb, json_cases(good, fields)),
            *[('1/' + verb + '?x=1', good, 422)],
            *more.get('extra', [])]


QUERY = [('state=nope', 422), ('mark=nope', 422), ('limit=0', 422), ('limit=1001', 422),
         ('limit=x', 422), ('limit=', 422), ('cursor=x', 422), ('cursor=-1', 422), ('cursor=0', 422),
         ('order=sideways', 422), ('payloads=maybe', 422), ('after=yesterday', 422),
         ('before=x', 422), ('queue=a/b', 422), ('queue=', 422), ('no_such=1', 422),
         ('limit=1&limit=2', 422), ('tag=' + LONG, 413), ('key=' + LONG, 413), ('text=%zz', 400),
         ('text=%ff', 400), ('text=a%00b', 422)]

# (method, path of the document) -> [(the address below the prefix, body, status), ...]
CASES = {
    ('GET', '/v1/queues'): ('/v1/queues', [('?x=1', None, 422)]),
    ('GET', '/v1/queues/{queue}'): ('/v1/queues/', [*names(), ('nope', None, 404),
                                                    ('good?x=1', None, 422)]),
    ('PUT', '/v1/queues/{queue}'): ('/v1/queues/', [
        *names(body={}), *with_body('good', json_cases({}, SETTINGS)), ('good?x=1', {}, 422),
        ('good?create=maybe', {}, 422), ('good?create=1', {'nice': 1}, 409),
        *with_body('new', json_cases({}, SETTINGS)),
        ('good', {'env_vars': {str(i): '' for i in range(257)}}, 429),
        ('good', {'script': 's' * 1025}, 413)]),
    ('PATCH', '/v1/queues/{queue}'): ('/v1/queues/', [
        *names(body={}), ('nope', {}, 404), *with_body('good', json_cases({}, SETTINGS)),
        ('good?create=1', {}, 422)]),
    ('DELETE', '/v1/queues/{queue}'): ('/v1/queues/', [
        *names(), ('nope', None, 404), ('good', None, 409), ('good?force=1', None, 409),
        ('good?force=maybe', None, 422), ('good?x=1', None, 422)]),
    ('POST', '/v1/queues/{queue}/pause'): ('/v1/queues/', queue_verb(
        'pause', {'for_s': [*SECONDS, 0, 1e12]})),
    ('POST', '/v1/queues/{queue}/resume'): ('/v1/queues/', queue_verb('resume')),
    ('POST', '/v1/queues/{queue}/drain'): ('/v1/queues/', queue_verb('drain')),
    ('POST', '/v1/queues/{queue}/down'): ('/v1/queues/', queue_verb('down')),
    ('POST', '/v1/queues/{queue}/script-error'): ('/v1/queues/', [
        *names('/script-error', {'error': None}), ('nope/script-error', {'error': None}, 404),
        ('good/script-error', {}, 422), ('good/script-error', {'error': 'x' * 5000}, 413),
        *with_body('good/script-error', json_cases({'error': None}, {'error': [1, [], 'a\0']}))]),
    ('POST', '/v1/queues/{queue}/messages'): ('/v1/queues/', [
        *names('/messages', {}), ('nope/messages', {}, 404), ('down/messages', {}, 503),
        ('full/messages', {}, 429), ('good/messages?x=1', {}, 422),
        *with_body('good/messages', [c for c in json_cases({}, PUT) if c[0] != Raw(b'[]')]),
        *with_body('good/messages', PUT_EXTRA),
        *with_body('good/messages', [(Raw(b), 400) for b in [
            b'', b'[', b'[1', b'[{}', b'[{},]', b'[,]', b'[]x', b'[{}]]', b'[{]']])]),
    ('GET', '/v1/messages'): ('/v1/messages?', [(q, None, status) for q, status in QUERY]),
    ('GET', '/v1/failures'): ('/v1/failures?', [
        (q, None, 422) for q in ('limit=1', 'cursor=1', 'state=err', 'state=x', 'mark=x', 'tag=', 'after=x', 'x=1')]),
    ('GET', '/v1/tries'): ('/v1/tries?', [('queue=nope', None, 404), *(
        (q, None, 422) for q in ('limit=1', 'state=err', 'fingerprint=f', 'mark=x', 'tag=', 'after=x', 'x=1'))]),
    ('GET', '/v1/messages/{id}'): ('/v1/messages/', [*ids(), ('1?x=1', None, 422)]),
    ('GET', '/v1/messages/{id}/payload'): ('/v1/messages/', [*ids('/payload'),
                                                             ('1/payload?x=1', None, 422)]),
    ('DELETE', '/v1/messages/{id}'): ('/v1/messages/', [*ids(), ('1?force=1', None, 422),
                                                        ('RUNNING', None, 409)]),
    ('POST', '/v1/messages/{id}/commit'): ('/v1/messages/', action('commit', {}, REASON, extra=[
        ('READY/commit', {}, 409)])),
    ('POST', '/v1/messages/{id}/retry'): ('/v1/messages/', action('retry', {}, REASON, extra=[
        ('READY/retry', {}, 409), ('RUNNING/retry', {}, 409)])),
    ('POST', '/v1/messages/{id}/requeue'): ('/v1/messages/', action('requeue', {}, REASON, extra=[
        ('PREP/requeue', {}, 409)])),
    ('POST', '/v1/messages/{id}/run_now'): ('/v1/messages/', action('run_now', {}, REASON, extra=[
        ('RUNNING/run_now', {}, 409), ('DONE/run_now', {}, 409)])),
    ('POST', '/v1/messages/{id}/cancel'): ('/v1/messages/', action('cancel', {}, REASON, extra=[
        ('DONE/cancel', {}, 409), ('READY/cancel', {'reason': 'r' * 5000}, 413)])),
    ('POST', '/v1/messages/{id}/kill'): ('/v1/messages/', action('kill', {}, REASON, extra=[
        ('READY/kill', {}, 409), ('DONE/kill', {}, 409)])),
    ('POST', '/v1/messages/{id}/clone'): ('/v1/messages/', action('clone', {}, {'queue': NAME},
        extra=[('READY/clone', {}, 409), ('DONE/clone', {'queue': 'nope'}, 404)])),
    ('POST', '/v1/messages/{id}/move'): ('/v1/messages/', action(
        'move', {'queue': 'good'}, {'queue': NAME}, extra=[
            ('READY/move', {}, 422), ('READY/move', {'queue': 'nope'}, 404),
            ('RUNNING/move', {'queue': 'good'}, 409)])),
    ('POST', '/v1/messages/{id}/priority'): ('/v1/messages/', action(
        'priority', {'priority': 1}, {'priority': NUMBER}, extra=[
            ('READY/priority', {}, 422), ('DONE/priority', {'priority': 1}, 409)])),
    ('POST', '/v1/messages/bulk'): ('/v1/messages/bulk', [
        *with_body('', json_cases({'action': 'cancel', 'filter': {'queue': 'good'}, 'dry_run': True}, {
            'action': [1, '', 'explode'], 'filter': [1, [], {'x': 1}, {'state': 'x'},
                                                     {'queue': 'a/b'}, {'after': 'x'}],
            'dry_run': BOOL, 'limit': [*NUMBER, 0], 'wait_s': [*SECONDS, 601], 'all': [*BOOL, True], 'queue': NAME,
            'priority': NUMBER, 'reason': TEXT})),
        ('', {}, 422), ('', {'action': 'cancel'}, 422), ('', {'filter': {}}, 422),
        ('', {'action': 'move', 'filter': {}}, 422), ('', {'action': 'priority', 'filter': {}}, 422),
        ('?x=1', {}, 422)]),
    ('GET', '/v1/bulk'): ('/v1/bulk', [('?x=1', None, 422)]),
    ('GET', '/v1/bulk/{job}'): ('/v1/bulk/', [('x', None, 404), ('0', None, 404), ('-1', None, 404),
                                              ('1?wait_s=x', None, 422), ('1?x=1', None, 422)]),
    ('DELETE', '/v1/bulk/{job}'): ('/v1/bulk/', [('x', None, 404), ('0', None, 404),
                                                 ('1?x=1', None, 422)]),
    ('GET', '/v1/messages/{id}/attempts'): ('/v1/messages/', [*ids('/attempts'),
                                                              ('1/attempts?x=1', None, 422)]),
    ('GET', '/v1/messages/{id}/log'): ('/v1/messages/', [
        *ids('/log'), ('READY/log?tail=x', None, 422), ('READY/log?tail=-1', None, 422),
        ('READY/log?tail=1000000', None, 422), ('READY/log?x=1', None, 422)]),
    ('GET', '/v1/messages/{id}/log/stream'): ('/v1/messages/', [
        *ids('/log/stream'), ('READY/log/stream?tail=x', None, 422),
        ('READY/log/stream?from=-1', None, 422), ('READY/log/stream?from=1&tail=1', None, 422),
        ('READY/log/stream?x=1', None, 422)]),
    ('GET', '/v1/messages/{id}/why'): ('/v1/messages/', [*ids('/why'), ('1/why?x=1', None, 422)]),
    ('POST', '/v1/reserve'): ('/v1/reserve', [
        *with_body('', json_cases({'queues': ['idle']}, {
            'queues': [None, 1, 'good', [], [1], [['good']], ['a/b'], [{'queue': ''}],
                       [{'x': 1}], [{'queue': 'idle', 'limit': -1}]],
            'limit': [*NUMBER, 0, 1001], 'wait_s': [*SECONDS, 601], 'worker': [1, [], 'a b', LONG],
            'lease_s': [*SECONDS, 0, 1e9], 'folder': BOOL})),
        ('', {'queues': ['idle'] * 1025}, 429), ('', {}, 422)]),
    ('POST', '/v1/heartbeat'): ('/v1/heartbeat', with_body('', items_cases(LOST, {
        'token': TOKEN, 'progress': TEXT, 'lease_s': [*SECONDS, 0]}))),
    ('POST', '/v1/progress'): ('/v1/progress', with_body('', items_cases(
        {**LOST, 'progress': 'x'}, {'token': TOKEN, 'progress': [*TEXT, None]}))),
    ('POST', '/v1/done'): ('/v1/done', with_body('', items_cases(LOST, END))),
    ('POST', '/v1/relayed'): ('/v1/relayed', with_body('', items_cases(LOST, END))),
    ('POST', '/v1/err'): ('/v1/err', with_body('', items_cases(LOST, {**END, 'retry': BOOL}))),
    ('POST', '/v1/resend'): ('/v1/resend', with_body('', items_cases(
        LOST, {**END, 'delay_s': SECONDS}))),
    ('POST', '/v1/release'): ('/v1/release', with_body('', items_cases(
        LOST, {'token': TOKEN, 'delay_s': SECONDS, 'priority': NUMBER}))),
    ('POST', '/v1/finish'): ('/v1/finish', with_body('', items_cases(
        {**LOST, 'outcome': 'done'}, {**END, 'outcome': [None, 1, '', 'explode'],
                                      'delay_s': SECONDS, 'priority': NUMBER}))),
    ('POST', '/v1/duplicate'): ('/v1/duplicate', with_body('', items_cases(
        {**LOST, 'queue': 'good'}, {'token': TOKEN, 'queue': [*NAME, None], 'delay_s': SECONDS}))),
    ('POST', '/v1/leases'): ('/v1/leases', with_body('', [
        ({}, 422), ({'worker': 1, 'tokens': []}, 422),
        ({'worker': 'w', 'tokens': 'x'}, 422), ({'worker': 'w', 'tokens': ['x']}, 422),
        ({'worker': 'w', 'tokens': [1]}, 422), ({'worker': 'w', 'tokens': [], 'x': 1}, 422)])),
    ('GET', '/v1/workers'): ('/v1/workers', [('?x=1', None, 422)]),
    ('POST', '/v1/queues/{queue}/held-back'): ('/v1/queues/', with_body('good/held-back', [
        ({}, 422), *[({'text': text}, 422) for text in TEXT], ({'text': 'x', 'y': 1}, 422),
        *[({'text': 'x', 'for_s': value}, 422) for value in SECONDS]])),
    ('GET', '/v1/events'): ('/v1/events?', [
        ('x=1', None, 422), ('queue=a/b', None, 422), ('message=x', None, 422),
        ('message=key:none', None, 404), ('kinds=message,nope', None, 422)]),
    ('GET', '/v1/stats'): ('/v1/stats', [('?x=1', None, 422)]),
    ('GET', '/v1/health'): ('/v1/health', [('?x=1', None, 422)]),
    ('GET', '/v1/version'): ('/v1/version', [('?x=1', None, 422)]),
    ('GET', '/v1/openapi.json'): ('/v1/openapi.json', [('?x=1', None, 422)]),
    ('POST', '/v1/clock/advance'): ('/v1/clock/advance', [
        *with_body('', json_cases({'by_s': 0}, {'by_s': [*SECONDS, 1e12, None]})), ('', {}, 422)]),
}


def prepare(s):
    """The world that must not change, and the names that the table uses for its messages."""
    for name, settings in [('good', {}), ('full', {'messages_max': 1}), ('down', {}), ('idle', {})]:
        assert s.put(f'/v1/queues/{name}', settings).status == 201
    assert s.post('/v1/queues/full/messages', {}).status == 201
    assert s.post('/v1/queues/down/down').status == 200
    # Message 1 is in `full`; these stand for the states.
    seqs = {}
    for name in ['RUNNING', 'DONE']:
        seqs[name] = s.post('/v1/queues/good/messages', {'payload': name}).json['seq']
    for m in s.post('/v1/reserve', {'queues': ['good'], 'limit': 2}).json['messages']:
        if m['seq'] == seqs['DONE']:
            s.post('/v1/done', {'token': m['lease']['token']})
    seqs['READY'] = s.post('/v1/queues/good/messages', {'payload': 'ready'}).json['seq']
    seqs['PREP'] = s.post('/v1/queues/good/messages', {'prep': True}).json['seq']
    return seqs


def dump(s):
    """All that there is, as text."""
    return (json.dumps(s.get('/v1/queues').json, sort_keys=True),
            json.dumps(s.get('/v1/messages?limit=1000').json, sort_keys=True))


def send(s, method, address, body):
    if isinstance(body, Raw):
        return s.request(method, address, bytes(body), {'Content-Type': 'application/json'})
    return s.request(method, address, body)


def check_error(reply, status, what):
    good = checks.equal(reply.status, status, what)
    if good and reply.body:
        error = reply.json.get('error', {})
        checks.that(error.get('code') and error.get('message') and 'remedy' in error,
                    f'{what}: the shape of {reply!r}')


def test_table(s, seqs):
    for (method, _), (prefix, cases) in CASES.items():
        for rest, body, status in cases:
            for name, seq in seqs.items():
                rest = rest.replace(name, str(seq))
            shown = str(body)[:120]
            check_error(send(s, method, prefix + rest, body), status,
                        f'{method} {prefix}{rest[:100]} {shown}')


def test_coverage(s):
    operations = {(method.upper(), path) for path, methods in s.get('/v1/openapi.json').json['paths']
                  .items() for method in methods}
    checks.equal(sorted(operations - set(CASES)), [], 'operations without cases')
    checks.equal(sorted(set(CASES) - operations), [], 'cases without an operation')
    for path in sorted({p for _, p in operations}):
        address = path.replace('{queue}', 'good').replace('{id}', '1')
        allowed = {m for m, p in operations if p == path}
        if 'GET' in allowed:
            allowed.add('HEAD')
        # /v1/messages/bulk is a message by its form, and then not one.
        for method in METHODS:
            if method in allowed:
                continue
            reply = s.request(method, address)
            checks.equal((reply.status, set(reply.headers.get('allow', '').split(', '))),
                         (405, allowed), f'{method} {address}')
        for method in allowed - {'HEAD'}:
            if method in ('GET', 'DELETE'):
                check_error(s.request(method, address, {'a': 1}), 400, f'{method} {address}, body')
            elif not path.endswith('/messages'):
                check_error(s.request(method, address, b'<x/>', {'Content-Type': 'text/xml'}), 415,
                            f'{method} {address}, a foreign content type')
    for address in ['/', '/v1', '/v2/queues', '/v1/queues/', '/v1/queues/good/', '/v1//queues',
                    '/v1/queues/good/nope', '/v1/messages/1/log/nope', '/v1/nope', '/../etc/passwd',
                    '/v1/queues/good/messages/1']:
        check_error(s.get(address), 404, f'GET {address}')


def test_ranges(s, seqs):
    address = f"/v1/messages/{seqs['READY']}/log"
    for text in ['bytes=0-1', 'bytes=5-', 'bytes=-0', 'bytes=-x', 'bytes=1-0',
                 'bytes=0-0,5-6', 'bytes=' + '9' * 30 + '-']:
        check_error(s.get(address, headers={'Range': text}), 416, f'Range: {text}')
    check_error(s.get(address + '?tail=1', headers={'Range': 'bytes=0-1'}), 422, 'tail and Range')


def test_hosts(s):
    port = s.port
    for host in ['evil.example', f'evil.example:{port}', f'127.0.0.2:{port}', f'localhost.evil:{port}', '', f'localhost:{port}x']:
        check_error(s.get('/v1/queues', headers={'Host': host}), 403, f'Host: {host}')
    for host in [f'LOCALHOST:{port}', f'[::1]:{port}', f'127.0.0.1:{port}']:
        checks.equal(s.get('/v1/queues', headers={'Host': host}).status, 200, f'Host: {host}')
    for fields in [{'Origin': 'http://evil.example'}, {'Origin': 'null'},
                   {'Origin': f'https://localhost:{port}'}, {'Sec-Fetch-Site': 'cross-site'}]:
        check_error(s.request('POST', '/v1/queues/good/messages', {}, fields), 403, f'{fields}')


def raw(s, data, end=True):
    """The status of the first reply to these bytes, and whether the server then closed."""
    with s.connect() as sock:
        try:
            sock.sendall(data)
            if end:
                sock.shutdown(1)
        except OSError:
            pass  # it may have closed already; what it said is still there
        got = b''
        try:
            while piece := sock.recv(65536):
                got += piece
        except ConnectionError:
            pass
        return int(got.split(b' ', 2)[1]) if got.startswith(b'HTTP/1.1 ') else got


def test_framing(s):
    host = b'Host: localhost:%d\r\n' % s.port
    put = b'POST /v1/queues/good/messages HTTP/1.1\r\n' + host
    js = b'Content-Type: application/json\r\n'
    for what, data, status in [
            ('no HTTP', b'hello\r\n\r\n', 400),
            ('TLS', b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + b'\0' * 64, 400),
            ('no version', b'GET /v1/queues\r\n\r\n', 400),
            ('HTTP/9.9', b'GET /v1/queues HTTP/9.9\r\n' + host + b'\r\n', 400),
            ('no Host', b'GET /v1/queues HTTP/1.1\r\n\r\n', 400),
            ('two Hosts', b'GET /v1/queues HTTP/1.1\r\n' + host * 2 + b'\r\n', 400),
            ('a foreign URL', b'GET http://evil/ HTTP/1.1\r\n' + host + b'\r\n', 403),
            ('CONNECT', b'CONNECT a:1 HTTP/1.1\r\n' + host + b'\r\n', 400),
            ('*', b'OPTIONS * HTTP/1.1\r\n' + host + b'\r\n', 400),
            ('a field without colon', b'GET /v1/queues HTTP/1.1\r\n' + host + b'nope\r\n\r\n', 400),
            ('a space before the colon', b'GET /v1/queues HTTP/1.1\r\nHost : x\r\n\r\n', 400),
            ('NUL in a field', b'GET /v1/queues HTTP/1.1\r\n' + host + b'a: \0\r\n\r\n', 400),
            ('a long address', b'GET /v1/queues?' + b'x' * 9000 + b' HTTP/1.1\r\n' + host + b'\r\n',
             413),
            ('a large header', b'GET /v1/queues HTTP/1.1\r\n' + host + b'a: ' + b'x' * 20000
             + b'\r\n\r\n', 413),
            ('many fields', b'GET /v1/queues HTTP/1.1\r\n' + host + b'a: b\r\n' * 4000 + b'\r\n',
             413),
            ('an endless line', b'GET /' + b'x' * 100_000, 413),
            ('a length that is none', put + js + b'Content-Length: x\r\n\r\n{}', 400),
            ('a negative length', put + js + b'Content-Length: -2\r\n\r\n{}', 400),
            ('two lengths', put + js + b'Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}', 400),
            ('length and chunks', put + js
             + b'Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400),
            ('too long a body', put + js + b'Content-Length: 99999999999\r\n\r\n', 413),
            ('Expect: magic', put + js + b'Expect: magic\r\nContent-Length: 2\r\n\r\n{}', 400),
            ('half a body', put + js + b'Content-Length: 20\r\n\r\n{}', 400),
            ('half a header', put, 400),
            ('chunks without size', put + js + b'Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n',
             400),
            ('a chunk too short', put + js + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{}\r\n0\r\n\r\n',
             400),
            ('chunks without end', put + js + b'Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n', 400),
            ('a huge chunk', put + js
             + b'Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}\r\n', 413),
    ]:
        checks.equal(raw(s, data), status, what)
    # A body that nobody asked for must not come: the answer is there before it.
    with s.connect() as sock:
        sock.sendall(b'POST /v1/nope HTTP/1.1\r\n' + host
                     + b'Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n')
        checks.that(sock.recv(1000).startswith(b'HTTP/1.1 404 '), 'Expect on a path that is not')
    # Half a request followed by an abort.
    for data in [put + js + b'Content-Length: 20\r\n\r\n{', put[:20]]:
        s.connect_and_reset(data)


def test_bulk_puts(s):
    for what, body, kind, status in [
            ('a large list that is no list', b'{}' + b' ' * 70_000 + b'x', 'json', 400),
            ('a large list without end', b'[' + b'{"no":1},' * 9000, 'json', 400),
            ('a large list with a hole', b'[{"no":1},,' + b'{"no":1},' * 9000 + b'{}]', 'json', 400),
            ('too many', b'[' + b'1,' * 100_000 + b'1]', 'json', 429),
            ('too many lines', b'1\n' * 100_001, 'x-ndjson', 429),
            ('one large item', b'[{"payload":"' + b'x' * (33 << 20) + b'"}]', 'json', 413),
            ('one large object', b'{"payload":"' + b'x' * (33 << 20) + b'"}', 'json', 413)]:
        check_error(s.request('POST', '/v1/queues/good/messages', body,
                              {'Content-Type': 'application/' + kind}), status, what)
    # Each line is refused alone.
    reply = s.request('POST', '/v1/queues/good/messages', b'x\n[]\n{"no":1}\n5\n{"nice":{}}',
                      {'Content-Type': 'application/x-ndjson'})
    checks.equal([i['error']['code'] for i in reply.json['items']],
                 ['bad_request', 'bad_value', 'unknown_field', 'bad_value', 'unknown_field'],
                 'lines that are wrong')
    raw_type = {'Content-Type': 'application/octet-stream'}
    for query, status in [('x=1', 422), ('payload=x', 422), ('priority=x', 422), ('prep=x', 422),
                          ('headers=x', 422), ('backoff=[]', 422), ('delay_s=-1', 422),
                          ('due=soon', 422), ('key=' + LONG, 413), ('key=%zz', 400),
                          ('webhooks=x', 415), ('key=a&key=b', 422)]:
        check_error(s.request('POST', '/v1/queues/good/messages?' + query, b'raw', raw_type),
                    status, f'raw payload, {query[:40]}')
    check_error(s.request('POST', '/v1/queues/good/messages', b'x' * ((4 << 20) + 1), raw_type), 413,
                'a raw payload that is too large')


def test_start():
    """What the server itself refuses when it starts."""
    import pathlib
    import subprocess
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        def run(*args, dir=folder):
            return subprocess.run([rqtest.RQ_BIN, 'server', '--dir', dir, '--no-worker', *args],
                                  capture_output=True, text=True, timeout=60)
        for address in ['0.0.0.0:0', '192.0.2.1:80', '[::]:0', 'example.com:80', '127.0.0.1',
                        '127.0.0.1:99999', '127.0.0.1:x', '']:
            if address:
                reply = run('--http', address)
                checks.that(reply.returncode != 0 and address in reply.stderr,
                            f'--http {address}: {reply.stderr!r}')
        checks.that('authentication' in run('--http', '0.0.0.0:0').stderr, 'and says why')
        config = pathlib.Path(folder) / 'rq.toml'
        for text in ['no_such_key = 1\n', 'http = 5\n', 'http = \n']:
            config.write_text(text)
            reply = run('--http', '127.0.0.1:0')
            checks.that(reply.returncode != 0, f'rq.toml with {text!r}')
        config.unlink()
        with rqtest.Server(dir=folder):
            reply = run('--http', '127.0.0.1:0')
            checks.that(reply.returncode != 0 and 'pid' in reply.stderr,
                        f'a second server: {reply.stderr!r}')


def main():
    with rqtest.Server() as server:
        seqs = prepare(server)
        before = dump(server)
        for test in [lambda: test_table(server, seqs), lambda: test_coverage(server),
                     lambda: test_ranges(server, seqs), lambda: test_hosts(server),
                     lambda: test_framing(server), lambda: test_bulk_puts(server)]:
            test()
            after = dump(server)
            checks.equal(after[0], before[0], 'the queues are as before')
            checks.equal(after[1], before[1], 'the messages are as before')
        checks.equal(server.terminate(), 0, 'the server is well')
    test_start()
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
