"""TLS over HTTP and beanstalkd's port: what clients believe, what the server shows and refuses, and a
certificate that is exchanged while it runs (pitfalls NT10, NT12, NT13, NT15, NT17, NT18)."""
import contextlib
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile

import rqtest

checks = rqtest.Checks()
equal, that = checks.equal, checks.that


def rq(*args, env=None):
    plain = {k: v for k, v in os.environ.items() if not k.startswith('RQ_') or k == 'RQ_BIN'}
    return subprocess.run([rqtest.RQ_BIN, *map(str, args)], capture_output=True, text=True, timeout=60,
                          env={**plain, **(env or {})})


def openssl(*args, folder):
    made = subprocess.run(['openssl', *map(str, args)], cwd=folder, capture_output=True, text=True)
    equal(made.returncode, 0, f'openssl {args}: {made.stderr}')


def make_ca(folder):
    """A CA, and of it a certificate for 127.0.0.1, one for another name, and two of clients."""
    openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', 9,
            '-subj', '/CN=test', '-keyout', 'ca.key', '-out', 'ca.crt', folder=folder)
    for name, alt, usage in (('here', 'IP:127.0.0.1', 'serverAuth'), ('there', 'DNS:there.example', 'serverAuth'),
                             ('client', 'DNS:worker-1', 'clientAuth'), ('stranger', 'DNS:worker-9', 'clientAuth')):
        (folder / 'ext').write_text(f'subjectAltName={alt}\nextendedKeyUsage={usage}\n')
        openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', f'/CN={name}',
                '-keyout', f'{name}.key', '-out', f'{name}.csr', folder=folder)
        openssl('x509', '-req', '-in', f'{name}.csr', '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial',
                '-days', 9, '-extfile', 'ext', '-out', f'{name}.crt', folder=folder)


class Place:
    def __init__(self, folder):
        self.folder = folder
        self.dir = folder / 'var'
        self.dir.mkdir(mode=0o700)
        self.https, self.tls = rqtest.free_port(), rqtest.free_port()
        self.show('here')
        (self.dir / 'rq.toml').write_text(
            f'http = ["127.0.0.1:0", "https://127.0.0.1:{self.https}"]\n'
            f'beanstalk = "tls://127.0.0.1:{self.tls}"\n'
            f'tls_certificate = "{self.folder}/shown.crt"\ntls_key = "{self.folder}/shown.key"\n'
            f'tls_client_ca = "{self.folder}/ca.crt"\n[certificates]\n"DNS:worker-1" = ["read"]\n')
        self.url = f'https://127.0.0.1:{self.https}'

    def show(self, name):
        for kind in ('crt', 'key'):
            (self.folder / f'shown.{kind}').write_bytes((self.folder / f'{name}.{kind}').read_bytes())

    def file(self, name):
        return self.folder / name

    def call(self, *args, env=None):
        return rq(*args, '--server', self.url, env=env)


class TlsServer(rqtest.Server):
    def command(self, port=0):
        return [self.binary, 'server', '--dir', str(self.dir), *self.args]


def try_client(place):
    ca = place.file('ca.crt')
    said = place.call('version', '--tls-ca', ca)
    equal(said.returncode, 0, f'a CA that is named: {said}')
    said = place.call('version')
    equal(said.returncode, 9, 'nobody that the system knows has signed it')
    that('is not believed' in said.stderr and '--tls-ca' in said.stderr, said.stderr)
    said = place.call('version', '--tls-pin', 'sha256:' + '0' * 64)
    equal(said.returncode, 9, 'another key is pinned')
    that('it shows the key sha256:' in said.stderr, said.stderr)
    pin = said.stderr.partition('shows the key ')[2].split(',')[0]
    equal(place.call('version', '--tls-pin', pin).returncode, 0, 'its own key')
    equal(place.call('version', env={'RQ_TLS_PIN': pin}).returncode, 0, 'in the environment')
    equal(place.call('version', '--tls-pin', 'sha1:00').returncode, 2, 'that is no pin')
    said = rq('version', '--server', f'https://localhost:{place.https}', '--tls-ca', ca)
    equal(said.returncode, 9, 'the certificate is for another name')
    that('its certificate is for IP:127.0.0.1, not for localhost' in said.stderr, said.stderr)
    said = rq('version', '--server', f'http://127.0.0.1:{place.https}')
    that(said.returncode != 0, 'plain to a port with TLS')


def try_certificates_of_clients(place):
    ca = place.file('ca.crt')
    shown = [part for name in ('client',) for part in ('--tls-certificate', place.file(f'{name}.crt'),
                                                        '--tls-key', place.file(f'{name}.key'))]
    equal(place.call('queue', 'list', '--tls-ca', ca, *shown).returncode, 0, 'it may read')
    said = place.call('put', 'q', 'x', '--tls-ca', ca, *shown)
    equal(said.returncode, 6, f'and no more: {said}')
    that('certificate:DNS:worker-1' in said.stderr, said.stderr)
    for name in ('stranger', 'here'):
        said = place.call('queue', 'list', '--tls-ca', ca, '--tls-certificate', place.file(f'{name}.crt'),
                          '--tls-key', place.file(f'{name}.key'))
        that(said.returncode != 0, f'{name} is not let in: {said}')
    said = place.call('queue', 'list', '--tls-ca', ca, '--tls-certificate', place.file('client.crt'))
    equal(said.returncode, 2, 'a certificate without its key')


