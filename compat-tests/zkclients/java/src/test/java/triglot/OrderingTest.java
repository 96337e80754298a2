package triglot;

import static java.util.concurrent.TimeUnit.MINUTES;
import static java.util.concurrent.TimeUnit.SECONDS;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.etcd.jetcd.Client;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.data.Stat;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Many changes of some hundred znodes under several watching clients: no event lost, none before the reply of the
 * read that set it, none after a reply that shows the change, zxids never back, and a pipelined read sees the write
 * before it. System property {@code ordering.changes} says how many.
 */
class OrderingTest {
  static final int WRITERS = 3;
  private static final int READERS = 4;

  /** Clients that watch one znode alone: nothing else comes between its read and its event. */
  private static final int HOT_READERS = 2;

  private static final int ETCD_CALLERS = 4;

  @Test
  @Timeout(value = 60, unit = MINUTES)
  void eventsAndRepliesComeInOrder() throws Exception {
    long start = System.nanoTime();
    try (Zk.Client zk = Zk.Client.connect()) {
      Changes changes = new Changes(Zk.freshRoot(zk), Integer.getInteger("ordering.changes", 50_000));
      for (String path : changes.data) {
        Zk.create(zk, path, "");
      }
      for (String path : changes.parents) {
        Zk.create(zk, path, "");
      }
      List<OrderingReader> readers = new ArrayList<>();
      for (int i = 0; i < READERS + HOT_READERS; i++) {
        OrderingReader reader = new OrderingReader(changes, i, i >= READERS);
        readers.add(reader);
        reader.start();
      }
      List<OrderingWriter> writers = write(changes);
      assertEquals("", changes.complaints());
      Zk.await("the writes of readers", () -> readers.stream().allMatch(r -> r.ownWrites.get() == 0));
      long[] last = last(zk, changes);
      for (OrderingReader reader : readers) {
        awaitAll(reader, last, changes);
      }
      assertEquals("", changes.complaints());
      long[][] history = changes.sorted();
      assertEventsAreTheNextChange(readers, history);
      assertRepliesDoNotGoBack(readers, history);
      report(changes, readers, writers, start);
      for (OrderingReader reader : readers) {
        reader.close();
      }
    }
  }

  /** Runs all writers to their end. */
  private static List<OrderingWriter> write(Changes changes) throws Exception {
    List<OrderingWriter> writers = new ArrayList<>();
    List<Callable<Void>> work = new ArrayList<>();
    for (int i = 0; i < WRITERS; i++) {
      writers.add(new OrderingWriter(changes, i));
    }
    work.addAll(writers);
    Client etcd = Zk.etcdEndpoint().isEmpty() ? null : Client.builder().endpoints(Zk.etcdEndpoint()).build();
    for (int i = 0; etcd != null && i < ETCD_CALLERS; i++) {
      work.add(new OrderingEtcdWriter(etcd, changes, i));
    }
    ExecutorService threads = Executors.newFixedThreadPool(work.size());
    try {
      for (Future<Void> done : threads.invokeAll(work)) {
        done.get();
      }
    } finally {
      threads.shutdownNow();
      if (etcd != null) {
        etcd.close();
      }
    }
    return writers;
  }

  /** What a reader must have seen last of each znode. */
  private static long[] last(Zk.Client zk, Changes changes) throws Exception {
    CompletableFuture<Integer> synced = new CompletableFuture<>();
    zk.sync("/", (rc, path, context) -> synced.complete(rc), null);
    assertEquals(Code.OK.intValue(), synced.get(Zk.PATIENCE_SECONDS, SECONDS));
    List<Long> last = new ArrayList<>();
    for (String path : changes.data) {
      last.add(zk.exists(path, false).getMzxid());
    }
    for (String path : changes.fleeting) {
      Stat stat = zk.exists(path, false);
      last.add(stat == null ? OrderingReader.ABSENT : stat.getMzxid());
    }
    for (String path : changes.parents) {
      last.add(zk.exists(path, false).getPzxid());
    }
    return last.stream().mapToLong(Long::longValue).toArray();
  }

  /** No event is lost: the reader's last look at each znode is the present. */
  private static void awaitAll(OrderingReader reader, long[] last, Changes changes) throws Exception {
    List<String> paths = new ArrayList<>(changes.data);
    paths.addAll(changes.fleeting);
    paths.addAll(changes.parents);
    for (int i = 0; i < reader.seen.length(); i++) {
      int slot = i;
      Zk.await(
          "the event of " + paths.get(i) + " at " + Long.toHexString(last[i]) + "\n" + changes.complaints(),
          () -> reader.seen.get(slot) == last[slot]);
    }
  }

  /** Each event is that of the first change behind the reply that armed its watch. */
  private static void assertEventsAreTheNextChange(List<OrderingReader> readers, long[][] history) {
    for (OrderingReader reader : readers) {
      assertTrue(reader.fired.size() > reader.seen.length(), "hardly any event");
      reader.fired.forEach(
          (index, armed, event) ->
              assertEquals(
                  Changes.next(history[(int) index], armed),
                  event,
                  () -> "znode " + index + ", armed at " + Long.toHexString(armed)));
    }
  }

  /** Each reply shows all changes up to what its client knew before: nobody goes back in time. */
  private static void assertRepliesDoNotGoBack(List<OrderingReader> readers, long[][] history) {
    for (OrderingReader reader : readers) {
      reader.replied.forEach(
          (index, known, shown) -> {
            long missed = Changes.next(history[(int) index], shown);
            assertTrue(
                missed == -1 || missed > known,
                () -> String.format("znode %d: %#x shown, not %#x, after %#x", index, shown, missed, known));
          });
    }
  }

  private static void report(
      Changes changes, List<OrderingReader> readers, List<OrderingWriter> writers, long start) {
    System.out.printf(
        "ordering: %d changes by %d clients%s, %d events and %d replies at %d readers, %d own writes read, %d ms%n",
        changes.count(),
        writers.size(),
        Zk.etcdEndpoint().isEmpty() ? "" : " and " + ETCD_CALLERS + " etcd callers",
        readers.stream().mapToLong(reader -> reader.events.get()).sum(),
        readers.stream().mapToLong(reader -> reader.replies.get()).sum(),
        readers.size(),
        writers.stream().mapToLong(writer -> writer.ownReads.get()).sum(),
        (System.nanoTime() - start) / 1_000_000);
  }
}
