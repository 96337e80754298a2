//go:build linux

package cluster

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/ensemble"
)

// TestClocksThatStartElsewhere: every host counts its time from its own boot. Members that
// share one cannot show that a reading of that clock was written down, or told to another
// member; so these are killed and started with clocks that lie far ahead and far behind those
// before, and each other's, under load of both protocols and with all that TestHistories
// judges: ephemerals stay as long as their clients live, and no longer.
func TestClocksThatStartElsewhere(t *testing.T) {
	t.Parallel()
	if err := ensemble.MayShiftClocks(); err != nil {
		t.Skipf("only root may shift the clocks of a process: %v", err)
	}
	random, c := begin(t, ensemble.Options{Tick: tick})
	const year = 365 * 24 * time.Hour
	f := newFaults(c, 1)
	f.rest = 500 * time.Millisecond
	for _, ahead := range [][]time.Duration{{year, -upFor(t) / 2, 0}, {0, year, -upFor(t) / 2}} {
		for i, m := range c.Members {
			f.plan = append(f.plan, fault{
				name: fmt.Sprintf("%s starts with a clock that is ahead by %s", m.Name, ahead[i].Round(time.Second)),
				do: func(context.Context, *faults) error {
					if err := m.Kill(); err != nil {
						return err
					}
					m.Ahead = ahead[i]
					return m.Launch()
				},
			})
		}
	}
	judgeChapter(t, c, f, random, "clocks", 0)
	own, err := os.Readlink("/proc/self/ns/time")
	require.NoError(t, err)
	for _, m := range c.Members {
		clocks, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/time", m.PID()))
		require.NoError(t, err)
		require.Equal(t, m.Ahead == 0, clocks == own, "%s has clocks of its own", m.Name)
	}
}

// upFor is how long this machine has been up.
func upFor(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile("/proc/uptime")
	require.NoError(t, err)
	seconds, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
	require.NoError(t, err)
	return time.Duration(seconds * float64(time.Second))
}
