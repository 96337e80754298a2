package triglot;

import static org.apache.zookeeper.ZooDefs.Ids.CREATOR_ALL_ACL;
import static org.apache.zookeeper.ZooDefs.Ids.OPEN_ACL_UNSAFE;
import static org.apache.zookeeper.ZooDefs.Ids.READ_ACL_UNSAFE;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.KeeperException.InvalidACLException;
import org.apache.zookeeper.KeeperException.NoAuthException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Perms;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.ClientInfo;
import org.apache.zookeeper.data.Id;
import org.apache.zookeeper.data.Stat;
import org.apache.zookeeper.server.auth.DigestAuthenticationProvider;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Access control lists and who clients are, with the stock client. */
class AclTest {
  private Zk.Client alice;
  private Zk.Client stranger;
  private String root;

  @BeforeEach
  void connect() throws Exception {
    alice = Zk.Client.connect();
    alice.addAuthInfo("digest", Zk.bytes("alice:wonder"));
    stranger = Zk.Client.connect();
    root = Zk.freshRoot(alice);
  }

  @AfterEach
  void close() throws Exception {
    alice.close();
    stranger.close();
  }

  private String own(String name) throws Exception {
    return alice.create(root + "/" + name, Zk.bytes("secret"), CREATOR_ALL_ACL, CreateMode.PERSISTENT);
  }

  /** All permissions for one identity, in a list that the client can look for null in. */
  private static List<ACL> list(String scheme, String id) {
    return Arrays.asList(new ACL(Perms.ALL, new Id(scheme, id)));
  }

  @Test
  void theCreatorAloneMayDoEverything() throws Exception {
    String path = own("mine");
    assertEquals("secret", Zk.text(alice.getData(path, false, null)));
    assertThrows(NoAuthException.class, () -> stranger.getData(path, false, null));
    assertThrows(NoAuthException.class, () -> stranger.exists(path, false));
    assertThrows(NoAuthException.class, () -> stranger.getChildren(path, false));
    assertThrows(NoAuthException.class, () -> stranger.setData(path, new byte[0], -1));
    assertThrows(NoAuthException.class, () -> Zk.create(stranger, path + "/child", ""));
    assertThrows(NoAuthException.class, () -> stranger.getACL(path, new Stat()));
    assertThrows(NoAuthException.class, () -> stranger.setACL(path, OPEN_ACL_UNSAFE, -1));
    stranger.delete(path, -1); // the parent is open
    assertEquals(List.of(), alice.getChildren(root, false));
  }

  @Test
  void whoHasNotAuthenticatedHasNothingToGive() {
    assertThrows(
        InvalidACLException.class,
        () -> stranger.create(root + "/x", new byte[0], CREATOR_ALL_ACL, CreateMode.PERSISTENT));
  }

  @Test
  void anAclIsChangedUnderItsVersion() throws Exception {
    String path = own("acl");
    Stat stat = alice.setACL(path, READ_ACL_UNSAFE, 0);
    assertEquals(1, stat.getAversion());
    assertEquals(0, stat.getVersion());
    assertEquals(stat.getCzxid(), stat.getMzxid());
    assertEquals("secret", Zk.text(stranger.getData(path, false, null)));
    assertThrows(NoAuthException.class, () -> alice.setACL(path, OPEN_ACL_UNSAFE, 1));
  }

  @Test
  void aStaleAclVersionIsRefused() throws Exception {
    String path = own("stale");
    assertThrows(KeeperException.BadVersionException.class, () -> alice.setACL(path, OPEN_ACL_UNSAFE, 5));
  }

  @Test
  void aListTellsDigestsOnlyToWhoMayChangeIt() throws Exception {
    String digest = DigestAuthenticationProvider.generateDigest("alice:wonder");
    List<ACL> list = new ArrayList<>(READ_ACL_UNSAFE);
    list.add(new ACL(Perms.ALL, new Id("digest", digest)));
    String path = alice.create(root + "/masked", new byte[0], list, CreateMode.PERSISTENT);
    assertEquals(list, alice.getACL(path, new Stat()));
    assertEquals(new Id("digest", "alice:x"), stranger.getACL(path, new Stat()).get(1).getId());
  }

  @Test
  void anAddressIsAnIdentity() throws Exception {
    List<ACL> local = list("ip", "127.0.0.0/8");
    List<ACL> elsewhere = list("ip", "10.0.0.1");
    alice.create(root + "/local", Zk.bytes("l"), local, CreateMode.PERSISTENT);
    alice.create(root + "/elsewhere", Zk.bytes("e"), elsewhere, CreateMode.PERSISTENT);
    assertEquals("l", Zk.text(stranger.getData(root + "/local", false, null)));
    assertThrows(NoAuthException.class, () -> stranger.getData(root + "/elsewhere", false, null));
  }

  @Test
  void malformedListsAreRefused() {
    for (List<ACL> list :
        List.of(
            list("world", "everyone"),
            list("digest", "no colon"),
            list("ip", "300.1.1.1"),
            list("unheard-of", "x"))) {
      assertThrows(
          InvalidACLException.class,
          () -> alice.create(root + "/bad", new byte[0], list, CreateMode.PERSISTENT),
          list.toString());
    }
  }

  @Test
  void anUnknownSchemeEndsTheConnection() throws Exception {
    try (Zk.Client client = Zk.Client.connect()) {
      client.addAuthInfo("unheard-of", Zk.bytes("x"));
      client.seen().awaitState(KeeperState.AuthFailed);
    }
  }

  @Test
  void identitiesAddUpAndSurviveTheConnection() throws Exception {
    alice.addAuthInfo("digest", Zk.bytes("bob:builder"));
    alice.sync(root, (rc, path, ctx) -> {}, null);
    List<ClientInfo> who = alice.whoAmI();
    assertEquals(3, who.size());
    for (ClientInfo info :
        List.of(new ClientInfo("ip", "127.0.0.1"), new ClientInfo("digest", "alice"), new ClientInfo("digest", "bob"))) {
      assertTrue(who.contains(info), who.toString());
    }
    String path = own("again");
    alice.breakConnection();
    alice.seen().awaitState(KeeperState.SyncConnected);
    assertEquals("secret", Zk.text(alice.getData(path, false, null)));
  }

  @Test
  void aMultiOfWhichOnePartIsForbiddenDoesNothing() throws Exception {
    String path = own("multi");
    KeeperException failed =
        assertThrows(
            NoAuthException.class,
            () ->
                stranger.multi(
                    List.of(
                        Op.create(root + "/first", new byte[0], OPEN_ACL_UNSAFE, CreateMode.PERSISTENT),
                        Op.setData(path, new byte[0], -1))));
    assertEquals(2, failed.getResults().size());
    assertEquals(List.of("multi"), alice.getChildren(root, false));
  }

  @Test
  void watchersHearOnlyOfWhatTheyMayRead() throws Exception {
    Zk.Recorder seen = new Zk.Recorder();
    stranger.addWatch(root, seen, AddWatchMode.PERSISTENT_RECURSIVE);
    String hidden = own("hidden");
    alice.setData(hidden, new byte[0], -1);
    alice.delete(hidden, -1);
    String open = Zk.create(alice, root + "/open", "");
    seen.expect(EventType.NodeCreated, open);
    assertTrue(seen.isEmpty());
  }
}
