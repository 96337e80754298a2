package drive

import (
	"time"

	"golang.org/x/sys/unix"
)

// precisely sleeps in the system, whose timers are of 50 us. A signal may end it early.
func precisely(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&t, nil) // the caller looks at the time
}
