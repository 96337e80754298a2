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

// X15: what is to be reaped, and what quotas use, is after a backup as it was before,
// whether the rows of znodes are carried or made anew because etcd has written since.
func TestKindsAndQuotasGoThroughAFile(t *testing.T) {
	from := newModelRig(t)
	defer from.close()
	write := func(op core.ZnodeOp) core.Command {
		op.OpenACL, op.Version = true, core.AnyVersion
		return &core.ZnodeWrite{Session: core.SessionRef{ID: 7, Epoch: 1}, Ops: []core.ZnodeOp{op}}
	}
	create := func(path, data string, kind core.ZnodeKind, ttl time.Duration) core.Command {
		return write(core.ZnodeOp{Type: core.ZnodeCreate, Path: path, Data: []byte(data), Kind: kind, TTL: ttl})
	}
	from.try(entry{1000, []core.Command{
		&core.SessionOpen{ID: 7, Timeout: time.Hour},
		create("/used", "", core.ZnodeContainer, 0),
		create("/used/x", "", core.ZnodePersistent, 0),
		write(core.ZnodeOp{Type: core.ZnodeDelete, Path: "/used/x"}),
		create("/fresh", "", core.ZnodeContainer, 0),
		create("/ttl", "", core.ZnodeTTL, time.Second),
		create("/later", "", core.ZnodeTTL, time.Minute),
		create("/plain", "", core.ZnodePersistent, 0),
		create("/q", "12345", core.ZnodePersistent, 0),
		create("/zookeeper/quota/q", "", core.ZnodePersistent, 0),
		create("/zookeeper/quota/q/zookeeper_limits", "countHardLimit=3", core.ZnodePersistent, 0),
		create("/zookeeper/quota/q/zookeeper_stats", "count=0,bytes=0", core.ZnodePersistent, 0),
		create("/q/a", "1", core.ZnodePersistent, 0),
		&core.Put{Key: []byte("/zk/q/b"), Value: []byte("22")},
		&core.Put{Key: []byte("last")},
	}})
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
			to.checkZnodes()
			used := func() string {
				z, err := to.view.Znodes().Znode("/zookeeper/quota/q/zookeeper_stats", 0)
				require.NoError(t, err)
				return string(z.Data)
			}
			require.Equal(t, "count=3,bytes=8", used())
			due, err := to.view.Reapable(context.Background(), nil, 10, 3000, 0)
			require.NoError(t, err)
			require.Equal(t, []string{"/used", "/ttl"}, due.Paths)
			due, err = to.view.Reapable(context.Background(), nil, 10, 100_000, time.Second)
			require.NoError(t, err)
			require.Equal(t, []string{"/fresh", "/used", "/later", "/ttl"}, due.Paths)

			more := create("/q/c", "", core.ZnodePersistent, 0)
			more.(*core.ZnodeWrite).EnforceQuota = true
			to.try(entry{4000, []core.Command{more, create("/q/d", "4444", core.ZnodePersistent, 0)}})
			require.Equal(t, "count=4,bytes=12", used(), "the limit holds, where it is enforced")
			to.try(entry{4000, []core.Command{&core.ZnodeReap{Paths: due.Paths, Term: 2}}})
			require.EqualValues(t, from.view.Rev()+3, to.view.Rev(), "/q/d, /used, /ttl")
		})
	}
}
