package triglot;

import static java.nio.charset.StandardCharsets.UTF_8;
import static java.util.concurrent.TimeUnit.SECONDS;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/** What the tests share: the server's address, and short names for what they do all the time. */
final class Etcd {
  /** No reply takes this long; it passes only if one is missing. */
  static final long PATIENCE_SECONDS = 20;

  private Etcd() {}

  /**
   * The members: system property {@code etcd.endpoint}, else the environment's {@code
   * ETCD_ENDPOINT}, else the default port; several are separated by commas.
   */
  static String[] endpoints() {
    String endpoint = System.getProperty("etcd.endpoint", System.getenv("ETCD_ENDPOINT"));
    return (endpoint == null || endpoint.isEmpty() ? "http://localhost:2379" : endpoint).split(",");
  }

  /** The first of the members. */
  static String endpoint() {
    return endpoints()[0];
  }

  static Client connect() {
    return Client.builder().endpoints(endpoints()).build();
  }

  static ByteSequence bytes(String text) {
    return ByteSequence.from(text, UTF_8);
  }

  static String text(ByteSequence bytes) {
    return bytes.toString(UTF_8);
  }

  /** A prefix that no other test uses. */
  static String freshPrefix() {
    return "test/" + UUID.randomUUID() + "/";
  }

  static <T> T await(CompletableFuture<T> future) throws Exception {
    return future.get(PATIENCE_SECONDS, SECONDS);
  }

  /**
   * Requires that the call fails with etcd's error of that text: applications compare texts, since
   * jetcd hands on some errors as its own exception, which may have a name and no text, and some as
   * gRPC's.
   */
  static void assertFails(String text, CompletableFuture<?> future) {
    ExecutionException failed = assertThrows(ExecutionException.class, () -> await(future));
    assertTrue(failed.getCause().toString().contains(text), failed.toString());
  }
}
