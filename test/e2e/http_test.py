"""The happy paths of every route of docs/API.md against the real binary, and what the connection
itself must do: pipelining, keep-alive, chunks, streams, long polls, clients that go away."""
import base64
import json
import socket
import sys
import threading

import rqtest

checks = rqtest.Checks()
equal, that = checks.equal, checks.that


def put(server, queue, **fields):
    reply = server.post(f'/v1/queues/{queue}/messages', fields)
    assert reply.status == 201, reply
    return reply.json


def reserve(server, queue, **more):
    reply = server.post('/v1/reserve', {'queues': [queue], **more})
    assert reply.status == 200, reply
    return reply.json['messages']


def token(message):
    return message['lease']['token']


def read_replies(sock, count):
    """`count` replies with a Content-Length, in order: [(status, body)]."""
    data, out = b'', []
    while len(out) < count:
        while b'\r\n\r\n' not in data:
            piece = sock.recv(65536)
            if not piece:
                return out
            data += piece
        head, _, data = data.partition(b'\r\n\r\n')
        lines = head.decode().split('\r\n')
        length = next(int(line.split(':')[1]) for line in lines
                      if line.lower().startswith('content-length:'))
        while len(data) < length:
            data += sock.recv(65536)
        out.append((int(lines[0].split()[1]), data[:length]))
        data = data[length:]
    return out


def test_queues(s):
    r = s.put('/v1/queues/q1', {'num_workers': 2, 'env_vars': {'A': '1'}})
    equal(r.status, 201, 'a new queue')
    equal(r.json['settings']['num_workers'], 2, 'its setting')
    equal(r.json['counts']['que'], 0, 'its counts')
    equal(s.put('/v1/queues/q1', {'num_workers': 2, 'env_vars': {'A': '1'}}).status, 200, 'again')
    equal(s.put('/v1/queues/q1?create=1', {'num_workers': 3}).code, 'exists', 'create, different')
    equal(s.put('/v1/queues/q1', {'num_workers': 3}).json['settings']['env_vars'], {}, 'replaced')
    r = s.patch('/v1/queues/q1', {'lease_s': 5, 'backoff': {'kind': 'fixed'}})
    equal((r.status, r.json['settings']['num_workers'], r.json['settings']['lease_s']), (200, 3, 5),
          'changed')
    equal(r.json['settings']['backoff']['base_s'], 15, 'the rest of an inner object is kept')
    equal(s.get('/v1/queues/q1').json['settings'], r.json['settings'], 'shown')
    equal([q['name'] for q in s.get('/v1/queues').json['queues']], ['q1'], 'listed')
    r = s.post('/v1/queues/q1/pause', {'for_s': 60})
    equal((r.json['admin'], r.json['paused_until'] is not None), ('pause', True), 'paused')
    s.advance(61)
    equal(s.get('/v1/queues/q1').json['admin'], 'up', 'resumed by itself')
    for verb, state in [('pause', 'pause'), ('drain', 'drain'), ('down', 'down'), ('resume', 'up')]:
        equal(s.post(f'/v1/queues/q1/{verb}').json['admin'], state, verb)
    r = s.post('/v1/queues/q1/resume', b'', headers={'Content-Type': 'application/x-www-form-urlencoded'})
    equal(r.status, 200, "an empty body is none, whatever curl -d '' calls it")
    equal(s.post('/v1/queues/q1/script-error', {'error': 'no such file'}).status, 200, 'error')
    equal(s.get('/v1/queues/q1').json['status'], 'script_error', 'script error shown')
    s.post('/v1/queues/q1/script-error', {'error': None})
    hold = {'text': 'exit 1', 'for_s': 600}
    equal(s.post('/v1/queues/q1/held-back', hold).status, 200, 'a worker holds it back')
    equal(s.get('/v1/queues/q1').json['held_back']['text'], 'exit 1', 'the reason is shown')
    equal(s.post('/v1/queues/q1/held-back', {**hold, 'for_s': 0}).status, 200, 'no longer')
    equal(s.get('/v1/queues/q1').json['held_back'], None, 'a hold of length 0 ends it')
    equal(s.get('/v1/queues/q1').json['status'], 'up', 'script error cleared')
    put(s, 'q1', payload='x')
    equal(s.delete('/v1/queues/q1').code, 'wrong_state', 'not with unfinished messages')
    equal(s.delete('/v1/queues/q1?force=1').status, 200, 'but by force')
    equal(s.get('/v1/queues/q1').code, 'not_found', 'gone')


