package node

import (
	"log/slog"
	"time"
)

// expiredSessionsPause is how long the log has no more to say of sessions that ran out.
const expiredSessionsPause = time.Minute

// expiredSessions are the sessions that ran out under this leader, for the log. It belongs
// to the goroutine that has them end.
type expiredSessions struct {
	// n is how many the log has not told of, last when it last told of some, if told.
	n    int
	last time.Duration
	told bool
}

func (e *expiredSessions) add(n int) { e.n += n }

// tell has the log tell how many sessions have run out: at once, and then once a minute.
func (e *expiredSessions) tell(now time.Duration, log *slog.Logger) {
	if e.n == 0 || e.told && now-e.last < expiredSessionsPause {
		return
	}
	log.Info("sessions have expired: their clients were not heard of in time", "sessions", e.n)
	e.n, e.last, e.told = 0, now, true
}
