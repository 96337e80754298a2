package backup

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// X15: what was protected is after a backup, whether the rows of znodes are carried or
// made anew because etcd has written since: the present, what is at no znode's path, and
// every version of the past.
func TestACLsGoThroughAFile(t *testing.T) {
	from := newModelRig(t)
	defer from.close()
	private := core.PackACL(core.ACLEntry{Perms: core.PermAll, Scheme: "digest", ID: "someone"})
	op := func(kind core.ZnodeOpType, path string, acl core.ACL) core.Command {
		return &core.ZnodeWrite{Session: core.SessionRef{ID: 7, Epoch: 1}, Ops: []core.ZnodeOp{{
			Type: kind, Path: path, Version: core.AnyVersion, Data: []byte("x"), ACL: acl, OpenACL: acl == "",
		}}}
	}
	from.try(entry{1, []core.Command{
		&core.SessionOpen{ID: 7, Timeout: time.Hour},
		&core.SetZnodeACLPolicy{Policy: core.ZnodeACLHide},
		op(core.ZnodeCreate, "/private", private),                       // 2
		op(core.ZnodeCreate, "/private/open", ""),                       // 3
		&core.Put{Key: []byte("/zk/private//opaque")},                   // 4
		op(core.ZnodeCreate, "/opened", private),                        // 5
		op(core.ZnodeSetACL, "/opened", ""),                             // 6
		op(core.ZnodeCreate, "/gone", private),                          // 7
		op(core.ZnodeDelete, "/gone", ""),                               // 8
		op(core.ZnodeCreate, "/rewritten", private),                     // 9
		op(core.ZnodeSetACL, "/rewritten", ""),                          // 10
		op(core.ZnodeSetData, "/rewritten", ""),                         // 11
		&core.Put{Key: []byte("last")},                                  // 12
		&core.DeleteRange{Interval: core.Interval{Key: []byte("last")}}, // 13
	}})
	require.EqualValues(t, 13, from.view.Rev())
	b := from.export(t.TempDir(), 0)
	rev := binary.BigEndian.AppendUint64([]byte(metaRevision), uint64(from.view.Rev()))
	for name, file := range map[string][]byte{
		"carried": b,
		"rebuilt": bytes.ReplaceAll(b, rev, binary.BigEndian.AppendUint64([]byte(metaRevision), uint64(from.view.Rev()-1))),
	} {
		t.Run(name, func(t *testing.T) {
			to := newModelRig(t)
			defer to.close()
			to.importFile(file)
			if name == "carried" {
				require.Equal(t, from.describe(), to.describe())
			}
			for _, r := range []*modelRig{from, to} {
				for _, c := range []struct {
					at   core.Rev
					want []string
				}{
					{0, []string{"/zk/opened", "/zk/rewritten"}},
					{12, []string{"/zk/rewritten", "last"}}, // /opened was written under another list
					{10, nil},
					{7, nil},
				} {
					require.Equal(t, c.want, r.seen(core.Principal{}, c.at), "at %d", c.at)
				}
				all := []string{"/zk/opened", "/zk/private", "/zk/private//opaque", "/zk/private/open", "/zk/rewritten"}
				require.Equal(t, all, r.seen(someone, 0))
				var told []string
				for _, rev := range r.revisions(1) {
					told = append(told, r.told(core.Principal{}, rev)...)
				}
				require.Equal(t, []string{"/zk/private/open", "/zk/rewritten", "last", "last"}, told)
			}
			to.checkReleased()
		})
	}
}

// seen are the keys that a principal sees.
func (r *modelRig) seen(who core.Principal, at core.Rev) (keys []string) {
	require.True(r.t, r.view.Retain())
	v := r.view.As(who)
	defer v.Close()
	res, err := v.Range(context.Background(), &core.Range{Interval: core.Interval{Key: []byte{0}, End: core.FromKey}, Rev: at})
	require.NoError(r.t, err)
	for _, kv := range res.KVs {
		keys = append(keys, string(kv.Key))
	}
	return keys
}

func (r *modelRig) revisions(from core.Rev) []*core.Revision {
	revs, _, err := r.view.Revisions(context.Background(), from, core.Interval{Key: []byte{0}, End: core.FromKey}, true, 1<<30)
	require.NoError(r.t, err)
	return revs
}

// told are the keys of whose changes a principal may be told.
func (r *modelRig) told(who core.Principal, rev *core.Revision) (keys []string) {
	require.True(r.t, r.view.Retain())
	v := r.view.As(who)
	defer v.Close()
	for _, c := range v.Znodes().Visible(rev.Changes) {
		keys = append(keys, string(c.KV.Key))
	}
	return keys
}
