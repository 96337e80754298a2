package triglot;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static triglot.Etcd.await;
import static triglot.Etcd.bytes;
import static triglot.Etcd.text;

import io.etcd.jetcd.Client;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.Watch;
import io.etcd.jetcd.Watch.Watcher;
import io.etcd.jetcd.common.exception.CompactedException;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.DeleteOption;
import io.etcd.jetcd.options.PutOption;
import io.etcd.jetcd.options.WatchOption;
import io.etcd.jetcd.watch.WatchEvent;
import io.etcd.jetcd.watch.WatchResponse;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.ResourceLock;

class WatchTest {
  private static Client client;
  private static KV kv;
  private String prefix;

  /** What the watch under test has delivered, and how it has ended. */
  private final BlockingQueue<WatchResponse> responses = new LinkedBlockingQueue<>();

  private final CompletableFuture<Throwable> failure = new CompletableFuture<>();
  private final CompletableFuture<Boolean> completed = new CompletableFuture<>();

  @BeforeAll
  static void connect() {
    client = Etcd.connect();
    kv = client.getKVClient();
  }

  @AfterAll
  static void close() {
    client.close();
  }

  @BeforeEach
  void choosePrefix() {
    prefix = Etcd.freshPrefix();
  }

  private Watcher watch(WatchOption option) {
    return client
        .getWatchClient()
        .watch(
            bytes(prefix),
            option,
            Watch.listener(responses::add, failure::complete, () -> completed.complete(true)));
  }

  private WatchResponse next() throws Exception {
    WatchResponse response = responses.poll(Etcd.PATIENCE_SECONDS, SECONDS);
    assertNotNull(response, "no response; failure: " + failure.getNow(null));
    return response;
  }

  private void assertEvent(WatchEvent event, WatchEvent.EventType type, String key, String value) {
    assertEquals(type, event.getEventType());
    assertEquals(prefix + key, text(event.getKeyValue().getKey()));
    assertEquals(value, text(event.getKeyValue().getValue()));
  }

  private long put(String key, String value) throws Exception {
    return await(kv.put(bytes(prefix + key), bytes(value))).getHeader().getRevision();
  }

  @Test
  void seesPutsAndDeletesInOrder() throws Exception {
    WatchOption option =
        WatchOption.builder().isPrefix(true).withPrevKV(true).withCreateNotify(true).build();
    try (Watcher watcher = watch(option)) {
      assertTrue(next().isCreatedNotify());
      long first = put("k", "1");
      put("k", "2");
      await(kv.delete(bytes(prefix + "k")));

      WatchResponse response = next();
      assertEquals(first, response.getHeader().getRevision());
      assertEvent(response.getEvents().get(0), WatchEvent.EventType.PUT, "k", "1");
      WatchEvent second = next().getEvents().get(0);
      assertEvent(second, WatchEvent.EventType.PUT, "k", "2");
      assertEquals("1", text(second.getPrevKV().getValue()));
      WatchEvent third = next().getEvents().get(0);
      assertEvent(third, WatchEvent.EventType.DELETE, "k", "");
      assertEquals("2", text(third.getPrevKV().getValue()));
    }
    assertTrue(await(completed));
  }

  @Test
  void startsInThePast() throws Exception {
    long first = put("a", "1");
    put("b", "2");
    try (Watcher watcher =
        watch(WatchOption.builder().isPrefix(true).withRevision(first).build())) {
      WatchResponse past = next();
      assertEquals(2, past.getEvents().size());
      assertEvent(past.getEvents().get(0), WatchEvent.EventType.PUT, "a", "1");
      assertEvent(past.getEvents().get(1), WatchEvent.EventType.PUT, "b", "2");
      put("c", "3");
      assertEvent(next().getEvents().get(0), WatchEvent.EventType.PUT, "c", "3");
    }
  }

  @Test
  void filters() throws Exception {
    WatchOption option =
        WatchOption.builder().isPrefix(true).withNoPut(true).withCreateNotify(true).build();
    try (Watcher watcher = watch(option)) {
      assertTrue(next().isCreatedNotify());
      put("k", "1");
      await(kv.delete(bytes(prefix + "k")));
      assertEvent(next().getEvents().get(0), WatchEvent.EventType.DELETE, "k", "");
    }
  }

  @Test
  void aTxnIsOneResponse() throws Exception {
    WatchOption option = WatchOption.builder().isPrefix(true).withCreateNotify(true).build();
    put("old", "1");
    try (Watcher watcher = watch(option)) {
      assertTrue(next().isCreatedNotify());
      await(
          kv.txn()
              .Then(
                  Op.put(bytes(prefix + "new"), bytes("2"), PutOption.DEFAULT),
                  Op.delete(bytes(prefix + "old"), DeleteOption.DEFAULT))
              .commit());
      WatchResponse both = next();
      assertEquals(2, both.getEvents().size());
      assertEvent(both.getEvents().get(0), WatchEvent.EventType.PUT, "new", "2");
      assertEvent(both.getEvents().get(1), WatchEvent.EventType.DELETE, "old", "");
    }
  }

  @Test
  @ResourceLock("history")
  void aCompactedStartIsReported() throws Exception {
    long first = put("k", "1");
    long second = put("k", "2");
    await(kv.compact(second));
    try (Watcher watcher =
        watch(WatchOption.builder().isPrefix(true).withRevision(first).build())) {
      CompactedException compacted =
          assertInstanceOf(CompactedException.class, await(failure));
      assertEquals(second, compacted.getCompactedRevision());
    }
  }

  @Test
  void progressIsToldOnRequest() throws Exception {
    WatchOption option =
        WatchOption.builder()
            .isPrefix(true)
            .withProgressNotify(true)
            .withCreateNotify(true)
            .build();
    try (Client own = Etcd.connect()) {
      Watcher watcher =
          own.getWatchClient().watch(bytes(prefix), option, Watch.listener(responses::add));
      assertTrue(next().isCreatedNotify());
      long revision = put("elsewhere", "1");
      assertEquals(1, next().getEvents().size());
      own.getWatchClient().requestProgress();
      WatchResponse progress = next();
      assertTrue(progress.isProgressNotify());
      assertTrue(progress.getHeader().getRevision() >= revision);
      watcher.close();
    }
  }
}
