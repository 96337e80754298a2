'use strict';
// What applications do with the etcd3 package, against the server at ETCD_ENDPOINT.

const test = require('node:test');
const assert = require('node:assert/strict');
const { Etcd3, EtcdLockFailedError } = require('etcd3');

const endpoint = process.env.ETCD_ENDPOINT;
assert.ok(endpoint, 'ETCD_ENDPOINT names no server');

let tests = 0;

/** Runs a test with a client and a prefix of its own. */
function withClient(name, fn) {
  test(name, { timeout: 20_000 }, async () => {
    const client = new Etcd3({ hosts: endpoint });
    try {
      await fn(client, `node/${process.pid}/${tests++}/`);
    } finally {
      client.close();
    }
  });
}

withClient('puts, gets and deletes', async (client, prefix) => {
  await client.put(prefix + 'a').value('1');
  await client.put(prefix + 'b').value(Buffer.from([0, 255]));
  assert.equal(await client.get(prefix + 'a').string(), '1');
  assert.deepEqual(await client.get(prefix + 'b').buffer(), Buffer.from([0, 255]));
  assert.equal(await client.get(prefix + 'missing'), null);
  assert.deepEqual(Object.keys(await client.getAll().prefix(prefix).strings()), [prefix + 'a', prefix + 'b']);
  assert.equal(await client.getAll().prefix(prefix).count(), 2);
  assert.deepEqual(await client.getAll().prefix(prefix).sort('Key', 'Descend').limit(1).keys(), [prefix + 'b']);
  const deleted = await client.delete().prefix(prefix).getPrevious();
  assert.equal(deleted.length, 2);
});

withClient('runs transactions', async (client, prefix) => {
  const key = prefix + 'k';
  const create = (value) =>
    client.if(key, 'Create', '==', 0).then(client.put(key).value(value)).else(client.get(key)).commit();
  assert.equal((await create('first')).succeeded, true);
  const second = await create('second');
  assert.equal(second.succeeded, false);
  assert.equal(second.responses[0].response_range.kvs[0].value.toString(), 'first');
});

withClient('keeps a lease alive, and revokes it', async (client, prefix) => {
  const lease = client.lease(10);
  await lease.put(prefix + 'k').value('v');
  assert.equal(await client.get(prefix + 'k').string(), 'v');
  await lease.keepaliveOnce();
  await lease.revoke();
  assert.equal(await client.get(prefix + 'k').string(), null);
});

withClient('watches', async (client, prefix) => {
  const watcher = await client.watch().prefix(prefix).withPreviousKV().create();
  const seen = [];
  const done = new Promise((resolve) => {
    watcher.on('put', (kv, previous) => seen.push(`put ${kv.value} over ${previous ? previous.value : 'nothing'}`));
    watcher.on('delete', (kv, previous) => {
      seen.push(`delete of ${previous.value}`);
      resolve();
    });
  });
  await client.put(prefix + 'k').value('1');
  await client.put(prefix + 'k').value('2');
  await client.delete().key(prefix + 'k');
  await done;
  assert.deepEqual(seen, ['put 1 over nothing', 'put 2 over 1', 'delete of 2']);
  await watcher.cancel();
});

withClient('watches from a revision in the past', async (client, prefix) => {
  const first = await client.put(prefix + 'k').value('1');
  await client.put(prefix + 'k').value('2');
  const watcher = await client.watch().key(prefix + 'k').startRevision(first.header.revision).create();
  const values = [];
  await new Promise((resolve) => {
    watcher.on('put', (kv) => values.push(kv.value.toString()) === 2 && resolve());
  });
  assert.deepEqual(values, ['1', '2']);
});

withClient('locks', async (client, prefix) => {
  const lock = await client.lock(prefix + 'lock').acquire();
  await assert.rejects(client.lock(prefix + 'lock').acquire(), EtcdLockFailedError);
  await lock.release();
  await client.lock(prefix + 'lock').do(async () => {});
});

withClient('elects a leader, and observes it', async (client, prefix) => {
  const election = client.election(prefix + 'election', 10);
  const campaign = election.campaign('first');
  await new Promise((resolve, reject) => {
    campaign.on('elected', resolve);
    campaign.on('error', reject);
  });
  assert.equal(await election.leader(), 'first');
  const observer = await election.observe();
  assert.equal(observer.leader(), 'first');
  await campaign.proclaim('still first');
  assert.equal(await election.leader(), 'still first');
  await campaign.resign();
  await observer.cancel();
});

withClient('reads through a namespace, and counts in a software transaction', async (client, prefix) => {
  const ns = client.namespace(prefix);
  await ns.put('n').value(0);
  await Promise.all(
    Array.from({ length: 5 }, () =>
      ns.stm({ retries: 100 }).transact(async (tx) => {
        const n = await tx.get('n').number();
        await tx.put('n').value(n + 1);
      }),
    ),
  );
  assert.equal(await client.get(prefix + 'n').number(), 5);
});

withClient('asks for the status and the members', async (client) => {
  const status = await client.maintenance.status();
  assert.match(status.version, /^3\./);
  assert.equal((await client.cluster.memberList({})).members.length, 1);
  assert.ok(Number((await client.maintenance.hash()).hash) > 0);
});
