package triglot;

import org.apache.zookeeper.CreateMode;

/** A program that holds an ephemeral znode until it is killed. */
final class Holder {
  private Holder() {}

  /** Takes the session's timeout in milliseconds and the znode's path. */
  public static void main(String[] args) throws Exception {
    Zk.Client client = Zk.Client.connect(Integer.parseInt(args[0]));
    System.out.println("holds " + Zk.create(client, args[1], CreateMode.EPHEMERAL));
    Thread.currentThread().join(); // until it is killed
  }
}
