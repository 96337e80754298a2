package node

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

func setData(ref core.SessionRef, path string, data []byte) *core.ZnodeWrite {
	return &core.ZnodeWrite{Session: ref, Ops: []core.ZnodeOp{
		{Type: core.ZnodeSetData, Path: path, Data: data, Version: core.AnyVersion},
	}}
}

func createZnode(t testing.TB, n *Node, ref core.SessionRef, path string) {
	_, err := n.Do(testContext(t), core.Principal{}, &core.ZnodeWrite{Session: ref, Ops: []core.ZnodeOp{
		{Type: core.ZnodeCreate, Path: path, OpenACL: true},
	}})
	require.NoError(t, err)
}

// TestSubmitKeepsTheOrder: what one goroutine submits is applied in the order of
// its calls, whatever is refused in between, and whoever still waits.
func TestSubmitKeepsTheOrder(t *testing.T) {
	const writes = 10_000
	cfg := testConfig(t)
	cfg.Limits.RequestBytes = 1000
	n := startNode(t, cfg)
	defer stopNode(t, n)
	ref := openSession(t, n, 7, time.Minute)
	createZnode(t, n, ref, "/a")
	l, base := n.Lane(), n.Status().Rev

	gone, cancel := context.WithCancel(context.Background())
	cancel()
	type submitted struct {
		pending core.Pending
		number  int
	}
	var waiting []submitted
	accepted := 0
	for i := range writes {
		if i%97 == 0 { // too large
			p := l.Submit(core.Principal{}, setData(ref, "/a", make([]byte, 1000)))
			require.True(t, p.Done())
			_, err := p.Wait(testContext(t))
			require.ErrorIs(t, err, core.RequestTooLarge)
			continue
		}
		accepted++
		p := l.Submit(core.Principal{}, setData(ref, "/a", fmt.Append(nil, accepted)))
		if i%5 == 0 { // its client went away
			if _, err := p.Wait(gone); err != nil {
				require.ErrorIs(t, err, core.Canceled)
			}
			continue
		}
		waiting = append(waiting, submitted{p, accepted})
	}
	ctx := testContext(t)
	for _, s := range waiting {
		res, err := s.pending.Wait(ctx)
		require.NoError(t, err)
		require.Equal(t, base+core.Rev(s.number), res.Rev)
		require.EqualValues(t, s.number, res.Outcome.(*core.ZnodeOutcome).Ops[0].Stat.Version)
	}
	require.Equal(t, fmt.Sprint(accepted), get(t, n, "/zk/a"))
}

// A submitter is not held up by the quota: it is refused, and the alarm follows.
func TestSubmitOverTheQuota(t *testing.T) {
	cfg := testConfig(t)
	cfg.Limits.QuotaBytes = emptySize + 10_000
	cfg.Logger = slog.New(slog.DiscardHandler)
	n := startNode(t, cfg)
	defer stopNode(t, n)
	ref := openSession(t, n, 7, time.Minute)
	createZnode(t, n, ref, "/a")
	submit := func(cmd core.Command) error {
		_, err := n.Lane().Submit(core.Principal{}, cmd).Wait(testContext(t))
		return err
	}
	var full error
	for i := 0; full == nil && i < 100; i++ {
		full = submit(setData(ref, "/a", make([]byte, 500)))
	}
	require.ErrorIs(t, full, core.NoSpace)
	require.Eventually(t, func() bool { return len(n.Status().Alarms) == 1 }, pollLimit, pollEvery)
	require.ErrorIs(t, submit(setData(ref, "/a", nil)), core.NoSpace)

	// Sessions come and go all the same, and znodes go.
	_, err := attach(t, n, 7, time.Minute, secretA)
	require.NoError(t, err)
	other := openSession(t, n, 8, time.Minute)
	require.NoError(t, submit(&core.ZnodeWrite{Session: other, Ops: []core.ZnodeOp{
		{Type: core.ZnodeDelete, Path: "/a", Version: core.AnyVersion},
	}}))
	require.NoError(t, submit(&core.SessionClose{Session: other}))
}

func TestSubmitToAStoppedMember(t *testing.T) {
	n := startNode(t, testConfig(t))
	stopNode(t, n)
	p := n.Lane().Submit(core.Principal{}, &core.Put{Key: []byte("k")})
	require.True(t, p.Done())
	_, err := p.Wait(testContext(t))
	require.ErrorIs(t, err, core.Stopped)
	require.ErrorIs(t, n.Sessions().Touch(testContext(t), 7), core.Stopped)
	require.Zero(t, n.Znodes().Counts())
}

// BenchmarkSubmit is a setData through the whole member, synced on the real disk,
// of a connection that keeps so many under way.
func BenchmarkSubmit(b *testing.B) {
	for _, depth := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			n := startNode(b, Config{DataDir: b.TempDir(), Logger: slog.New(slog.DiscardHandler)})
			defer stopNode(b, n)
			ref := openSession(b, n, 7, time.Hour)
			createZnode(b, n, ref, "/a")
			l, set := n.Lane(), setData(ref, "/a", make([]byte, 256))
			pipeline := make(chan core.Pending, depth-1)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for p := range pipeline {
					if _, err := p.Wait(context.Background()); err != nil {
						b.Error(err)
					}
				}
			}()
			b.ReportAllocs()
			for b.Loop() {
				pipeline <- l.Submit(core.Principal{}, set)
			}
			close(pipeline)
			<-done
		})
	}
}
