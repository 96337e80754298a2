package bench

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/cmd/triglot/bench/measure"
)

// A load of which nothing is answered any more is given up, when it was said and not before.
func TestAStallEndsALoad(t *testing.T) {
	for _, patience := range []time.Duration{usualPatience, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			var record measure.Recorder
			go func() {
				time.Sleep(90 * time.Second) //nolint:forbidigo // on the bubble's clock
				record.Observe(0, 90*time.Second, 1)
			}()
			began := time.Now()
			newMonitor(&record, nil, nil, nil).run(ctx, patience, cancel)
			require.ErrorIs(t, context.Cause(ctx), errStalled)
			require.ErrorContains(t, context.Cause(ctx), patience.String())
			require.InDelta(t, (90*time.Second + patience).Seconds(), time.Since(began).Seconds(), 2)
		})
	}
}
