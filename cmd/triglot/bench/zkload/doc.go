// Package zkload is what triglot bench asks of a server in ZooKeeper's protocol. Its client
// is as cheap as it can be: what the callers of a session ask while a write is on its way
// goes with the next one, and of an answer only the head is looked at.
//
// It owns its sessions, and ends them with Close.
package zkload
