package triglot;

import static io.etcd.jetcd.watch.WatchEvent.EventType.DELETE;
import static io.etcd.jetcd.watch.WatchEvent.EventType.PUT;
import static java.util.concurrent.TimeUnit.SECONDS;
import static org.apache.zookeeper.Watcher.Event.EventType.NodeChildrenChanged;
import static org.apache.zookeeper.Watcher.Event.EventType.NodeCreated;
import static org.apache.zookeeper.Watcher.Event.EventType.NodeDataChanged;
import static org.apache.zookeeper.Watcher.Event.EventType.NodeDeleted;
import static org.apache.zookeeper.ZooDefs.Ids.OPEN_ACL_UNSAFE;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.KeyValue;
import io.etcd.jetcd.Watch;
import io.etcd.jetcd.kv.DeleteResponse;
import io.etcd.jetcd.options.LeaseOption;
import io.etcd.jetcd.options.WatchOption;
import io.etcd.jetcd.support.CloseableClient;
import io.etcd.jetcd.watch.WatchEvent;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;

/** The same two programs below /zk, while a stock ZooKeeper client watches the same paths as znodes. */
@EnabledIfSystemProperty(
    named = "zookeeper.endpoint",
    matches = ".+",
    disabledReason = "no ZooKeeper face is named")
class ZnodeTest {
  private static final int SESSION_TIMEOUT_MS = 20_000;

  /** What watches have seen, in the order in which it came. */
  private final BlockingQueue<WatchedEvent> events = new LinkedBlockingQueue<>();

  private final Watcher seen = events::add;
  private ZooKeeper zk;

  @BeforeEach
  void connect() throws Exception {
    CountDownLatch connected = new CountDownLatch(1);
    Watcher state =
        event -> {
          if (event.getState() == KeeperState.SyncConnected) {
            connected.countDown();
          }
        };
    zk = new ZooKeeper(System.getProperty("zookeeper.endpoint"), SESSION_TIMEOUT_MS, state);
    assertTrue(connected.await(Etcd.PATIENCE_SECONDS, SECONDS), "no session");
  }

  @AfterEach
  void close() throws Exception {
    zk.close();
  }

  @Test
  void configurationIsAZnode() throws Exception {
    assertNull(zk.exists("/config/db", seen));
    assertNull(zk.exists("/config", seen));

    KeyValue first = ConfigurationTest.putAndGet("/zk/config/db", "localhost:3306").getKvs().get(0);

    // Both come with the one revision; a parent is there before its child.
    assertEquals(first.getCreateRevision(), expect(NodeCreated, "/config").getZxid());
    assertEquals(first.getCreateRevision(), expect(NodeCreated, "/config/db").getZxid());
    Stat stat = new Stat();
    assertEquals("localhost:3306", Etcd.text(ByteSequence.from(zk.getData("/config/db", seen, stat))));
    assertEquals(first.getCreateRevision(), stat.getCzxid());
    assertEquals(first.getModRevision(), stat.getMzxid());
    assertEquals(List.of(0, 14), List.of(stat.getVersion(), stat.getDataLength()));
    assertEquals(0, stat.getEphemeralOwner());
    assertEquals(List.of("db"), zk.getChildren("/config", seen, stat));
    assertEquals(first.getCreateRevision(), stat.getPzxid());
    assertEquals(OPEN_ACL_UNSAFE, zk.getACL("/config/db", stat));
    zk.exists("/config", seen);

    KeyValue second = ConfigurationTest.putAndGet("/zk/config/db", "db.example:3306").getKvs().get(0);
    assertEquals(second.getModRevision(), expect(NodeDataChanged, "/config/db").getZxid());
    assertEquals("db.example:3306", Etcd.text(ByteSequence.from(zk.getData("/config/db", seen, stat))));
    assertEquals(1, stat.getVersion());
    assertEquals(second.getModRevision(), stat.getMzxid());
    assertEquals(first.getCreateRevision(), stat.getCzxid());

    try (Client client = Etcd.connect()) {
      DeleteResponse deleted = Etcd.await(client.getKVClient().delete(Etcd.bytes("/zk/config/db")));
      assertEquals(1, deleted.getDeleted());
      assertEquals(deleted.getHeader().getRevision(), expect(NodeDeleted, "/config/db").getZxid());
    }
    // Its parent was there for its sake only, and goes with it.
    expect(NodeChildrenChanged, "/config");
    expect(NodeDeleted, "/config");
    assertNull(zk.exists("/config", false));
  }

