"""kazoo against the server that ZK_ENDPOINT names (host:port)."""

import os
import queue
import threading
import time
import unittest
import uuid

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import (
    BadVersionError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
)
from kazoo.protocol.states import EventType
from kazoo.recipe.watchers import ChildrenWatch, DataWatch

ENDPOINT = os.environ["ZK_ENDPOINT"]
PATIENCE = 20  # seconds; nothing that is due takes so long


def connect(**options):
    """A client with a session."""
    client = KazooClient(hosts=ENDPOINT, timeout=10, **options)
    client.start(timeout=PATIENCE)
    return client


def run_all(work):
    """Runs functions side by side and raises what one of them raised."""
    failures = []

    def guarded(function):
        try:
            function()
        except BaseException as failure:  # a failed assertion too
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3 * PATIENCE)
        if thread.is_alive():
            raise AssertionError("a caller hangs")
    if failures:
        raise failures[0]


class KazooTest(unittest.TestCase):
    def setUp(self):
        self.root = "/kazoo-" + uuid.uuid4().hex
        self.zk = self.client()
        self.zk.ensure_path(self.root)

    def client(self, **options):
        """A further client, closed with the test."""
        client = connect(**options)
        self.addCleanup(client.close)
        self.addCleanup(client.stop)
        return client

    def eventually(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), deadline, "it never came")
            time.sleep(0.005)


class ClientTest(KazooTest):
    def test_data(self):
        path = self.zk.create(self.root + "/a", b"1")
        self.assertEqual(path, self.root + "/a")
        data, stat = self.zk.get(path)
        self.assertEqual((data, stat.version, stat.czxid), (b"1", 0, stat.mzxid))
        self.assertEqual(self.zk.set(path, b"2", version=0).version, 1)
        with self.assertRaises(BadVersionError):
            self.zk.set(path, b"3", version=0)
        with self.assertRaises(NodeExistsError):
            self.zk.create(path)
        self.assertIsNone(self.zk.exists(self.root + "/missing"))
        with self.assertRaises(NoNodeError):
            self.zk.get(self.root + "/missing")
        self.assertEqual(self.zk.get_acls(path)[0][0].id.scheme, "world")

    def test_create_returns_what_it_is_asked_for(self):
        path, stat = self.zk.create(self.root + "/a", b"12", include_data=True)
        self.assertEqual((path, stat.data_length), (self.root + "/a", 2))
        self.zk.create(self.root + "/deep/er/still", makepath=True)
        first = self.zk.create(self.root + "/s-", sequence=True)
        second = self.zk.create(self.root + "/s-", sequence=True, ephemeral=True)
        self.assertEqual((first[-2:], second[-2:]), ("02", "03"))
        self.assertEqual(self.zk.exists(second).owner_session_id, self.zk.client_id[0])
        with self.assertRaises(NoChildrenForEphemeralsError):
            self.zk.create(second + "/child")

    def test_children(self):
        for name in ("a", "b", "a-1"):
            self.zk.create(self.root + "/" + name)
        children, stat = self.zk.get_children(self.root, include_data=True)
        self.assertEqual(sorted(children), ["a", "a-1", "b"])
        self.assertEqual((stat.numChildren, stat.children_version), (3, 3))
        with self.assertRaises(NotEmptyError):
            self.zk.delete(self.root)
        self.zk.delete(self.root, recursive=True)
        self.assertIsNone(self.zk.exists(self.root))

    def test_transaction(self):
        transaction = self.zk.transaction()
        transaction.create(self.root + "/a", b"1")
        transaction.set_data(self.root, b"2")
        transaction.check(self.root, 1)
        results = transaction.commit()
        self.assertEqual((results[0], results[1].version, results[2]), (self.root + "/a", 1, True))

        transaction = self.zk.transaction()
        transaction.delete(self.root + "/a")
        transaction.delete(self.root + "/missing")
        results = transaction.commit()
        self.assertIsInstance(results[0], RolledBackError)
        self.assertIsInstance(results[1], NoNodeError)
        self.assertIsNotNone(self.zk.exists(self.root + "/a"))

    def test_watches(self):
        events = queue.Queue()
        self.zk.exists(self.root + "/a", watch=events.put)
        self.zk.get_children(self.root, watch=events.put)
        other = self.client()
        other.create(self.root + "/a")
        seen = [events.get(timeout=PATIENCE) for _ in range(2)]
        self.assertEqual(
            [(event.type, event.path) for event in seen],
            [(EventType.CREATED, self.root + "/a"), (EventType.CHILD, self.root)],
        )
        self.zk.get(self.root + "/a", watch=events.put)
        other.delete(self.root + "/a")
        self.assertEqual(events.get(timeout=PATIENCE).type, EventType.DELETED)

    def test_a_session_is_taken_up_again(self):
        first = self.client(connection_retry={"max_tries": 0})  # once it is cut off it stays away
        first.create(self.root + "/e", ephemeral=True)
        session = first.client_id
        second = self.client(client_id=session)
        self.eventually(lambda: not first.connected)
        self.assertEqual(second.client_id, session)
        self.assertEqual(second.exists(self.root + "/e").owner_session_id, session[0])
        second.stop()
        self.assertIsNone(self.zk.exists(self.root + "/e"))

    def test_a_broken_connection_comes_back(self):
        states = queue.Queue()
        self.zk.add_listener(states.put)
        session = self.zk.client_id
        self.zk.create(self.root + "/e", ephemeral=True)
        self.zk._connection._socket.shutdown(2)
        self.assertEqual(states.get(timeout=PATIENCE), KazooState.SUSPENDED)
        self.assertEqual(states.get(timeout=PATIENCE), KazooState.CONNECTED)
        self.assertEqual(self.zk.client_id, session)
        self.assertIsNotNone(self.zk.retry(self.zk.exists, self.root + "/e"))

    def test_four_letter_words(self):
        self.assertEqual(self.zk.command(b"ruok"), "imok")
        self.assertRegex(self.zk.command(b"srvr"), "Mode: (standalone|follower)")
        self.assertGreaterEqual(self.zk.server_version(), (3, 9))


