// fivebeans from npm, unmodified. See jackd.js.
'use strict';
const assert = require('node:assert');
const readline = require('node:readline');
const fivebeans = require('fivebeans');

const steps = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function pass(seconds) {
  console.log(`pass ${seconds}`);
  await steps.next();
}

async function waiting(count) {
  console.log(`waiting ${count}`);
  await steps.next();
}

function connect(port) {
  return new Promise((resolve, reject) => {
    const client = new fivebeans.client('127.0.0.1', port);
    client.on('connect', () => resolve(client)).on('error', reject).connect();
  });
}

// The client's callbacks as promises: one value, or an array of them.
function call(client, command, ...values) {
  return new Promise((resolve, reject) => {
    client[command](...values, (error, ...results) =>
      error ? reject(new Error(String(error))) : resolve(results.length > 1 ? results : results[0]));
  });
}

async function main() {
  const port = Number(process.argv[2]);
  const one = await connect(port);
  const two = await connect(port);

  assert.equal(await call(one, 'use', 'beans'), 'beans');
  assert.equal(await call(two, 'watch', 'beans'), '2');
  assert.equal(await call(two, 'ignore', 'default'), '1');

  const id = await call(one, 'put', 10, 0, 60, 'hello');
  let [got, body] = await call(two, 'reserve');
  assert.equal(got, id);
  assert.equal(body.toString(), 'hello');
  await call(two, 'touch', id);
  await call(two, 'release', id, 5, 0);
  [got] = await call(two, 'reserve');
  assert.equal(got, id);
  await call(two, 'bury', id, 5);
  [got] = await call(one, 'peek_buried');
  assert.equal(got, id);
  assert.equal(await call(one, 'kick', 10), '1');
  [got] = await call(two, 'reserve_with_timeout', 0);
  assert.equal(got, id);
  await call(two, 'destroy', id);
  await assert.rejects(call(two, 'destroy', id), /NOT_FOUND/);
  await assert.rejects(call(two, 'reserve_with_timeout', 0), /TIMED_OUT/);

  const low = await call(one, 'put', 9, 0, 60, 'low');
  const high = await call(one, 'put', 1, 0, 60, 'high');
  [got] = await call(one, 'peek_ready');
  assert.equal(got, high);
  [got] = await call(two, 'reserve');
  assert.equal(got, high);
  [got] = await call(two, 'reserve');
  assert.equal(got, low);

  const delayed = await call(one, 'put', 0, 15, 60, 'delayed');
  [got] = await call(one, 'peek_delayed');
  assert.equal(got, delayed);
  const wait = call(two, 'reserve');
  await waiting(1);
  await pass(15);
  [got] = await wait;
  assert.equal(got, delayed);

  const nothing = assert.rejects(call(two, 'reserve_with_timeout', 4), /TIMED_OUT/);
  await waiting(1);
  await pass(4);
  await nothing;

  await call(one, 'pause_tube', 'beans', 12);
  await call(one, 'put', 0, 0, 60, 'paused');
  await assert.rejects(call(two, 'reserve_with_timeout', 0), /TIMED_OUT/);
  await pass(12);
  [got, body] = await call(two, 'reserve');
  assert.equal(body.toString(), 'paused');

  const job = await call(one, 'stats_job', got);
  assert.equal(job.state, 'reserved');
  assert.equal(job.ttr, 60);
  const tube = await call(one, 'stats_tube', 'beans');
  assert.equal(tube.name, 'beans');
  assert.equal(tube['current-jobs-reserved'], 4);
  const stats = await call(one, 'stats');
  assert.ok(stats['cmd-put'] >= 5);
  assert.ok((await call(one, 'list_tubes')).includes('beans'));
  assert.deepEqual(await call(two, 'list_tubes_watched'), ['beans']);
  assert.equal(await call(one, 'list_tube_used'), 'beans');
  one.quit(() => {});
  two.quit(() => {});
  console.log('all done');
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
