// Package kafka runs a stock Kafka 3.9, the last line that keeps its metadata in
// ZooKeeper, on Triglot: topics are made, written to, read from and deleted over
// restarts of the broker and of the server. Maven fetches the jars; pom.xml pins them.
package kafka
