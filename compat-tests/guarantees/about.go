package main

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"strings"

	"github.com/triglot/triglot/compat-tests/ensemble"
	"github.com/triglot/triglot/compat-tests/server"
	"github.com/triglot/triglot/compat-tests/zkserver"
)

// timeouts are the defaults that decide how long a lost leader goes unnoticed.
var timeouts = map[ensemble.Kind]string{
	ensemble.Etcd:      "--heartbeat-interval 100, --election-timeout 1000 (ms)",
	ensemble.Triglot:   "--heartbeat-interval 100, --election-timeout 1000 (ms)",
	ensemble.ZooKeeper: "tickTime 2000 ms, syncLimit 5, initLimit 10",
}

// about says what is measured: versions, the timeouts of elections, the machine.
func (c *config) about(ctx context.Context) (string, error) {
	var parts []string
	for _, f := range c.faces {
		version := "ZooKeeper " + zkserver.Version
		if f.kind != ensemble.ZooKeeper {
			binary, err := server.Binary(string(f.kind))
			if err != nil {
				return "", err
			}
			text, err := exec.CommandContext(ctx, binary, "--version").Output()
			if err != nil {
				return "", fmt.Errorf("%s --version: %w", binary, err)
			}
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			version = strings.Join(lines[:min(len(lines), 3)], ", ")
		}
		parts = appendNew(parts, fmt.Sprintf("- %s: %s.", version, timeouts[f.kind]))
	}
	return fmt.Sprintf("Three members of each on one machine of %d processors (%s), further flags %q.\n\n%s\n",
		runtime.NumCPU(), runtime.GOARCH, c.extra, strings.Join(parts, "\n")), nil
}
