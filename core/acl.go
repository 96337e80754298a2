package core

import (
	"encoding/binary"
	"errors"
	"iter"
	"time"
)

// Perms is a set of what an ACL allows (ZooKeeper ZooDefs.Perms). Bits without a
// meaning are kept.
type Perms int32

// The permissions.
const (
	PermRead Perms = 1 << iota
	PermWrite
	PermCreate
	PermDelete
	PermAdmin

	PermAll = PermRead | PermWrite | PermCreate | PermDelete | PermAdmin
)

// ACLEntry allows something to whom it names.
type ACLEntry struct {
	Perms      Perms
	Scheme, ID string
}

// ACL is an access control list of a znode, packed: it is compared, interned and
// replicated as it is. The empty one is none, which no znode has.
type ACL string

var errACL = errors.New("the ACL does not decode")

// PackACL packs entries, in order.
func PackACL(entries ...ACLEntry) ACL {
	var b []byte
	for i := range entries {
		e := &entries[i]
		b = binary.AppendUvarint(b, uint64(uint32(e.Perms)))
		b = appendPacked(b, e.Scheme)
		b = appendPacked(b, e.ID)
	}
	return ACL(b)
}

// MaxACL is the longest list, packed, that can be given to a znode. ZooKeeper bounds it
// with the request alone (jute.maxbuffer), but a list is read whenever its znode is
// touched, here at apply.
const MaxACL = 64 << 10

// Entries unpacks the list. The caller owns it.
func (a ACL) Entries() ([]ACLEntry, error) {
	var all []ACLEntry
	for e, err := range a.All() {
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// All goes through the entries, in order. If the list does not decode, it ends with an
// error.
func (a ACL) All() iter.Seq2[ACLEntry, error] {
	return func(yield func(ACLEntry, error) bool) {
		for rest := string(a); rest != ""; {
			perms, n := uvarint(rest)
			if n <= 0 || perms > 1<<32-1 {
				yield(ACLEntry{}, errACL)
				return
			}
			scheme, behind, ok := cutPacked(rest[n:])
			if !ok {
				yield(ACLEntry{}, errACL)
				return
			}
			id, behind, ok := cutPacked(behind)
			if !ok {
				yield(ACLEntry{}, errACL)
				return
			}
			if !yield(ACLEntry{Perms: Perms(int32(uint32(perms))), Scheme: scheme, ID: id}, nil) {
				return
			}
			rest = behind
		}
	}
}

// ZnodeACL names an access control list of the store.
type ZnodeACL uint32

// The lists that every store has. Others are given numbers as they come.
const (
	// ACLOpen lets the world do everything.
	ACLOpen ZnodeACL = iota
	// ACLReadOnly lets the world read.
	ACLReadOnly
	// FirstACL is the lowest number of the others.
	FirstACL
)

// ZnodeACLPolicy is what becomes of an etcd or HTTP request that touches a znode
// without a right to. The order of the constants is replicated.
type ZnodeACLPolicy uint8

// The policies.
const (
	// ZnodeACLDeny refuses the request whole. It is the default.
	ZnodeACLDeny ZnodeACLPolicy = iota
	// ZnodeACLHide leaves such znodes out of what is read; writes it refuses.
	ZnodeACLHide
	// ZnodeACLOff has ACLs bind ZooKeeper clients alone.
	ZnodeACLOff
)

// SetZnodeACLPolicy sets the policy. It is a member's own business.
type SetZnodeACLPolicy struct{ Policy ZnodeACLPolicy }

// ZnodeReap deletes those of the given containers and znodes with a time to live that
// are due: a container without children that has had some, or is older than NeverUsed;
// a znode without children whose data is older than its time to live (ZooKeeper 3.9
// ContainerManager). Each goes in a revision of its own. Only the leader proposes it.
type ZnodeReap struct {
	Paths []string
	// NeverUsed is how long a container may wait for its first child; zero is for ever.
	NeverUsed time.Duration
	// Term is the leader's: an entry of any other changes nothing.
	Term uint64
}

func (*SetZnodeACLPolicy) command() {}
func (*ZnodeReap) command()         {}