def test_put_and_show(s):
    s.put('/v1/queues/mail')
    fields = {'payload': 'häl\n"lo"\u0001', 'key': 'order/7', 'dest': 'd', 'src': 'shop',
              'param1': 'a', 'param4': 'd', 'content_type': 'text/plain', 'priority': 5, 'count': 1,
              'max_count': 9, 'retries': 3, 'backoff': {'kind': 'fixed', 'base_s': 1},
              'timeout_s': 1.5, 'lease_s': 20, 'tags': ['x', 'y', 'x'], 'headers': {'a': 'b'},
              'force_remote': True}
    done = put(s, 'mail', **fields)
    m = s.get(f"/v1/messages/{done['id']}").json
    for name, value in fields.items():
        wanted = {'tags': ['x', 'y'],
                  'backoff': {'kind': 'fixed', 'base_s': 1, 'max_s': 3600, 'jitter_percent': 20}
                  }.get(name, value)
        equal(m[name], wanted, f'field {name} comes back')
    equal((m['state'], m['mark'], m['finished'], m['lease'], m['param2']),
          ('que', 'none', None, None, None), 'absent values are null')
    equal(s.get(f"/v1/messages/{done['seq']}").json, m, 'by number')
    equal(s.get('/v1/messages/key:order%2F7').json, m, 'by key')
    r = s.post('/v1/queues/mail/messages', fields)
    equal((r.status, r.json['repeated'], r.json['seq']), (200, True, done['seq']), 'a repeat')
    r = s.post('/v1/queues/mail/messages', {**fields, 'payload': 'other'})
    equal((r.status, r.code), (409, 'exists'), 'the same key for something else')
    raw = bytes(range(256))
    r = s.post('/v1/queues/mail/messages?param1=p&priority=-3&tags=a,b&delay_s=5&headers={"h":"v"}',
               raw, headers={'Content-Type': 'application/x-thing; v=1'})
    equal(r.status, 201, 'raw payload')
    m = s.get(f"/v1/messages/{r.json['seq']}").json
    equal((m['param1'], m['priority'], m['tags'], m['headers'], m['state'], m['content_type']),
          ('p', -3, ['a', 'b'], {'h': 'v'}, 'scheduled', 'application/x-thing'), 'its fields')
    equal((base64.b64decode(m['payload_base64']), m['payload']), (raw, None), 'its payload')
    r = s.get(f"/v1/messages/{m['id']}/payload")
    equal((r.body, r.headers['content-type']), (raw, 'application/x-thing'), 'payload route')
    m = put(s, 'mail', payload_json={'a': [1, None]})
    r = s.get(f"/v1/messages/{m['id']}/payload")
    equal((r.json, r.headers['content-type']), ({'a': [1, None]}, 'application/json'), 'JSON')
    m = put(s, 'mail', payload_base64=base64.b64encode(b'\xff\x00').decode())
    equal(s.get(f"/v1/messages/{m['id']}/payload").body, b'\xff\x00', 'base64')
    m = put(s, 'mail', due='2030-01-01T00:00:00Z')
    equal(s.get(f"/v1/messages/{m['id']}").json['due'], '2030-01-01T00:00:00.000Z', 'due')


