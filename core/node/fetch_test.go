package node

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/consensus"
)

// TestFetchesOneByOne: while consensus is told of a state that has come, nothing is
// fetched that could take its place; while it is told of a failure, it is, if it asks.
func TestFetchesOneByOne(t *testing.T) {
	for name, c := range map[string]struct {
		err     error
		fetches int
	}{
		"it came":   {nil, 1},
		"it failed": {errors.New("the connection broke"), 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &Node{cfg: Config{Logger: slog.New(slog.DiscardHandler)}}
				f := &n.peers.states.fetcher
				f.init(t.Context(), n)
				fetches, told := 0, 0
				f.fetch = func(context.Context, core.MemberID) (consensus.Installed, error) {
					fetches++
					return consensus.Installed{Index: 7}, c.err
				}
				f.tell = func(s consensus.Installed, err error) {
					require.Equal(t, core.MemberID(2), s.From)
					require.Equal(t, c.err, err)
					if told++; told == 1 {
						n.fetchState(2) // as a leader does that offers its state again
					}
				}
				n.fetchState(2)
				n.wait.Wait()
				require.Equal(t, c.fetches, fetches)
				require.Equal(t, c.fetches, told)
			})
		})
	}
}
