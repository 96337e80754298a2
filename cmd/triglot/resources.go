package main

import (
	"errors"
	"expvar"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"syscall"

	"github.com/triglot/triglot/cmd/triglot/config"
	httpfront "github.com/triglot/triglot/frontends/http"
)

const (
	// requestMemory is what connections, requests under way, watches, garbage and the
	// runtime may take beside the member's caches. Measured: with full caches and 256 MiB
	// here, garbage is collected almost twice as often, and during each collection the
	// slowest puts wait for tens of milliseconds.
	requestMemory = 384 << 20
	// gcPercent trades memory, of which the limit is set, for less time spent on
	// collecting it.
	gcPercent = 200
)

// limitMemory sets the runtime's memory limit to what the member is configured to
// use. GOMEMLIMIT and GOGC in the environment win, as they do in any Go program.
func limitMemory(log *slog.Logger, caches int64) {
	limit := caches + requestMemory
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit)
	} else {
		limit = debug.SetMemoryLimit(-1) // which only asks
	}
	percent := os.Getenv("GOGC")
	if percent == "" {
		debug.SetGCPercent(gcPercent)
		percent = strconv.Itoa(gcPercent)
	}
	log.Info("memory", "limit-bytes", limit, "caches-bytes", caches, "requests-bytes", requestMemory, "gc-percent", percent)
}

// reservedFiles are the file descriptors that the store needs, and its listeners.
const reservedFiles = 1500

// connectionSlots are as many as there are file descriptors to spare, nil if that
// is not known.
func connectionSlots(log *slog.Logger) httpfront.Slots {
	limit, ok := fileLimit()
	if !ok || limit > math.MaxInt32 {
		return nil
	}
	slots := int(limit) - reservedFiles
	if slots < reservedFiles {
		log.Warn("few files may be open at a time: raise the limit (ulimit -n)", "limit", limit)
		slots = max(int(limit)/2, 1)
	}
	return httpfront.NewSlots(slots)
}

// fileLimit is the number of files that the process may have open.
func fileLimit() (uint64, bool) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, false
	}
	return limit.Cur, true
}

// etcd's name for it, at /debug/vars.
func init() {
	expvar.Publish("file_descriptor_limit", expvar.Func(func() any {
		n, _ := fileLimit() // zero if it is not known, as with etcd
		return n
	}))
}

// openFiles is the number of files that the process has open, as far as it can
// find out.
func openFiles() float64 {
	for _, dir := range []string{"/proc/self/fd", "/dev/fd"} {
		if names, err := os.ReadDir(dir); err == nil {
			return float64(len(names))
		}
	}
	return 0
}

// etcdQuota is etcd's quota if none is given.
const etcdQuota = 2 << 30

// quota is the limit on the store's size in bytes, less than zero if there is
// none: what was given, or else etcd's in etcd mode and half of the disk that
// dir is on, or will be, in serve mode.
func quota(mode config.Mode, given int64, dir string) (int64, error) {
	switch {
	case given != 0:
		return max(given, -1), nil
	case mode == config.Etcd:
		return etcdQuota, nil
	}
	size, err := diskSize(dir)
	if err != nil {
		return 0, fmt.Errorf("the size of the disk of %s is not known (%w): set --quota-backend-bytes", dir, err)
	}
	return size / 2, nil
}

// diskSize is the size in bytes of the file system that path is on or, if it does
// not exist, that its nearest parent is on.
func diskSize(path string) (int64, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return 0, err
	}
	var stat syscall.Statfs_t
	for {
		err := syscall.Statfs(path, &stat)
		if err == nil {
			break
		}
		if parent := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) && parent != path {
			path = parent
			continue
		}
		return 0, err
	}
	blockSize := uint64(stat.Bsize)
	return int64(min(stat.Blocks, math.MaxInt64/blockSize) * blockSize), nil
}