def test_many(s):
    s.put('/v1/queues/many')
    r = s.post('/v1/queues/many/messages', [{'payload': str(i)} for i in range(5)]
               + [{'pay': 1}, {'payload': 'last', 'key': 'k'}, {'payload': 'last', 'key': 'k'}])
    items = r.json['items']
    equal((r.status, len(items)), (200, 8), 'an array')
    equal([i['error']['code'] for i in items if 'error' in i], ['unknown_field'], 'one refused')
    equal(items[7]['repeated'], True, 'a repeat in the same array')
    equal(s.post('/v1/queues/many/messages', []).json, {'items': []}, 'an empty array')
    lines = ''.join(json.dumps({'payload': 'ä' * 50, 'param1': f'}},{i}]"'}) + '\n'
                    for i in range(3000))
    r = s.post('/v1/queues/many/messages', lines + 'not json\n\n{"payload":"no newline"}',
               headers={'Content-Type': 'application/x-ndjson'})
    items = r.json['items']
    equal((len(items), sum('error' in i for i in items)), (3002, 1), 'NDJSON')
    equal(items[3000]['error']['code'], 'bad_request', 'the bad line')
    seqs = [i['seq'] for i in items if 'seq' in i]
    equal(seqs, sorted(seqs), 'in the order given')
    r = s.post('/v1/queues/many/messages', json.dumps([{'param1': f'[{{"{i}'} for i in range(4000)]),
               headers={'Content-Type': 'application/json'})
    equal(sum('seq' in i for i in r.json['items']), 4000, 'a large array')
    equal(s.get(f"/v1/messages/{r.json['items'][17]['seq']}").json['param1'], '[{"17', 'cut right')
    big = {'payload': 'x' * 300_000}
    equal(s.post('/v1/queues/many/messages', big).status, 201, 'one large object')
    # The same in chunks of all sizes.
    body = json.dumps([{'payload': 'a]b,"\\'}] * 40).encode()
    with s.connect() as sock:
        sock.sendall(b'POST /v1/queues/many/messages HTTP/1.1\r\n'
                     + f'Host: localhost:{s.port}\r\n'.encode()
                     + b'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n')
        at, size = 0, 1
        while at < len(body):
            piece = body[at:at + size]
            sock.sendall(b'%x\r\n' % len(piece) + piece + b'\r\n')
            at, size = at + size, size % 17 + 1
        sock.sendall(b'0\r\n\r\n')
        (status, reply), = read_replies(sock, 1)
        equal((status, len(json.loads(reply)['items'])), (200, 40), 'chunked')


def test_list(s):
    s.put('/v1/queues/list')
    for i in range(25):
        put(s, 'list', payload=f'number {i}', key=f'list-{i}', tags=['even' if i % 2 == 0 else 'odd'])

    def pages(query):
        out, cursor = [], None
        while True:
            r = s.get(f'/v1/messages?queue=list{query}' + (f'&cursor={cursor}' if cursor else ''))
            assert r.status == 200, r
            out += r.json['messages']
            cursor = r.json['cursor']
            if cursor is None:
                return out
    newest = pages('&limit=10')
    equal([m['payload'] for m in newest], [f'number {i}' for i in range(24, -1, -1)], 'newest first')
    equal(pages('&limit=7&order=oldest'), newest[::-1], 'oldest first')
    equal(len(pages('&tag=odd')), 12, 'by tag')
    equal([m['key'] for m in pages('&key=list-3')], ['list-3'], 'by key')
    equal(len(pages('&state=que')), 25, 'by state')
    equal(len(pages('&state=err')), 0, 'by another state')
    equal(len(pages('&mark=none')), 25, 'by mark')
    equal(sorted(m['key'] for m in pages('&text=NUMBER%202')),
          ['list-2'] + [f'list-{i}' for i in range(20, 25)], 'by text')
    equal(len(pages('&after=2020-01-01T00:00:00Z')), 25, 'after')
    equal(len(pages('&before=2020-01-01T00:00:00Z')), 0, 'before')
    equal('payload' in pages('&payloads=0')[0], False, 'without payloads')
    long = put(s, 'list', payload='ä' * 400_000, tags=['long'])
    m, = pages('&tag=long')
    equal((m['payload_bytes'], m['payload_cut'], set(m['payload'])), (800_000, True, {'ä'}),
          'a long payload is cut in a list, and it says so')
    m = s.get(f"/v1/messages/{long['id']}").json
    equal((m['payload_bytes'], len(m['payload'])), (800_000, 400_000), 'and whole by itself')
    that('finished' not in newest[0] and 'lease' not in newest[0], 'null fields are left out')