  @Test
  void aServiceIsAnEphemeralZnode() throws Exception {
    try (Client client = Etcd.connect()) {
      long keptLease = ServiceRegistrationTest.register(client, "/zk/services/service2", "192.168.0.2:8080");
      assertEquals(List.of("service2"), zk.getChildren("/services", seen));
      try (CloseableClient keepAlive =
          client
              .getLeaseClient()
              .keepAlive(keptLease, ServiceRegistrationTest.into(new LinkedBlockingQueue<>()))) {
        assertNull(zk.exists("/services/service1", seen));
        long lease = ServiceRegistrationTest.register(client, "/zk/services/service1", "192.168.0.1:8080");

        long created = expect(NodeCreated, "/services/service1").getZxid();
        assertEquals(created, expect(NodeChildrenChanged, "/services").getZxid());
        Stat stat = new Stat();
        byte[] address = zk.getData("/services/service1", seen, stat);
        assertEquals("192.168.0.1:8080", Etcd.text(ByteSequence.from(address)));
        assertEquals(lease, stat.getEphemeralOwner());
        assertEquals(created, stat.getCzxid());
        assertEquals(keptLease, zk.exists("/services/service2", false).getEphemeralOwner());
        assertEquals(
            List.of("service1", "service2"), zk.getChildren("/services", seen).stream().sorted().toList());

        // The lease of one runs out, that of the other is kept alive.
        long deleted = expect(NodeDeleted, "/services/service1").getZxid();
        assertEquals(deleted, expect(NodeChildrenChanged, "/services").getZxid());
        assertEquals(List.of("service2"), zk.getChildren("/services", seen));
        assertNull(ServiceRegistrationTest.lookup(client, "/zk/services/service1"));
      }
      assertNotNull(zk.exists("/services/service2", seen));
      assertNotNull(zk.exists("/services", seen));
      Etcd.await(client.getLeaseClient().revoke(keptLease));
      expect(NodeDeleted, "/services/service2");
      expect(NodeChildrenChanged, "/services");
      expect(NodeDeleted, "/services");
    }
  }

  @Test
  void whatZooKeeperWritesIsAKey() throws Exception {
    BlockingQueue<WatchEvent> watched = new LinkedBlockingQueue<>();
    try (Client client = Etcd.connect();
        Watch.Watcher watcher = watchFromNow(client, "/zk/zoo", watched)) {
      Stat stat = new Stat();
      zk.create("/zoo", "a".getBytes(), OPEN_ACL_UNSAFE, CreateMode.PERSISTENT, stat);
      KeyValue created = next(watched, PUT, "/zk/zoo");
      assertEquals("a", Etcd.text(created.getValue()));
      assertEquals(stat.getCzxid(), created.getCreateRevision());
      assertEquals(1, created.getVersion());

      assertEquals(
          zk.setData("/zoo", "b".getBytes(), 0).getMzxid(), next(watched, PUT, "/zk/zoo").getModRevision());
      zk.create("/zoo/ephemeral", null, OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
      assertEquals(zk.getSessionId(), next(watched, PUT, "/zk/zoo/ephemeral").getLease());
      assertTrue(
          Etcd.await(client.getLeaseClient().timeToLive(zk.getSessionId(), withKeys())).getKeys().stream()
              .anyMatch(key -> Etcd.text(key).equals("/zk/zoo/ephemeral")));
      zk.delete("/zoo/ephemeral", -1);
      next(watched, DELETE, "/zk/zoo/ephemeral");
      zk.delete("/zoo", 1);
      next(watched, DELETE, "/zk/zoo");
      assertEquals(0, Etcd.await(client.getKVClient().get(Etcd.bytes("/zk/zoo"))).getCount());
    }
  }

  /** jetcd does not tell when its watch stands, so it starts with the next revision. */
  private static Watch.Watcher watchFromNow(
      Client client, String prefix, BlockingQueue<WatchEvent> watched) throws Exception {
    long now = Etcd.await(client.getKVClient().get(Etcd.bytes(prefix))).getHeader().getRevision();
    WatchOption option = WatchOption.builder().isPrefix(true).withRevision(now + 1).build();
    return client
        .getWatchClient()
        .watch(Etcd.bytes(prefix), option, response -> watched.addAll(response.getEvents()));
  }

  private static LeaseOption withKeys() {
    return LeaseOption.builder().withAttachedKeys().build();
  }

  /** The next event is of that type and path. */
  private WatchedEvent expect(EventType type, String path) throws InterruptedException {
    WatchedEvent event = events.poll(Etcd.PATIENCE_SECONDS, SECONDS);
    assertNotNull(event, "no event " + type + " of " + path);
    assertEquals(type + " " + path, event.getType() + " " + event.getPath());
    return event;
  }

  private static KeyValue next(BlockingQueue<WatchEvent> watched, WatchEvent.EventType type, String key)
      throws InterruptedException {
    WatchEvent event = watched.poll(Etcd.PATIENCE_SECONDS, SECONDS);
    assertNotNull(event, "no event " + type + " of " + key);
    assertEquals(type + " " + key, event.getEventType() + " " + Etcd.text(event.getKeyValue().getKey()));
    return event.getKeyValue();
  }
}
