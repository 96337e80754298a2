package triglot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.Watcher.WatcherType;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.data.Stat;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** One-shot watches: what fires them, once, with which zxid, and how they outlive a connection. */
class WatchTest {
  private Zk.Client writer;
  private Zk.Client reader;
  private String root;

  @BeforeEach
  void connect() throws Exception {
    writer = Zk.Client.connect();
    reader = Zk.Client.connect();
    root = Zk.freshRoot(writer);
    sync(reader);
  }

  @AfterEach
  void close() throws Exception {
    reader.close();
    writer.close();
  }

  @Test
  void aDataWatchFiresOnce() throws Exception {
    Zk.Recorder seen = new Zk.Recorder();
    reader.getData(root, seen, null);
    Stat first = writer.setData(root, Zk.bytes("1"), -1);
    WatchedEvent event = seen.expect(EventType.NodeDataChanged, root);
    assertEquals(first.getMzxid(), event.getZxid());
    assertEquals(KeeperState.SyncConnected, event.getState());

    writer.setData(root, Zk.bytes("2"), -1);
    Stat now = new Stat();
    sync(reader);
    assertEquals("2", Zk.text(reader.getData(root, seen, now)));
    assertTrue(seen.isEmpty(), "a watch fired twice");
    Stat third = writer.setData(root, Zk.bytes("3"), -1);
    assertEquals(third.getMzxid(), seen.expect(EventType.NodeDataChanged, root).getZxid());
  }

  @Test
  void existsWatchesWhatIsMissing() throws Exception {
    Zk.Recorder seen = new Zk.Recorder();
    assertNull(reader.exists(root + "/a", seen));
    Stat created = new Stat();
    writer.create(root + "/a", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT, created);
    assertEquals(created.getCzxid(), seen.expect(EventType.NodeCreated, root + "/a").getZxid());

    reader.exists(root + "/a", seen);
    writer.setData(root + "/a", Zk.bytes("1"), -1);
    seen.expect(EventType.NodeDataChanged, root + "/a");
    reader.exists(root + "/a", seen);
    writer.delete(root + "/a", -1);
    seen.expect(EventType.NodeDeleted, root + "/a");
  }

  @Test
  void aFailedReadWatchesNothing() throws Exception {
    Zk.Recorder seen = new Zk.Recorder();
    ClientTest.assertCode(Code.NONODE, () -> reader.getData(root + "/a", seen, null));
    ClientTest.assertCode(Code.NONODE, () -> reader.getChildren(root + "/a", seen));
    Zk.create(writer, root + "/a", "");
    sync(reader);
    reader.exists(root + "/a", false);
    assertTrue(seen.isEmpty());
  }

  @Test
  void aChildWatchFiresOnCreateAndDelete() throws Exception {
    Zk.Recorder seen = new Zk.Recorder();
    reader.getChildren(root, seen);
    Zk.create(writer, root + "/a", "");
    seen.expect(EventType.NodeChildrenChanged, root);
    Stat stat = new Stat();
    assertEquals(List.of("a"), reader.getChildren(root, seen, stat));
    writer.setData(root + "/a", Zk.bytes("no child comes or goes"), -1);
    writer.setData(root, Zk.bytes("nor here"), -1);
    writer.delete(root + "/a", -1);
    WatchedEvent event = seen.expect(EventType.NodeChildrenChanged, root);
    assertEquals(writer.exists(root, false).getPzxid(), event.getZxid());
    assertEquals(List.of(), reader.getChildren(root, seen));
    writer.delete(root, -1);
    seen.expect(EventType.NodeDeleted, root);
  }

  @Test
  void aDeletedNodeFiresEachWatcherOnce() throws Exception {
    Zk.create(writer, root + "/a", "");
    Zk.Recorder data = new Zk.Recorder();
    Zk.Recorder children = new Zk.Recorder();
    Zk.Recorder parent = new Zk.Recorder();
    sync(reader);
    reader.getData(root + "/a", data, null);
    reader.exists(root + "/a", data);
    reader.getChildren(root + "/a", children);
    reader.getChildren(root, parent);
    writer.delete(root + "/a", -1);
    data.expect(EventType.NodeDeleted, root + "/a");
    children.expect(EventType.NodeDeleted, root + "/a");
    parent.expect(EventType.NodeChildrenChanged, root);
    sync(reader);
    assertTrue(data.isEmpty() && children.isEmpty() && parent.isEmpty());
  }

