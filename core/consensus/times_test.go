package consensus

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

func TestStages(t *testing.T) {
	made := epoch.Add(time.Second)
	at := func(ms int) time.Time { return made.Add(time.Duration(ms) * time.Millisecond) }
	var p proposer
	first, second, early := NewProposal([]byte("a"), at(1000)), NewProposal([]byte("b"), at(1000)), NewProposal([]byte("c"), at(1000))
	p.add(made, []*Proposal{first, second, early})
	require.Equal(t, 3, p.pending())

	handOn(&p, at(5))
	b := p.outstanding[0]
	require.Equal(t, 3, p.pending())
	early.Complete(core.Result{}, core.Timeout)
	b.proposals[2] = nil
	require.Equal(t, core.Stages{Queue: 5 * time.Millisecond}, early.Stages(made), "it left before it was applied")
	require.Zero(t, first.Stages(made), "there is no outcome yet")

	Applied([]Committed{{Local: b.proposals}, {}}, at(15), at(18))
	first.Complete(core.Result{}, nil)
	second.Complete(core.Result{}, nil)
	want := core.Stages{Queue: 5 * time.Millisecond, Log: 10 * time.Millisecond, Apply: 3 * time.Millisecond}
	require.Equal(t, want, first.Stages(made))
	require.Equal(t, want, second.Stages(made))

	never := NewProposal([]byte("d"), at(1000))
	never.Complete(core.Result{}, core.NoLeader)
	require.Zero(t, never.Stages(made))
}
