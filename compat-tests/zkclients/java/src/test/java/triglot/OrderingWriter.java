package triglot;

import static org.apache.zookeeper.ZooDefs.Ids.OPEN_ACL_UNSAFE;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.zookeeper.AsyncCallback.StatCallback;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.OpResult.SetDataResult;

/** A client that writes as fast as its window lets it, and reads some of its own writes behind them. */
final class OrderingWriter implements Callable<Void> {
  /** Requests that one connection has on the way. */
  private static final int WINDOW = 64;

  private final Zk.Client zk;
  private final Changes changes;
  private final Random random;
  private final int id;
  private final Semaphore window = new Semaphore(WINDOW);

  /** Whether this writer's fleeting znodes are there, and its children, as of the last request. */
  private final boolean[] exists;

  private final List<String> children = new ArrayList<>();
  private long sent;

  /** The zxid of the last reply of a write; belongs to the client's event thread. */
  private long lastWrite;

  final AtomicLong ownReads = new AtomicLong();

  OrderingWriter(Changes changes, int id) throws Exception {
    this.zk = Zk.Client.connect(Zk.ENDLESS_TIMEOUT_MS);
    this.changes = changes;
    this.random = new Random(id);
    this.id = id;
    this.exists = new boolean[changes.fleeting.size()];
  }

  @Override
  public Void call() throws Exception {
    while (changes.take()) {
      int dice = random.nextInt(100);
      if (dice < 75) {
        set(dice < 10);
      } else if (dice < 80) {
        setTwo();
      } else if (dice < 90) {
        comeAndGo();
      } else {
        child();
      }
    }
    window.acquire(WINDOW);
    zk.close();
    return null;
  }

  private void set(boolean thenRead) throws InterruptedException {
    int index = changes.pick(random);
    byte[] value = Zk.bytes(id + ":" + sent++);
    long[] written = {0};
    window.acquire();
    zk.setData(
        changes.data.get(index),
        value,
        -1,
        (rc, path, context, stat) -> {
          window.release();
          if (isOk(rc, path)) {
            written[0] = stat.getMzxid();
            wrote(path, stat.getMzxid());
            changes.wrote(index, stat.getMzxid());
          }
        },
        null);
    if (thenRead) {
      window.acquire();
      zk.getData(
          changes.data.get(index),
          false,
          (rc, path, context, data, stat) -> {
            window.release();
            ownReads.incrementAndGet();
            boolean own = isOk(rc, path) && stat.getMzxid() == written[0];
            if (stat.getMzxid() < written[0] || own && !Zk.text(data).equals(Zk.text(value))) {
              changes.complain("%s: set at %#x, then read at %#x", path, written[0], stat.getMzxid());
            }
          },
          null);
    }
  }

  private void setTwo() throws InterruptedException {
    int first = changes.pick(random);
    int second = (first + 1) % changes.data.size();
    window.acquire();
    zk.multi(
        List.of(
            Op.setData(changes.data.get(first), Zk.bytes("multi"), -1),
            Op.setData(changes.data.get(second), Zk.bytes("multi"), -1)),
        (rc, path, context, results) -> {
          window.release();
          if (isOk(rc, "multi")) {
            wrote("multi", mzxid(results.get(0)));
            changes.wrote(first, mzxid(results.get(0)));
            changes.wrote(second, mzxid(results.get(1)));
          }
        },
        null);
  }

  private static long mzxid(OpResult result) {
    return ((SetDataResult) result).getStat().getMzxid();
  }

  /** Creates, sets or deletes a fleeting znode of its own. */
  private void comeAndGo() throws InterruptedException {
    int index = id + OrderingTest.WRITERS * random.nextInt(changes.fleeting.size() / OrderingTest.WRITERS);
    String path = changes.fleeting.get(index);
    window.acquire();
    if (!exists[index]) {
      create(path);
    } else if (random.nextBoolean()) {
      StatCallback done = (rc, p, context, stat) -> done(rc, p);
      zk.setData(path, Zk.bytes("" + sent++), -1, done, null);
      return;
    } else {
      zk.delete(path, -1, (rc, p, context) -> done(rc, p), null);
    }
    exists[index] = !exists[index];
  }

  /** Creates or deletes a child of its own. */
  private void child() throws InterruptedException {
    window.acquire();
    if (children.size() > 5) {
      zk.delete(children.remove(0), -1, (rc, p, context) -> done(rc, p), null);
      return;
    }
    String parent = changes.parents.get(random.nextInt(changes.parents.size()));
    children.add(parent + "/" + id + "-" + sent++);
    create(children.get(children.size() - 1));
  }

  private void create(String path) {
    zk.create(
        path,
        new byte[0],
        OPEN_ACL_UNSAFE,
        random.nextBoolean() ? CreateMode.PERSISTENT : CreateMode.EPHEMERAL,
        (rc, p, context, name) -> done(rc, p),
        null);
  }

  private void done(int rc, String path) {
    window.release();
    if (isOk(rc, path)) {
      changes.made();
    }
  }

  private boolean isOk(int rc, String path) {
    if (rc != Code.OK.intValue()) {
      changes.complain("%s: %s", path, Code.get(rc));
    }
    return rc == Code.OK.intValue();
  }

  private void wrote(String path, long zxid) {
    if (zxid <= lastWrite) {
      changes.complain("%s: written at %#x, behind a write at %#x", path, zxid, lastWrite);
    }
    lastWrite = zxid;
  }
}
