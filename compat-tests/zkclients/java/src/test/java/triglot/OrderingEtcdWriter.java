package triglot;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.KV;
import java.util.Random;
import java.util.concurrent.Callable;

/** One caller of a shared jetcd client, which writes the same znodes as keys below /zk. */
final class OrderingEtcdWriter implements Callable<Void> {
  private final KV kv;
  private final Changes changes;
  private final Random random;
  private final int id;

  OrderingEtcdWriter(Client client, Changes changes, int id) {
    this.kv = client.getKVClient();
    this.changes = changes;
    this.random = new Random(id);
    this.id = id;
  }

  @Override
  public Void call() throws Exception {
    for (long sent = 0; changes.take(); sent++) {
      int dice = random.nextInt(100);
      if (dice < 90) {
        int index = changes.pick(random);
        changes.wrote(index, put(changes.data.get(index), "etcd " + id + ":" + sent));
        continue;
      }
      String child = changes.parents.get(random.nextInt(changes.parents.size())) + "/etcd-" + id;
      if (dice < 96) {
        put(child, "" + sent);
      } else {
        kv.delete(key(child)).get();
      }
      changes.made();
    }
    return null;
  }

  private long put(String path, String value) throws Exception {
    return kv.put(key(path), ByteSequence.from(value, UTF_8)).get().getHeader().getRevision();
  }

  private static ByteSequence key(String path) {
    return ByteSequence.from("/zk" + path, UTF_8);
  }
}
