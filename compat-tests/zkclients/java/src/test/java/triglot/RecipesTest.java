package triglot;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.ChildData;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMultiLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreMutex;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.junit.jupiter.api.Test;

/** More of Curator's recipes: caches and watchers on persistent watches, queues, barriers, discovery. */
class RecipesTest extends Curators {
  private final String root = "/recipes-" + UUID.randomUUID();

  @Test
  void aCacheFollowsASubtree() throws Exception {
    CuratorFramework client = connect();
    client.create().creatingParentsIfNeeded().forPath(root + "/cache/old", Zk.bytes("1"));
    BlockingQueue<String> seen = new LinkedBlockingQueue<>();
    try (CuratorCache cache = CuratorCache.build(client, root + "/cache")) {
      CountDownLatch ready = new CountDownLatch(1);
      cache.listenable().addListener(
          CuratorCacheListener.builder()
              .forCreates(node -> seen.add("+" + node.getPath()))
              .forChanges((before, after) -> seen.add("=" + after.getPath() + " " + Zk.text(after.getData())))
              .forDeletes(node -> seen.add("-" + node.getPath()))
              .forInitialized(ready::countDown)
              .afterInitialized()
              .build());
      cache.start();
      assertTrue(ready.await(Zk.PATIENCE_SECONDS, SECONDS));
      client.create().forPath(root + "/cache/new", Zk.bytes("2"));
      assertEquals("+" + root + "/cache/new", seen.poll(Zk.PATIENCE_SECONDS, SECONDS));
      client.setData().forPath(root + "/cache/new", Zk.bytes("3"));
      assertEquals("=" + root + "/cache/new 3", seen.poll(Zk.PATIENCE_SECONDS, SECONDS));
      client.delete().forPath(root + "/cache/old");
      assertEquals("-" + root + "/cache/old", seen.poll(Zk.PATIENCE_SECONDS, SECONDS));
      assertEquals("3", cache.get(root + "/cache/new").map(ChildData::getData).map(Zk::text).orElse(""));
    }
  }

  @Test
  void aPersistentWatcherHearsEverything() throws Exception {
    CuratorFramework client = connect();
    client.create().creatingParentsIfNeeded().forPath(root + "/watched");
    BlockingQueue<WatchedEvent> seen = new LinkedBlockingQueue<>();
    try (PersistentWatcher watcher = new PersistentWatcher(client, root + "/watched", true)) {
      CountDownLatch ready = new CountDownLatch(1);
      watcher.getResetListenable().addListener(ready::countDown);
      watcher.getListenable().addListener(seen::add);
      watcher.start();
      assertTrue(ready.await(Zk.PATIENCE_SECONDS, SECONDS));
      client.create().forPath(root + "/watched/a");
      client.setData().forPath(root + "/watched/a", Zk.bytes("x"));
      for (EventType want : List.of(EventType.NodeCreated, EventType.NodeDataChanged)) {
        WatchedEvent event = seen.poll(Zk.PATIENCE_SECONDS, SECONDS);
        assertNotNull(event);
        assertEquals(want + root + "/watched/a", event.getType() + event.getPath());
      }
    }
  }

  @Test
  void aQueueGivesEachElementOnce() throws Exception {
    SimpleDistributedQueue writer = new SimpleDistributedQueue(connect(), root + "/queue");
    SimpleDistributedQueue reader = new SimpleDistributedQueue(connect(), root + "/queue");
    for (int i = 0; i < 10; i++) {
      writer.offer(Zk.bytes("" + i));
    }
    for (int i = 0; i < 10; i++) {
      assertEquals("" + i, Zk.text(reader.poll(Zk.PATIENCE_SECONDS, SECONDS)));
    }
  }

  @Test
  void barriersHoldAndRelease() throws Exception {
    // Curator would make it a container, which may be reaped between the two barriers.
    connect().create().forPath(root);
    DistributedBarrier barrier = new DistributedBarrier(connect(), root + "/barrier");
    barrier.setBarrier();
    DistributedBarrier waiter = new DistributedBarrier(connect(), root + "/barrier");
    ExecutorService threads = Executors.newFixedThreadPool(3);
    try {
      Future<Boolean> released = threads.submit(() -> waiter.waitOnBarrier(Zk.PATIENCE_SECONDS, SECONDS));
      assertFalse(released.isDone());
      barrier.removeBarrier();
      assertTrue(released.get());

      List<Future<Boolean>> left = new ArrayList<>();
      for (int i = 0; i < 3; i++) {
        DistributedDoubleBarrier both = new DistributedDoubleBarrier(connect(), root + "/double", 3);
        left.add(threads.submit(
            () -> both.enter(Zk.PATIENCE_SECONDS, SECONDS) && both.leave(Zk.PATIENCE_SECONDS, SECONDS)));
      }
      for (Future<Boolean> one : left) {
        assertTrue(one.get());
      }
    } finally {
      threads.shutdownNow();
    }
  }

