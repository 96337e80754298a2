package triglot;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.data.Stat;

/**
 * A program of several clients that contend for one of Curator's locks on a subtree where others work, too. In each
 * round a client bumps a counter under the lock, by a read and a write that nothing but the lock makes one step, and
 * another counter, which everybody bumps, by comparing and swapping; and it makes an item.
 */
final class CuratorWorkers {
  private static final AtomicInteger inside = new AtomicInteger();

  private CuratorWorkers() {}

  /** Takes the path of the subtree, the number of clients, and that of their rounds. */
  public static void main(String[] args) throws Exception {
    String root = args[0];
    int clients = Integer.parseInt(args[1]);
    int rounds = Integer.parseInt(args[2]);
    ExecutorService pool = Executors.newFixedThreadPool(clients);
    List<Future<Void>> all = new ArrayList<>();
    for (int i = 0; i < clients; i++) {
      int number = i;
      all.add(
          pool.submit(
              () -> {
                work(root, number, rounds);
                return null;
              }));
    }
    for (Future<Void> one : all) {
      one.get();
    }
    pool.shutdown();
    System.out.println("done");
  }

  private static void work(String root, int number, int rounds) throws Exception {
    try (CuratorFramework client =
        CuratorFrameworkFactory.builder()
            .connectString(Zk.endpoint())
            .sessionTimeoutMs(Zk.LONG_TIMEOUT_MS)
            .connectionTimeoutMs(Zk.LONG_TIMEOUT_MS)
            .retryPolicy(new ExponentialBackoffRetry(50, 10))
            .build()) {
      client.start();
      InterProcessMutex lock = new InterProcessMutex(client, root + "/curator-lock");
      for (int round = 0; round < rounds; round++) {
        lock.acquire();
        try {
          if (inside.incrementAndGet() != 1) {
            throw new IllegalStateException("the lock is held twice");
          }
          String count = root + "/curator-count";
          client.setData().forPath(count, next(client.getData().forPath(count)));
          inside.decrementAndGet();
        } finally {
          lock.release();
        }
        swap(client, root + "/swap-count");
        client.create().forPath(root + "/items/curator-" + number + "-" + round);
      }
    }
  }

  private static void swap(CuratorFramework client, String path) throws Exception {
    while (true) {
      Stat stat = new Stat();
      byte[] value = client.getData().storingStatIn(stat).forPath(path);
      try {
        client.setData().withVersion(stat.getVersion()).forPath(path, next(value));
        return;
      } catch (KeeperException.BadVersionException e) {
        continue; // another was faster
      }
    }
  }

  private static byte[] next(byte[] value) {
    int count = Integer.parseInt(new String(value, StandardCharsets.UTF_8));
    return Integer.toString(count + 1).getBytes(StandardCharsets.UTF_8);
  }
}
