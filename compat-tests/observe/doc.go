// Package observe compares what an operator sees of Triglot with what stock etcd
// 3.7.3 shows: the endpoints beside the gateway, the metrics, the form of the log and
// how the process behaves. Both servers run, and the same is asked of both; nothing is
// recorded.
package observe
