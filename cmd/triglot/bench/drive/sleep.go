package drive

import "time"

// sleep waits as precisely as it can. Go's timers are of a millisecond while nothing else
// runs, so the last part is left to the system. It may end early: the caller looks at the
// time again, and whether it is still to go on. A test replaces it.
var sleep = func(d time.Duration) {
	const coarse, longest = 2 * time.Millisecond, 50 * time.Millisecond
	if d > coarse {
		time.Sleep(min(d-coarse, longest)) //nolint:forbidigo // it is the pace that is asked for
		return
	}
	precisely(d)
}
