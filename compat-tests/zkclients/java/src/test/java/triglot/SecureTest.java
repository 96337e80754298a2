package triglot;

import static org.apache.zookeeper.ZooDefs.Ids.CREATOR_ALL_ACL;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.data.ClientInfo;
import org.apache.zookeeper.data.Stat;
import org.junit.jupiter.api.Test;

/**
 * The stock client with proof of who it is, by a certificate or by SASL: the scheme is in the system property {@code
 * zk.scheme}, the identity in {@code zk.identity}. How it connects is in ZooKeeper's own properties.
 */
class SecureTest {
  private final String scheme = System.getProperty("zk.scheme");
  private final String identity = System.getProperty("zk.identity");

  @Test
  void theServerKnowsWhoItIs() throws Exception {
    try (Zk.Client zk = Zk.Client.connect()) {
      String root = Zk.freshRoot(zk); // behind what the client does to authenticate
      List<ClientInfo> who = zk.whoAmI();
      assertTrue(who.contains(new ClientInfo(scheme, identity)), who.toString());
      String path = zk.create(root + "/mine", Zk.bytes("m"), CREATOR_ALL_ACL, CreateMode.PERSISTENT);
      assertEquals(scheme, zk.getACL(path, new Stat()).get(0).getId().getScheme());
      assertEquals(identity, zk.getACL(path, new Stat()).get(0).getId().getId());
      assertEquals("m", Zk.text(zk.getData(path, false, null)));
    }
  }

  @Test
  void muchGoesThrough() throws Exception {
    try (Zk.Client zk = Zk.Client.connect()) {
      String root = Zk.freshRoot(zk);
      byte[] large = new byte[900_000];
      for (int i = 0; i < 10; i++) {
        zk.setData(root, large, i);
        assertEquals(large.length, zk.getData(root, false, null).length);
      }
    }
  }
}
