package drive

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// slack is how much later than asked for the system may end a sleep, in nanoseconds. It is
// 50 us where nobody asks, and all of it would be counted as the server's latency.
const slack = 1

// precisely sleeps in the system, as closely as it can. A signal may end it early.
func precisely(d time.Duration) {
	runtime.LockOSThread() // the slack is the thread's
	defer runtime.UnlockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, slack, 0, 0, 0) // without it, sleeps are as they were
	t := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&t, nil) // the caller looks at the time
}
