package triglot;

import static org.apache.zookeeper.ZooDefs.Ids.OPEN_ACL_UNSAFE;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.junit.jupiter.api.Test;

/** A client whose proof is wrong, or that has none where one is required. */
class RefusedTest {
  @Test
  void nothingIsDoneForIt() throws Exception {
    try (Zk.Client zk = Zk.Client.claim(Zk.LONG_TIMEOUT_MS, 0, new byte[16])) {
      assertThrows(
          KeeperException.class, () -> zk.create("/refused", new byte[0], OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
    }
  }
}
