package state

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// A list that is longer than core.MaxACL is refused, by create and by setACL.
func TestLongestACL(t *testing.T) {
	r := newRig(t)
	r.must(&core.SessionOpen{ID: 10, Timeout: time.Second})
	list := func(size int) core.ACL {
		e := core.ACLEntry{Perms: core.PermAll, Scheme: core.SchemeWorld, ID: core.WorldAnyone}
		entries := []core.ACLEntry{e}
		for i := 0; len(core.PackACL(entries...)) < size; i++ {
			entries = append(entries, core.ACLEntry{Perms: core.PermRead, Scheme: "digest", ID: fmt.Sprintf("u:%0*d", 1000+min(1000, size), i)})
		}
		last := &entries[len(entries)-1]
		last.ID = last.ID[:len(last.ID)-(len(core.PackACL(entries...))-size)]
		acl := core.PackACL(entries...)
		require.Len(t, string(acl), size)
		return acl
	}
	write := func(op core.ZnodeOp) error {
		op.Version = core.AnyVersion
		return r.apply(&core.ZnodeWrite{Session: core.SessionRef{ID: 10, Epoch: 1}, Ops: []core.ZnodeOp{op}})[0].Err
	}
	require.ErrorIs(t, write(core.ZnodeOp{Type: core.ZnodeCreate, Path: "/a", ACL: list(core.MaxACL + 1)}), core.InvalidACL)
	require.NoError(t, write(core.ZnodeOp{Type: core.ZnodeCreate, Path: "/a", ACL: list(core.MaxACL)}))
	require.ErrorIs(t, write(core.ZnodeOp{Type: core.ZnodeSetACL, Path: "/a", ACL: list(core.MaxACL + 1)}), core.InvalidACL)
	require.NoError(t, write(core.ZnodeOp{Type: core.ZnodeSetACL, Path: "/a", ACL: list(core.MaxACL - 1)}))
}
