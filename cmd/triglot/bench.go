package main

import (
	"github.com/spf13/cobra"

	"github.com/triglot/triglot/cmd/triglot/bench"
)

// benchCommand is triglot bench. Its status is 1 if any operation failed.
func (p *process) benchCommand(status *int) *cobra.Command {
	var failed bool
	cmd := bench.NewCommand(p.stdout, p.stderr, &failed)
	cmd.PostRun = func(*cobra.Command, []string) {
		if failed {
			*status = exitFailed
		}
	}
	return cmd
}
