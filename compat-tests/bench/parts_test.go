package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const scriptOfFive = `
	    1 runtime.memmove
	    2 github.com/triglot/triglot/storage/mvcc.(*Cache).get
	    3 google.golang.org/grpc.(*Server).handleStream
	    4 runtime.goexit.abi0

	    1 runtime.nextFreeFast
	    2 runtime.mallocgcSmallScanNoHeader
	    3 runtime.newobject
	    4 github.com/triglot/triglot/core.Do[go.shape.struct { x/y.Z }]
	    5 runtime.goexit.abi0

	    1 runtime.pcvalue
	    2 runtime.adjustframe
	    3 runtime.copystack
	    4 runtime.newstack
	    5 runtime.morestack.abi0
	    6 google.golang.org/grpc/internal/transport.(*http2Server).write
	    7 runtime.goexit.abi0

	ffffffff816bb915 __x64_sys_read
	ffffffff81000130 entry_SYSCALL_64_after_hwframe
	    3 internal/runtime/syscall/linux.Syscall6
	    4 golang.org/x/net/http2.readFrameHeader

	    1 runtime.scanobject
	    2 runtime.gcDrain
	    3 runtime.gcBgMarkWorker.func2
`

func TestPartsAreChargedToTheirCause(t *testing.T) {
	p, err := readParts(strings.NewReader(scriptOfFive))
	require.NoError(t, err)
	require.Equal(t, 5, p.total)
	require.Equal(t, &[activities]int{ownCode: 1}, p.by["storage/mvcc"])
	require.Equal(t, &[activities]int{allocation: 1}, p.by["core"])
	require.Equal(t, &[activities]int{growth: 1, kernel: 1}, p.by["grpc"])
	require.Equal(t, &[activities]int{ownCode: 1}, p.by["garbage collector"])

	var printed bytes.Buffer
	require.NoError(t, p.print(&printed, 50))
	lines := strings.Split(strings.TrimSpace(printed.String()), "\n")
	require.Len(t, lines, 6)
	require.Equal(t, []string{"20.00", "40.0%", "0.00", "0.00", "10.00", "0.00", "10.00", "grpc"}, strings.Fields(lines[1]))
	require.Equal(t, []string{"50.00", "100%", "20.00", "10.00", "10.00", "0.00", "10.00", "in", "all"}, strings.Fields(lines[5]))
}

func TestPackageOf(t *testing.T) {
	for function, want := range map[string]string{
		"github.com/triglot/triglot/core/node.(*Node).propose":                         "core/node",
		"github.com/triglot/triglot/frontends/etcdv3.(*face).kv.unary[go.shape.a/b.c]": "frontends/etcdv3",
		"github.com/cockroachdb/pebble/v2/internal/arenaskl.(*Skiplist).Add":           "pebble",
		"go.etcd.io/raft/v3.(*RawNode).Step":                                           "raft",
		"go.etcd.io/etcd/server/v3/etcdserver.(*EtcdServer).Put":                       "etcd etcdserver",
		"go.etcd.io/etcd/server/v3/storage/wal.(*WAL).Save":                            "etcd storage/wal",
		"runtime.mallocgc":     "",
		"bufio.(*Reader).Read": "",
		"main.main":            "main",
	} {
		require.Equal(t, want, packageOf(function), function)
	}
}

func TestStacksOfTheRuntimeAlone(t *testing.T) {
	owner, what := ownerOf([]frame{{function: "runtime.findRunnable"}, {function: "runtime.schedule"}, {function: "runtime.mcall"}})
	require.Equal(t, "scheduler", owner)
	require.Equal(t, waking, what)
	owner, _ = ownerOf([]frame{{function: "finish_task_switch", kernel: true}, {function: "runtime.futex.abi0"}, {function: "runtime.mcall"}})
	require.Equal(t, "scheduler", owner)
	owner, _ = ownerOf([]frame{{function: "runtime.usleep"}})
	require.Equal(t, "runtime", owner)
}
