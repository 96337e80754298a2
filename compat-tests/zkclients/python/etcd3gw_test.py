"""etcd3gw, OpenStack's client of etcd's JSON gateway, against the server that ETCD_ENDPOINT names (host:port)."""

import base64
import os
import queue
import threading
import time
import unittest
import uuid

import etcd3gw
from etcd3gw.utils import _encode

HOST, PORT = os.environ["ETCD_ENDPOINT"].split(":")
PATIENCE = 20  # seconds; nothing that is due takes so long


class GatewayTest(unittest.TestCase):
    def setUp(self):
        self.etcd = etcd3gw.client(host=HOST, port=int(PORT), timeout=PATIENCE)
        self.prefix = "etcd3gw/" + uuid.uuid4().hex + "/"

    def test_the_path_is_found_by_the_version(self):
        self.assertEqual(self.etcd.api_path, "/v3/")
        self.assertIn(self.etcd.status()["header"]["member_id"], [member["ID"] for member in self.etcd.members()])

    def test_put_and_get(self):
        key = self.prefix + "a"
        self.assertEqual(self.etcd.get(key), [])
        self.assertTrue(self.etcd.put(key, "1"))
        self.assertTrue(self.etcd.put(key, b"\x00\xff"))
        [(value, metadata)] = self.etcd.get(key, metadata=True)
        self.assertEqual((value, metadata["key"], metadata["version"]), (b"\x00\xff", key.encode(), "2"))
        self.assertTrue(self.etcd.put(key, ""))
        self.assertEqual(self.etcd.get(key), [b""])

    def test_prefixes_and_orders(self):
        for i in range(5):
            self.etcd.put(self.prefix + str(i), str(9 - i))
        got = self.etcd.get_prefix(self.prefix)
        self.assertEqual([value for value, _ in got], [b"9", b"8", b"7", b"6", b"5"])
        got = self.etcd.get_prefix(self.prefix, sort_order="descend", sort_target="key")
        self.assertEqual([value for value, _ in got], [b"5", b"6", b"7", b"8", b"9"])
        got = self.etcd.get_prefix(self.prefix, sort_order="ascend", sort_target="value")
        self.assertEqual([value for value, _ in got], [b"5", b"6", b"7", b"8", b"9"])
        self.assertIn(b"9", [value for value, _ in self.etcd.get_all()])
        self.assertTrue(self.etcd.delete(self.prefix + "0"))
        self.assertFalse(self.etcd.delete(self.prefix + "0"))
        self.assertTrue(self.etcd.delete_prefix(self.prefix))
        self.assertEqual(self.etcd.get_prefix(self.prefix), [])

    def test_create_and_replace(self):
        key = self.prefix + "a"
        self.assertTrue(self.etcd.create(key, "1"))
        self.assertFalse(self.etcd.create(key, "2"))
        self.assertTrue(self.etcd.replace(key, "1", "3"))
        self.assertFalse(self.etcd.replace(key, "1", "4"))
        self.assertEqual(self.etcd.get(key), [b"3"])

    def test_transaction(self):
        key = _encode(self.prefix + "a")
        result = self.etcd.transaction(
            {
                "compare": [{"key": key, "result": "EQUAL", "target": "VERSION", "version": 0}],
                "success": [{"request_put": {"key": key, "value": _encode("1")}}],
                "failure": [{"request_range": {"key": key}}],
            }
        )
        self.assertTrue(result["succeeded"])
        result = self.etcd.transaction(
            {
                "compare": [{"key": key, "result": "LESS", "target": "MOD", "mod_revision": "1"}],
                "success": [],
                "failure": [{"request_range": {"key": key}}],
            }
        )
        self.assertNotIn("succeeded", result)
        [kv] = result["responses"][0]["response_range"]["kvs"]
        self.assertEqual(base64.b64decode(kv["value"]), b"1")

    def test_watch(self):
        events = queue.Queue()
        watcher = self.etcd.watch_prefix(self.prefix)
        stream, cancel = watcher

        def read():
            for event in stream:
                events.put(event)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        self.put_until_seen(events)
        self.etcd.put(self.prefix + "a", "1")
        self.etcd.put(self.prefix + "a", "2")
        self.etcd.delete(self.prefix + "a")
        got = [events.get(timeout=PATIENCE) for _ in range(3)]
        self.assertEqual([event["kv"].get("value") for event in got], [b"1", b"2", None])
        self.assertEqual([event.get("type") for event in got], [None, None, "DELETE"])
        cancel()

    def put_until_seen(self, events):
        """The client does not tell when its watch stands: until then, puts go by unseen."""
        deadline = time.monotonic() + PATIENCE
        while events.empty():
            self.assertLess(time.monotonic(), deadline, "no event")
            self.etcd.put(self.prefix + "probe", "")
            time.sleep(0.02)
        self.etcd.put(self.prefix + "last", "")
        while events.get(timeout=PATIENCE)["kv"]["key"] != (self.prefix + "last").encode():
            pass

    def test_watch_once(self):
        key = self.prefix + "a"
        stop = threading.Event()

        def write():
            while not stop.wait(0.05):
                self.etcd.put(key, "now")

        thread = threading.Thread(target=write)
        thread.start()
        try:
            event = self.etcd.watch_once(key, timeout=PATIENCE)
        finally:
            stop.set()
            thread.join()
        self.assertEqual(event["kv"]["value"], b"now")

    def test_lease(self):
        lease = self.etcd.lease(ttl=30)
        key = self.prefix + "a"
        self.etcd.put(key, "1", lease=lease)
        self.assertEqual(lease.keys(), [key.encode()])
        self.assertIn(lease.ttl(), (29, 30))
        self.assertEqual(lease.refresh(), 30)
        [(_, metadata)] = self.etcd.get(key, metadata=True)
        self.assertEqual(metadata["lease"], str(lease.id))
        self.assertTrue(lease.revoke())
        self.assertEqual(self.etcd.get(key), [])
        self.assertEqual(lease.ttl(), -1)
        self.assertEqual(lease.refresh(), -1)

    def test_lock(self):
        name = uuid.uuid4().hex
        with self.etcd.lock(name, ttl=30) as lock:
            self.assertTrue(lock.is_acquired())
            self.assertFalse(self.etcd.lock(name, ttl=30).acquire())
            self.assertEqual(lock.refresh(), 30)
        self.assertFalse(lock.is_acquired())
        second = self.etcd.lock(name, ttl=30)
        self.assertTrue(second.acquire())
        self.assertTrue(second.release())


if __name__ == "__main__":
    unittest.main()
