'use strict';
// What applications do with the node-zookeeper-client package, against the server at
// ZOOKEEPER_ENDPOINT.

const test = require('node:test');
const assert = require('node:assert/strict');
const { once } = require('node:events');
const { promisify } = require('node:util');
const zookeeper = require('node-zookeeper-client');

const endpoint = process.env.ZOOKEEPER_ENDPOINT;
assert.ok(endpoint, 'ZOOKEEPER_ENDPOINT names no server');

const { CreateMode, ACL, Id, Permission, Exception, Event } = zookeeper;

let tests = 0;

/** A connected client whose calls return promises. */
async function connect() {
  const client = zookeeper.createClient(endpoint, { sessionTimeout: 10_000 });
  client.connect();
  await once(client, 'connected');
  const calls = { client };
  for (const name of ['create', 'mkdirp', 'remove', 'exists', 'getChildren', 'getData', 'setData', 'getACL', 'setACL']) {
    calls[name] = promisify(client[name]).bind(client);
  }
  calls.getChildren = (path, watcher) =>
    new Promise((resolve, reject) =>
      client.getChildren(path, watcher, (error, names, stat) => (error ? reject(error) : resolve([names, stat]))));
  calls.getData = (path, watcher) =>
    new Promise((resolve, reject) =>
      client.getData(path, watcher, (error, data, stat) => (error ? reject(error) : resolve([data, stat]))));
  return calls;
}

/** Runs a test with a client and a znode of its own. */
function withClient(name, fn) {
  test(name, { timeout: 30_000 }, async () => {
    const zk = await connect();
    try {
      const root = `/node-${process.pid}-${tests++}`;
      await zk.create(root);
      await fn(zk, root);
    } finally {
      zk.client.close();
    }
  });
}

const code = (name) => (error) => error.getCode?.() === Exception[name];

withClient('creates, reads, changes and removes', async (zk, root) => {
  assert.equal(await zk.create(`${root}/a`, Buffer.from('1')), `${root}/a`);
  await assert.rejects(zk.create(`${root}/a`, Buffer.from('1')), code('NODE_EXISTS'));
  const [data, stat] = await zk.getData(`${root}/a`);
  assert.equal(data.toString(), '1');
  assert.equal(stat.version, 0);
  assert.equal((await zk.setData(`${root}/a`, Buffer.from('2'), 0)).version, 1);
  await assert.rejects(zk.setData(`${root}/a`, Buffer.from('3'), 0), code('BAD_VERSION'));
  await zk.mkdirp(`${root}/b/c/d`);
  const [names] = await zk.getChildren(root);
  assert.deepEqual(names.sort(), ['a', 'b']);
  await assert.rejects(zk.remove(`${root}/b`, -1), code('NOT_EMPTY'));
  await zk.remove(`${root}/a`, 1);
  assert.equal(await zk.exists(`${root}/a`), null);
});

withClient('numbers sequential znodes', async (zk, root) => {
  const first = await zk.create(`${root}/n-`, null, CreateMode.PERSISTENT_SEQUENTIAL);
  const second = await zk.create(`${root}/n-`, null, CreateMode.EPHEMERAL_SEQUENTIAL);
  assert.deepEqual([first, second], [`${root}/n-0000000000`, `${root}/n-0000000001`]);
});

withClient('is told of changes', async (zk, root) => {
  const seen = [];
  const watch = (done) => (event) => { seen.push([event.getName(), event.getPath()]); done(); };
  const changed = new Promise((resolve) => zk.getData(root, watch(resolve)));
  const grown = new Promise((resolve) => zk.getChildren(root, watch(resolve)));
  await zk.exists(root); // behind both, so that they are set
  await zk.setData(root, Buffer.from('x'), -1);
  await changed;
  await zk.create(`${root}/child`);
  await grown;
  assert.deepEqual(seen, [['NODE_DATA_CHANGED', root], ['NODE_CHILDREN_CHANGED', root]]);
  assert.equal(Event.NODE_CREATED, 1);
});

withClient('loses its ephemerals with its session', async (zk, root) => {
  const other = await connect();
  await other.create(`${root}/e`, null, CreateMode.EPHEMERAL);
  const gone = new Promise((resolve) => zk.client.exists(`${root}/e`, resolve, (error) => assert.ifError(error)));
  await zk.exists(root);
  other.client.close();
  assert.equal((await gone).getName(), 'NODE_DELETED');
});

withClient('runs transactions', async (zk, root) => {
  const commit = (txn) => new Promise((resolve) => txn.commit((error, results) => resolve([error, results])));
  const [error] = await commit(zk.client.transaction().create(`${root}/a`).create(`${root}/a/b`).check(root, 0).setData(root, Buffer.from('t'), 0));
  assert.ifError(error);
  const [failed] = await commit(zk.client.transaction().remove(`${root}/a/b`).check(root, 7)); // it takes 0 for any
  assert.equal(failed.getCode(), Exception.BAD_VERSION);
  assert.notEqual(await zk.exists(`${root}/a/b`), null);
});

withClient('is kept out by an ACL', async (zk, root) => {
  zk.client.addAuthInfo('digest', Buffer.from('bob:secret'));
  await zk.create(`${root}/mine`, Buffer.from('s'), [new ACL(Permission.ALL, new Id('auth', ''))], CreateMode.PERSISTENT);
  const [acls] = await new Promise((resolve, reject) =>
    zk.client.getACL(`${root}/mine`, (error, list, stat) => (error ? reject(error) : resolve([list, stat]))));
  assert.equal(acls[0].id.scheme, 'digest');
  const stranger = await connect();
  try {
    await assert.rejects(stranger.getData(`${root}/mine`), code('NO_AUTH'));
  } finally {
    stranger.client.close();
  }
  assert.equal((await zk.getData(`${root}/mine`))[0].toString(), 's');
});