def test_actions(s):
    s.put('/v1/queues/act')
    s.put('/v1/queues/other')

    def act(seq, verb, body=None):
        return s.post(f'/v1/messages/{seq}/{verb}', body)

    m = put(s, 'act', prep=True)
    equal(m['state'], 'prep', 'prep')
    r = act(m['id'], 'commit')
    equal((r.status, r.json['state'], r.json['id']), (200, 'que', m['id']), 'commit')
    equal(act(m['seq'], 'priority', {'priority': 9}).status, 200, 'priority')
    equal(s.get(f"/v1/messages/{m['seq']}").json['priority'], 9, 'it has it')
    equal(act(m['seq'], 'move', {'queue': 'other'}).status, 200, 'move')
    equal(s.get(f"/v1/messages/{m['seq']}").json['queue'], 'other', 'it is there')
    equal(act(m['seq'], 'cancel', {'reason': 'no more'}).json['state'], 'cancelled', 'cancel')
    r = act(m['seq'], 'clone', {'queue': 'act'})
    equal((r.status, r.json['seq'] > m['seq']), (201, True), 'clone')
    equal(s.get(f"/v1/messages/{r.json['seq']}").json['queue'], 'act', 'the clone is in its queue')
    equal(act(m['seq'], 'retry').json['state'], 'que', 'retry')
    late = put(s, 'act', delay_s=100, key='late one')
    equal(act('key:late%20one', 'run_now').json['state'], 'que', 'run now, by key')
    run = reserve(s, 'act', limit=5)
    that(late['seq'] in [x['seq'] for x in run], 'it can be had')
    equal(act(late['seq'], 'requeue').json['state'], 'que', 'requeue takes the lease')
    victim = run[0] if run[0]['seq'] != late['seq'] else run[1]
    equal(act(victim['seq'], 'kill').status, 200, 'kill a running one')
    equal(s.post('/v1/heartbeat', {'token': token(victim)}).json['stop'], 'kill', 'its worker hears')
    equal(s.post('/v1/finish', {'token': token(victim), 'outcome': 'stopped'}).json['state'], 'err',
          'and ends it')
    equal(s.get(f"/v1/messages/{victim['seq']}").json['mark'], 'killed', 'with its mark')
    equal(s.delete(f"/v1/messages/{victim['id']}").status, 200, 'delete')
    equal(s.get(f"/v1/messages/{victim['id']}").code, 'not_found', 'gone')


def test_bulk(s):
    s.put('/v1/queues/bulk')
    s.post('/v1/queues/bulk/messages', [{'tags': ['b'], 'prep': i % 3 == 0} for i in range(2500)])
    ask = {'action': 'cancel', 'filter': {'queue': 'bulk', 'state': 'que'}, 'dry_run': True}
    r = s.post('/v1/messages/bulk', ask).json
    equal((r['matched'], r['changed'], len(r['sample']), r['dry_run']), (1666, 0, 10, True), 'dry')
    equal(s.get('/v1/queues/bulk').json['counts']['cancelled'], 0, 'a dry run changes nothing')
    r = s.post('/v1/messages/bulk', {**ask, 'dry_run': False, 'limit': 1200}).json
    equal((r['matched'], r['changed'], r['refused']), (1200, 1200, 0), 'up to the limit')
    r = s.post('/v1/messages/bulk', {**ask, 'dry_run': False}).json
    equal(r['changed'], 466, 'the rest')
    r = s.post('/v1/messages/bulk', {'action': 'clone', 'filter': {'queue': 'bulk',
                                                                  'state': 'cancelled'}}).json
    equal((r['matched'], r['changed'], r['refused']), (1666, 1666, 0), 'clones are not met again')
    s.post('/v1/queues/bulk/down')
    r = s.post('/v1/messages/bulk', {'action': 'commit', 'filter': {'queue': 'bulk'}}).json
    equal((r['matched'], r['changed'], r['refused'], len(r['errors'])), (834, 0, 834, 10),
          'refusals are counted')
    equal(r['errors'][0]['error']['code'], 'queue_down', 'with their reason')  # faults.md A6


