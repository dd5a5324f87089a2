#!/usr/bin/env node
// Takes a JSON list of queue names from the payload, puts a copy of the message into each, and
// waits for the answer to each on fd 4.
const fs = require('fs');

const say = (line) => fs.writeSync(3, line + '\n');

let unread = '';
function answer() {
  const chunk = Buffer.alloc(4096);
  while (!unread.includes('\n')) {
    unread += chunk.toString('utf8', 0, fs.readSync(4, chunk));
  }
  const end = unread.indexOf('\n');
  const line = unread.slice(0, end);
  unread = unread.slice(end + 1);
  return line;
}

const queues = JSON.parse(fs.readFileSync(0, 'utf8'));
const failed = [];
for (const queue of queues) {
  say(`dup 0-X-${queue}`);
  const line = answer();
  console.log(`${queue}: ${line}`);
  if (!line.startsWith('ok ')) failed.push(queue);
}
if (failed.length > 0) {
  say(`err no copy for ${failed.join(', ')}`);
  process.exitCode = 1;
} else {
  say(`done ${queues.length} copies`);
}
