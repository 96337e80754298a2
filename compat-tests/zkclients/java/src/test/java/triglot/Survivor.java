package triglot;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooKeeper;

/**
 * A program whose session is to outlive its server. It holds ephemeral znodes below /survivor, tells of each change
 * of its connection and of each event, and takes commands on its standard input: {@code arm} sets its watches,
 * {@code look} tells which of its ephemerals are there, {@code close} ends the session.
 */
final class Survivor {
  private static final String ROOT = "/survivor";

  private final ZooKeeper zk;

  /** The last state told; belongs to the client's event thread. */
  private KeeperState state;

  private Survivor(String endpoint, int timeoutMs) throws Exception {
    zk = new ZooKeeper(endpoint, timeoutMs, this::tell);
  }

  /** Takes the server's address and the session's timeout in milliseconds. */
  public static void main(String[] args) throws Exception {
    Survivor survivor = new Survivor(args[0], Integer.parseInt(args[1]));
    try (BufferedReader commands = new BufferedReader(new InputStreamReader(System.in))) {
      for (String command = commands.readLine(); command != null; command = commands.readLine()) {
        say(command + " " + survivor.obey(command));
      }
    }
  }

  private String obey(String command) throws Exception {
    switch (command) {
      case "create":
        Zk.create(zk, ROOT, "");
        Zk.create(zk, ROOT + "/e", CreateMode.EPHEMERAL);
        Zk.create(zk, ROOT + "/s-", CreateMode.EPHEMERAL_SEQUENTIAL);
        for (String name : new String[] {"set", "deleted", "parent", "same"}) {
          Zk.create(zk, ROOT + "/" + name, "");
        }
        return "done";
      case "arm":
        zk.getData(ROOT + "/set", this::tell, null);
        zk.exists(ROOT + "/deleted", this::tell);
        zk.exists(ROOT + "/created", this::tell);
        zk.getChildren(ROOT + "/parent", this::tell);
        zk.getData(ROOT + "/same", this::tell, null);
        return "done";
      case "look":
        boolean all = zk.exists(ROOT + "/e", false).getEphemeralOwner() == zk.getSessionId();
        all &= zk.exists(ROOT + "/s-0000000001", false).getEphemeralOwner() == zk.getSessionId();
        return Long.toHexString(zk.getSessionId()) + (all ? " all" : " not all");
      case "close":
        zk.close();
        return "done";
      default:
        return "unknown";
    }
  }

  private void tell(WatchedEvent event) {
    if (event.getType() == EventType.None) {
      // Each watcher hears of it, and the client tells of each failed attempt to connect: once is enough.
      if (event.getPath() == null && event.getState() != state) {
        state = event.getState();
        say("state " + state);
      }
    } else {
      say("event " + event.getType() + " " + event.getPath());
    }
  }

  private static synchronized void say(String line) {
    System.out.println(line);
  }
}
