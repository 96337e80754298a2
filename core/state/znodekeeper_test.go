package state

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/znode"
	"github.com/triglot/triglot/storage/keys"
)

// keeperTranscript runs the commands of znodeTranscript about rights, and what becomes
// of znodes by itself.
func (r *rig) keeperTranscript(t *testing.T, d *datadriven.TestData, session core.LeaseID, each func(func(string) string)) bool {
	var never time.Duration
	for _, arg := range d.CmdArgs {
		if arg.Key == "never" {
			var err error
			never, err = time.ParseDuration(arg.Vals[0])
			require.NoError(t, err)
		}
	}
	ctx := context.Background()
	switch d.Cmd {
	case "ids":
		r.who.IDs = ""
		for line := range strings.Lines(d.Input) {
			words := strings.Fields(line)
			r.who.IDs = r.who.IDs.With(words[0], words[1])
		}
	case "later":
		pass, err := time.ParseDuration(d.CmdArgs[0].Key)
		require.NoError(t, err)
		r.clock += pass.Milliseconds()
	case "reap":
		c := &core.ZnodeReap{NeverUsed: never, Term: r.term}
		for line := range strings.Lines(d.Input) {
			c.Paths = append(c.Paths, unquote(strings.TrimSpace(line)))
		}
		d.Input = "\n"
		each(func(string) string { return r.run(c) })
	case "due":
		due, err := r.view.Reapable(ctx, nil, 100, r.clock, never)
		require.NoError(t, err)
		require.False(t, due.More)
		d.Input = "\n"
		each(func(string) string { return fmt.Sprintf("%q", due.Paths) })
	case "below":
		each(func(line string) string {
			n, err := r.seen().Znodes().Descendants(ctx, unquote(line))
			if err != nil {
				return err.Error()
			}
			return fmt.Sprint(n)
		})
	case "ephemerals":
		each(func(line string) string {
			paths, err := r.seen().Znodes().Ephemerals(ctx, session, unquote(line))
			if err != nil {
				return err.Error()
			}
			return fmt.Sprintf("%q", paths)
		})
	default:
		return false
	}
	return true
}

// parseACL reads PERMS:SCHEME:ID,...
func parseACL(t testing.TB, text string) core.ACL {
	var all []core.ACLEntry
	for _, entry := range strings.Split(text, ",") {
		parts := strings.SplitN(entry, ":", 3)
		require.Len(t, parts, 3, text)
		e := core.ACLEntry{Scheme: parts[1], ID: parts[2]}
		for _, p := range parts[0] {
			e.Perms |= core.Perms(1 << strings.IndexRune("rwcda", p))
		}
		all = append(all, e)
	}
	return core.PackACL(all...)
}

// eachOpaque calls fn for the keys below the mount that are no znodes.
func (r *rig) eachOpaque(fn func(path string, kv *core.KV)) {
	all := &core.Range{Interval: core.Interval{Key: []byte{0}, End: core.FromKey}}
	res, err := r.view.Range(context.Background(), all)
	require.NoError(r.t, err)
	for _, kv := range res.KVs {
		path, inside := r.machine.znodes.Mount().Inside(kv.Key)
		if _, is := r.machine.znodes.Mount().PathOf(kv.Key); inside && !is {
			fn(path, kv)
		}
	}
}

// checkIndex checks that the index says what the rows say, and that every list is held
// by as many as refer to it.
func (r *rig) checkIndex() {
	v := r.view
	want, held := map[string]string{}, map[core.ZnodeACL]uint64{}
	lower, upper := keys.ZnodeBounds()
	rows := rowScanner{v.snap}
	require.NoError(r.t, rows.ScanRows(lower, upper, func(key, value []byte) bool {
		znode.IndexRows(key, value, func(key, value []byte) { want[string(key)] = string(value) })
		return true
	}))
	r.eachOpaque(func(path string, kv *core.KV) {
		if kv.ACL != core.ACLOpen {
			want[string(keys.AppendZnodeIndex(nil, keys.IndexRestricted, path))] = string(binary.AppendUvarint(nil, uint64(kv.ACL)))
			held[kv.ACL]++
		}
	})
	got, restricted := map[string]string{}, int64(0)
	for _, kind := range []keys.ZnodeIndex{keys.IndexContainer, keys.IndexTTL, keys.IndexRestricted, keys.IndexCounting} {
		lower, upper = keys.ZnodeIndexBounds(kind)
		require.NoError(r.t, rows.ScanRows(lower, upper, func(key, value []byte) bool {
			got[string(key)] = string(value)
			if kind == keys.IndexRestricted {
				restricted++
			}
			return true
		}))
	}
	require.Equal(r.t, want, got)
	require.Equal(r.t, restricted, r.machine.znodes.Restricted())

	lower, upper = keys.ZnodeBounds()
	require.NoError(r.t, rows.ScanRows(lower, upper, func(key, _ []byte) bool {
		path, _ := keys.DecodeZnode(key)
		z, err := v.Znodes().Znode(string(path), 0)
		require.NoError(r.t, err)
		if string(path) != "/zookeeper/config" || z.ACL != core.ACLReadOnly { // which it has from the beginning
			held[z.ACL]++
		}
		if kv := r.key(r.mount + string(path)); r.machine.znodes.Mount().Covers([]byte(r.mount+string(path))) && kv != nil && kv.ACL != z.ACL {
			held[kv.ACL]++
		}
		return true
	}))
	for id, n := range held {
		if id == core.ACLOpen {
			continue
		}
		row, err := v.snap.Get(keys.AppendACLCount(nil, id))
		require.NoError(r.t, err)
		holds, size := binary.Uvarint(row)
		require.Positive(r.t, size, "ACL %d", id)
		require.Equal(r.t, n, holds, "holds on ACL %d", id)
	}
	lower, upper = keys.ACLBounds()
	require.NoError(r.t, rows.ScanRows(lower, upper, func(key, _ []byte) bool {
		if id, ok := keys.DecodeACL(key); ok {
			row, err := v.snap.Get(keys.AppendACLCount(nil, id))
			require.NoError(r.t, err)
			require.NotEmpty(r.t, row, "ACL %d was never held", id)
		}
		return true
	}))
}