  @Test
  void aMultiFiresInItsOwnOrder() throws Exception {
    Zk.create(writer, root + "/a", "");
    Zk.create(writer, root + "/b", "");
    sync(reader);
    Zk.Recorder seen = new Zk.Recorder();
    reader.getData(root + "/b", seen, null);
    reader.getData(root + "/a", seen, null);
    reader.exists(root + "/c", seen);
    writer.multi(
        List.of(
            Op.setData(root + "/b", null, -1),
            Op.create(root + "/c", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT),
            Op.delete(root + "/a", -1)));
    long zxid = seen.expect(EventType.NodeDataChanged, root + "/b").getZxid();
    assertEquals(zxid, seen.expect(EventType.NodeCreated, root + "/c").getZxid());
    assertEquals(zxid, seen.expect(EventType.NodeDeleted, root + "/a").getZxid());
    assertEquals(zxid, writer.exists(root + "/c", false).getCzxid());
  }

  @Test
  void theEventComesBeforeTheReplyOfTheWriteThatCausedIt() throws Exception {
    int rounds = 200;
    List<String> order = Collections.synchronizedList(new ArrayList<>());
    CountDownLatch done = new CountDownLatch(rounds);
    List<String> wanted = new ArrayList<>();
    for (int i = 0; i < rounds; i++) { // all of it pipelined on one connection
      reader.getData(root, e -> order.add("event"), (rc, path, c, data, stat) -> order.add("armed"), null);
      reader.setData(
          root,
          null,
          -1,
          (rc, path, c, stat) -> {
            order.add("set");
            done.countDown();
          },
          null);
      wanted.addAll(List.of("armed", "event", "set"));
    }
    assertTrue(done.await(Zk.PATIENCE_SECONDS, TimeUnit.SECONDS));
    assertEquals(wanted, order);
  }

  @Test
  void watchesAreRemovedOnDemand() throws Exception {
    Zk.Recorder seen = new Zk.Recorder();
    reader.getData(root, seen, null);
    reader.removeWatches(root, seen, WatcherType.Data, false);
    seen.expect(EventType.DataWatchRemoved, root);
    writer.setData(root, null, -1);
    sync(reader);
    assertTrue(seen.isEmpty());
    ClientTest.assertCode(Code.NOWATCHER, () -> reader.removeAllWatches(root, WatcherType.Any, false));
    reader.getChildren(root, seen);
    reader.removeAllWatches(root, WatcherType.Children, false);
    seen.expect(EventType.ChildWatchRemoved, root);
  }

  @Test
  void watchesOutliveABrokenConnection() throws Exception {
    Zk.create(writer, root + "/set", "");
    Zk.create(writer, root + "/deleted", "");
    Zk.create(writer, root + "/same", "");
    Zk.create(writer, root + "/parent", "");
    sync(reader);
    Zk.Recorder seen = new Zk.Recorder();
    reader.getData(root + "/set", seen, null);
    reader.getData(root + "/deleted", seen, null);
    reader.exists(root + "/created", seen);
    reader.getChildren(root + "/parent", seen);
    reader.getData(root + "/same", seen, null);

    reader.breakConnection();
    writer.setData(root + "/set", Zk.bytes("1"), -1);
    writer.delete(root + "/deleted", -1);
    Zk.create(writer, root + "/created", "");
    Zk.create(writer, root + "/parent/a", "");
    reader.seen().awaitState(KeeperState.Disconnected);
    reader.seen().awaitState(KeeperState.SyncConnected);

    Set<String> events = new TreeSet<>();
    for (int i = 0; i < 4; i++) {
      events.add(next(seen));
    }
    assertEquals(
        new TreeSet<>(
            List.of(
                "NodeDataChanged " + root + "/set",
                "NodeDeleted " + root + "/deleted",
                "NodeCreated " + root + "/created",
                "NodeChildrenChanged " + root + "/parent")),
        events);
    writer.setData(root + "/same", Zk.bytes("now"), -1);
    seen.expect(EventType.NodeDataChanged, root + "/same");
  }

  private static String next(Zk.Recorder seen) throws InterruptedException {
    WatchedEvent event = seen.next();
    return event.getType() + " " + event.getPath();
  }

  private static void sync(Zk.Client client) throws Exception {
    CountDownLatch done = new CountDownLatch(1);
    client.sync("/", (rc, path, context) -> done.countDown(), null);
    assertTrue(done.await(Zk.PATIENCE_SECONDS, TimeUnit.SECONDS));
  }
}
