package main

import (
	"errors"
	"log/slog"

	"github.com/triglot/triglot/cmd/triglot/config"
	"github.com/triglot/triglot/cmd/triglot/logging"
)

// etcd runs a member with etcd's command line, and returns the exit status. What
// goes wrong is a line in the log, as it is with etcd.
func (p *process) etcd(args []string) int {
	logger := slog.New(logging.NewHandler(p.stderr, logging.JSON, slog.LevelInfo))
	if len(args) > 0 && (args[0] == "gateway" || args[0] == "grpc-proxy") {
		logger.Error("this command of etcd is not supported", "command", args[0])
		return exitUsage
	}
	cfg, err := config.LoadEtcd(args, p.environ, p.stderr)
	var usage *config.UsageError
	switch {
	case errors.Is(err, config.ErrHelp):
		say(p.stdout, config.Help())
		return exitOK
	case errors.Is(err, config.ErrVersion):
		say(p.stdout, etcdVersionText())
		return exitOK
	case errors.As(err, &usage):
		return exitUsage // explained already, as etcd does
	case err != nil:
		logNotes(logger, cfg.Notes)
		logger.Warn("failed to verify flags", "error", oneLine(err))
		return exitFailed
	}
	return p.serve(cfg)
}
