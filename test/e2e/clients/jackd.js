// jackd from npm, unmodified: what its users do. Prints a line a step; beanstalk_clients_test.py
// moves the server's clock between the lines and checks that all were said.
'use strict';
const assert = require('node:assert');
const readline = require('node:readline');
const Jackd = require('jackd');

const steps = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

// The test moves the clock by so many seconds before this is done.
async function pass(seconds) {
  console.log(`pass ${seconds}`);
  await steps.next();
}

// Until so many reserves wait in the server.
async function waiting(count) {
  console.log(`waiting ${count}`);
  await steps.next();
}

async function main() {
  const port = Number(process.argv[2]);
  const one = new Jackd();
  const two = new Jackd();
  await one.connect({ host: '127.0.0.1', port });
  await two.connect({ host: '127.0.0.1', port });

  // Put, reserve, delete; a tube of its own; a body that looks like a reply.
  assert.equal(await one.use('jobs'), 'jobs');
  assert.equal(await two.watch('jobs'), 2);
  assert.equal(await two.ignore('default'), 1);
  await assert.rejects(two.ignore('jobs'), /NOT_IGNORED/);
  const body = 'RESERVED 7 3\r\nab\0\r\n';
  const id = await one.put(body);
  const job = await two.reserve();
  assert.equal(job.id, id);
  assert.equal(job.payload.toString(), body);
  await two.delete(id);
  await assert.rejects(two.delete(id), /NOT_FOUND/);

  // Priorities: the smaller goes first.
  const late = await one.put('late', { priority: 10 });
  const early = await one.put('early', { priority: 1 });
  assert.equal((await one.peekReady()).id, early);
  assert.equal((await two.reserve()).id, early);
  assert.equal((await two.reserve()).id, late);
  await assert.rejects(two.reserveWithTimeout(0), /TIMED_OUT/);

  // Release, bury, kick.
  await two.release(early, { priority: 5 });
  assert.equal((await two.reserve()).id, early);
  await two.bury(early, 3);
  assert.equal((await one.peekBuried()).id, early);
  assert.equal(await one.kick(10), 1);
  await two.bury(late, 3);
  await one.kickJob(late);
  assert.equal((await two.reserve()).id, late);
  assert.equal((await two.reserve()).id, early);
  await two.delete(late);
  await two.delete(early);

  // A delay; a wait that a delayed job ends.
  const delayed = await one.put('delayed', { delay: 30 });
  assert.equal((await one.peekDelayed()).id, delayed);
  const wait = two.reserve();
  await waiting(1);
  await pass(30);
  assert.equal((await wait).id, delayed);
  await two.delete(delayed);

  // A time-out.
  const nothing = assert.rejects(two.reserveWithTimeout(5), /TIMED_OUT/);
  await waiting(1);
  await pass(5);
  await nothing;

  // Time to run: touched it lives on, then it is lost to another.
  const slow = await one.put('slow', { ttr: 10 });
  await two.reserve();
  await pass(8);
  await two.touch(slow);
  await pass(8);
  assert.match(await one.statsJob(slow), /state: reserved/);
  const soon = assert.rejects(two.reserve(), /DEADLINE_SOON/);
  await waiting(1);
  await pass(1);
  await soon;
  await pass(1);
  await assert.rejects(two.touch(slow), /NOT_FOUND/);
  const again = await one.reserveJob(slow);
  assert.equal(again.id, slow);
  await one.delete(slow);

  // No pause-tube: jackd 2.2.2 forgets the end of that line, and waits for ever with any server.

  // Lists and figures.
  assert.match(await one.statsTube('jobs'), /current-using: 1\n/);
  assert.match(await one.stats(), /cmd-put: \d+\n/);
  assert.match(await one.listTubes(), /- jobs\n/);
  assert.equal(await one.listTubeUsed(), 'jobs');

  // Many at once on one connection.
  const ids = await Promise.all(Array.from({ length: 500 }, (_, i) => one.put(`n${i}`)));
  assert.equal(new Set(ids).size, 500);
  for (let i = 0; i < 500; i++) await two.delete((await two.reserve()).id);
  await one.quit();
  await two.quit();
  console.log('all done');
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
