package triglot;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.kv.GetResponse;
import org.junit.jupiter.api.Test;

/** The first of the two programs that users start with: configuration in etcd. */
class ConfigurationTest {
  @Test
  void putsAndGetsConfiguration() throws Exception {
    GetResponse response = putAndGet("config/db", "localhost:3306");
    assertEquals("localhost:3306", response.getKvs().get(0).getValue().toString(UTF_8));
    assertEquals(1, response.getCount());
  }

  /** As written for etcd, but for the port and the key's prefix. */
  static GetResponse putAndGet(String name, String text) throws Exception {
    Client client = Client.builder().endpoints(Etcd.endpoints()).build();
    KV kvClient = client.getKVClient();

    ByteSequence key = ByteSequence.from(name, UTF_8);
    ByteSequence value = ByteSequence.from(text, UTF_8);

    kvClient.put(key, value).get();

    GetResponse response = kvClient.get(key).get();
    String config = response.getKvs().get(0).getValue().toString(UTF_8);
    System.out.println(name + " = " + config);

    client.close();
    return response;
  }
}