class RecipeTest(KazooTest):
    def test_lock(self):
        inside, entries = [], []

        def contend(client):
            lock = client.Lock(self.root + "/lock", client.client_id[0])
            for _ in range(8):
                with lock:
                    self.assertEqual(inside, [], "two hold the lock")
                    inside.append(client)
                    entries.append(client)
                    inside.pop()

        clients = [self.client() for _ in range(4)]
        run_all([lambda client=client: contend(client) for client in clients])
        self.assertEqual(len(entries), 32)
        lock = self.zk.Lock(self.root + "/lock", "me")
        self.assertTrue(lock.acquire(timeout=PATIENCE))
        self.assertFalse(clients[0].Lock(self.root + "/lock").acquire(blocking=False))
        self.assertEqual(clients[0].Lock(self.root + "/lock").contenders(), ["me"])
        lock.release()

    def test_a_lock_passes_on_when_its_holder_ends(self):
        holder = connect()
        self.assertTrue(holder.Lock(self.root + "/lock").acquire(timeout=PATIENCE))
        waiting = self.zk.Lock(self.root + "/lock")
        acquired = self.zk.handler.spawn(waiting.acquire, timeout=PATIENCE)
        self.eventually(lambda: len(holder.get_children(self.root + "/lock")) == 2)
        holder.stop()  # its session ends with the lock held
        acquired.join(PATIENCE)
        self.assertTrue(waiting.is_acquired)
        holder.close()

    def test_read_and_write_locks(self):
        other = self.client()
        reader = self.zk.ReadLock(self.root + "/rw")
        self.assertTrue(reader.acquire(timeout=PATIENCE))
        self.assertTrue(other.ReadLock(self.root + "/rw").acquire(timeout=PATIENCE))
        self.assertFalse(other.WriteLock(self.root + "/rw").acquire(blocking=False))

    def test_election(self):
        leaders, leading = [], []

        def lead(name):
            self.assertEqual(leading, [], "two lead")
            leading.append(name)
            leaders.append(name)
            leading.pop()

        def stand(client, name):
            client.Election(self.root + "/election", name).run(lead, name)

        run_all(
            [lambda name=str(i), client=self.client(): stand(client, name) for i in range(3)]
        )
        self.assertEqual(sorted(leaders), ["0", "1", "2"])

    def test_counter(self):
        def count(client):
            counter = client.Counter(self.root + "/counter")
            for _ in range(10):
                counter += 1

        clients = [self.client() for _ in range(3)]
        run_all([lambda client=client: count(client) for client in clients])
        self.assertEqual(self.zk.Counter(self.root + "/counter").value, 30)

    def test_queue_and_party(self):
        todo = self.zk.LockingQueue(self.root + "/queue")
        todo.put(b"one")
        todo.put_all([b"two", b"three"])
        other = self.client().LockingQueue(self.root + "/queue")
        got = []
        for _ in range(3):
            got.append(other.get(timeout=PATIENCE))
            self.assertTrue(other.consume())
        self.assertEqual(got, [b"one", b"two", b"three"])

        party = self.zk.Party(self.root + "/party", "first")
        party.join()
        guest = self.client().Party(self.root + "/party", "second")
        guest.join()
        self.assertEqual(sorted(party), ["first", "second"])
        guest.leave()
        self.assertEqual(list(party), ["first"])

    def test_barrier(self):
        barrier = self.zk.Barrier(self.root + "/barrier")
        barrier.create()
        other = self.client().Barrier(self.root + "/barrier")
        self.assertFalse(other.wait(timeout=0.1))
        barrier.remove()
        self.assertTrue(other.wait(timeout=PATIENCE))

    def test_watchers_follow(self):
        data, children = queue.Queue(), queue.Queue()
        DataWatch(self.zk, self.root + "/a", lambda value, stat: data.put(value))
        ChildrenWatch(self.zk, self.root, lambda names: children.put(sorted(names)))
        self.assertIsNone(data.get(timeout=PATIENCE))
        self.assertEqual(children.get(timeout=PATIENCE), [])
        other = self.client()
        other.create(self.root + "/a", b"1")
        self.assertEqual(data.get(timeout=PATIENCE), b"1")
        self.assertEqual(children.get(timeout=PATIENCE), ["a"])
        other.set(self.root + "/a", b"2")
        self.assertEqual(data.get(timeout=PATIENCE), b"2")
        other.delete(self.root + "/a")
        self.assertIsNone(data.get(timeout=PATIENCE))
        self.assertEqual(children.get(timeout=PATIENCE), [])


if __name__ == "__main__":
    unittest.main()
