package triglot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static triglot.Etcd.assertFails;
import static triglot.Etcd.await;
import static triglot.Etcd.bytes;
import static triglot.Etcd.text;

import io.etcd.jetcd.Client;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.KeyValue;
import io.etcd.jetcd.kv.DeleteResponse;
import io.etcd.jetcd.kv.GetResponse;
import io.etcd.jetcd.kv.PutResponse;
import io.etcd.jetcd.kv.TxnResponse;
import io.etcd.jetcd.op.Cmp;
import io.etcd.jetcd.op.CmpTarget;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.DeleteOption;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.PutOption;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.ResourceLock;

class KvTest {
  private static Client client;
  private static KV kv;
  private String prefix;

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

  private PutResponse put(String key, String value) throws Exception {
    return await(kv.put(bytes(prefix + key), bytes(value)));
  }

  private List<String> keys(GetResponse response) {
    return response.getKvs().stream()
        .map(kv -> text(kv.getKey()).substring(prefix.length()))
        .collect(Collectors.toList());
  }

  @Test
  void aPutShowsWhatItReplaced() throws Exception {
    PutResponse first = put("k", "1");
    assertFalse(first.hasPrevKv());

    PutResponse second =
        await(
            kv.put(
                bytes(prefix + "k"), bytes("2"), PutOption.builder().withPrevKV().build()));
    assertEquals("1", text(second.getPrevKv().getValue()));
    assertTrue(second.getHeader().getRevision() > first.getHeader().getRevision());

    KeyValue now = await(kv.get(bytes(prefix + "k"))).getKvs().get(0);
    assertEquals("2", text(now.getValue()));
    assertEquals(2, now.getVersion());
    assertEquals(first.getHeader().getRevision(), now.getCreateRevision());
    assertEquals(second.getHeader().getRevision(), now.getModRevision());
  }

  @Test
  void aPutWithALeaseThatDoesNotExistIsRefused() throws Exception {
    PutOption option = PutOption.builder().withLeaseId(987654321).build();
    assertFails(
        "NOT_FOUND: etcdserver: requested lease not found",
        kv.put(bytes(prefix + "k"), bytes("1"), option));
    assertEquals(0, await(kv.get(bytes(prefix + "k"))).getCount());
  }

  @Test
  void getsByPrefixSortedLimitedAndCounted() throws Exception {
    for (String key : List.of("b", "a", "c")) {
      put(key, "of " + key);
    }
    GetOption.Builder all = GetOption.builder().isPrefix(true);
    assertEquals(List.of("a", "b", "c"), keys(await(kv.get(bytes(prefix), all.build()))));

    GetOption latestFirst =
        GetOption.builder()
            .isPrefix(true)
            .withSortField(GetOption.SortTarget.MOD)
            .withSortOrder(GetOption.SortOrder.DESCEND)
            .withLimit(2)
            .build();
    GetResponse two = await(kv.get(bytes(prefix), latestFirst));
    assertEquals(List.of("c", "a"), keys(two));
    assertTrue(two.isMore());
    assertEquals(3, two.getCount());

    GetOption count = GetOption.builder().isPrefix(true).withCountOnly(true).build();
    GetResponse counted = await(kv.get(bytes(prefix), count));
    assertEquals(3, counted.getCount());
    assertTrue(counted.getKvs().isEmpty());

    GetOption keysOnly = GetOption.builder().isPrefix(true).withKeysOnly(true).build();
    assertEquals("", text(await(kv.get(bytes(prefix), keysOnly)).getKvs().get(0).getValue()));
  }

  @Test
  @ResourceLock("history")
  void readsThePast() throws Exception {
    long first = put("k", "1").getHeader().getRevision();
    put("k", "2");
    GetOption past = GetOption.builder().withRevision(first).build();
    assertEquals("1", text(await(kv.get(bytes(prefix + "k"), past)).getKvs().get(0).getValue()));

    GetOption future = GetOption.builder().withRevision(first + 1_000_000_000).build();
    assertFails(
        "OUT_OF_RANGE: etcdserver: mvcc: required revision is a future revision",
        kv.get(bytes(prefix + "k"), future));
  }

  @Test
  void deletesARangeAndShowsIt() throws Exception {
    put("a", "1");
    put("b", "2");
    DeleteOption option = DeleteOption.builder().isPrefix(true).withPrevKV(true).build();
    DeleteResponse deleted = await(kv.delete(bytes(prefix), option));
    assertEquals(2, deleted.getDeleted());
    assertEquals("2", text(deleted.getPrevKvs().get(1).getValue()));

    DeleteResponse none = await(kv.delete(bytes(prefix), option));
    assertEquals(0, none.getDeleted());
    assertEquals(0, await(kv.get(bytes(prefix + "a"))).getCount());
  }

  @Test
  void aTxnTakesTheBranchThatItsComparesChoose() throws Exception {
    put("k", "1");
    Cmp isOne = new Cmp(bytes(prefix + "k"), Cmp.Op.EQUAL, CmpTarget.value(bytes("1")));
    Op toTwo = Op.put(bytes(prefix + "k"), bytes("2"), PutOption.DEFAULT);
    Op get = Op.get(bytes(prefix + "k"), GetOption.DEFAULT);

    TxnResponse then = await(kv.txn().If(isOne).Then(toTwo, get).Else(get).commit());
    assertTrue(then.isSucceeded());
    assertEquals("2", text(then.getGetResponses().get(0).getKvs().get(0).getValue()));
    assertEquals(
        then.getHeader().getRevision(),
        then.getPutResponses().get(0).getHeader().getRevision());

    TxnResponse otherwise = await(kv.txn().If(isOne).Then(toTwo).Else(get).commit());
    assertFalse(otherwise.isSucceeded());
    assertEquals("2", text(otherwise.getGetResponses().get(0).getKvs().get(0).getValue()));
    assertTrue(otherwise.getHeader().getRevision() >= then.getHeader().getRevision());
  }

  @Test
  void aTxnIsNested() throws Exception {
    Cmp isNew = new Cmp(bytes(prefix + "k"), Cmp.Op.EQUAL, CmpTarget.version(0));
    Op put = Op.put(bytes(prefix + "k"), bytes("1"), PutOption.DEFAULT);
    Op inner = Op.txn(new Cmp[] {isNew}, new Op[] {put}, new Op[] {});
    TxnResponse outer = await(kv.txn().If(isNew).Then(inner).commit());
    assertTrue(outer.isSucceeded());
    assertTrue(outer.getTxnResponses().get(0).isSucceeded());
    assertEquals("1", text(await(kv.get(bytes(prefix + "k"))).getKvs().get(0).getValue()));
  }

  @Test
  void aTxnThatWritesAKeyTwiceIsRefused() throws Exception {
    Op put = Op.put(bytes(prefix + "k"), bytes("1"), PutOption.DEFAULT);
    assertFails(
        "INVALID_ARGUMENT: etcdserver: duplicate key given in txn request",
        kv.txn().Then(put, put).commit());
    assertEquals(0, await(kv.get(bytes(prefix + "k"))).getCount());
  }
}
