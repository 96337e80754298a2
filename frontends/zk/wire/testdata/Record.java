import static org.apache.zookeeper.ZooDefs.Ids.OPEN_ACL_UNSAFE;
import static org.apache.zookeeper.ZooDefs.Ids.READ_ACL_UNSAFE;

import java.io.*;
import java.net.*;
import java.nio.file.*;
import java.util.*;
import org.apache.zookeeper.*;
import org.apache.zookeeper.data.*;
import org.apache.zookeeper.server.*;

/**
 * Records what a stock client and a stock server say to each other, as a transcript for recording_test.go. Run it with
 * ZooKeeper's jars (compat-tests/zkserver fetches them) and let the test write the decoded halves:
 *
 *   java -cp "JARS/*" testdata/Record.java testdata/recording
 *   go test ./frontends/zk/wire -run Recording -rewrite
 */
public class Record {
    static PrintStream out;

    public static void main(String[] args) throws Exception {
        out = new PrintStream(new FileOutputStream(args[0]));
        System.setProperty("zookeeper.extendedTypesEnabled", "true");
        File dir = Files.createTempDirectory("record").toFile();
        ZooKeeperServer server = new ZooKeeperServer(dir, dir, 2000);
        NIOServerCnxnFactory factory = new NIOServerCnxnFactory();
        factory.configure(new InetSocketAddress("127.0.0.1", 0), 100);
        factory.startup(server);
        ServerSocket proxy = new ServerSocket(0, 10, InetAddress.getLoopbackAddress());
        daemon(() -> { while (true) { join(proxy.accept(), factory.getLocalPort()); } });

        say("A session of a stock Java client of ZooKeeper " + Version.getFullVersion());
        session("127.0.0.1:" + proxy.getLocalPort());
        say("A client from before 3.4, whose handshake has no readOnly, and neither has the answer");
        old(proxy.getLocalPort());
        factory.shutdown();
        server.shutdown();
        out.close();
        System.exit(0);
    }

    interface Body { void run() throws Exception; }

    static void daemon(Body b) {
        Thread t = new Thread(() -> { try { b.run(); } catch (Exception e) { /* a connection ended */ } });
        t.setDaemon(true);
        t.start();
    }

    static synchronized void say(String s) { out.println("# " + s + "\n"); }

    static volatile Socket client;

    static void join(Socket c, int port) throws Exception {
        Socket s = new Socket(InetAddress.getLoopbackAddress(), port);
        client = c;
        synchronized (Record.class) { out.println("open\n----\n"); }
        daemon(() -> pump("request", c, s));
        daemon(() -> pump("reply", s, c));
    }

    static void pump(String name, Socket from, Socket to) throws Exception {
        try (from; to) {
            DataInputStream in = new DataInputStream(from.getInputStream());
            while (true) {
                byte[] b = new byte[in.readInt()];
                in.readFully(b);
                synchronized (Record.class) { out.println(name + "\n" + hex(b) + "----\n"); }
                DataOutputStream o = new DataOutputStream(to.getOutputStream());
                ByteArrayOutputStream whole = new ByteArrayOutputStream();
                new DataOutputStream(whole).writeInt(b.length);
                whole.write(b);
                o.write(whole.toByteArray());
            }
        }
    }

    static String hex(byte[] b) {
        StringBuilder s = new StringBuilder();
        for (int i = 0; i < b.length; i++) {
            s.append(String.format("%02x", b[i] & 0xff));
            s.append(i + 1 == b.length || i % 32 == 31 ? "\n" : i % 4 == 3 ? " " : "");
        }
        return s.toString();
    }

    static void fails(Body b) throws Exception {
        try { b.run(); } catch (KeeperException e) { return; }
        throw new Exception("it did not fail");
    }

