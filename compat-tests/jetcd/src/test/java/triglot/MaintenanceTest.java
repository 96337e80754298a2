package triglot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static triglot.Etcd.assertFails;
import static triglot.Etcd.await;
import static triglot.Etcd.bytes;

import io.etcd.jetcd.Client;
import io.etcd.jetcd.Cluster;
import io.etcd.jetcd.Maintenance;
import io.etcd.jetcd.cluster.Member;
import io.etcd.jetcd.maintenance.HashKVResponse;
import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.Test;

class MaintenanceTest {
  @Test
  void aSnapshotIsWholeAndSigned() throws Exception {
    try (Client client = Etcd.connect()) {
      await(client.getKVClient().put(bytes(Etcd.freshPrefix() + "k"), bytes("v")));
      ByteArrayOutputStream file = new ByteArrayOutputStream();
      long size = await(client.getMaintenanceClient().snapshot(file));
      byte[] all = file.toByteArray();
      assertEquals(size, all.length);
      assertEquals(32, all.length % 512);
      byte[] sum =
          MessageDigest.getInstance("SHA-256").digest(Arrays.copyOf(all, all.length - 32));
      assertTrue(Arrays.equals(sum, Arrays.copyOfRange(all, all.length - 32, all.length)));
    }
  }

  @Test
  void theHashIsThatOfTheRevision() throws Exception {
    try (Client client = Etcd.connect()) {
      long rev = 0;
      for (boolean compared = false; !compared; ) {
        try {
          rev = sameHashAfterAPut(client);
          compared = true;
        } catch (ExecutionException failed) { // by a test beside this one, which compacts
          assertTrue(failed.getCause().toString().contains("has been compacted"), failed.toString());
        }
      }
      assertFails(
          "future revision", client.getMaintenanceClient().hashKV(Etcd.endpoint(), rev + 1_000_000));
    }
  }

  private static long sameHashAfterAPut(Client client) throws Exception {
    Maintenance maintenance = client.getMaintenanceClient();
    String key = Etcd.freshPrefix() + "k";
    long rev = await(client.getKVClient().put(bytes(key), bytes("1"))).getHeader().getRevision();
    HashKVResponse before = await(maintenance.hashKV(Etcd.endpoint(), rev));
    await(client.getKVClient().put(bytes(key), bytes("2")));
    assertEquals(before.getHash(), await(maintenance.hashKV(Etcd.endpoint(), rev)).getHash());
    return rev;
  }

  @Test
  void theRestAnswersAsEtcd() throws Exception {
    try (Client client = Etcd.connect()) {
      Maintenance maintenance = client.getMaintenanceClient();
      await(maintenance.defragmentMember(Etcd.endpoint()));
      assertEquals(List.of(), await(maintenance.listAlarms()).getAlarms());
      assertFails("bad leader transferee", maintenance.moveLeader(1));

      Cluster cluster = client.getClusterClient();
      Member self = await(cluster.listMember()).getMembers().get(0);
      await(maintenance.moveLeader(self.getId()));
      assertFails("member not found", cluster.removeMember(1));
      assertFails("not enough started members", cluster.removeMember(self.getId()));
      assertFails("Peer URLs already exists", cluster.addMember(self.getPeerURIs()));
      assertFails("can only promote a learner", cluster.promoteMember(self.getId()));
      assertEquals(
          self.getPeerURIs(),
          await(cluster.updateMember(self.getId(), self.getPeerURIs())).getMembers().get(0).getPeerURIs());
      assertFails(
          "member not found", cluster.updateMember(1, List.of(URI.create("http://127.0.0.1:1"))));
    }
  }
}
