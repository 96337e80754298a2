// Package v3electionpb is the wire of etcd's Election service and its paths in the
// JSON gateway, generated from v3election.proto (make generate). It owns nothing and
// never decides anything.
//
// A program that links it cannot link etcd's server, whose messages have the same
// names.
package v3electionpb
