package triglot;

import static org.apache.zookeeper.ZooDefs.Ids.OPEN_ACL_UNSAFE;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.Watcher.WatcherType;
import org.apache.zookeeper.data.Stat;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What ZooKeeper has learnt since 3.5: extended types of znodes, persistent watches, reads in bulk. */
class ExtendedTest {
  private Zk.Client zk;
  private String root;

  @BeforeEach
  void connect() throws Exception {
    zk = Zk.Client.connect();
    root = Zk.freshRoot(zk);
  }

  @AfterEach
  void close() throws Exception {
    zk.close();
  }

  @Test
  void aZnodeWithATimeToLiveIsReaped() throws Exception {
    Stat stat = new Stat();
    String path = zk.create(root + "/ttl", Zk.bytes("t"), OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_WITH_TTL, stat, 200);
    assertEquals(0, stat.getEphemeralOwner());
    Zk.Recorder seen = new Zk.Recorder();
    zk.exists(path, seen);
    seen.expect(EventType.NodeDeleted, path);
  }

  @Test
  void aZnodeWithATimeToLiveAndChildrenStays() throws Exception {
    String path =
        zk.create(root + "/ttl-", Zk.bytes("t"), OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL, null, 200);
    String child = Zk.create(zk, path + "/child", "");
    String sentinel = zk.create(root + "/sentinel", null, OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_WITH_TTL, null, 200);
    Zk.Recorder seen = new Zk.Recorder();
    zk.exists(sentinel, seen);
    seen.expect(EventType.NodeDeleted, sentinel);
    assertEquals(1, zk.exists(path, false).getNumChildren());
    zk.exists(path, seen);
    zk.delete(child, -1);
    seen.expect(EventType.NodeDeleted, path);
  }

  @Test
  void aTimeToLiveHasItsBounds() {
    for (long ttl : new long[] {0, -1, 1L << 40}) {
      assertThrows(
          IllegalArgumentException.class,
          () -> zk.create(root + "/bad", null, OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_WITH_TTL, null, ttl));
    }
  }

  @Test
  void aContainerIsReapedBehindItsLastChild() throws Exception {
    String path = Zk.create(zk, root + "/container", CreateMode.CONTAINER);
    String child = Zk.create(zk, path + "/child", "");
    Zk.Recorder seen = new Zk.Recorder();
    zk.exists(path, seen);
    zk.delete(child, -1);
    seen.expect(EventType.NodeDeleted, path);
  }

  @Test
  void aPersistentWatchStays() throws Exception {
    Zk.Recorder seen = new Zk.Recorder();
    zk.addWatch(root, seen, AddWatchMode.PERSISTENT);
    for (int i = 0; i < 3; i++) {
      zk.setData(root, Zk.bytes("" + i), -1);
      seen.expect(EventType.NodeDataChanged, root);
    }
    String child = Zk.create(zk, root + "/child", "");
    seen.expect(EventType.NodeChildrenChanged, root);
    Zk.create(zk, child + "/grandchild", "");
    zk.setData(child, Zk.bytes("x"), -1);
    assertTrue(seen.isEmpty());
  }

  @Test
  void aRecursiveWatchHearsOfEverythingBelow() throws Exception {
    Zk.Recorder seen = new Zk.Recorder();
    zk.addWatch(root, seen, AddWatchMode.PERSISTENT_RECURSIVE);
    String child = Zk.create(zk, root + "/child", "");
    String grandchild = Zk.create(zk, child + "/grandchild", "");
    zk.setData(grandchild, Zk.bytes("x"), -1);
    zk.delete(grandchild, -1);
    zk.delete(child, -1);
    seen.expect(EventType.NodeCreated, child);
    seen.expect(EventType.NodeCreated, grandchild);
    seen.expect(EventType.NodeDataChanged, grandchild);
    seen.expect(EventType.NodeDeleted, grandchild);
    seen.expect(EventType.NodeDeleted, child);
    assertTrue(seen.isEmpty());
  }

