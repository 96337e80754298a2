package watch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// TestLargeRevisions: what takes very much memory is read for one feed at a time: the
// next has its turn when the first asks for more, is closed, or does neither for long.
func TestLargeRevisions(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, first *feed){
		"it asks for more": func(t *testing.T, first *feed) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := first.Next(ctx)
			require.ErrorIs(t, err, core.Canceled)
		},
		"it is closed":  func(_ *testing.T, first *feed) { first.Close() },
		"it is stalled": func(*testing.T, *feed) { time.Sleep(defaultHold) }, //nolint:forbidigo // of synctest
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore()
				s.large = 1
				s.write(edit{"k", "1"})
				s.write(edit{"k", "2"}) // large: it has an earlier state
				s.write(edit{"k", "3"}) // and so has this
				hub := New(Options{History: s, Start: s.rev, CompactRev: -1})
				defer hub.Close()
				open := func() *feed {
					f := hub.open()
					f.Add(1, core.WatchSpec{Interval: single.Interval, Start: 2, PrevKV: true})
					require.Equal(t, core.DeliverCreated, next(t, f).Kind)
					require.Len(t, next(t, f).Changes, 1, "the small one")
					return f
				}
				first, second := open(), open()
				require.Zero(t, s.loaded())
				d := next(t, first)
				require.Len(t, d.Changes, 1, "large ones go alone")
				require.Equal(t, "1", string(d.Changes[0].Prev.Value))

				got := make(chan core.Delivery)
				go func() {
					d, err := second.Next(context.Background())
					if err != nil {
						t.Error(err)
					}
					got <- d
				}()
				synctest.Wait()
				require.Equal(t, 1, s.loaded(), "the second waits")
				end(t, first)
				require.Equal(t, "1", string((<-got).Changes[0].Prev.Value))
				require.Equal(t, "2", string(next(t, second).Changes[0].Prev.Value))
			})
		})
	}
}

// TestLargeRevisionsEnd: one who waits for its turn does not hold up its own end.
func TestLargeRevisionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(time.Hour)
		leave, err := g.enter(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = g.enter(ctx)
		require.ErrorIs(t, err, core.Deadline)
		leave()
		leave()
		leave, err = g.enter(t.Context())
		require.NoError(t, err)
		leave()
	})
}
