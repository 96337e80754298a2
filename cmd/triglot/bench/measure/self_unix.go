//go:build unix

package measure

import (
	"syscall"
	"time"
)

// OwnCPU is the CPU time that this process has used.
func OwnCPU() time.Duration {
	var self syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &self); err != nil {
		return 0
	}
	return time.Duration(self.Utime.Nano() + self.Stime.Nano())
}
