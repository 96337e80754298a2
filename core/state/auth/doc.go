// Package auth is users, roles and what they may do, with etcd's rules
// (etcd T-80 to T-85): a State is those of one moment, a command makes another of it.
//
// States are immutable, so that the machine and all views share them. The package
// knows no tokens and compares no passwords: who somebody is was established before
// (core/node), and comes as a core.Principal.
package auth
