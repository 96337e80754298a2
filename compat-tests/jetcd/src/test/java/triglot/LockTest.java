package triglot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static triglot.Etcd.assertFails;
import static triglot.Etcd.await;
import static triglot.Etcd.bytes;
import static triglot.Etcd.text;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.lock.LockResponse;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class LockTest {
  @Test
  void oneHoldsItAtATime() throws Exception {
    ByteSequence name = bytes(Etcd.freshPrefix() + "lock");
    AtomicInteger inside = new AtomicInteger();
    AtomicInteger most = new AtomicInteger();
    AtomicInteger entered = new AtomicInteger();
    List<Thread> threads = new ArrayList<>();
    List<Throwable> failures = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      Thread thread =
          new Thread(
              () -> {
                try (Client client = Etcd.connect()) {
                  long lease = await(client.getLeaseClient().grant(60)).getID();
                  for (int round = 0; round < 5; round++) {
                    ByteSequence key = await(client.getLockClient().lock(name, lease)).getKey();
                    most.accumulateAndGet(inside.incrementAndGet(), Math::max);
                    entered.incrementAndGet();
                    Thread.yield();
                    inside.decrementAndGet();
                    await(client.getLockClient().unlock(key));
                  }
                } catch (Throwable failed) {
                  synchronized (failures) {
                    failures.add(failed);
                  }
                }
              });
      threads.add(thread);
      thread.start();
    }
    for (Thread thread : threads) {
      thread.join();
    }
    assertEquals(List.of(), failures);
    assertEquals(1, most.get());
    assertEquals(20, entered.get());
  }

  @Test
  void theEndOfALeaseFreesIt() throws Exception {
    ByteSequence name = bytes(Etcd.freshPrefix() + "lock");
    try (Client first = Etcd.connect();
        Client second = Etcd.connect()) {
      long lease = await(first.getLeaseClient().grant(60)).getID();
      LockResponse held = await(first.getLockClient().lock(name, lease));
      assertTrue(text(held.getKey()).startsWith(text(name) + "/"));
      assertTrue(text(held.getKey()).endsWith(Long.toHexString(lease)));

      CompletableFuture<LockResponse> waiting = second.getLockClient().lock(name, 0);
      assertEquals(1, await(first.getKVClient().get(held.getKey())).getKvs().size());
      assertFalse(waiting.isDone());
      await(first.getLeaseClient().revoke(lease));
      assertNotEquals(held.getKey(), await(waiting).getKey());
      await(second.getLockClient().unlock(await(waiting).getKey()));
    }
  }

  @Test
  void aLeaseThatThereIsNotLocksNothing() throws Exception {
    try (Client client = Etcd.connect()) {
      assertFails(
          "requested lease not found",
          client.getLockClient().lock(bytes(Etcd.freshPrefix() + "lock"), 4711));
    }
  }

  @Test
  void unlockingTwiceDoesNoHarm() throws Exception {
    ByteSequence name = bytes(Etcd.freshPrefix() + "lock");
    try (Client client = Etcd.connect()) {
      long lease = await(client.getLeaseClient().grant(60)).getID();
      ByteSequence key = await(client.getLockClient().lock(name, lease)).getKey();
      assertEquals(key, await(client.getLockClient().lock(name, lease)).getKey());
      await(client.getLockClient().unlock(key));
      await(client.getLockClient().unlock(key));
    }
  }
}
