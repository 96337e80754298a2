// Command heavy measures what needs big stores: memory, disk and starts with millions of
// keys or znodes, and whether a put feels it when history is compacted or a snapshot is
// downloaded. Triglot beside stock etcd; znodes without a peer, in a store of their own.
//
//	go run ./bench/heavy -out DIR -filled DIR [-only memory,stall,report] [-keys 1000000,10000000]
//
// Values are 256 random bytes, each its own; keys are written in a scattered order. A
// store is filled once, kept below -filled, and copied for each measurement. What was
// measured is kept below -out, a JSON file each: a run that was cut short goes on from
// there. Each file names the build that made it (Triglot's by its hash, etcd's by its
// version) and how: what another build or other flags have left is measured, and filled,
// again. -reuse-fills takes what another build of Triglot has filled, and the report says so.
//
// The report is written to -out as heavy.md, to be included in docs/benchmarks.md, and as
// found.json. The bars are a fixed list (package heavybars), each measured or not. Stalls are
// judged by the median of at least three runs.
//
// The load is open: puts start at the times of a Poisson process, and a latency counts from
// the start that was intended. The command owns the processes it starts and the copies it
// makes, and ends and removes them; the filled stores stay. Beside make bench it waits.
package main
