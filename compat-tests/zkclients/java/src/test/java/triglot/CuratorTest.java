package triglot;

import static java.util.concurrent.TimeUnit.MILLISECONDS;
import static java.util.concurrent.TimeUnit.SECONDS;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.PathChildrenCacheEvent;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.retry.RetryOneTime;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooKeeper;
import org.junit.jupiter.api.Test;

/** Curator's recipes. */
class CuratorTest extends Curators {
  private final String root = "/curator-" + UUID.randomUUID();

  @Test
  void aMutexLetsOneInAtATime() throws Exception {
    int contenders = 5;
    int rounds = 10;
    AtomicInteger inside = new AtomicInteger();
    AtomicInteger entries = new AtomicInteger();
    int[] unguarded = {0};
    List<Callable<Void>> work = new ArrayList<>();
    for (int i = 0; i < contenders; i++) {
      InterProcessMutex mutex = new InterProcessMutex(connect(), root + "/mutex");
      work.add(
          () -> {
            for (int round = 0; round < rounds; round++) {
              assertTrue(mutex.acquire(Zk.PATIENCE_SECONDS, SECONDS), "never got the lock");
              try {
                assertEquals(1, inside.incrementAndGet(), "two hold the lock");
                unguarded[0]++;
                entries.incrementAndGet();
                Thread.yield();
                inside.decrementAndGet();
              } finally {
                mutex.release();
              }
            }
            return null;
          });
    }
    ExecutorService threads = Executors.newFixedThreadPool(contenders);
    try {
      for (Future<Void> done : threads.invokeAll(work)) {
        done.get();
      }
    } finally {
      threads.shutdownNow();
    }
    assertEquals(contenders * rounds, entries.get());
    assertEquals(contenders * rounds, unguarded[0]);
    assertEquals(List.of(), clients.get(0).getChildren().forPath(root + "/mutex"));
  }

  @Test
  void aMutexIsReentrantAndTimesOut() throws Exception {
    InterProcessMutex holder = new InterProcessMutex(connect(), root + "/mutex");
    InterProcessMutex other = new InterProcessMutex(connect(), root + "/mutex");
    holder.acquire();
    holder.acquire();
    assertFalse(other.acquire(300, MILLISECONDS));
    holder.release();
    assertTrue(holder.isAcquiredInThisProcess());
    holder.release();
    assertTrue(other.acquire(Zk.PATIENCE_SECONDS, SECONDS));
    other.release();
  }

  @Test
  void leadershipFailsOver() throws Exception {
    List<LeaderLatch> latches = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      LeaderLatch latch = new LeaderLatch(connect(), root + "/latch", "candidate-" + i);
      latch.start();
      latches.add(latch);
    }
    LeaderLatch first = awaitLeader(latches);
    Zk.await("all are candidates", () -> participants(first) == 3);
    assertEquals(first.getId(), latches.get(0).getLeader().getId());

    // One that closes hands over.
    first.close();
    latches.remove(first);
    LeaderLatch second = awaitLeader(latches);

    // One whose session is ended from outside loses it to the other, and comes back as a candidate.
    endSession(clientOf(second));
    latches.remove(second);
    LeaderLatch third = awaitLeader(latches);
    Zk.await("the old leader hears of it", () -> !second.hasLeadership());
    latches.add(second);
    Zk.await("both are candidates", () -> participants(third) == 2);

