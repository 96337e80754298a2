package triglot;

import static java.util.concurrent.TimeUnit.NANOSECONDS;
import static java.util.concurrent.TimeUnit.SECONDS;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.nio.file.Path;
import java.util.List;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.KeeperException.NodeExistsException;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What keeps a session, what ends it, and what goes with it. */
class SessionTest {
  /** How much later than promised something may come on a busy machine. */
  private static final long SLACK_MS = 2000;

  private Zk.Client observer;
  private String root;

  @BeforeEach
  void connect() throws Exception {
    observer = Zk.Client.connect();
    root = Zk.freshRoot(observer);
  }

  @AfterEach
  void close() throws Exception {
    observer.close();
  }

  @Test
  void timeoutsAreBoundedByTheTick() throws Exception {
    try (Zk.Client impatient = Zk.Client.connect(Zk.tickMs());
        Zk.Client patient = Zk.Client.connect(100_000_000)) {
      assertEquals(2 * Zk.tickMs(), impatient.getSessionTimeout());
      assertEquals(20 * Zk.tickMs(), patient.getSessionTimeout());
      assertNotEquals(impatient.getSessionId(), patient.getSessionId());
      assertTrue(impatient.getSessionId() > 0 && patient.getSessionId() > 0, "an id is a legal lease id");
    }
  }

  @Test
  void closeTakesTheEphemeralsAtOnce() throws Exception {
    Zk.Recorder seen = new Zk.Recorder();
    try (Zk.Client owner = Zk.Client.connect()) {
      Zk.create(owner, root + "/a", CreateMode.EPHEMERAL);
      Zk.create(owner, root + "/b-", CreateMode.EPHEMERAL_SEQUENTIAL);
      Zk.create(owner, root + "/stays", "");
      assertNotNull(observer.exists(root + "/a", seen));
      assertNotNull(observer.exists(root + "/b-0000000001", seen));
    }
    long zxid = seen.next().getZxid();
    assertEquals(zxid, seen.next().getZxid(), "both go at one zxid");
    assertEquals(List.of("stays"), observer.getChildren(root, false));
  }

  @Test
  void aSessionGoesOnInANewClient() throws Exception {
    Zk.Client first = Zk.Client.connect();
    Zk.create(first, root + "/e", CreateMode.EPHEMERAL);
    long id = first.getSessionId();
    byte[] password = first.getSessionPasswd();
    first.vanish();

    try (Zk.Client second = Zk.Client.claim(Zk.LONG_TIMEOUT_MS, id, password)) {
      second.seen().awaitState(KeeperState.SyncConnected);
      assertEquals(id, second.getSessionId());
      assertArrayEquals(password, second.getSessionPasswd());
      assertEquals(id, second.exists(root + "/e", false).getEphemeralOwner());
      Zk.create(second, root + "/e2", CreateMode.EPHEMERAL);
    }
    assertNull(observer.exists(root + "/e", false), "the second client's close ends the session");
    assertNull(observer.exists(root + "/e2", false));
  }

  @Test
  void theOlderConnectionOfASessionIsCutOff() throws Exception {
    Zk.Client first = Zk.Client.connect();
    Zk.create(first, root + "/e", CreateMode.EPHEMERAL);
    try (Zk.Client second =
        Zk.Client.claim(Zk.LONG_TIMEOUT_MS, first.getSessionId(), first.getSessionPasswd())) {
      second.seen().awaitState(KeeperState.SyncConnected);
      first.seen().awaitState(KeeperState.Disconnected);
      first.vanish(); // it would take the session back
      Zk.await("the second client's write", () -> tryCreate(second, root + "/e2"));
      assertEquals(second.getSessionId(), observer.exists(root + "/e2", false).getEphemeralOwner());
    }
  }

  @Test
  void aWrongPasswordLeavesTheSessionAlone() throws Exception {
    try (Zk.Client owner = Zk.Client.connect()) {
      Zk.create(owner, root + "/e", CreateMode.EPHEMERAL);
      byte[] wrong = owner.getSessionPasswd().clone();
      wrong[3] ^= 1;
      Zk.Client thief = Zk.Client.claim(Zk.LONG_TIMEOUT_MS, owner.getSessionId(), wrong);
      thief.seen().awaitState(KeeperState.Expired);
      thief.close();
      Zk.Client stranger = Zk.Client.claim(Zk.LONG_TIMEOUT_MS, 0x1234567890L, new byte[16]);
      stranger.seen().awaitState(KeeperState.Expired);
      stranger.close();
      // A claim cuts the older connection off before the password is looked at; the owner comes back.
      Zk.await("the owner's write", () -> tryCreate(owner, root + "/e2"));
      assertEquals(owner.getSessionId(), owner.exists(root + "/e", false).getEphemeralOwner());
    }
  }

  @Test
  void aSilentClientExpires() throws Exception {
    int timeout = 4 * Zk.tickMs();
    Zk.Client owner = Zk.Client.connect(timeout);
    assertEquals(timeout, owner.getSessionTimeout());
    Zk.create(owner, root + "/e", CreateMode.EPHEMERAL);
    Zk.Recorder seen = new Zk.Recorder();
    observer.exists(root + "/e", seen);
    long id = owner.getSessionId();
    byte[] password = owner.getSessionPasswd();

    long start = System.nanoTime();
    owner.vanish();
    seen.expect(EventType.NodeDeleted, root + "/e");
    long lived = NANOSECONDS.toMillis(System.nanoTime() - start);
    assertTrue(lived >= timeout * 2L / 3 - Zk.tickMs(), "expired after " + lived + " ms");
    assertTrue(lived <= timeout + Zk.tickMs() + SLACK_MS, "expired after " + lived + " ms");

    Zk.Client late = Zk.Client.claim(timeout, id, password);
    late.seen().awaitState(KeeperState.Expired);
    ClientTest.assertCode(Code.SESSIONEXPIRED, () -> late.exists(root, false));
    late.close();
    System.out.printf("a silent client's ephemeral went after %d ms of a timeout of %d ms%n", lived, timeout);
  }

  @Test
  void aKilledProcessExpires() throws Exception {
    int timeout = 4 * Zk.tickMs();
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                "-Dzk.endpoint=" + Zk.endpoint(),
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
                Holder.class.getName(),
                "" + timeout,
                root + "/e")
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    try (BufferedReader output = process.inputReader()) {
      assertEquals("holds " + root + "/e", output.readLine());
      Zk.Recorder seen = new Zk.Recorder();
      assertNotNull(observer.exists(root + "/e", seen));
      // It lives longer than its timeout as long as it pings.
      Thread.sleep(timeout + Zk.tickMs());
      assertTrue(seen.isEmpty(), "expired while it was alive");

      long start = System.nanoTime();
      process.destroyForcibly().waitFor(Zk.PATIENCE_SECONDS, SECONDS);
      seen.expect(EventType.NodeDeleted, root + "/e");
      long lived = NANOSECONDS.toMillis(System.nanoTime() - start);
      assertTrue(lived <= timeout + Zk.tickMs() + SLACK_MS, "expired after " + lived + " ms");
      System.out.printf("a killed process's ephemeral went after %d ms of a timeout of %d ms%n", lived, timeout);
    } finally {
      process.destroyForcibly();
    }
  }

  private static boolean tryCreate(Zk.Client client, String path) {
    try {
      Zk.create(client, path, CreateMode.EPHEMERAL);
      return true;
    } catch (NodeExistsException e) {
      return true; // the reply of an earlier attempt was lost
    } catch (Exception e) {
      return false; // not yet connected again
    }
  }
}
