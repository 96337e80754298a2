// Triglot is one replicated store that speaks etcd's protocol, ZooKeeper's and plain
// HTTP.
//
//	triglot serve      run a member
//	triglot etcd       run a member with the command line of the etcd binary
//	triglot zookeeper  run a member with the configuration of a ZooKeeper server
//	triglot status     show the members of a cluster
//	triglot bench      load servers and measure them
//	triglot cluster    run a cluster on this host, to try it out
//	triglot version    say which version this is
//
// A binary (or a link to it) called etcd does what triglot etcd does.
//
// This package puts a member together and owns the process: its listeners, its
// log, its memory limit, its signals and its exit status. It knows no rule of any
// protocol.
//
// # Starting
//
// In this order, so that the cheapest mistake is found first and nothing is
// written before the addresses are known to be free:
//
//  1. flags, environment and file become a checked config.Config;
//  2. the log is opened, the memory limit is set, certificates are loaded;
//  3. every listener is bound; clients that connect from now on wait;
//  4. the member is started (core/node) and has applied an entry of its own term;
//     certificates that are to be made (--auto-tls) are made, now that the data
//     directory is known to be the member's, and so is the socket in it that takes
//     the member's own calls;
//  5. gRPC and HTTP are served, and only now the line "ready to serve client
//     requests" is logged and systemd is told. The metrics' addresses, which have the
//     health checks, and the socket of the member's own calls are served a step earlier:
//     a member of a cluster may have to wait for the others, and shows then why.
//
// A client address is shared: httpfront.Splitter sends HTTP/2 to the gRPC server
// and the rest to the HTTP server. With --listen-client-http-urls each has its
// own. TLS lies below that: certs.Listener makes the handshakes, and what it hands
// out is split like any other connection; gRPC's handlers and HTTP's are told of the
// client's certificate. SIGHUP has the certificates looked at now rather than within
// ten seconds. The addresses of --listen-peer-urls are bound by this package and belong
// to the member (core/node) once that has started; it calls peers through this package,
// which knows the certificates.
//
// # Stopping
//
// On SIGTERM or SIGINT: the servers stop accepting and finish the calls under way
// for at most half a second (a watch never finishes by itself), then what is left
// is cut off; the member stops, flushes its state and closes its files; the
// process ends with status 0. If that takes more than two seconds in all, the
// process ends anyway: what was acknowledged is in the log. A second signal ends
// it at once.
//
// When the member reports a fault that it cannot go on after, the process says so
// in one line and ends with status 1. Mistakes in flags, environment and file end
// it with status 2; triglot zookeeper has ZooKeeper's statuses as well, 3 for its
// data directory and 4 for AdminServer. A panic is a bug: it ends the process with
// Go's own report, and with status 2.
package main
