// Command bench measures servers side by side with one and the same client: stock
// etcd and Triglot, or ZooKeeper and Triglot.
//
// It starts them and, if asked, a null server (the protocol before a map: the
// floor of any server in Go) as processes of their own and
// loads them in turn within one run, the order reversed from round to round, so
// that whatever else happens on the machine meets all of them alike. The load is
// a fixed number of closed-loop operations through raw stubs on few
// connections: the client costs little and does not differ between servers.
//
// The first figure is the server's own CPU time per operation, read from /proc;
// throughput and latency follow. What is compared are ratios within a round, of
// which the median and the spread are printed.
//
//	go run ./bench -triglot ../.build/triglot -etcd ./path/to/etcd -pairs 7
//
// With -profile DIR each server is, after the measured rounds, loaded once more
// under "perf record", and the reports are written to DIR. See README.md.
//
// The command owns the processes it starts and their data directories, and
// removes both; it uses the loopback interface only.
package main
