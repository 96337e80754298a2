package triglot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static triglot.Etcd.await;

import io.etcd.jetcd.Client;
import io.etcd.jetcd.cluster.Member;
import io.etcd.jetcd.cluster.MemberListResponse;
import io.etcd.jetcd.maintenance.StatusResponse;
import org.junit.jupiter.api.Test;

class ClusterTest {
  @Test
  void aMemberLeads() throws Exception {
    try (Client client = Etcd.connect()) {
      MemberListResponse list = await(client.getClusterClient().listMember());
      assertEquals(Etcd.endpoints().length, list.getMembers().size());
      Member member = list.getMembers().get(0);
      assertEquals(1, member.getClientURIs().size());

      StatusResponse status =
          await(client.getMaintenanceClient().statusMember(Etcd.endpoint()));
      assertTrue(list.getMembers().stream().anyMatch(m -> m.getId() == status.getLeader()));
      assertTrue(status.getVersion().startsWith("3."), status.getVersion());
      assertTrue(status.getRaftIndex() > 0);
      assertTrue(status.getDbSize() > 0);
    }
  }
}
