// Command bench measures Triglot beside stock etcd and stock ZooKeeper, cell by cell, and
// judges the bars of issue 7.
//
// A cell is one load on two or three servers, each a process of its own (or three, for a
// cluster) on free loopback ports: Triglot, its peer, and for some a null server, the
// protocol before a map. They are loaded in turn by "triglot bench", the same client for
// all, and the order is turned round from one pair to the next (A B B A ...), so that
// whatever else happens on the machine meets all of them alike. What is compared are
// ratios within a pair, of which the median and the spread count.
//
// A finished cell is a JSON file under .build/bench, keyed by what was measured; a run that
// was stopped goes on with the next one. The page, docs/benchmarks.md, is written from these
// files. See README.md.
//
// The command owns the processes it starts and their data directories, and removes both; it
// uses the loopback interface only.
package main
