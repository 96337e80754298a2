package measure

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestUsageOfThisProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has /proc")
	}
	before, err := UsageOf(os.Getpid())
	require.NoError(t, err)
	require.Positive(t, before.ResidentBytes)
	require.GreaterOrEqual(t, before.PeakResident, before.ResidentBytes)
	for deadline := time.Now().Add(30 * time.Second); ; {
		now, err := UsageOf(os.Getpid())
		require.NoError(t, err)
		if now.CPU() > before.CPU() {
			break
		}
		require.True(t, time.Now().Before(deadline), "time that is spent shows")
	}
	require.Positive(t, OwnCPU())
}

func TestUsageIsReadFromProc(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	write("stat", "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0\n")
	write("io", "rchar: 1\nread_bytes: 4096\nwrite_bytes: 8192\n")
	write("status", "Name:\tx\nVmHWM:\t  30 kB\nVmRSS:\t  20 kB\n")
	write("task/7/status", "voluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t2\n")
	write("task/8/status", "voluntary_ctxt_switches:\t10\nnonvoluntary_ctxt_switches:\t1\n")
	u, err := usageIn(dir)
	require.NoError(t, err)
	require.Equal(t, Usage{
		User: 2500 * time.Millisecond, System: 500 * time.Millisecond, Voluntary: 15, Involuntary: 3,
		WrittenBytes: 8192, ReadBytes: 4096, ResidentBytes: 20 << 10, PeakResident: 30 << 10,
	}, u)
	write("stat", "7 (x) S 1")
	_, err = usageIn(dir)
	require.ErrorContains(t, err, "cannot parse")
}

func TestSettleNamesTheProcess(t *testing.T) {
	_, err := Settle(t.Context(), []int{1 << 30}, time.Second)
	require.ErrorContains(t, err, "process 1073741824")
}