  @Test
  void eachSelectorLeadsInItsTurn() throws Exception {
    List<LeaderSelector> selectors = new ArrayList<>();
    List<CompletableFuture<Integer>> turns = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      int number = i;
      CompletableFuture<Integer> turn = new CompletableFuture<>();
      turns.add(turn);
      LeaderSelector selector = new LeaderSelector(connect(), root + "/selector", new LeaderSelectorListenerAdapter() {
        @Override
        public void takeLeadership(CuratorFramework client) {
          turn.complete(number); // and gives it away
        }
      });
      selectors.add(selector);
      selector.start();
    }
    for (int i = 0; i < 3; i++) {
      assertEquals(i, turns.get(i).get(Zk.PATIENCE_SECONDS, SECONDS));
    }
    selectors.forEach(LeaderSelector::close);
  }

  @Test
  void severalLocksAsOne() throws Exception {
    CuratorFramework client = connect();
    List<String> paths = List.of(root + "/multi/a", root + "/multi/b");
    InterProcessMultiLock lock = new InterProcessMultiLock(client, paths);
    assertTrue(lock.acquire(Zk.PATIENCE_SECONDS, SECONDS));
    InterProcessSemaphoreMutex second = new InterProcessSemaphoreMutex(connect(), root + "/semaphore-mutex");
    assertTrue(second.acquire(Zk.PATIENCE_SECONDS, SECONDS));
    assertFalse(new InterProcessSemaphoreMutex(connect(), root + "/semaphore-mutex").acquire(0, SECONDS));
    second.release();
    lock.release();
  }

  @Test
  void aSharedCountIsComparedAndSet() throws Exception {
    try (SharedCount first = new SharedCount(connect(), root + "/count", 7);
        SharedCount second = new SharedCount(connect(), root + "/count", 7)) {
      first.start();
      second.start();
      assertEquals(7, second.getCount());
      assertTrue(first.trySetCount(first.getVersionedValue(), 8));
      Zk.await("the count is 8", () -> second.getCount() == 8);
    }
  }

  @Test
  void membersOfAGroupKnowEachOther() throws Exception {
    try (GroupMember a = new GroupMember(connect(), root + "/group", "a", Zk.bytes("A"));
        GroupMember b = new GroupMember(connect(), root + "/group", "b", Zk.bytes("B"))) {
      a.start();
      b.start();
      Zk.await("both are members", () -> a.getCurrentMembers().size() == 2 && b.getCurrentMembers().size() == 2);
    }
  }

  @Test
  void aTtlNodeIsKeptByItsOwnerAlone() throws Exception {
    CuratorFramework client = connect();
    String path = root + "/ttl-node";
    try (PersistentTtlNode node = new PersistentTtlNode(client, path, 2000, Zk.bytes("t"), true)) {
      node.start();
      assertTrue(node.waitForInitialCreate(Zk.PATIENCE_SECONDS, SECONDS));
      assertEquals("t", Zk.text(client.getData().forPath(path)));
    }
  }

  @Test
  void servicesAreDiscovered() throws Exception {
    ServiceInstance<Void> instance =
        ServiceInstance.<Void>builder().name("api").address("10.0.0.1").port(8080).build();
    try (ServiceDiscovery<Void> provider =
            ServiceDiscoveryBuilder.builder(Void.class).client(connect()).basePath(root + "/services").build();
        ServiceDiscovery<Void> consumer =
            ServiceDiscoveryBuilder.builder(Void.class).client(connect()).basePath(root + "/services").build()) {
      provider.start();
      consumer.start();
      provider.registerService(instance);
      Collection<ServiceInstance<Void>> found = consumer.queryForInstances("api");
      assertEquals(List.of(instance), List.copyOf(found));
      provider.unregisterService(instance);
      assertEquals(0, consumer.queryForInstances("api").size());
    }
  }

  @Test
  void containersComeWithTheirFirstChild() throws Exception {
    CuratorFramework client = connect();
    client.create().creatingParentContainersIfNeeded().withMode(CreateMode.EPHEMERAL).forPath(root + "/c/d/e");
    client.delete().forPath(root + "/c/d/e");
    CuratorFramework other = connect();
    for (String path : List.of(root + "/c/d", root + "/c", root)) {
      Zk.await(path + " is reaped", () -> {
        try {
          return other.checkExists().forPath(path) == null;
        } catch (Exception e) {
          throw new IllegalStateException(e);
        }
      });
    }
  }
}