@contextlib.contextmanager
def talk(port, **how):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if 'alpn' in how:
        context.set_alpn_protocols(how['alpn'])
    if 'most' in how:
        context.minimum_version = how['most']
        context.maximum_version = how['most']
        context.set_ciphers('DEFAULT:@SECLEVEL=0')
    if 'ciphers' in how:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(how['ciphers'])
    with socket.create_connection(('127.0.0.1', port), 10) as plain:
        with context.wrap_socket(plain) as stream:
            yield stream


def refused(port, **how):
    try:
        with talk(port, **how) as stream:
            stream.sendall(b'GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n')
            return not stream.recv(1)
    except (ssl.SSLError, OSError):
        return True


def try_protocols(place):
    for most in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        that(refused(place.https, most=most), f'{most} is too old')
    for most in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with talk(place.https, most=most) as stream:
            stream.sendall(b'GET /v1/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
            that(stream.recv(100).startswith(b'HTTP/1.1 200'), f'{most} is spoken')
    for ciphers in ('AES128-SHA', 'ECDHE-RSA-AES128-SHA', 'AES128-GCM-SHA256', 'NULL:@SECLEVEL=0'):
        with contextlib.suppress(ssl.SSLError):  # unknown to the client
            that(refused(place.https, ciphers=ciphers), f'{ciphers} is refused')
    that(refused(place.https, alpn=['foo']), 'a protocol that is not spoken')
    that(refused(place.https, alpn=['beanstalkd']), 'nor the other one')
    with talk(place.https, alpn=['h2', 'http/1.1']) as stream:
        equal(stream.selected_alpn_protocol(), 'http/1.1', 'the one that is')
    with talk(place.tls, alpn=['beanstalkd']) as stream:
        stream.sendall(b'put 0 0 60 1\r\nx\r\nlist-tubes\r\n')
        got = b''
        while b'default' not in got:
            got += stream.recv(1000)
        that(got.startswith(b'INSERTED '), 'beanstalkd over TLS')
    that(refused(place.tls, alpn=['http/1.1']), 'HTTP is not spoken there')
    ran = subprocess.run(['openssl', 's_client', '-tls1_2', '-connect', f'127.0.0.1:{place.https}'], input='R\n',
                         capture_output=True, text=True, timeout=20)
    that('renegotiation' in (ran.stdout + ran.stderr).lower() and ran.returncode != 0, 'no renegotiation')


def try_stray_bytes(place, server):
    for port in (place.https, place.tls):
        for sent in (b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', b'put 0 0 60 1\r\nx\r\n', b'\0' * 64, os.urandom(64)):
            with socket.create_connection(('127.0.0.1', port), 10) as stream:
                stream.settimeout(20)
                stream.sendall(sent)
                with contextlib.suppress(ConnectionResetError):
                    while stream.recv(1000):
                        pass
    equal(server.process.poll(), None, 'and nothing of it ends the server')


def try_new_certificate(place, server):
    ca = place.file('ca.crt')
    with talk(place.https) as old:
        place.show('there')
        server.process.send_signal(signal.SIGHUP)
        rqtest.eventually(lambda: place.call('version', '--tls-ca', ca).returncode == 9, 'the new one is shown')
        said = place.call('version', '--tls-ca', ca)
        that('is for DNS:there.example' in said.stderr, said.stderr)
        old.sendall(b'GET /v1/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        that(old.recv(100).startswith(b'HTTP/1.1 '), 'and the connection of before goes on')
    place.file('shown.key').write_bytes(place.file('here.key').read_bytes())
    server.process.send_signal(signal.SIGHUP)
    rqtest.eventually(lambda: 'the certificate stays as it was' in server.log(), 'a key that does not belong to it')
    that('is for DNS:there.example' in place.call('version', '--tls-ca', ca).stderr, 'it stays')
    place.show('here')
    server.process.send_signal(signal.SIGHUP)
    rqtest.eventually(lambda: place.call('version', '--tls-ca', ca).returncode == 0, 'the first one again')


def try_self_signed(place):
    out = place.file('own')
    out.mkdir()
    said = rq('tls', 'self-signed', '--name', 'rq.example', '--out', out)
    equal(said.returncode, 0, f'made: {said}')
    that(f'tls_certificate = "{out}/tls.crt"' in said.stdout, said.stdout)
    equal((out / 'tls.key').stat().st_mode & 0o777, 0o600, 'its key is nobody else\'s')
    before = (out / 'tls.key').read_bytes()
    said = rq('tls', 'self-signed', '--name', 'rq.example', '--out', out)
    that(said.returncode != 0 and 'is there already' in said.stderr, f'not a second time: {said}')
    equal((out / 'tls.key').read_bytes(), before, 'the first one stays')


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        make_ca(folder)
        place = Place(folder)
        with TlsServer(manual_clock=False, dir=place.dir) as server:
            try_client(place)
            try_certificates_of_clients(place)
            try_protocols(place)
            try_stray_bytes(place, server)
            try_new_certificate(place, server)
            try_self_signed(place)
            that('rq_' not in server.log(), 'no token is in the log')
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