    static void session(String server) throws Exception {
        ZooKeeper zk = new ZooKeeper(server, 10000, e -> {});
        byte[] data = "data".getBytes();
        Watcher w = e -> {};
        zk.addAuthInfo("digest", "user:secret".getBytes());
        zk.create("/a", data, OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        zk.create("/a/null", null, OPEN_ACL_UNSAFE, CreateMode.PERSISTENT, new Stat());
        zk.create("/a/eph-", new byte[0], OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL_SEQUENTIAL);
        zk.create("/a/box", data, READ_ACL_UNSAFE, CreateMode.CONTAINER);
        zk.create("/a/ttl", data, OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_WITH_TTL, new Stat(), 60000);
        fails(() -> zk.create("/a", data, OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
        zk.exists("/a", w);
        fails(() -> zk.getData("/missing", false, null));
        zk.exists("/missing", w);
        zk.getData("/a", w, new Stat());
        zk.getData("/a/null", false, new Stat());
        zk.setData("/a", "other".getBytes(), 0);
        fails(() -> zk.setData("/a", data, 7));
        zk.getChildren("/a", w);
        zk.getChildren("/a", false, new Stat());
        zk.getACL("/a/box", new Stat());
        zk.setACL("/a/null", ZooDefs.Ids.CREATOR_ALL_ACL, -1);
        zk.getACL("/a/null", new Stat());
        zk.getEphemerals("/");
        zk.getAllChildrenNumber("/");
        zk.whoAmI();
        sync(zk);
        zk.multi(Arrays.asList(
            Op.check("/a", 1), Op.create("/a/m", data, OPEN_ACL_UNSAFE, CreateMode.PERSISTENT),
            Op.create("/a/c", data, OPEN_ACL_UNSAFE, CreateMode.CONTAINER),
            Op.create("/a/t", data, OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_WITH_TTL, 5000),
            Op.setData("/a/m", null, 0), Op.delete("/a/m", -1)));
        fails(() -> zk.multi(Arrays.asList(Op.setData("/a", data, -1), Op.check("/a", 99), Op.delete("/a/box", -1))));
        zk.multi(Arrays.asList(Op.getData("/a"), Op.getChildren("/a"), Op.getData("/missing")));
        zk.addWatch("/a/box", w, AddWatchMode.PERSISTENT);
        zk.addWatch("/a", w, AddWatchMode.PERSISTENT_RECURSIVE);
        zk.exists("/a/ttl", w);
        zk.exists("/b", w);
        zk.getChildren("/a", w);
        // The client sets its watches again on a new connection, which its ping makes it notice.
        client.close();
        Thread.sleep(3000);
        zk.removeWatches("/a/ttl", w, Watcher.WatcherType.Data, false);
        zk.delete("/a/box", 0);
        zk.create("/b", null, OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        zk.removeAllWatches("/a", Watcher.WatcherType.Any, false);
        Thread.sleep(5000); // a ping
        zk.close();
        Thread.sleep(200);
    }

    static void sync(ZooKeeper zk) throws Exception {
        Object done = new Object();
        synchronized (done) {
            zk.sync("/a", (rc, p, ctx) -> { synchronized (done) { done.notify(); } }, null);
            done.wait();
        }
    }

    static void old(int port) throws Exception {
        Socket s = new Socket(InetAddress.getLoopbackAddress(), port);
        DataOutputStream o = new DataOutputStream(s.getOutputStream());
        ByteArrayOutputStream b = new ByteArrayOutputStream();
        DataOutputStream d = new DataOutputStream(b);
        d.writeInt(44); d.writeInt(0); d.writeLong(0); d.writeInt(5000); d.writeLong(0); d.writeInt(16); d.write(new byte[16]);
        o.write(b.toByteArray());
        Thread.sleep(500);
        frame(o, 1, 17, "/nothing", 2);   // checkWatches of a watch that is not there
        frame(o, 2, 3, "/\ud83d\ude00", -1); // a body that is cut short
        Thread.sleep(200);
        frame(o, 3, -11, null, -1);
        Thread.sleep(300);
        s.close();
    }

    static void frame(DataOutputStream o, int xid, int op, String path, int n) throws Exception {
        ByteArrayOutputStream b = new ByteArrayOutputStream();
        DataOutputStream d = new DataOutputStream(b);
        d.writeInt(xid); d.writeInt(op);
        if (path != null) { byte[] p = path.getBytes("UTF-8"); d.writeInt(p.length); d.write(p); }
        if (n >= 0) d.writeInt(n);
        ByteArrayOutputStream w = new ByteArrayOutputStream();
        new DataOutputStream(w).writeInt(b.size());
        w.write(b.toByteArray());
        o.write(w.toByteArray());
    }
}
