// Package node assembles a member: the state machine, the raft log, consensus,
// the change hub and the deadlines of leases. It implements the contract that
// front ends see (core.Store, core.Leases, core.Cluster, core.Maintenance), and
// is the way to embed a member in another program.
//
// It owns the data directory and every goroutine of the member; Stop waits for
// all of them. It decides no rule of either protocol: those are applied in
// core/state.
//
// Who owns what:
//
//	apply goroutine (consensus.Driver)   the state machine, publishing views: whichever
//	                                     has that role at the moment
//	consensus goroutine (the same)       the raft node
//	hub goroutine (watch.Hub)            watches
//	two goroutines of leases             the clock of deadlines; revoking what is overdue
//	two goroutines of upkeep             keeping the log short; collecting history
//	compaction goroutine                 proposing compactions, if asked to
//	mu of leases                         deadlines
package node
