// Package consensus replicates the commands of a member's clients: it turns
// proposals into entries of the raft log and hands committed entries to the
// state machine, in order, once each.
//
// It is two things. The replica is a step function around raft's RawNode: what
// happened goes in (ticks, proposals, messages of peers, finished appends and
// applies, reads), what is to be done comes out (messages, append tasks, apply
// tasks). It has no goroutine, no lock and no clock, so that one goroutine can
// simulate a whole cluster from a seed. The Driver around it has the clock, the queues
// and three goroutines, the crew. A lone member runs the same loop as one of five.
//
//	Propose -> mailbox -> replica -> log -> replica -> state machine -> Complete
//
// Each arrow ends at a role that one goroutine at a time has, and that owns what it works
// with: stepping (also called the consensus goroutine), appending (the log writer) and
// applying (the applier). Which goroutine has a role changes: one takes a lone write through
// all of them, and when there is more to do each has one (crew.go).
//
// A batch is whatever has gathered while the previous batch was appended: the
// replica has at most one of its own appends in flight, so that a busy member
// writes few large entries and a lone client waits for one append and nothing
// else. There is no timer in it.
//
// A follower forwards what is proposed to it to the leader, on one ordered stream
// (forward.go), and answers its own callers when it applies the entry. The members
// change one by one, by entries (members.go, farewell.go). A member that lacks what no
// log holds any more has a state fetched and installed (catchup.go). A leader whose process
// is seen to have ended is followed before the election timeout (gone.go). What tells its
// receiver nothing is not sent (thrift.go).
//
// The package never interprets a command, never reads the state, and never
// writes the log but through Log.Append and Log.Reset. Errors of the log and of the state
// machine are final: the member stops (Driver.Failed) rather than guess.
package consensus
