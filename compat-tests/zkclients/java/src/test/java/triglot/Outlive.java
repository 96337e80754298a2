package triglot;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.options.PutOption;
import io.etcd.jetcd.support.Observers;
import java.util.Scanner;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.zookeeper.CreateMode;

/**
 * A client at its defaults that lives through what its servers do. For each line of its input it
 * does something until it succeeds, and then tells the line and what must never change: the lease
 * or the session to which its key belongs. Arguments: jetcd or curator, and the endpoints.
 */
final class Outlive {
  private static final long LEASE_SECONDS = 5;
  private static final long PAUSE_MS = 50;

  private Outlive() {}

  public static void main(String[] args) throws Exception {
    Callable<String> work = args[0].equals("jetcd") ? jetcd(args[1]) : curator(args[1]);
    for (Scanner in = new Scanner(System.in, UTF_8); in.hasNextLine(); ) {
      String line = in.nextLine();
      for (boolean done = false; !done; ) {
        try {
          System.out.println("did " + line + " " + work.call());
          done = true;
        } catch (Exception e) {
          System.out.println("failed: " + e);
          Thread.sleep(PAUSE_MS);
        }
      }
    }
    System.exit(0);
  }

  private static Callable<String> jetcd(String endpoints) throws Exception {
    Client client = Client.builder().endpoints(endpoints.split(",")).build();
    ByteSequence key = ByteSequence.from("outlive/jetcd", UTF_8);
    long lease = client.getLeaseClient().grant(LEASE_SECONDS).get().getID();
    client.getLeaseClient().keepAlive(lease, Observers.observer(response -> {}));
    client.getKVClient().put(key, key, PutOption.builder().withLeaseId(lease).build()).get();
    return () -> {
      client.getKVClient().put(ByteSequence.from("outlive/other", UTF_8), key).get(5, TimeUnit.SECONDS);
      var found = client.getKVClient().get(key).get(5, TimeUnit.SECONDS).getKvs();
      return found.isEmpty() ? "GONE" : Long.toHexString(found.get(0).getLease());
    };
  }

  private static Callable<String> curator(String endpoints) throws Exception {
    CuratorFramework client =
        CuratorFrameworkFactory.newClient(endpoints, new ExponentialBackoffRetry(1000, 3));
    client.start();
    client.create().withMode(CreateMode.EPHEMERAL).forPath("/outlive-curator");
    return () -> {
      long owner = client.setData().forPath("/outlive-curator", new byte[1]).getEphemeralOwner();
      return Long.toHexString(owner);
    };
  }
}
