package triglot;

import static io.etcd.jetcd.watch.WatchEvent.EventType.DELETE;
import static java.nio.charset.StandardCharsets.UTF_8;
import static java.util.concurrent.TimeUnit.SECONDS;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.Lease;
import io.etcd.jetcd.Watch.Watcher;
import io.etcd.jetcd.lease.LeaseKeepAliveResponse;
import io.etcd.jetcd.options.PutOption;
import io.etcd.jetcd.options.WatchOption;
import io.etcd.jetcd.support.CloseableClient;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import org.junit.jupiter.api.Test;

/** The second of the two programs that users start with: a service registers itself. */
class ServiceRegistrationTest {
  static final long TTL_SECONDS = 5;

  @Test
  void aServiceVanishesWithItsLeaseAndStaysWhileItIsKeptAlive() throws Exception {
    try (Client client = Client.builder().endpoints(Etcd.endpoints()).build()) {
      BlockingQueue<String> vanished = new LinkedBlockingQueue<>();
      ByteSequence services = ByteSequence.from("services/", UTF_8);
      try (Watcher watcher = watchDeletes(client, services, vanished)) {
        // The lease that is kept alive is the older one: without its renewals it would go first.
        BlockingQueue<LeaseKeepAliveResponse> renewals = new LinkedBlockingQueue<>();
        long keptLease = register(client, "services/service2", "192.168.0.2:8080");
        try (CloseableClient keepAlive =
            client.getLeaseClient().keepAlive(keptLease, into(renewals))) {
          long start = System.nanoTime();
          register(client, "services/service1", "192.168.0.1:8080");
          assertEquals("192.168.0.1:8080", lookup(client, "services/service1"));

          assertEquals("services/service1", vanished.poll(Etcd.PATIENCE_SECONDS, SECONDS));
          Duration lived = Duration.ofNanos(System.nanoTime() - start);
          assertTrue(lived.toSeconds() >= TTL_SECONDS - 1, "vanished after " + lived);
          assertEquals(null, lookup(client, "services/service1"));

          assertEquals("192.168.0.2:8080", lookup(client, "services/service2"));
          for (int i = 0; i < 2; i++) {
            LeaseKeepAliveResponse renewal = renewals.poll(Etcd.PATIENCE_SECONDS, SECONDS);
            assertNotNull(renewal, "renewal " + i);
            assertEquals(keptLease, renewal.getID());
            assertEquals(TTL_SECONDS, renewal.getTTL());
          }
        }
        client.getLeaseClient().revoke(keptLease).get();
        assertEquals("services/service2", vanished.poll(Etcd.PATIENCE_SECONDS, SECONDS));
      }
    }
  }

  /** As written for etcd: grant a lease, put the service's address with it. */
  static long register(Client client, String service, String address) throws Exception {
    Lease leaseClient = client.getLeaseClient();
    KV kvClient = client.getKVClient();

    long leaseId = leaseClient.grant(TTL_SECONDS).get().getID();

    ByteSequence key = ByteSequence.from(service, UTF_8);
    ByteSequence value = ByteSequence.from(address, UTF_8);
    kvClient.put(key, value, PutOption.builder().withLeaseId(leaseId).build()).get();
    return leaseId;
  }

  /** The service's address, null if it is not registered. */
  static String lookup(Client client, String service) throws Exception {
    return client.getKVClient().get(ByteSequence.from(service, UTF_8)).get().getKvs().stream()
        .map(kv -> kv.getValue().toString(UTF_8))
        .findFirst()
        .orElse(null);
  }

  private static Watcher watchDeletes(
      Client client, ByteSequence prefix, BlockingQueue<String> deleted) {
    WatchOption option = WatchOption.builder().isPrefix(true).withNoPut(true).build();
    return client
        .getWatchClient()
        .watch(
            prefix,
            option,
            response ->
                response.getEvents().stream()
                    .filter(event -> event.getEventType() == DELETE)
                    .forEach(event -> deleted.add(event.getKeyValue().getKey().toString(UTF_8))));
  }

  static StreamObserver<LeaseKeepAliveResponse> into(
      BlockingQueue<LeaseKeepAliveResponse> renewals) {
    return new StreamObserver<>() {
      @Override
      public void onNext(LeaseKeepAliveResponse renewal) {
        renewals.add(renewal);
      }

      @Override
      public void onError(Throwable error) {
        error.printStackTrace();
      }

      @Override
      public void onCompleted() {}
    };
  }
}
