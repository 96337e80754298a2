package triglot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static triglot.Etcd.assertFails;
import static triglot.Etcd.await;
import static triglot.Etcd.bytes;
import static triglot.Etcd.text;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.Election;
import io.etcd.jetcd.election.CampaignResponse;
import io.etcd.jetcd.election.LeaderKey;
import io.etcd.jetcd.election.LeaderResponse;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class ElectionTest {
  private static long lease(Client client) throws Exception {
    return await(client.getLeaseClient().grant(60)).getID();
  }

  @Test
  void theNextOneLeadsWhenALeaderResigns() throws Exception {
    ByteSequence name = bytes(Etcd.freshPrefix() + "election");
    try (Client first = Etcd.connect();
        Client second = Etcd.connect();
        Client reader = Etcd.connect()) {
      assertFails("NoLeaderException", reader.getElectionClient().leader(name));
      BlockingQueue<String> seen = new LinkedBlockingQueue<>();
      reader.getElectionClient().observe(name, observer(seen));

      LeaderKey leader =
          await(first.getElectionClient().campaign(name, lease(first), bytes("first"))).getLeader();
      assertEquals("first", seen.poll(Etcd.PATIENCE_SECONDS, TimeUnit.SECONDS));
      CompletableFuture<CampaignResponse> waiting =
          second.getElectionClient().campaign(name, lease(second), bytes("second"));
      assertEquals("first", leaderOf(reader, name));

      await(first.getElectionClient().proclaim(leader, bytes("still first")));
      assertEquals("still first", seen.poll(Etcd.PATIENCE_SECONDS, TimeUnit.SECONDS));
      assertEquals("still first", leaderOf(reader, name));
      assertFalse(waiting.isDone());

      await(first.getElectionClient().resign(leader));
      LeaderKey next = await(waiting).getLeader();
      assertEquals("second", leaderOf(reader, name));
      assertEquals("second", seen.poll(Etcd.PATIENCE_SECONDS, TimeUnit.SECONDS));
      assertFails(
          "NotLeaderException", first.getElectionClient().proclaim(leader, bytes("too late")));
      await(second.getElectionClient().resign(next));
    }
  }

  @Test
  void theEndOfALeaseEndsTheLeadership() throws Exception {
    ByteSequence name = bytes(Etcd.freshPrefix() + "election");
    try (Client first = Etcd.connect();
        Client second = Etcd.connect()) {
      long lease = lease(first);
      await(first.getElectionClient().campaign(name, lease, bytes("first")));
      CompletableFuture<CampaignResponse> waiting =
          second.getElectionClient().campaign(name, lease(second), bytes("second"));
      assertEquals("first", leaderOf(second, name));
      await(first.getLeaseClient().revoke(lease));
      assertEquals(text(name), text(await(waiting).getLeader().getName()));
      assertEquals("second", leaderOf(first, name));
    }
  }

  private static String leaderOf(Client client, ByteSequence name) throws Exception {
    return text(await(client.getElectionClient().leader(name)).getKv().getValue());
  }

  private static Election.Listener observer(BlockingQueue<String> seen) {
    return new Election.Listener() {
      @Override
      public void onNext(LeaderResponse response) {
        seen.add(text(response.getKv().getValue()));
      }

      @Override
      public void onError(Throwable failed) {
        seen.add("error: " + failed);
      }

      @Override
      public void onCompleted() {
        seen.add("completed");
      }
    };
  }
}
