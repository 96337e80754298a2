package triglot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static triglot.Etcd.assertFails;
import static triglot.Etcd.await;
import static triglot.Etcd.bytes;
import static triglot.Etcd.text;

import io.etcd.jetcd.Auth;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.Watch;
import io.etcd.jetcd.auth.Permission;
import io.etcd.jetcd.watch.WatchEvent;
import io.etcd.jetcd.watch.WatchResponse;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** Runs on a server of its own, whose authentication it turns on: {@code etcd.auth.endpoint}. */
class AuthTest {
  private static final String ENDPOINT = System.getProperty("etcd.auth.endpoint", "");

  private static Client as(String user, String password) {
    return Client.builder()
        .endpoints(ENDPOINT)
        .user(bytes(user))
        .password(bytes(password))
        .retryMaxAttempts(2)
        .build();
  }

  @Test
  void usersDoWhatTheirRolesAllow() throws Exception {
    assumeTrue(!ENDPOINT.isEmpty(), "etcd.auth.endpoint names no server");
    try (Client client = Client.builder().endpoints(ENDPOINT).build()) {
      Auth auth = client.getAuthClient();
      await(auth.userAdd(bytes("root"), bytes("rootpw")));
      await(auth.userGrantRole(bytes("root"), bytes("root")));
      await(auth.roleAdd(bytes("config")));
      await(
          auth.roleGrantPermission(
              bytes("config"), bytes("config/"), bytes("config0"), Permission.Type.READWRITE));
      await(auth.userAdd(bytes("app"), bytes("apppw")));
      await(auth.userGrantRole(bytes("app"), bytes("config")));
      assertFails("already exists", auth.userAdd(bytes("app"), bytes("x")));
      assertFails("role name not found", auth.roleGet(bytes("missing")));
      assertEquals(
          List.of("app", "root"), List.copyOf(await(auth.userList()).getUsers()));
      assertEquals(List.of("config"), await(auth.roleList()).getRoles());
      Permission permission = await(auth.roleGet(bytes("config"))).getPermissions().get(0);
      assertEquals("config0", text(permission.getRangeEnd()));
      await(auth.authEnable());
    }
    try (Client app = as("app", "apppw");
        Client root = as("root", "rootpw");
        Client nobody = Client.builder().endpoints(ENDPOINT).retryMaxAttempts(2).build()) {
      await(app.getKVClient().put(bytes("config/db"), bytes("localhost:3306")));
      assertEquals(
          "localhost:3306",
          text(await(app.getKVClient().get(bytes("config/db"))).getKvs().get(0).getValue()));
      assertFails("permission denied", app.getKVClient().put(bytes("other"), bytes("x")));
      assertFails("permission denied", app.getKVClient().get(bytes("other")));
      assertFails("permission denied", app.getAuthClient().userList());
      assertFails("user name is empty", nobody.getKVClient().get(bytes("config/db")));

      // jetcd tries a watch that is refused again, and tells of each refusal: it has a queue of its own.
      BlockingQueue<String> seen = new LinkedBlockingQueue<>();
      BlockingQueue<String> refusals = new LinkedBlockingQueue<>();
      try (Watch.Watcher allowed =
              app.getWatchClient().watch(bytes("config/db"), watcher(seen));
          Watch.Watcher refused = app.getWatchClient().watch(bytes("other"), watcher(refusals))) {
        String denied = refusals.poll(Etcd.PATIENCE_SECONDS, TimeUnit.SECONDS);
        assertEquals(true, denied != null && denied.contains("permission denied"), denied);
        await(root.getKVClient().put(bytes("config/db"), bytes("changed")));
        assertEquals("config/db = changed", seen.poll(Etcd.PATIENCE_SECONDS, TimeUnit.SECONDS));
      }

      // A password that changes, and roles that go, take effect at once: jetcd logs in again by itself.
      await(root.getAuthClient().userRevokeRole(bytes("app"), bytes("config")));
      assertFails("permission denied", app.getKVClient().get(bytes("config/db")));
      await(root.getAuthClient().userGrantRole(bytes("app"), bytes("config")));
      await(app.getKVClient().get(bytes("config/db")));
      await(root.getAuthClient().userChangePassword(bytes("app"), bytes("new")));
      try (Client changed = as("app", "new");
          Client old = as("app", "apppw")) {
        await(changed.getKVClient().get(bytes("config/db")));
        assertFails("UNAUTHENTICATED", old.getKVClient().get(bytes("config/db")));
      }
      await(root.getAuthClient().roleRevokePermission(bytes("config"), bytes("config/"), bytes("config0")));
      await(root.getAuthClient().roleDelete(bytes("config")));
      await(root.getAuthClient().userDelete(bytes("app")));
      assertFails("invalid auth management", root.getAuthClient().userDelete(bytes("root")));
      await(root.getAuthClient().authDisable());
      await(nobody.getKVClient().get(bytes("config/db")));
    }
  }

  private static Watch.Listener watcher(BlockingQueue<String> seen) {
    return new Watch.Listener() {
      @Override
      public void onNext(WatchResponse response) {
        for (WatchEvent event : response.getEvents()) {
          seen.add(
              text(event.getKeyValue().getKey()) + " = " + text(event.getKeyValue().getValue()));
        }
      }

      @Override
      public void onError(Throwable failed) {
        seen.add("error: " + failed.getMessage());
      }

      @Override
      public void onCompleted() {}
    };
  }
}
