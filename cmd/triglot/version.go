package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"
)

// etcdVersion is the release of etcd whose behaviour clients are promised. Tools
// decide by it what they may ask for (etcd T-103).
const etcdVersion = "3.7.3"

// Set by the linker: -X main.version=1.2.3 -X main.gitSHA=0123abc -X main.gitTime=1700000000.
var (
	version = "0.1.0-dev"
	gitSHA  = ""
	gitTime = "" // in seconds since 1970
)

// commit is the commit that the binary was built from, as far as it knows.
func commit() string {
	if gitSHA != "" {
		return gitSHA
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}

// builtAt is the time of the commit that the binary was built from; the zero time
// if that is not known.
func builtAt() time.Time {
	if seconds, err := strconv.ParseInt(gitTime, 10, 64); err == nil {
		return time.Unix(seconds, 0)
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.time" {
				at, _ := time.Parse(time.RFC3339, s.Value) // the zero time if it is none
				return at
			}
		}
	}
	return time.Time{}
}

// versionText is what triglot version prints.
func versionText() string {
	return fmt.Sprintf("Triglot Version: %s\nSpeaks etcd: %s\n%s", version, etcdVersion, buildText())
}

// etcdVersionText is what etcd --version prints; scripts read its first line.
func etcdVersionText() string {
	return fmt.Sprintf("etcd Version: %s\n%s", etcdVersion, buildText())
}

func buildText() string {
	return fmt.Sprintf("Git SHA: %s\nGo Version: %s\nGo OS/Arch: %s/%s\n", commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
