package node

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

func TestRestAfter(t *testing.T) {
	for _, c := range []struct {
		worked, slice time.Duration
		share         float64
		rest          time.Duration
	}{
		{workSlice - 1, workSlice, 0.5, 0},
		{workSlice, workSlice, 0.5, workSlice},
		{busySlice - 1, busySlice, 0.1, 0},
		{2 * busySlice, busySlice, 0.1, 18 * busySlice},
		{time.Second, workSlice, 0.5, longestRest}, // it was held up
	} {
		require.InDelta(t, c.rest, restAfter(c.worked, c.slice, c.share), 1, "%+v", c)
	}
}

// While writes come what is paced has another share.
func TestPaceGivesWayToWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, testConfig(t))
		rests := func() time.Duration {
			pace := n.pace(t.Context(), 0.5, 0.25)
			time.Sleep(workSlice) //nolint:forbidigo // on the bubble's clock
			begin := time.Now()
			require.NoError(t, pace())
			return time.Since(begin)
		}
		time.Sleep(busyFor) //nolint:forbidigo // on the bubble's clock
		require.Equal(t, workSlice, rests())
		putMany(t, n, 0, 1)
		synctest.Wait() // the caller has its answer first
		require.Equal(t, 3*workSlice, rests())
		stopNode(t, n)
	})
}

// What is sent rests while writes come, and not without them.
func TestSendingGivesWayToWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, testConfig(t))
		ctx, cancel := context.WithCancel(t.Context())
		pace := n.paceSending(ctx)
		took := func() time.Duration {
			begin := time.Now()
			for range 8 {
				require.NoError(t, pace(sentSlice/4))
			}
			return time.Since(begin)
		}
		putMany(t, n, 0, 1)
		synctest.Wait() // the caller has its answer first
		require.True(t, n.upkeep.busy())
		require.Equal(t, 2*sentRest, took())
		time.Sleep(busyFor) //nolint:forbidigo // on the bubble's clock
		require.False(t, n.upkeep.busy())
		require.Zero(t, took())

		putMany(t, n, 0, 1)
		synctest.Wait() // the caller has its answer first
		cancel()
		require.Equal(t, core.Canceled, core.KindOf(pace(sentSlice)))
		stopNode(t, n)
	})
}

func TestABodyThatIsCopiedIsPaced(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "body"))
	require.NoError(t, err)
	_, err = file.WriteAt(make([]byte, 100_000), 0)
	require.NoError(t, err)
	paced := 0
	body := &snapshotBody{file: file, done: func() {}, pace: func(int) error { paced++; return nil }}
	copied, err := io.Copy(&bytes.Buffer{}, body)
	require.NoError(t, err)
	require.EqualValues(t, 100_000, copied)
	require.Positive(t, paced)
	require.NoError(t, body.Close())
}