def test_work(s):
    s.put('/v1/queues/w', {'lease_s': 30, 'retries': 1, 'backoff': {'kind': 'fixed', 'base_s': 5,
                                                                  'jitter_percent': 0}})
    s.put('/v1/queues/w2')
    first, second = put(s, 'w', payload='1'), put(s, 'w2', payload='2', priority=1)
    got = s.post('/v1/reserve', {'queues': ['w', {'queue': 'w2', 'limit': 2}], 'limit': 5,
                                 'worker': 'host:1', 'folder': True}).json['messages']
    equal([m['seq'] for m in got], [second['seq'], first['seq']], 'best first over queues')
    # faults.md A10
    equal([m['queue'] for m in got], ['w2', 'w'], 'with the names of their queues')
    equal((got[0]['lease']['worker'], got[0]['lease']['attempt'], got[0]['lease']['stop']),
          ('host:1', 1, 'none'), 'the lease')
    equal(got[1]['folder'], f"queue/w/{first['id']}", 'the folder')
    two, one = got
    r = s.post('/v1/progress', {'token': token(one), 'progress': 'half'})
    equal((r.status, r.json['until']), (200, one['lease']['until']), 'progress does not extend')
    s.advance(10)
    r = s.post('/v1/heartbeat', {'items': [{'token': token(one)}, {'token': '9.9.9'}, {'x': 1}]})
    equal((r.json['items'][0]['until'] > one['lease']['until'],
           r.json['items'][1]['error']['code'], r.json['items'][2]['error']['code']),
          (True, 'lease_lost', 'bad_value'), 'many heartbeats')
    equal(s.get(f"/v1/messages/{one['seq']}").json['progress'], 'half', 'progress shown')
    r = s.post('/v1/done', {'token': token(two), 'reason': 'fine', 'result': {'n': 1},
                            'post_mortem': {'exit_code': 0, 'wall_s': 1.5, 'signal': None}})
    equal(r.json, {'state': 'done'}, 'done')
    m = s.get(f"/v1/messages/{two['seq']}").json
    equal((m['state'], m['result'], m['attempts']), ('done', {'n': 1}, 1), 'as told')
    r = s.get(f"/v1/messages/{two['seq']}/attempts").json['attempts']
    equal((len(r), r[0]['outcome'], r[0]['post_mortem']['wall_s']), (1, 'done', 1.5), 'attempts')
    equal(s.post('/v1/done', {'token': token(two)}).code, 'lease_lost', 'the token fences')
    equal(s.post('/v1/err', {'token': token(one), 'reason': 'bad'}).json['state'], 'scheduled',
          'err goes back with backoff')
    s.advance(5)
    one, = reserve(s, 'w')
    equal(one['lease']['attempt'], 2, 'the second attempt')
    equal(s.post('/v1/err', {'token': token(one), 'reason': 'bad'}).json['state'], 'err', 'and err')
    for verb, body, state in [('relayed', {}, 'relayed'), ('err', {'retry': False}, 'err'),
                              ('resend', {'delay_s': 10}, 'scheduled'), ('release', {}, 'que'),
                              ('finish', {'outcome': 'hold', 'reason': 'r'}, 'err')]:
        s.put(f'/v1/queues/end-{verb}')
        put(s, f'end-{verb}')
        m, = reserve(s, f'end-{verb}')
        equal(s.post(f'/v1/{verb}', {'token': token(m), **body}).json, {'state': state}, verb)
    put(s, 'w', payload='dup me', param1='p')
    m, = reserve(s, 'w')
    r = s.post('/v1/duplicate', {'token': token(m), 'queue': 'w2'})
    d = s.get(f"/v1/messages/{r.json['seq']}").json
    equal((d['queue'], d['payload'], d['param1'], d['orig_id']),
          ('w2', 'dup me', 'p', f"http://127.0.0.1:{s.port}/q/w/{m['id']}"),
          'duplicate')
    r = s.post('/v1/duplicate', {'items': [{'token': token(m), 'queue': 'w2'},
                                           {'token': token(m), 'queue': 'nope'}, 5]})
    equal([i.get('state') or i['error']['code'] for i in r.json['items']],
          ['que', 'not_found', 'bad_value'], 'many duplicates')
    s.advance(31)
    equal(s.post('/v1/done', {'token': token(m)}).code, 'lease_lost', 'a lease that ended')
    ran_out = "the worker 'local' did not renew its lease within 60 s"
    m, = reserve(s, 'w', worker='local', lease_s=60)
    s.post('/v1/progress', {'token': token(m), 'progress': 'half way'})
    s.advance(60)
    path = f"/v1/messages/{m['id']}"
    equal((s.get(path + '/attempts').json['attempts'][-1]['reason'], s.get(path).json['progress']),
          (ran_out + '; its last text: half way',) * 2, 'why it was lost')
    that(ran_out in s.get(path + '/why').json['text'], 'why it waits again')


