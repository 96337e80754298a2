//go:build failpoints

package failpoint

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/gofail/runtime"
)

func TestHit(t *testing.T) {
	for _, name := range Names() {
		Hit(name)
		require.NoError(t, runtime.Enable(string(name), "1*sleep(20)"))
		start := time.Now()
		Hit(name)
		require.GreaterOrEqual(t, time.Since(start), 20*time.Millisecond, name)
		require.NoError(t, runtime.Enable(string(name), "panic"))
		require.Panics(t, func() { Hit(name) }, name)
		require.NoError(t, runtime.Disable(string(name)))
		Hit(name)
	}
}
