package triglot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static triglot.Etcd.await;
import static triglot.Etcd.bytes;
import static triglot.Etcd.text;

import io.etcd.jetcd.Client;
import java.io.File;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.Test;

/**
 * Runs on a server that serves TLS and wants client certificates: {@code etcd.tls.endpoint}. The
 * files ca.pem, client.pem and client-key.pem are in {@code etcd.tls.dir}.
 */
class TlsTest {
  private static final String ENDPOINT = System.getProperty("etcd.tls.endpoint", "");

  private static File file(String name) {
    return new File(System.getProperty("etcd.tls.dir"), name);
  }

  @Test
  void aClientWithACertificateIsServed() throws Exception {
    assumeTrue(!ENDPOINT.isEmpty(), "etcd.tls.endpoint names no server");
    try (Client client =
        Client.builder()
            .endpoints(ENDPOINT)
            .sslContext(
                ssl ->
                    ssl.trustManager(file("ca.pem"))
                        .keyManager(file("client.pem"), file("client-key.pem")))
            .build()) {
      await(client.getKVClient().put(bytes("k"), bytes("over TLS")));
      assertEquals("over TLS", text(await(client.getKVClient().get(bytes("k"))).getKvs().get(0).getValue()));
    }
  }

  @Test
  void aClientWithoutIsNot() throws Exception {
    assumeTrue(!ENDPOINT.isEmpty(), "etcd.tls.endpoint names no server");
    try (Client client =
        Client.builder()
            .endpoints(ENDPOINT)
            .retryMaxAttempts(1)
            .waitForReady(false)
            .sslContext(ssl -> ssl.trustManager(file("ca.pem")))
            .build()) {
      assertThrows(ExecutionException.class, () -> await(client.getKVClient().get(bytes("k"))));
    }
  }
}
