package triglot;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.apache.zookeeper.ZooDefs.Ids.OPEN_ACL_UNSAFE;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReferenceArray;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.OpResult.CreateResult;
import org.apache.zookeeper.OpResult.ErrorResult;
import org.apache.zookeeper.OpResult.SetDataResult;
import org.apache.zookeeper.data.Stat;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** The calls of the stock client, one by one. */
class ClientTest {
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
  void createGivesAFreshStat() throws Exception {
    Stat stat = new Stat();
    String path = zk.create(root + "/a", Zk.bytes("1"), OPEN_ACL_UNSAFE, CreateMode.PERSISTENT, stat);

    assertEquals(root + "/a", path);
    assertEquals(stat.getCzxid(), stat.getMzxid());
    assertEquals(stat.getCzxid(), stat.getPzxid());
    assertEquals(stat.getCtime(), stat.getMtime());
    assertEquals(List.of(0, 0, 0), List.of(stat.getVersion(), stat.getCversion(), stat.getAversion()));
    assertEquals(1, stat.getDataLength());
    assertEquals(0, stat.getNumChildren());
    assertEquals(0, stat.getEphemeralOwner());
    assertTrue(Math.abs(stat.getCtime() - System.currentTimeMillis()) < 60_000, "ctime is now");
    assertEquals(stat, zk.exists(root + "/a", false));
    Stat parent = zk.exists(root, false);
    assertEquals(stat.getCzxid(), parent.getPzxid());
    assertEquals(List.of(0, 1, 1), List.of(parent.getVersion(), parent.getCversion(), parent.getNumChildren()));
  }

  @Test
  void createFailsAsItShould() throws Exception {
    Zk.create(zk, root + "/a", "");
    assertCode(Code.NODEEXISTS, () -> Zk.create(zk, root + "/a", ""));
    assertCode(Code.NONODE, () -> Zk.create(zk, root + "/missing/a", ""));
    Zk.create(zk, root + "/e", CreateMode.EPHEMERAL);
    assertCode(Code.NOCHILDRENFOREPHEMERALS, () -> Zk.create(zk, root + "/e/a", ""));
    assertCode(Code.NODEEXISTS, () -> Zk.create(zk, root + "/e", CreateMode.EPHEMERAL));
  }

  @Test
  void sequenceNumbersCountEveryCreate() throws Exception {
    assertEquals(root + "/s-0000000000", Zk.create(zk, root + "/s-", CreateMode.PERSISTENT_SEQUENTIAL));
    Zk.create(zk, root + "/plain", "");
    assertEquals(root + "/s-0000000002", Zk.create(zk, root + "/s-", CreateMode.EPHEMERAL_SEQUENTIAL));
    zk.delete(root + "/plain", -1);
    assertCode(Code.NODEEXISTS, () -> Zk.create(zk, root + "/s-0000000000", ""));
    assertEquals(root + "/0000000003", Zk.create(zk, root + "/", CreateMode.PERSISTENT_SEQUENTIAL));
  }

  @Test
  void ephemeralsAndContainersSayWhoOwnsThem() throws Exception {
    Stat ephemeral = new Stat();
    zk.create(root + "/e", null, OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL, ephemeral);
    assertEquals(zk.getSessionId(), ephemeral.getEphemeralOwner());

    Stat container = new Stat();
    zk.create(root + "/c", null, OPEN_ACL_UNSAFE, CreateMode.CONTAINER, container);
    assertEquals(0, container.getEphemeralOwner());
    Zk.create(zk, root + "/c/child", "");
    zk.delete(root + "/c/child", -1);
    assertEquals(2, zk.exists(root + "/c", false).getCversion());
  }

  @Test
  void dataAndItsVersion() throws Exception {
    Zk.create(zk, root + "/a", "1");
    Stat before = new Stat();
    assertEquals("1", Zk.text(zk.getData(root + "/a", false, before)));

    Stat after = zk.setData(root + "/a", Zk.bytes("two"), 0);
    assertEquals(1, after.getVersion());
    assertEquals(3, after.getDataLength());
    assertEquals(before.getCzxid(), after.getCzxid());
    assertTrue(after.getMzxid() > before.getMzxid());
    assertEquals(before.getPzxid(), after.getPzxid());
    assertCode(Code.BADVERSION, () -> zk.setData(root + "/a", Zk.bytes("3"), 0));
    assertEquals(2, zk.setData(root + "/a", Zk.bytes("3"), -1).getVersion());
    assertCode(Code.NONODE, () -> zk.setData(root + "/missing", Zk.bytes("3"), -1));
    assertCode(Code.NONODE, () -> zk.getData(root + "/missing", false, null));
    assertNull(zk.exists(root + "/missing", false));
  }

