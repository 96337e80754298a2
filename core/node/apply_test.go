package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
	"github.com/triglot/triglot/core/consensus"
)

// TestLargeBatchIsCommittedInParts: entries that write more than one engine batch is to
// hold are committed in several, in their order, and each proposal has the answer that
// is its own.
func TestLargeBatchIsCommittedInParts(t *testing.T) {
	registry := prometheus.NewRegistry()
	cfg := testConfig(t)
	cfg.Metrics, cfg.Memory.MemTable = registry, 64<<20
	n := startNode(t, cfg)
	require.NoError(t, n.Ready(testContext(t)))
	n.stop() // from here on the test is the apply goroutine, and the only one
	require.NoError(t, n.driver.Stop())
	n.wait.Wait()
	commits := func() uint64 {
		families, err := registry.Gather()
		require.NoError(t, err)
		for _, f := range families {
			if f.GetName() == "etcd_disk_backend_commit_duration_seconds" {
				return f.GetMetric()[0].GetHistogram().GetSampleCount()
			}
		}
		return 0
	}
	before := commits()

	a := newApplier(n)
	index, term := n.disk.engine().machine.Applied()
	value := make([]byte, 8<<20)
	var batch []consensus.Committed
	for i := range uint64(20) {
		data := command.AppendCommandAs(nil, core.Principal{Member: true}, &core.Put{Key: fmt.Append(nil, i), Value: value})
		batch = append(batch, consensus.Committed{
			Index: index + 1 + i, Term: term, Local: []*consensus.Proposal{consensus.NewProposal(data, time.Time{})},
			Entry: command.Entry{Batches: []command.Batch{{Member: n.disk.id.member, Incarnation: a.incarnation, Commands: [][]byte{data}}}},
		})
	}
	first := n.published.rev() + 1
	require.NoError(t, a.Apply(batch))
	for i := range batch {
		res, err := batch[i].Local[0].Wait(testContext(t))
		require.NoError(t, err)
		require.Equal(t, first+core.Rev(i), res.Rev)
	}
	require.Equal(t, first+19, n.published.rev())
	require.EqualValues(t, 3, commits()-before, "64 MiB each, and the rest")
	stopNode(t, n)
}
