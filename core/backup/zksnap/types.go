package zksnap

import (
	"errors"
	"time"

	"github.com/triglot/triglot/core"
)

const (
	magic   = 0x5a4b534e // "ZKSN"
	version = 2

	// openACLID is the id of the list that is open to the world, which is in no table.
	openACLID = -1
	// endOfZnodes is the path behind the last znode, and what a seal ends with.
	endOfZnodes = "/"

	// Owners that are no session (EphemeralType): that of a container, and what is ored
	// to a time to live.
	containerOwner = int64(-1 << 63)
	ttlOwner       = int64(-1 << 56) // 0xff00000000000000
	maxTTL         = 1<<40 - 1       // ms
)

// openACL is the list that is open to the world: in a table it is as good as none.
var openACL = core.PackACL(core.ACLEntry{Perms: core.PermAll, Scheme: core.SchemeWorld, ID: core.WorldAnyone})

// ErrFormat is what every error is that the bytes themselves are at fault for.
var ErrFormat = errors.New("this is no snapshot of ZooKeeper")

// Header is what precedes the znodes.
type Header struct {
	// Zxid is the last that the file shows; a Reader has it only behind the last znode,
	// and zero if the file does not tell.
	Zxid     core.Rev
	Sessions []Session
}

// Session is a session without its secret.
type Session struct {
	ID      core.LeaseID
	Timeout time.Duration // in whole milliseconds
}

// Node is one znode.
type Node struct {
	// Path is "/" for the root.
	Path string
	Data []byte
	// Null says that there is no data.
	Null bool
	ACL  core.ACL // empty is the one open to the world
	Stat
}

// Stat is a znode's as ZooKeeper stores it.
type Stat struct {
	Czxid, Mzxid, Pzxid core.Rev
	// Ctime and Mtime are in milliseconds since 1970.
	Ctime, Mtime int64
	// Creates counts the children ever made (S1).
	Version, Creates, Aversion int32
	Kind                       core.ZnodeKind
	// TTL is that of a ZnodeTTL, in whole milliseconds.
	TTL time.Duration
	// Owner is the session of a ZnodeEphemeral.
	Owner core.LeaseID
}

// owner is ZooKeeper's ephemeralOwner.
func (s *Stat) owner() int64 {
	switch s.Kind {
	case core.ZnodeContainer:
		return containerOwner
	case core.ZnodeTTL:
		return ttlOwner | s.TTL.Milliseconds()&maxTTL
	case core.ZnodeEphemeral:
		return int64(s.Owner)
	case core.ZnodePersistent:
	}
	return 0
}

func (s *Stat) setOwner(owner int64) {
	switch {
	case owner == 0:
		s.Kind = core.ZnodePersistent
	case owner == containerOwner:
		s.Kind = core.ZnodeContainer
	case owner&ttlOwner == ttlOwner:
		s.Kind, s.TTL = core.ZnodeTTL, time.Duration(owner&maxTTL)*time.Millisecond
	default:
		s.Kind, s.Owner = core.ZnodeEphemeral, core.LeaseID(owner)
	}
}
