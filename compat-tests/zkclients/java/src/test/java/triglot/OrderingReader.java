package triglot;

import static org.apache.zookeeper.Watcher.Event.EventType.NodeChildrenChanged;
import static org.apache.zookeeper.Watcher.Event.EventType.NodeCreated;
import static org.apache.zookeeper.Watcher.Event.EventType.NodeDataChanged;
import static org.apache.zookeeper.Watcher.Event.EventType.NodeDeleted;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.data.Stat;

/**
 * A client that watches every znode of the test, or the hot one alone, and arms each watch again at its event. Replies and events reach
 * the one event thread of a client in the order in which they were on the wire, so what may not be on the wire in
 * that order is found here. All fields but the atomic ones belong to that thread.
 */
final class OrderingReader {
  /** The watch has fired, or its read has not been answered. */
  private static final long UNARMED = -1;

  /** What {@link #seen} says of a znode that is not there. */
  static final long ABSENT = -2;

  private final Zk.Client zk;
  private final Changes changes;
  private final Random random;

  /** The last mzxid (of parents: pzxid) seen of each znode, in the order of data, fleeting, parents. */
  final AtomicLongArray seen;

  /** Writes of its own that are still on the way. */
  final AtomicLong ownWrites = new AtomicLong();

  final AtomicLong events = new AtomicLong();
  final AtomicLong replies = new AtomicLong();

  /** Index of a data znode, zxid of the reply that armed, zxid of the event. */
  final Triples fired = new Triples();

  /** Index of a data znode, the last zxid known before a reply, zxid that the reply showed. */
  final Triples replied = new Triples();

  private final List<DataWatch> dataWatches = new ArrayList<>();
  private long shown;
  private long lastEvent;

  OrderingReader(Changes changes, int seed, boolean hot) throws Exception {
    this.zk = Zk.Client.connect(Zk.ENDLESS_TIMEOUT_MS);
    this.changes = changes;
    this.random = new Random(seed);
    this.seen =
        new AtomicLongArray(
            hot ? 1 : changes.data.size() + changes.fleeting.size() + changes.parents.size());
  }

  void start() {
    int slot = 0;
    if (seen.length() == 1) {
      dataWatches.add(new DataWatch(changes.data.get(Changes.HOT), Changes.HOT));
      dataWatches.get(0).arm();
      return;
    }
    for (String path : changes.data) {
      dataWatches.add(new DataWatch(path, slot++));
    }
    dataWatches.forEach(DataWatch::arm);
    for (String path : changes.fleeting) {
      new ExistsWatch(path, slot++).arm();
    }
    for (String path : changes.parents) {
      new ChildWatch(path, slot++).arm();
    }
  }

  void close() throws InterruptedException {
    zk.close();
  }

  /** The last zxid that this client knows to exist. */
  private long known() {
    return Math.max(shown, lastEvent);
  }

  /** A reply has shown that zxid: the events up to it are due before. */
  private void show(long zxid) {
    replies.incrementAndGet();
    shown = Math.max(shown, zxid);
  }

  /** Now and then: a read that watches nothing, a write of its own. */
  private void disturb() {
    int dice = random.nextInt(64);
    if (dice < 8) {
      DataWatch any = dataWatches.get(random.nextInt(dataWatches.size()));
      zk.getData(any.path, false, (rc, path, context, data, stat) -> any.read(rc, stat), null);
    } else if (dice == 8 && changes.take()) {
      DataWatch any = dataWatches.get(random.nextInt(dataWatches.size()));
      ownWrites.incrementAndGet();
      zk.setData(
          any.path,
          Zk.bytes("by a reader"),
          -1,
          (rc, path, context, stat) -> {
            any.written(rc, stat);
            ownWrites.decrementAndGet();
          },
          null);
    }
  }

  /** One watch of one znode, which is always armed or about to be. */
  private abstract class Armed implements Watcher {
    final String path;
    final int slot;

    /** The zxid that the arming reply showed. */
    long at = UNARMED;

    /** The last zxid of this znode that a reply or an event told. */
    private long last;

    Armed(String path, int slot) {
      this.path = path;
      this.slot = slot;
    }

    abstract void arm();

    abstract boolean isDue(EventType type);

