// Command guarantees measures what a cluster of three members costs its clients when
// something fails: Triglot, stock etcd 3.7 and ZooKeeper 3.9 in turn, on the same machine,
// by the same harness, each with its defaults and through unmodified client libraries.
//
//	go run ./guarantees                                # everything, small
//	go run ./guarantees -only gaps -rounds 5           # longest gap without a write, per fault
//	go run ./guarantees -only catchup -mib 1024
//	go run ./guarantees -only start -keys 1000000
//	go run ./guarantees -only fill -filled DIR -keys 10000000    # needs no quiet machine
//	go run ./guarantees -only start -filled DIR -keys 10000000   # does
//	go run ./guarantees -only observers -rounds 3      # of Triglot alone: 0, 3 and 10 of them
//
// The servers take turns: a round is a cluster of each, and there are -rounds of them. With
// -keep FILE what is measured is written down at once, and a run that was cut short goes
// on from there with the same flags.
//
// It writes a table in Markdown to -out, or to the standard output. It owns the processes
// it starts; the kernel ends them if it dies first.
package main
