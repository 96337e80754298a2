package triglot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static triglot.Etcd.assertFails;
import static triglot.Etcd.await;
import static triglot.Etcd.bytes;
import static triglot.Etcd.text;

import io.etcd.jetcd.Client;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.Lease;
import io.etcd.jetcd.lease.LeaseGrantResponse;
import io.etcd.jetcd.lease.LeaseTimeToLiveResponse;
import io.etcd.jetcd.options.LeaseOption;
import io.etcd.jetcd.options.PutOption;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class LeaseTest {
  private static Client client;
  private static Lease leases;

  @BeforeAll
  static void connect() {
    client = Etcd.connect();
    leases = client.getLeaseClient();
  }

  @AfterAll
  static void close() {
    client.close();
  }

  @Test
  void aLeaseKnowsItsKeysAndTakesThemWithIt() throws Exception {
    String key = Etcd.freshPrefix() + "k";
    KV kv = client.getKVClient();
    LeaseGrantResponse granted = await(leases.grant(1000));
    assertEquals(1000, granted.getTTL());
    await(
        kv.put(
            bytes(key), bytes("v"), PutOption.builder().withLeaseId(granted.getID()).build()));
    assertEquals(granted.getID(), await(kv.get(bytes(key))).getKvs().get(0).getLease());

    LeaseTimeToLiveResponse ttl =
        await(
            leases.timeToLive(
                granted.getID(), LeaseOption.builder().withAttachedKeys().build()));
    assertEquals(1000, ttl.getGrantedTTL());
    assertTrue(ttl.getTTL() > 900 && ttl.getTTL() <= 1000, "left: " + ttl.getTTL());
    assertEquals(1, ttl.getKeys().size());
    assertEquals(key, text(ttl.getKeys().get(0)));

    await(leases.revoke(granted.getID()));
    assertEquals(0, await(kv.get(bytes(key))).getCount());
  }

  @Test
  void aLeaseIsRenewedOnce() throws Exception {
    long id = await(leases.grant(1000)).getID();
    assertEquals(1000, await(leases.keepAliveOnce(id)).getTTL());
    await(leases.revoke(id));
  }

  @Test
  void aShortLeaseIsRaisedToTheLeastOne() throws Exception {
    LeaseGrantResponse granted = await(leases.grant(1));
    assertEquals(2, granted.getTTL());
    await(leases.revoke(granted.getID()));
  }

  @Test
  void aLeaseThatDoesNotExist() throws Exception {
    long id = await(leases.grant(1000)).getID();
    await(leases.revoke(id));
    assertFails("NOT_FOUND: etcdserver: requested lease not found", leases.revoke(id));
    assertFails("requested lease not found", leases.keepAliveOnce(id));
    assertEquals(-1, await(leases.timeToLive(id, LeaseOption.DEFAULT)).getTTL());
  }
}
