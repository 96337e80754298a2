package triglot;

import static java.util.concurrent.TimeUnit.SECONDS;

import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import org.apache.zookeeper.AsyncCallback;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.admin.ZooKeeperAdmin;
import org.apache.zookeeper.data.Stat;
import org.apache.zookeeper.server.util.ConfigUtils;

/**
 * What a program does with ZooKeeperAdmin to an ensemble of three, of which a fourth server that does not run
 * becomes an observer and one is left out in the end. It prints what comes of each step; whoever runs it on two
 * ensembles can compare that.
 */
final class Reconfigurer {
  private final ZooKeeperAdmin admin;
  private final BlockingQueue<WatchedEvent> events = new LinkedBlockingQueue<>();

  private Reconfigurer(String endpoint) throws Exception {
    admin = new ZooKeeperAdmin(endpoint, Zk.LONG_TIMEOUT_MS, event -> {});
  }

  /** A step and its result. */
  private interface Step {
    String run(Stat stat) throws Exception;
  }

  /**
   * Takes the address of a server that stays, the observer as reconfig takes it, its number, and all servers that stay
   * in the end as a whole configuration.
   */
  public static void main(String[] args) throws Exception {
    new Reconfigurer(args[0]).run(args[1], args[2], args[3]);
  }

  private void run(String observer, String number, String rest) throws Exception {
    step("getConfig", stat -> text(admin.getConfig(false, stat)));
    step("join without the right to", stat -> text(admin.reconfigure(observer, null, null, -1, stat)));
    step("nothing, without the right to", stat -> text(admin.reconfigure((String) null, null, null, -1, stat)));
    admin.addAuthInfo("digest", Zk.bytes("super:test"));
    step("nonsense", stat -> text(admin.reconfigure("server.9", null, null, -1, stat)));
    step("leave, of no number", stat -> text(admin.reconfigure(null, "x", null, -1, stat)));
    step("nobody is left", stat -> text(admin.reconfigure(null, "1,2,3", null, -1, stat)));
    step("of another configuration", stat -> text(admin.reconfigure(observer, null, null, 12345, stat)));
    Zk.create(admin, "/before", "");
    step("watch", stat -> text(admin.getConfig(this::note, stat)));
    step("join", stat -> text(admin.reconfigure(observer, null, null, -1, stat)));
    told();
    Stat now = new Stat();
    admin.getConfig(this::note, now);
    step("leave, of this configuration", stat -> text(admin.reconfigure(null, number, null, now.getMzxid(), stat)));
    told();
    step("leave again, of that configuration", stat -> text(admin.reconfigure(null, number, null, now.getMzxid(), stat)));
    CompletableFuture<String> answer = new CompletableFuture<>();
    AsyncCallback.DataCallback done =
        (rc, path, context, data, stat) ->
            answer.complete(KeeperException.Code.get(rc) + " " + path + " " + context + "|" + shown(data, stat));
    admin.reconfigure(observer, null, null, -1, done, "context");
    System.out.println("join, asynchronously: " + answer.get(Zk.PATIENCE_SECONDS, SECONDS));
    step("a whole configuration", stat -> text(admin.reconfigure(null, null, rest, -1, stat)));
    step("getConfig", stat -> text(admin.getConfig(false, stat)));

    String hosts = ConfigUtils.getClientConfigStr(text(admin.getConfig(false, new Stat())));
    System.out.println("client configuration: " + hosts.substring(hosts.indexOf(' ') + 1));
    long session = admin.getSessionId();
    admin.updateServerList(hosts.substring(hosts.indexOf(' ') + 1));
    Zk.await("a server of the list", this::reads);
    System.out.println("the session goes on: " + (admin.getSessionId() == session));
    step("setData", stat -> "version " + admin.setData("/before", Zk.bytes("x"), 0).getVersion());
    admin.close();
  }

  private void step(String name, Step step) throws Exception {
    Stat stat = new Stat();
    String result;
    try {
      result = shown(step.run(stat), stat);
    } catch (KeeperException e) {
      result = e.code().toString() + (e.getPath() == null ? "" : " " + e.getPath());
    }
    System.out.println(name + ": " + result);
  }

  /** Whether there is a connection: a new list of servers may end the one that is. */
  private boolean reads() {
    try {
      return admin.exists("/before", false) != null;
    } catch (KeeperException.ConnectionLossException e) {
      return false;
    } catch (KeeperException | InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  private void note(WatchedEvent event) {
    if (event.getType() != EventType.None) {
      events.add(event);
    }
  }

  private void told() throws Exception {
    WatchedEvent event = events.poll(Zk.PATIENCE_SECONDS, SECONDS);
    System.out.println("event: " + (event == null ? "none" : event.getType() + " " + event.getPath()));
  }

  private static String text(byte[] data) {
    return Zk.text(data);
  }

  private static String shown(byte[] data, Stat stat) {
    return data == null ? "null" : shown(text(data), stat);
  }

  /** A configuration in one line. Its version is the zxid of its znode, once it has been changed. */
  private static String shown(String config, Stat stat) {
    int at = config.indexOf("version=");
    if (at < 0) {
      return config;
    }
    long version = Long.parseLong(config.substring(at + "version=".length()), 16);
    return config.substring(0, at).replace("\n", "|")
        + "version is mzxid: " + (version == stat.getMzxid())
        + ", length: " + (stat.getDataLength() == config.length())
        + ", versions " + stat.getVersion() + " " + stat.getCversion() + " " + stat.getAversion()
        + ", children " + stat.getNumChildren() + ", owner " + stat.getEphemeralOwner();
  }
}