def test_long_poll(s):
    s.put('/v1/queues/poll')
    s.put('/v1/queues/quiet')
    other = rqtest.Client(s._make)
    result = []
    waiter = threading.Thread(target=lambda: result.append(
        other.post('/v1/reserve', {'queues': ['poll'], 'wait_s': 60}).json['messages']))
    waiter.start()
    waiting = lambda: s.get('/v1/queues/poll').json['waiting_reserves'] == 1
    rqtest.eventually(waiting, 'the reserve waits')
    m = put(s, 'poll', payload='for you')
    waiter.join(30)
    equal([x['seq'] for x in result[0]], [m['seq']], 'a waiting reserve gets what comes')
    s.post('/v1/done', {'token': token(result[0][0])})
    waiter = threading.Thread(target=lambda: result.append(
        other.post('/v1/reserve', {'queues': ['poll', 'quiet'], 'wait_s': 60}).json['messages']))
    waiter.start()
    rqtest.eventually(waiting, 'the reserve waits')
    s.advance(61)
    waiter.join(30)
    equal(result[1], [], 'empty when the wait is over')
    # A client that goes away is forgotten, and gets nothing.
    body = b'{"queues":["poll"],"wait_s":60}'
    sock = s.connect()
    sock.sendall(f'POST /v1/reserve HTTP/1.1\r\nHost: localhost:{s.port}\r\n'
                 f'Content-Length: {len(body)}\r\n\r\n'.encode() + body)
    rqtest.eventually(waiting, 'the reserve waits')
    sock.close()
    rqtest.eventually(lambda: s.get('/v1/queues/poll').json['waiting_reserves'] == 0,
                      'the reserve of a client that went is forgotten')
    m = put(s, 'poll')
    equal([x['seq'] for x in reserve(s, 'poll')], [m['seq']], 'and the message is there for others')


def test_connection(s):
    host = f'Host: localhost:{s.port}\r\n'
    s.put('/v1/queues/pipe')
    body = '{"payload":"p"}'
    one = (f'POST /v1/queues/pipe/messages HTTP/1.1\r\n{host}Content-Type: application/json\r\n'
           f'Content-Length: {len(body)}\r\n\r\n{body}')
    look = f'GET /v1/queues/pipe HTTP/1.1\r\n{host}\r\n'
    with s.connect() as sock:
        count = 3000  # more than may be in flight
        sender = threading.Thread(target=lambda: sock.sendall((one + look).encode() * count))
        sender.start()
        replies = read_replies(sock, 2 * count)
        sender.join()
    equal([r[0] for r in replies], [201, 200] * count, 'pipelined replies, in order')
    seqs = [json.loads(r[1])['seq'] for r in replies[::2]]
    equal(seqs, sorted(set(seqs)), 'pipelined puts, in order')
    with s.connect() as sock:
        for byte in one.encode():
            sock.sendall(bytes([byte]))
        equal(read_replies(sock, 1)[0][0], 201, 'byte by byte')
        sock.sendall(f'HEAD /v1/queues/pipe HTTP/1.1\r\n{host}\r\n'.encode() + look.encode())
        data = b''
        while data.count(b'HTTP/1.1 200') < 2:
            data += sock.recv(65536)
        that(data.index(b'\r\n\r\nHTTP/1.1 200') > 0, 'HEAD has no body')
    with s.connect() as sock:
        sock.sendall(one.replace('\r\n\r\n', '\r\nExpect: 100-continue\r\n\r\n').split('{')[0].encode())
        data = sock.recv(65536)
        that(data.startswith(b'HTTP/1.1 100 '), '100-continue')
        sock.sendall(body.encode())
        equal(read_replies(sock, 1)[0][0], 201, 'and then the body')
    with s.connect() as sock:
        sock.sendall(look.replace('HTTP/1.1', 'HTTP/1.0').encode())
        data = b''
        while piece := sock.recv(65536):
            data += piece
        that(b'Connection: close' in data, 'HTTP/1.0 closes')
    with s.connect() as sock:
        sock.sendall(look.encode())
        sock.shutdown(socket.SHUT_WR)
        equal(read_replies(sock, 1)[0][0], 200, 'a client that only sends no more gets its reply')
        equal(sock.recv(10), b'', 'and the end')
    equal(s.unix.get('/v1/version', headers={'Host': 'anything'}).status, 200, 'any Host on unix')
    s.put('/v1/queues/gone')
    for family, address in ((socket.AF_UNIX, str(s.socket_path)),
                            (socket.AF_INET, ('127.0.0.1', s.port))):
        with socket.socket(family) as sock:
            sock.connect(address)
            sock.sendall(one.replace('/pipe/', '/gone/').encode())
    rqtest.eventually(lambda: s.get('/v1/queues/gone').json['counts']['que'] == 2,
                      'puts of clients that closed at once are done')


