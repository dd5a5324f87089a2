"""The OpenAPI document (faults.md C20): a public linter finds nothing, a public generator makes a
TypeScript client of it that compiles, its examples are what the server takes, and the errors that
an operation names are those of the table of codes.
"""
# ctest-timeout: 600
import json
import pathlib
import re
import shutil
import subprocess
import sys

import rqtest

HERE = pathlib.Path(__file__).resolve().parent / 'openapi'
INSTALLED = rqtest.ROOT / 'build' / 'openapi'  # npm's modules; kept from run to run

checks = rqtest.Checks()


def run(*command):
    ran = subprocess.run(['node_modules/.bin/' + command[0], *command[1:]], cwd=INSTALLED,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    checks.that(ran.returncode == 0, f'{command}: {ran.stdout[-2000:]}')
    return ran.stdout


def test_public_tools(document):
    (INSTALLED / 'openapi.json').write_text(json.dumps(document))
    said = run('redocly', 'lint', '--extends=recommended', '--format=json', 'openapi.json')
    found = json.loads(said[said.index('{'):said.rindex('}') + 1])
    checks.equal(found['totals']['errors'], 0, 'errors of the linter')
    checks.equal([p['message'] for p in found['problems']], [], 'its warnings')
    run('openapi-typescript', 'openapi.json', '-o', 'api.d.ts')
    shutil.copy(HERE / 'client.ts', INSTALLED)
    run('tsc', '--noEmit', '--strict', '--noUncheckedIndexedAccess', '--target', 'es2020',
        '--module', 'es2020', '--moduleResolution', 'node', 'client.ts')


def operations(document):
    for path, methods in document['paths'].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_errors_by_code(document):
    table = (rqtest.ROOT / 'src' / 'base' / 'error.cpp').read_text()
    statuses = set(re.findall(r'k(?:Refusal|Fault), +(\d{3}),', table))
    checks.that(len(statuses) > 10, f'the table of codes was read: {statuses}')
    for method, path, operation in operations(document):
        errors = {code for code in operation['responses'] if re.fullmatch('[45]..', code)}
        checks.that({'400', '403', '422'} <= errors, f'{method} {path} names {errors}')
        checks.that(errors <= statuses | {'416'}, f'{method} {path}: {errors - statuses}')


def examples_of(content, document):
    for example in content.get('examples', {}).values():
        if '$ref' in example:
            example = document['components']['examples'][example['$ref'].rsplit('/', 1)[1]]
        yield example['value']


def test_examples(document):
    """Each JSON body has one; the server takes them all, and answers as the document says."""
    for method, path, operation in operations(document):
        name = f'{method} {path}'
        for code, reply in operation['responses'].items():
            content = reply.get('content', {}).get('application/json')
            if code.startswith('2') and content and operation['operationId'] != 'showOpenapi':
                checks.that(list(examples_of(content, document)), f'{name}: an example of its {code}')
        for type, content in operation.get('requestBody', {}).get('content', {}).items():
            bodies = list(examples_of(content, document))
            checks.that(bodies or type == '*/*', f'{name}: an example of what it takes ({type})')
            for body in bodies:
                try_example(method, path, operation, type, body)


def try_example(method, path, operation, type, body):
    """On a server of its own, with a queue, a message that waits and one that is leased."""
    with rqtest.Server() as server:
        server.put('/v1/queues/mail', {})
        server.put('/v1/queues/mail-slow', {})
        server.post('/v1/queues/mail/messages', [{'payload': 'one'}, {'payload': 'two'}])
        server.post('/v1/reserve', {'queues': ['mail']})
        address = path.replace('{queue}', 'mail').replace('{id}', '2')
        text = body if isinstance(body, str) else json.dumps(body)
        reply = server.request(method, address, text, {'Content-Type': type})
        what = f'{method} {path} with {text[:100]}: {reply}'
        checks.that(str(reply.status) in operation['responses'], f'its status is documented: {what}')
        # The message may be in another state than the call wants; all else is good.
        checks.that(reply.status < 300 or reply.code == 'wrong_state', what)


def main():
    with rqtest.Server() as server:
        document = server.get('/v1/openapi.json').json
    rqtest.npm_install(HERE, INSTALLED)
    test_public_tools(document)
    test_errors_by_code(document)
    test_examples(document)
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
