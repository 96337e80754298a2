package triglot;

import static java.nio.charset.StandardCharsets.UTF_8;
import static java.util.concurrent.TimeUnit.SECONDS;
import static org.apache.zookeeper.ZooDefs.Ids.OPEN_ACL_UNSAFE;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.function.BooleanSupplier;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooKeeper;

/** What the tests share: the server's address, a client that remembers what its watchers saw. */
final class Zk {
  /** Nothing that is due takes this long; it passes only if it never comes. */
  static final long PATIENCE_SECONDS = 20;

  /** For sessions that no test lets run out. */
  static final int LONG_TIMEOUT_MS = 10_000;

  /** As long as the server lets it be. */
  static final int ENDLESS_TIMEOUT_MS = 1_000_000;

  private Zk() {}

  /** The server: system property {@code zk.endpoint}, else the default port. */
  static String endpoint() {
    return System.getProperty("zk.endpoint", "localhost:2181");
  }

  /** The etcd face of the same server as a URL, empty if it has none, as a ZooKeeper has not. */
  static String etcdEndpoint() {
    return System.getProperty("etcd.endpoint", "");
  }

  /** The server's tick, which bounds timeouts from below and how late a session expires. */
  static int tickMs() {
    return Integer.getInteger("zk.tick", 2000);
  }

  static byte[] bytes(String text) {
    return text.getBytes(UTF_8);
  }

  static String text(byte[] data) {
    return new String(data, UTF_8);
  }

  /** Waits for a condition that is due. */
  static void await(String what, BooleanSupplier condition) throws InterruptedException {
    long deadline = System.nanoTime() + SECONDS.toNanos(PATIENCE_SECONDS);
    while (!condition.getAsBoolean()) {
      assertTrue(System.nanoTime() < deadline, "never came: " + what);
      Thread.sleep(5);
    }
  }

  /** Creates a persistent znode with OPEN_ACL_UNSAFE. */
  static String create(ZooKeeper zk, String path, String data) throws Exception {
    return zk.create(path, bytes(data), OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
  }

  static String create(ZooKeeper zk, String path, CreateMode mode) throws Exception {
    return zk.create(path, new byte[0], OPEN_ACL_UNSAFE, mode);
  }

  /** A znode that no other test uses. */
  static String freshRoot(ZooKeeper zk) throws Exception {
    return create(zk, "/test-" + UUID.randomUUID(), "");
  }

  /** The stock client, and what its default watcher saw. It can also fall silent. */
  static final class Client extends ZooKeeper {
    private final Recorder recorder;

    private Client(int timeoutMs, Recorder recorder) throws IOException {
      super(endpoint(), timeoutMs, recorder);
      this.recorder = recorder;
    }

    private Client(int timeoutMs, Recorder recorder, long id, byte[] password) throws IOException {
      super(endpoint(), timeoutMs, recorder, id, password);
      this.recorder = recorder;
    }

    static Client connect() throws Exception {
      return connect(LONG_TIMEOUT_MS);
    }

    static Client connect(int timeoutMs) throws Exception {
      Client client = new Client(timeoutMs, new Recorder());
      client.recorder.awaitState(KeeperState.SyncConnected);
      return client;
    }

    /** A client that claims a session; whether it gets it is the caller's business. */
    static Client claim(int timeoutMs, long id, byte[] password) throws Exception {
      return new Client(timeoutMs, new Recorder(), id, password);
    }

    Recorder seen() {
      return recorder;
    }

    /** Closes the connection and stays away, without a word to the server: as a killed process. */
    void vanish() throws IOException {
      cnxn.disconnect();
    }

    /** Breaks the connection; the client comes back by itself. */
    void breakConnection() throws IOException {
      getTestable().closeSocket();
    }
  }

  /** A watcher that keeps what it sees: changes of state here, events of znodes there. */
  static final class Recorder implements Watcher {
    private final BlockingQueue<KeeperState> states = new LinkedBlockingQueue<>();
    private final BlockingQueue<WatchedEvent> events = new LinkedBlockingQueue<>();

    @Override
    public void process(WatchedEvent event) {
      if (event.getType() == EventType.None) {
        states.add(event.getState());
      } else {
        events.add(event);
      }
    }

    /** Waits for a state, and drops those before it. */
    void awaitState(KeeperState wanted) throws InterruptedException {
      KeeperState state;
      do {
        state = states.poll(PATIENCE_SECONDS, SECONDS);
        assertNotNull(state, "never became " + wanted);
      } while (state != wanted);
    }

    WatchedEvent next() throws InterruptedException {
      WatchedEvent event = events.poll(PATIENCE_SECONDS, SECONDS);
      assertNotNull(event, "no event");
      return event;
    }

    /** The next event is of that type and path. */
    WatchedEvent expect(EventType type, String path) throws InterruptedException {
      WatchedEvent event = events.poll(PATIENCE_SECONDS, SECONDS);
      assertNotNull(event, "no event " + type + " of " + path);
      assertEquals(type + " " + path, event.getType() + " " + event.getPath());
      return event;
    }

    boolean isEmpty() {
      return events.isEmpty();
    }
  }
}