def test_events(s):
    s.put('/v1/queues/ev')
    stream = s.events('/v1/events?queue=ev')
    event, hello = next(stream)
    equal((event, hello['boot']), ('hello', s.get('/v1/version').json['boot']), 'hello')
    m = put(s, 'ev')
    event, data = next(stream)
    equal((event, data['seq'], data['to'], data['queue']), ('message', m['seq'], 'que', 'ev'), 'put')
    got, = reserve(s, 'ev')
    equal(next(stream)[1]['to'], 'run', 'run')
    s.post('/v1/progress', {'token': token(got), 'progress': 'äh'})
    equal([(e, d['text']) for e, d in [next(stream)]], [('progress', 'äh')], 'progress')
    kinds = s.events(f"/v1/events?message={m['id']}&kinds=message,removed")
    next(kinds)
    s.post(f"/v1/messages/{m['id']}/cancel")
    equal(next(stream)[0], 'stop', 'stop')
    s.post('/v1/finish', {'token': token(got), 'outcome': 'stopped'})
    equal(next(kinds)[1]['to'], 'cancelled', 'kinds are kept apart')
    s.delete(f"/v1/messages/{m['id']}")
    equal(next(kinds)[0], 'removed', 'removed')
    kinds.close()
    stream.close()
    # A queue that is not there yet may be watched.
    stream = s.events('/v1/events?queue=ev.later')
    next(stream)
    s.put('/v1/queues/ev.later')
    event, data = next(stream)
    equal((event, data['queue']), ('queue', 'ev.later'), 'its first event')
    stream.close()
    # A put, a change of state and a move are told apart.
    all_of_it, moves = s.events('/v1/events?kinds=message'), s.events('/v1/events?kinds=move')
    next(all_of_it), next(moves)
    m = put(s, 'ev')
    s.put('/v1/queues/elsewhere')
    s.post(f"/v1/messages/{m['id']}/cancel")
    s.post(f"/v1/messages/{m['id']}/move", {'queue': 'elsewhere'})
    told = [data for _, data in (next(all_of_it) for _ in range(3))]
    equal([(d['change'], d['queue'], d.get('from_queue')) for d in told],
          [('put', 'ev', None), ('state', 'ev', None), ('move', 'elsewhere', 'ev')], 'what changed')
    equal(next(moves)[1], told[2], 'moves only')
    all_of_it.close()
    moves.close()


