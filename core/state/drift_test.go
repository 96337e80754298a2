package state

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/mvcc"
)

// TestSizeComesBack: whatever was done to a store, once all is deleted and compacted
// it is as small as before: what the quota goes by does not drift.
func TestSizeComesBack(t *testing.T) {
	var first string
	rapid.Check(t, func(t *rapid.T) {
		r := newRigOn(t)
		defer r.close()
		for _, cmds := range drawLog(t) {
			r.apply(cmds...)
			if rapid.Bool().Draw(t, "commits") {
				r.commit()
			}
		}
		r.commit()
		r.who = core.Principal{Member: true}
		r.apply(&core.SetAlarm{Alarm: core.Alarm{Member: 1, Type: core.AlarmNoSpace}})
		for id := range core.LeaseID(4) {
			r.apply(&core.LeaseRevoke{ID: id})
			for epoch := range uint64(9) {
				r.apply(&core.SessionClose{Session: core.SessionRef{ID: id, Epoch: epoch}})
			}
		}
		r.apply(&core.SessionOpen{ID: 9, Timeout: 1e9})
		r.apply(&core.DeleteRange{Interval: core.Interval{Key: []byte{0}, End: core.FromKey}})
		for range 5 {
			for _, path := range []string{"/a/b/c", "/a/b", "/a", "/e/f/g", "/e/f", "/e", "/b", "/d"} {
				r.apply(&core.ZnodeWrite{Session: core.SessionRef{ID: 9, Epoch: 1}, Ops: []core.ZnodeOp{{Type: core.ZnodeDelete, Path: path, Version: core.AnyVersion}}})
			}
		}
		r.apply(&core.Put{Key: []byte("last")})
		r.commit()
		r.apply(&core.Compact{Rev: r.view.Rev()})
		r.commit()
		c, err := mvcc.NewCollector(r.db, mvcc.CollectorOptions{Share: 1})
		require.NoError(t, err)
		require.NoError(t, c.Collect(context.Background(), r.view.CompactRev()))
		got := fmt.Sprint(r.view.Written()-c.Freed(), r.view.RowBytes(), r.view.Keys(), r.view.ZnodeCounts())
		if first == "" {
			first = got
		}
		require.Equal(t, first, got, r.walk())
	})
}
