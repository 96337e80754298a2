// Package failpoint are places at which a test can make a member fail or wait, under
// the names that etcd has for such places. They do nothing, and cost nothing, unless
// the program is built with the tag failpoints; then
//
//	GOFAIL_HTTP=127.0.0.1:22381 triglot etcd ...
//	curl 127.0.0.1:22381/                                    the names
//	curl -X PUT -d panic 127.0.0.1:22381/raftAfterSave       or sleep(100)
//	curl -X DELETE 127.0.0.1:22381/raftAfterSave
//
// works as with etcd (go.etcd.io/gofail), GOFAIL_FAILPOINTS too. The package owns
// nothing; storage and the front ends do not know it.
//
// What each name means here:
//
//	raftBeforeSave      the log writer is about to write what raft wants written
//	raftAfterSave       it has been written and synced; nobody has been told
//	raftBeforeLeaderSend, raftBeforeFollowerSend
//	                    messages are about to go to other members
//	raftBeforeSaveSnap, raftAfterSaveSnap
//	                    a state that another member sent is about to become this
//	                    member's, durably; has become it, the log being as it was
//	applyBeforeOpenSnapshot
//	                    its engine is about to be opened
//	beforeCommit        the engine is about to take a batch of applied commands
//	afterCommit         it has taken it (which makes it visible, not durable: the
//	                    log is what is durable); no view shows it, nobody is told
//	compactBeforeCommitScheduledCompact, compactAfterCommitScheduledCompact
//	                    the same two for a batch with a compaction, inside of them
//	compactBeforeCommitBatch, compactAfterCommitBatch
//	                    the collector has a chunk of deletions ready, has committed it
//	compactBeforeSetFinishedCompact, compactAfterSetFinishedCompact
//	                    all of a compaction's history is deleted; that is durable
//	beforeSendWatchResponse
//	                    a delivery of the change feed goes to a watch stream
//	beforeSyncWatchers  a watch that fell behind is about to read what it missed
//	beforeProgressIfSync
//	                    somebody asked for progress of the watches of a stream
//
// etcd's others have no place here yet: raftBeforeApplySnap, raftAfterApplySnap and
// beforeApplyOneConfChange need a second member, and nothing is like
// beforeMoveVictims: a slow watch has no victims' list, but catches up.
package failpoint

// Name is the name of a failpoint.
type Name string

// The names.
const (
	RaftBeforeSave         Name = "raftBeforeSave"
	RaftAfterSave          Name = "raftAfterSave"
	RaftBeforeLeaderSend   Name = "raftBeforeLeaderSend"
	RaftBeforeFollowerSend Name = "raftBeforeFollowerSend"

	RaftBeforeSaveSnap      Name = "raftBeforeSaveSnap"
	RaftAfterSaveSnap       Name = "raftAfterSaveSnap"
	ApplyBeforeOpenSnapshot Name = "applyBeforeOpenSnapshot"

	BeforeCommit Name = "beforeCommit"
	AfterCommit  Name = "afterCommit"

	CompactBeforeCommitScheduled Name = "compactBeforeCommitScheduledCompact"
	CompactAfterCommitScheduled  Name = "compactAfterCommitScheduledCompact"
	CompactBeforeCommitBatch     Name = "compactBeforeCommitBatch"
	CompactAfterCommitBatch      Name = "compactAfterCommitBatch"
	CompactBeforeSetFinished     Name = "compactBeforeSetFinishedCompact"
	CompactAfterSetFinished      Name = "compactAfterSetFinishedCompact"

	BeforeSendWatchResponse Name = "beforeSendWatchResponse"
	BeforeSyncWatchers      Name = "beforeSyncWatchers"
	BeforeProgressIfSync    Name = "beforeProgressIfSync"
)

// Names are all of them.
func Names() []Name {
	return []Name{
		RaftBeforeSave, RaftAfterSave, RaftBeforeLeaderSend, RaftBeforeFollowerSend,
		RaftBeforeSaveSnap, RaftAfterSaveSnap, ApplyBeforeOpenSnapshot,
		BeforeCommit, AfterCommit,
		CompactBeforeCommitScheduled, CompactAfterCommitScheduled, CompactBeforeCommitBatch, CompactAfterCommitBatch,
		CompactBeforeSetFinished, CompactAfterSetFinished,
		BeforeSendWatchResponse, BeforeSyncWatchers, BeforeProgressIfSync,
	}
}