    @Override
    public void process(WatchedEvent event) {
      if (event.getType() == EventType.None) {
        changes.complain("connection: %s", event.getState());
        return;
      }
      events.incrementAndGet();
      long zxid = event.getZxid();
      if (at == UNARMED) {
        changes.complain("%s: event %#x before the reply of its read", path, zxid);
      }
      if (!event.getPath().equals(path) || !isDue(event.getType())) {
        changes.complain("%s: armed at %#x, got %s", path, at, event);
      }
      if (zxid <= shown || zxid <= at) {
        changes.complain("%s: event %#x (armed at %#x) after a reply that shows %#x", path, zxid, at, shown);
      }
      if (zxid < lastEvent) {
        changes.complain("%s: event %#x after event %#x", path, zxid, lastEvent);
      }
      lastEvent = zxid;
      last = zxid;
      fire(zxid);
      at = UNARMED;
      arm();
      disturb();
    }

    void fire(long zxid) {}

    /** A reply shows the znode at that zxid. */
    void look(long zxid) {
      if (zxid < last) {
        changes.complain("%s: a reply shows %#x after %#x", path, zxid, last);
      }
      last = zxid;
    }

    /** The reply of the read that arms. */
    void armed(int rc, long zxid, boolean found) {
      if (rc != Code.OK.intValue() && found) {
        changes.complain("%s: %s", path, Code.get(rc));
        return;
      }
      if (found) {
        look(zxid);
      }
      show(zxid);
      at = zxid;
      seen.set(slot, found ? zxid : ABSENT);
    }
  }

  private final class DataWatch extends Armed {
    DataWatch(String path, int slot) {
      super(path, slot);
    }

    @Override
    void arm() {
      zk.getData(
          path,
          this,
          (rc, p, context, data, stat) -> {
            if (stat != null) {
              replied.add(slot, known(), stat.getMzxid());
            }
            armed(rc, stat == null ? 0 : stat.getMzxid(), true);
          },
          null);
    }

    @Override
    boolean isDue(EventType type) {
      return type == NodeDataChanged;
    }

    @Override
    void fire(long zxid) {
      fired.add(slot, at, zxid);
    }

    /** The reply of a read that has armed nothing. */
    void read(int rc, Stat stat) {
      shows(rc, stat);
      if (rc == Code.OK.intValue()) {
        replied.add(slot, known(), stat.getMzxid());
      }
    }

    /** The reply of this client's own write: it tells of the write, even if it knows of later ones by now. */
    void written(int rc, Stat stat) {
      shows(rc, stat);
      if (rc == Code.OK.intValue()) {
        changes.wrote(slot, stat.getMzxid());
      }
    }

    private void shows(int rc, Stat stat) {
      if (rc != Code.OK.intValue()) {
        changes.complain("%s: %s", path, Code.get(rc));
        return;
      }
      if (at != UNARMED && stat.getMzxid() != at) {
        changes.complain("%s: armed at %#x, a reply shows %#x before the event", path, at, stat.getMzxid());
      }
      look(stat.getMzxid());
      show(stat.getMzxid());
    }
  }

  private final class ExistsWatch extends Armed {
    private boolean exists;

    ExistsWatch(String path, int slot) {
      super(path, slot);
    }

    @Override
    void arm() {
      zk.exists(
          path,
          this,
          (rc, p, context, stat) -> {
            exists = rc != Code.NONODE.intValue();
            armed(rc, exists && stat != null ? stat.getMzxid() : 0, exists);
          },
          null);
    }

    @Override
    boolean isDue(EventType type) {
      return exists ? type == NodeDataChanged || type == NodeDeleted : type == NodeCreated;
    }
  }

  private final class ChildWatch extends Armed {
    ChildWatch(String path, int slot) {
      super(path, slot);
    }

    @Override
    void arm() {
      zk.getChildren(
          path,
          this,
          (rc, p, context, children, stat) -> {
            if (stat != null && children.size() != stat.getNumChildren()) {
              changes.complain("%s: %d children, its Stat says %d", path, children.size(), stat.getNumChildren());
            }
            armed(rc, stat == null ? 0 : stat.getPzxid(), true);
          },
          null);
    }

    @Override
    boolean isDue(EventType type) {
      return type == NodeChildrenChanged;
    }
  }
}