  @Test
  void persistentWatchesOutliveABrokenConnection() throws Exception {
    Zk.Recorder stays = new Zk.Recorder();
    Zk.Recorder recursive = new Zk.Recorder();
    zk.addWatch(root, stays, AddWatchMode.PERSISTENT);
    zk.addWatch(root, recursive, AddWatchMode.PERSISTENT_RECURSIVE);
    zk.breakConnection();
    zk.seen().awaitState(KeeperState.SyncConnected);
    String child = Zk.create(zk, root + "/child", "");
    stays.expect(EventType.NodeChildrenChanged, root);
    recursive.expect(EventType.NodeCreated, child);
  }

  @Test
  void persistentWatchesAreRemovedOnDemand() throws Exception {
    Zk.Recorder seen = new Zk.Recorder();
    zk.addWatch(root, seen, AddWatchMode.PERSISTENT_RECURSIVE);
    zk.removeWatches(root, seen, WatcherType.Any, false);
    seen.expect(EventType.PersistentWatchRemoved, root);
    Zk.create(zk, root + "/child", "");
    assertThrows(
        KeeperException.NoWatcherException.class, () -> zk.removeWatches(root, seen, WatcherType.Any, false));
    assertTrue(seen.isEmpty());
  }

  @Test
  void manyReadsAtOnce() throws Exception {
    String a = Zk.create(zk, root + "/a", "1");
    List<OpResult> results = zk.multi(List.of(Op.getData(a), Op.getChildren(root), Op.getData(root + "/none")));
    assertEquals("1", Zk.text(((OpResult.GetDataResult) results.get(0)).getData()));
    assertEquals(List.of("a"), ((OpResult.GetChildrenResult) results.get(1)).getChildren());
    assertEquals(KeeperException.Code.NONODE.intValue(), ((OpResult.ErrorResult) results.get(2)).getErr());
  }

  @Test
  void ephemeralsAreListed() throws Exception {
    String a = Zk.create(zk, root + "/a", CreateMode.EPHEMERAL);
    String b = Zk.create(zk, root + "/b", CreateMode.EPHEMERAL);
    assertEquals(new TreeSet<>(List.of(a, b)), new TreeSet<>(zk.getEphemerals()));
    assertEquals(List.of(b), zk.getEphemerals(root + "/b"));
    try (Zk.Client other = Zk.Client.connect()) {
      assertEquals(List.of(), other.getEphemerals());
    }
  }

  @Test
  void descendantsAreCounted() throws Exception {
    Zk.create(zk, root + "/a", "");
    Zk.create(zk, root + "/a/b", "");
    Zk.create(zk, root + "/a-", "");
    assertEquals(3, zk.getAllChildrenNumber(root));
    assertEquals(1, zk.getAllChildrenNumber(root + "/a"));
  }

  @Test
  void callbacksComeInOrder() throws Exception {
    CompletableFuture<String> order = new CompletableFuture<>();
    StringBuilder seen = new StringBuilder(); // the client's event thread alone writes it
    zk.create(root + "/async", Zk.bytes("1"), OPEN_ACL_UNSAFE, CreateMode.PERSISTENT,
        (rc, path, ctx, name, stat) -> seen.append("create ").append(rc).append(stat.getVersion()), null);
    zk.setData(root + "/async", Zk.bytes("2"), 0, (rc, path, ctx, stat) -> seen.append(" set ").append(rc), null);
    zk.getData(root + "/async", false, (rc, path, ctx, data, stat) -> seen.append(" get ").append(Zk.text(data)), null);
    zk.multi(List.of(Op.check(root + "/async", 1), Op.delete(root + "/async", 1)),
        (rc, path, ctx, results) -> seen.append(" multi ").append(rc), null);
    zk.exists(root + "/async", false, (rc, path, ctx, stat) -> {
      assertNull(stat);
      order.complete(seen.append(" exists ").append(rc).toString());
    }, null);
    assertEquals("create 00 set 0 get 2 multi 0 exists -101", order.get(Zk.PATIENCE_SECONDS, TimeUnit.SECONDS));
  }
}