  @Test
  void nullIsNotEmpty() throws Exception {
    zk.create(root + "/null", null, OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
    Zk.create(zk, root + "/empty", "");
    assertNull(zk.getData(root + "/null", false, null));
    assertArrayEquals(new byte[0], zk.getData(root + "/empty", false, null));
    zk.setData(root + "/empty", null, 0);
    assertNull(zk.getData(root + "/empty", false, null));
  }

  @Test
  void bytesComeBackAsTheyWere() throws Exception {
    byte[] data = new byte[900_000];
    new Random(1).nextBytes(data);
    zk.create(root + "/big", data, OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
    assertArrayEquals(data, zk.getData(root + "/big", false, null));
  }

  @Test
  void childrenAndTheirStat() throws Exception {
    assertEquals(List.of(), zk.getChildren(root, false));
    Zk.create(zk, root + "/a", "");
    Zk.create(zk, root + "/a-1", "");
    Zk.create(zk, root + "/a/deep", "");
    Zk.create(zk, root + "/b", "");
    Stat stat = new Stat();
    assertEquals(List.of("a", "a-1", "b"), zk.getChildren(root, false, stat).stream().sorted().toList());
    assertEquals(List.of(3, 3), List.of(stat.getCversion(), stat.getNumChildren()));
    zk.delete(root + "/b", -1);
    assertEquals(List.of("a", "a-1"), zk.getChildren(root, false, stat).stream().sorted().toList());
    assertEquals(List.of(4, 2), List.of(stat.getCversion(), stat.getNumChildren()));
    assertCode(Code.NONODE, () -> zk.getChildren(root + "/missing", false));
  }

  @Test
  void deleteChecksVersionAndChildren() throws Exception {
    Zk.create(zk, root + "/a", "");
    Zk.create(zk, root + "/a/b", "");
    assertCode(Code.NOTEMPTY, () -> zk.delete(root + "/a", -1));
    assertCode(Code.BADVERSION, () -> zk.delete(root + "/a/b", 5));
    zk.delete(root + "/a/b", 0);
    zk.delete(root + "/a", -1);
    assertCode(Code.NONODE, () -> zk.delete(root + "/a", -1));
    assertNull(zk.exists(root + "/a", false));
  }

  @Test
  void anOpenNodeSaysSo() throws Exception {
    Stat stat = new Stat();
    assertEquals(OPEN_ACL_UNSAFE, zk.getACL(root, stat));
    assertEquals(zk.exists(root, false), stat);
    assertCode(Code.NONODE, () -> zk.getACL(root + "/missing", stat));
  }

  @Test
  void syncAnswersWithItsPath() throws Exception {
    CompletableFuture<String> synced = new CompletableFuture<>();
    zk.sync(root + "/anything", (rc, path, context) -> synced.complete(Code.get(rc) + " " + path), null);
    assertEquals("OK " + root + "/anything", synced.get(Zk.PATIENCE_SECONDS, SECONDS));
  }

  @Test
  void multiIsAllAtOneZxid() throws Exception {
    Zk.create(zk, root + "/set", "");
    Zk.create(zk, root + "/delete", "");
    List<OpResult> results =
        zk.transaction()
            .check(root + "/set", 0)
            .create(root + "/new", Zk.bytes("1"), OPEN_ACL_UNSAFE, CreateMode.PERSISTENT)
            .create(root + "/new/s-", null, OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_SEQUENTIAL)
            .setData(root + "/set", Zk.bytes("2"), 0)
            .setData(root + "/new", Zk.bytes("3"), 0)
            .delete(root + "/delete", -1)
            .commit();

    assertEquals(6, results.size());
    assertEquals(root + "/new", ((CreateResult) results.get(1)).getPath());
    assertEquals(root + "/new/s-0000000000", ((CreateResult) results.get(2)).getPath());
    Stat set = ((SetDataResult) results.get(3)).getStat();
    assertEquals(1, set.getVersion());
    assertEquals(1, ((SetDataResult) results.get(4)).getStat().getVersion());
    assertEquals(set, zk.exists(root + "/set", false));
    assertEquals(set.getMzxid(), zk.exists(root + "/new", false).getCzxid());
    assertEquals(set.getMzxid(), zk.exists(root + "/new/s-0000000000", false).getCzxid());
    assertEquals(set.getMzxid(), zk.exists(root, false).getPzxid());
    assertNull(zk.exists(root + "/delete", false));
  }

  @Test
  void multiIsNothingIfOneFails() throws Exception {
    Stat before = zk.exists(root, false);
    KeeperException failed =
        assertThrows(
            KeeperException.class,
            () ->
                zk.multi(
                    List.of(
                        Op.create(root + "/a", null, OPEN_ACL_UNSAFE, CreateMode.PERSISTENT),
                        Op.delete(root + "/missing", -1),
                        Op.setData(root + "/a", null, -1))));
    assertEquals(Code.NONODE, failed.code());
    List<Integer> errors = new ArrayList<>();
    failed.getResults().forEach(result -> errors.add(((ErrorResult) result).getErr()));
    assertEquals(
        List.of(Code.OK.intValue(), Code.NONODE.intValue(), Code.RUNTIMEINCONSISTENCY.intValue()), errors);
    assertEquals(before, zk.exists(root, false));
    assertCode(Code.BADVERSION, () -> zk.multi(List.of(Op.check(root, 7))));
    assertEquals(List.of(), zk.multi(List.of()));
  }

  @Test
  void pipelinedReadsSeeTheWritesBeforeThem() throws Exception {
    Zk.create(zk, root + "/a", "");
    int count = 500;
    AtomicReferenceArray<String> seen = new AtomicReferenceArray<>(count);
    CountDownLatch done = new CountDownLatch(2 * count);
    for (int i = 0; i < count; i++) {
      int round = i;
      zk.setData(root + "/a", Zk.bytes("" + i), i, (rc, path, context, stat) -> done.countDown(), null);
      zk.getData(
          root + "/a",
          false,
          (rc, path, context, data, stat) -> {
            seen.set(round, Zk.text(data) + " " + stat.getVersion());
            done.countDown();
          },
          null);
    }
    assertTrue(done.await(Zk.PATIENCE_SECONDS, SECONDS), "still open: " + done.getCount());
    for (int i = 0; i < count; i++) {
      assertEquals(i + " " + (i + 1), seen.get(i));
    }
  }

  /** The call fails with that code. */
  static void assertCode(Code code, Executable call) {
    assertEquals(code, assertThrows(KeeperException.class, call).code());
  }
}
