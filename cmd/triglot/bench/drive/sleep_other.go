//go:build !linux

package drive

import "time"

func precisely(d time.Duration) { time.Sleep(d) }
