package drive

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/cmd/triglot/bench/measure"
)

// filling makes a fill's calls, as the loads of each protocol do.
func filling(count int, write func(i int) error) *fake {
	f := NewFiller(count)
	return &fake{call: func(ctx context.Context, _ time.Time) error { return f.Next(ctx, write) }}
}

// The last key is written when all others are, however slow one of them is.
func TestTheLastKeyIsWrittenLast(t *testing.T) {
	for _, count := range []int{1, 2, 1000} {
		inBubble(t, func(t *testing.T) {
			var written atomic.Int64
			load := filling(count, func(i int) error {
				if i == 0 {
					time.Sleep(time.Hour) //nolint:forbidigo // on the bubble's clock
				}
				if n := written.Add(1); i == count-1 {
					require.Equal(t, int64(count), n)
				}
				return nil
			})
			var r measure.Recorder
			_, err := Run(t.Context(), load, Pace{Clients: 10, Ops: int64(count) + 10}, &r)
			require.NoError(t, err)
			require.Equal(t, int64(count), r.Done())
		})
	}
}

// If a key is not written, the last one is not either: it would say that all are there.
func TestTheLastKeyIsLeftOutAfterAnError(t *testing.T) {
	load := filling(100, func(i int) error {
		switch i {
		case 50:
			return errors.New("refused")
		case 99:
			t.Error("the last key was written")
		}
		return nil
	})
	var r measure.Recorder
	_, err := Run(t.Context(), load, Pace{Clients: 10, Ops: 100}, &r)
	require.NoError(t, err)
	require.Equal(t, int64(98), r.Done())
	require.Equal(t, map[string]int64{"refused": 2}, r.Errors(), "the second stands for the last key")
}

func TestCancelEndsAFill(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		load := filling(2, func(i int) error {
			require.Zero(t, i)
			<-ctx.Done()
			return ctx.Err()
		})
		var r measure.Recorder
		_, err := Run(ctx, load, Pace{Clients: 2, Ops: 2}, &r)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, r.Done())
	})
}
