package state

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
)

// What a multi allocates is what stays of it: of each operation a path and a version with its
// bytes, and of the whole the command, its outcome and its changes, as many as there are.
func TestMultiAllocates(t *testing.T) {
	r := newRig(t)
	r.must(&core.SessionOpen{ID: 10, Timeout: 1e9})
	const ops = 10
	var create, set []core.ZnodeOp
	for i := range ops {
		path := "/" + string(rune('a'+i))
		create = append(create, core.ZnodeOp{Type: core.ZnodeCreate, Path: path})
		set = append(set, core.ZnodeOp{Type: core.ZnodeSetData, Path: path, Data: []byte("data")})
	}
	r.must(znodeWrite(create...))
	w := znodeWrite(set...)
	w.Multi = true
	e := Entry{Term: 2, Frame: command.Entry{Batches: []command.Batch{{Commands: [][]byte{command.AppendCommandAs(nil, core.Principal{}, w)}}}}}
	apply := func() {
		index, _ := r.machine.Applied()
		e.Index = index + 1
		if _, err := r.machine.Apply(e, nil); err != nil {
			t.Fatal(err)
		}
	}
	apply()
	require.LessOrEqual(t, testing.AllocsPerRun(20, apply), float64(3*ops+8))
	require.EqualValues(t, 22, r.machine.pos.rev-2, "each of them did something")
}