def test_log(s):
    s.put('/v1/queues/log')
    m = put(s, 'log')
    path = f"/v1/messages/{m['id']}/log"
    equal((s.get(path).status, s.get(path).body), (200, b''), 'no log yet')
    stream = s.events(path + '/stream')
    equal(stream.until('message')['state'], 'que', 'the stream begins with the message')
    got, = reserve(s, 'log', folder=True)
    equal(stream.until('message')['state'], 'run', 'and tells its changes')
    job = s.dir / got['folder'] / 'job'
    job.mkdir(parents=True)
    lines = [f'line {i} ä\n' for i in range(50)]
    log = open(job / 'stdio.log', 'wb', buffering=0)
    text = ''.join(lines).encode()
    log.write(text[:-2])
    data = stream.until('log')
    read = data['text']
    equal(data['offset'], 0, 'from the start')
    log.write(text[-2:])
    while len(read.encode()) < len(text):
        read += stream.until('log')['text']
    equal(read, text.decode(), 'followed, no character cut')
    equal(s.get(path).body, text, 'whole')
    equal(s.get(path + '?tail=2').body.decode(), ''.join(lines[-2:]), 'tail')
    equal(s.get(path + '?tail=1000').body, text, 'a longer tail')
    r = s.get(path, headers={'Range': 'bytes=5-9'})
    equal((r.status, r.body, r.headers['content-range']),
          (206, text[5:10], f'bytes 5-9/{len(text)}'), 'range')
    equal(s.get(path, headers={'Range': 'bytes=-4'}).body, text[-4:], 'suffix range')
    equal(s.get(path, headers={'Range': f'bytes={len(text)}-'}).status, 416, 'beyond')
    r = s.get(path, headers={'Range': 'bytes=5-9', 'If-Range': '"another"'})
    equal((r.status, r.body), (200, text), 'all of it, when the range is of another version')
    late = s.events(path + '/stream?tail=1')
    equal(late.until('log')['text'], lines[-1], 'a stream from the tail')
    late.close()
    log.write(b'\xff last words')
    s.post('/v1/done', {'token': token(got)})
    rest, ended = '', False
    for event, data in stream:
        rest += data['text'] if event == 'log' else ''
        ended = event == 'end'
    equal((rest, ended), ('\ufffd last words', True), 'all of it, then the end')
    stream = s.events(path + f'/stream?from={len(text)}')
    equal([e for e, _ in stream], ['log', 'message', 'end'], 'a finished one ends at once')
    big = b'0123456789abcde\n' * 200_000
    log.write(big)
    total = sum(len(d['text']) for e, d in s.events(path + f'/stream?from={len(text) + 12}')
                if e == 'log')
    equal(total, len(big), 'a large log is streamed whole')
    log.close()


def test_why(s):
    s.put('/v1/queues/why')
    ids = [put(s, 'why')['id'] for _ in range(3)]
    r = s.get(f'/v1/messages/{ids[2]}/why').json
    equal((r['reason'], r['ahead'], r['state']), ('no_worker', 2, 'que'), 'nobody works there, whoever is first')
    equal(s.get(f'/v1/messages/{ids[0]}/why').json['ahead'], 0, 'the first')
    s.post('/v1/queues/why/pause')
    equal(s.get(f'/v1/messages/{ids[0]}/why').json['reason'], 'paused', 'paused')
    s.post('/v1/queues/why/resume')
    later = put(s, 'why', delay_s=5)
    equal(s.get(f"/v1/messages/{later['id']}/why").json['reason'], 'scheduled', 'scheduled')


def test_server(s):
    there = s.get('/v1/stats').json['messages']
    equal(s.get('/v1/health').json, {'status': 'ok', 'silent_workers': [], 'failures': there['err'] - there['held'],
                                     'define_over_tcp': False, 'hindrance': None}, 'health')
    v = s.get('/v1/version').json
    equal((v['api'], v['pid'], v['dir']), ('v1', s.process.pid, str(s.dir)), 'version')
    stats = s.get('/v1/stats').json
    that(stats['messages']['que'] > 0 and stats['totals']['puts'] > 0, 'stats count')
    that(stats['memory_bytes'] > 0 and stats['store_bytes'] > 0, 'stats measure')
    doc = s.get('/v1/openapi.json').json
    equal(doc['openapi'], '3.1.0', 'the OpenAPI document')
    before = s.get('/v1/stats').json['now']
    that(s.advance(30) > before, 'the manual clock')


def test_restart(s):
    s.put('/v1/queues/keep')
    m = put(s, 'keep', payload='stay')
    s.kill()
    s.start()
    equal(s.get(f"/v1/messages/{m['id']}").json['payload'], 'stay', 'an OK survives kill -9')
    equal(s.terminate(), 0, 'SIGTERM ends it cleanly')
    s.start()
    equal(s.get(f"/v1/messages/{m['id']}").json['payload'], 'stay', 'and that too')


def main():
    with rqtest.Server() as server:
        for test in [test_queues, test_put_and_show, test_many, test_list, test_actions, test_bulk,
                     test_work, test_long_poll, test_connection, test_events, test_log, test_why,
                     test_server, test_restart]:
            test(server)
            print(f'{test.__name__}: {checks.passed} passed so far', flush=True)
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
