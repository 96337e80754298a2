package ensemble

import (
	"fmt"
	"os/exec"
	"strconv"
	"time"
)

// shifted is the beginning of a command that is to have other monotonic clocks: those of a
// Linux time namespace. The wall clock cannot be shifted so.
func shifted(ahead time.Duration) []string {
	by := strconv.FormatInt(int64(ahead/time.Second), 10)
	return []string{"unshare", "--time", "--monotonic", by, "--boottime", by}
}

// MayShiftClocks is nil if this process may start members with clocks that are ahead of the
// machine's or behind, which takes root, and Linux.
func MayShiftClocks() error {
	probe := append(shifted(time.Second), "true")
	if output, err := exec.Command(probe[0], probe[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", probe, err, output)
	}
	return nil
}
