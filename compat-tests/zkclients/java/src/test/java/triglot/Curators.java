package triglot;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.junit.jupiter.api.AfterEach;

/** What tests of Curator's recipes share: clients that end with the test. */
abstract class Curators {
  final List<CuratorFramework> clients = new ArrayList<>();

  CuratorFramework connect() throws Exception {
    CuratorFramework client =
        CuratorFrameworkFactory.builder()
            .connectString(Zk.endpoint())
            .sessionTimeoutMs(Zk.LONG_TIMEOUT_MS)
            .connectionTimeoutMs(Zk.LONG_TIMEOUT_MS)
            .retryPolicy(new ExponentialBackoffRetry(50, 10))
            .build();
    client.start();
    clients.add(client);
    assertTrue(client.blockUntilConnected((int) Zk.PATIENCE_SECONDS, SECONDS));
    return client;
  }

  @AfterEach
  void close() {
    clients.forEach(CuratorFramework::close);
  }
}