    // One whose connection breaks is not the only candidate, but somebody leads in the end.
    ZooKeeper zk = clientOf(third).getZookeeperClient().getZooKeeper();
    zk.getTestable().closeSocket();
    awaitLeader(latches);
    Zk.await("both are candidates", () -> participants(second) == 2);
    for (LeaderLatch latch : latches) {
      latch.close();
    }
  }

  @Test
  void aPathChildrenCacheFollows() throws Exception {
    CuratorFramework reader = connect();
    CuratorFramework writer = connect();
    writer.create().creatingParentsIfNeeded().forPath(root + "/cache/a", Zk.bytes("1"));
    BlockingQueue<String> events = new LinkedBlockingQueue<>();
    try (PathChildrenCache cache = new PathChildrenCache(reader, root + "/cache", true)) {
      cache.getListenable().addListener((client, event) -> events.add(describe(event)));
      cache.start(PathChildrenCache.StartMode.POST_INITIALIZED_EVENT);
      assertEquals("CHILD_ADDED a=1", next(events));
      assertEquals("INITIALIZED", next(events));
      writer.create().forPath(root + "/cache/b", Zk.bytes("2"));
      assertEquals("CHILD_ADDED b=2", next(events));
      writer.setData().forPath(root + "/cache/a", Zk.bytes("3"));
      assertEquals("CHILD_UPDATED a=3", next(events));
      writer.delete().forPath(root + "/cache/b");
      assertEquals("CHILD_REMOVED b=2", next(events));
      assertEquals(1, cache.getCurrentData().size());
    }
    writer.delete().guaranteed().deletingChildrenIfNeeded().forPath(root + "/cache");
  }

  @Test
  void aSharedCounterCounts() throws Exception {
    int callers = 3;
    int rounds = 10;
    ExecutorService threads = Executors.newFixedThreadPool(callers);
    List<Future<?>> open = new ArrayList<>();
    for (int i = 0; i < callers; i++) {
      DistributedAtomicLong counter =
          new DistributedAtomicLong(connect(), root + "/counter", new RetryOneTime(1));
      open.add(
          threads.submit(
              () -> {
                for (int done = 0; done < rounds; ) {
                  done += counter.increment().succeeded() ? 1 : 0;
                }
                return null;
              }));
    }
    for (Future<?> done : open) {
      done.get();
    }
    threads.shutdown();
    DistributedAtomicLong counter =
        new DistributedAtomicLong(clients.get(0), root + "/counter", new RetryOneTime(1));
    assertEquals(callers * rounds, counter.get().postValue());
  }

  @Test
  void locksForReadersAndSemaphores() throws Exception {
    InterProcessReadWriteLock mine = new InterProcessReadWriteLock(connect(), root + "/rw");
    InterProcessReadWriteLock yours = new InterProcessReadWriteLock(connect(), root + "/rw");
    assertTrue(mine.readLock().acquire(Zk.PATIENCE_SECONDS, SECONDS));
    assertTrue(yours.readLock().acquire(Zk.PATIENCE_SECONDS, SECONDS));
    assertFalse(yours.writeLock().acquire(200, MILLISECONDS));
    mine.readLock().release();
    yours.readLock().release();
    assertTrue(yours.writeLock().acquire(Zk.PATIENCE_SECONDS, SECONDS));
    yours.writeLock().release();

    InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(connect(), root + "/semaphore", 2);
    Lease first = semaphore.acquire();
    Lease second = semaphore.acquire();
    assertNull(semaphore.acquire(200, MILLISECONDS));
    first.close();
    Lease third = semaphore.acquire(Zk.PATIENCE_SECONDS, SECONDS);
    assertNotNull(third);
    second.close();
    third.close();
  }

  @Test
  void aPersistentNodeComesBackWithItsSession() throws Exception {
    CuratorFramework owner = connect();
    CuratorFramework reader = connect();
    BlockingQueue<String> seen = new LinkedBlockingQueue<>();
    try (PersistentNode node =
            new PersistentNode(owner, CreateMode.EPHEMERAL, false, root + "/here", Zk.bytes("me"));
        TreeCache tree = new TreeCache(reader, root)) {
      tree.getListenable()
          .addListener(
              (client, event) -> {
                if (event.getData() != null && event.getData().getPath().endsWith("/here")) {
                  seen.add(event.getType().toString());
                }
              });
      tree.start();
      node.start();
      assertTrue(node.waitForInitialCreate(Zk.PATIENCE_SECONDS, SECONDS));
      assertEquals("NODE_ADDED", seen.poll(Zk.PATIENCE_SECONDS, SECONDS));
      endSession(owner);
      assertEquals("NODE_REMOVED", seen.poll(Zk.PATIENCE_SECONDS, SECONDS));
      assertEquals("NODE_ADDED", seen.poll(Zk.PATIENCE_SECONDS, SECONDS));
      assertEquals("me", Zk.text(reader.getData().forPath(root + "/here")));
    }
  }

  @Test
  void transactionsAndInspection() throws Exception {
    CuratorFramework client = connect();
    client.create().creatingParentContainersIfNeeded().forPath(root + "/tx/a", Zk.bytes("1"));
    var results =
        client
            .transaction()
            .forOperations(
                client.transactionOp().check().withVersion(0).forPath(root + "/tx/a"),
                client.transactionOp().setData().forPath(root + "/tx/a", Zk.bytes("2")),
                client.transactionOp().create().forPath(root + "/tx/b", Zk.bytes("3")));
    assertEquals(3, results.size());
    assertEquals("2", Zk.text(client.getData().forPath(root + "/tx/a")));
    assertEquals(2, client.checkExists().forPath(root + "/tx").getNumChildren());
    client.sync().forPath(root);
  }

  private CuratorFramework clientOf(LeaderLatch latch) {
    return clients.get(Integer.parseInt(latch.getId().substring("candidate-".length())));
  }

  /** Ends a client's session behind its back. */
  private static void endSession(CuratorFramework client) throws Exception {
    ZooKeeper zk = client.getZookeeperClient().getZooKeeper();
    Zk.Client killer = Zk.Client.claim(Zk.LONG_TIMEOUT_MS, zk.getSessionId(), zk.getSessionPasswd());
    killer.seen().awaitState(KeeperState.SyncConnected);
    killer.close();
  }

  private static int participants(LeaderLatch latch) {
    try {
      return latch.getParticipants().size();
    } catch (Exception e) {
      return -1; // not connected just now
    }
  }

  /** Waits until exactly one leads, and two at no time. */
  private static LeaderLatch awaitLeader(List<LeaderLatch> latches) throws Exception {
    Zk.await("a leader", () -> latches.stream().anyMatch(LeaderLatch::hasLeadership));
    List<LeaderLatch> leaders = latches.stream().filter(LeaderLatch::hasLeadership).toList();
    assertTrue(leaders.size() <= 1, "two lead");
    return leaders.isEmpty() ? awaitLeader(latches) : leaders.get(0);
  }

  private static String describe(PathChildrenCacheEvent event) {
    if (event.getData() == null) {
      return event.getType().toString();
    }
    String path = event.getData().getPath();
    return event.getType()
        + " "
        + path.substring(path.lastIndexOf('/') + 1)
        + "="
        + Zk.text(event.getData().getData());
  }

  private static String next(BlockingQueue<String> events) throws Exception {
    String event = events.poll(Zk.PATIENCE_SECONDS, SECONDS);
    assertNotNull(event, "no event");
    // The cache tells of its connection too.
    return event.startsWith("CONNECTION_") ? next(events) : event;
  }
}
