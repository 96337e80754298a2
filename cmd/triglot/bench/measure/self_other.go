//go:build !unix

package measure

import "time"

// OwnCPU is not known here.
func OwnCPU() time.Duration { return 0 }
