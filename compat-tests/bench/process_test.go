package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCPUOfThisProcess(t *testing.T) {
	before, err := cpuOf(os.Getpid())
	require.NoError(t, err)
	for spent := time.Now(); time.Since(spent) < 100*time.Millisecond; { // burn CPU, to see it counted
	}
	after, err := cpuOf(os.Getpid())
	require.NoError(t, err)
	require.Greater(t, after, before)
	_, err = cpuOf(1 << 30)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestParseStat(t *testing.T) {
	// The command's name is hostile: it holds spaces and a parenthesis.
	cpu, err := parseStat([]byte("42 (a b) c) S 1 42 42 0 -1 4194560 100 0 0 0 123 45 6 7 20 0 8 0 99 1 2"))
	require.NoError(t, err)
	require.Equal(t, 1680*time.Millisecond, cpu)
	for _, bad := range []string{"", "42 (x", "42 (x) S 1 2", "42 (x) S 1 42 42 0 -1 4194560 100 0 0 0 many 45"} {
		_, err := parseStat([]byte(bad))
		require.Error(t, err, "%q", bad)
	}
}

func TestParseBusy(t *testing.T) {
	busy, err := parseBusy([]byte("cpu  100 10 20 9999 500 3 4 7 0 0\ncpu0 1 1\n"))
	require.NoError(t, err)
	require.Equal(t, 1370*time.Millisecond, busy, "user, nice, system, steal")
	for _, bad := range []string{"", "cpu 1 2 3", "intr 1 2 3 4 5 6 7 8", "cpu  many 10 20 9999 500 3 4 7"} {
		_, err := parseBusy([]byte(bad))
		require.Error(t, err, "%q", bad)
	}
}

func TestForeignLoad(t *testing.T) {
	busy, err := machineBusy()
	require.NoError(t, err)
	// As if the machine, but for this process, had done nothing for ten seconds but five of
	// work, of which the client did one.
	o := &onlooker{pids: []int{os.Getpid()}, began: time.Now().Add(-10 * time.Second), busy: busy - 5*time.Second}
	o.known, err = cpuOf(os.Getpid())
	require.NoError(t, err)
	share, err := o.foreign(time.Second)
	require.NoError(t, err)
	require.InDelta(t, 0.4, share, 0.1)
	share, err = o.foreign(time.Minute)
	require.NoError(t, err)
	require.Zero(t, share, "never less than nothing")
	o.pids = append(o.pids, 1<<30)
	_, err = o.foreign(0)
	require.Error(t, err)
	_, err = look([]int{1 << 30})
	require.Error(t, err)
}

func TestParseMntr(t *testing.T) {
	found, err := parseMntr("zk_version\t3.9\nzk_sum_fsynctime\t250\nzk_cnt_fsynctime\t50\nzk_max_fsynctime\t9\n")
	require.NoError(t, err)
	require.Equal(t, syncs{count: 50}, found, "most take less than the millisecond that it counts in")
	_, err = parseMntr("zk_cnt_fsynctime\tmany\n")
	require.ErrorContains(t, err, "many")
}

func TestParseSyncs(t *testing.T) {
	text := syncMetric + `_bucket{le="0.1"} 7` + "\n" + syncMetric + "_sum 0.25\n" + syncMetric + "_count 50\nother 3\n"
	found, err := parseSyncs(strings.NewReader(text))
	require.NoError(t, err)
	require.Equal(t, syncs{count: 50, total: 250 * time.Millisecond}, found)
	_, err = parseSyncs(strings.NewReader(syncMetric + "_count many\n"))
	require.ErrorContains(t, err, "many")
}
