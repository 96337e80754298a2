// Package zkops tests how Triglot is operated as a ZooKeeper: whether a stock ZooKeeper
// starts from a snapshot that AdminServer gave, and what many idle sessions cost.
package zkops
