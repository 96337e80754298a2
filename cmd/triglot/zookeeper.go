package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/triglot/triglot/cmd/triglot/config"
)

// Exit statuses of triglot zookeeper that are ZooKeeper's (ExitCode).
const (
	exitDataDir     = 3
	exitAdminServer = 4
)

// memberMark is the file by which core/node knows a member's data directory.
const memberMark = "member.json"

// statusError is a reason to end with a status of its own.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }

// Unwrap returns the reason.
func (e *statusError) Unwrap() error { return e.err }

// statusOf is the exit status for an error.
func statusOf(err error) int {
	var usage *config.UsageError
	var status *statusError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &status):
		return status.status
	}
	return exitFailed
}

func (p *process) zookeeperCommand(status *int) *cobra.Command {
	flags := config.NewZooKeeperFlags()
	cmd := &cobra.Command{
		Use:   "zookeeper zoo.cfg",
		Short: "Run a member with the configuration of a ZooKeeper server",
		Long: `Run a member with the configuration of a ZooKeeper server: its zoo.cfg with myid, its
system properties in SERVER_JVMFLAGS, JVMFLAGS and -D. Instead of a file it takes
what ZooKeeper takes: a port, a directory, a tick time and a number of connections.

The data is in the directory triglot below dataDir; what a ZooKeeper keeps there is
left alone. etcd's clients and HTTP are served only if asked for, by a flag or by a
key of the file: triglot.listen-client-urls=http://127.0.0.1:2379. A flag wins over the
variables TRIGLOT_…, and they over the file.`,
		Example: `  triglot zookeeper /etc/zookeeper/conf/zoo.cfg
  triglot zookeeper zoo.cfg --listen-client-urls http://127.0.0.1:2379
  triglot zookeeper 2181 /var/lib/zookeeper`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &config.UsageError{Err: errors.New("name the configuration file, as in: triglot zookeeper zoo.cfg")}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			cfg, legacy, err := flags.Load(args, p.environ)
			var stranger *config.NotInEnsembleError
			switch {
			case errors.As(err, &stranger):
				return &statusError{exitFailed, stranger}
			case err != nil:
				return err
			}
			if err := checkWritable(&cfg.Member); err != nil {
				return &statusError{exitDataDir, cfg.Named(err)}
			}
			if err := checkLegacy(legacy); err != nil {
				return &statusError{exitDataDir, err}
			}
			*status = p.serve(cfg)
			return nil
		},
	}
	flags.Define(cmd.Flags())
	cmd.Flags().SortFlags = false
	return cmd
}

// noAccess begins what there is to say of a directory, in ZooKeeper's words.
const noAccess = "Unable to access datadir, exiting abnormally"

// checkLegacy refuses to start with no znodes where a ZooKeeper has some: its clients
// would find an empty tree, and take it for theirs.
func checkLegacy(l *config.Legacy) error {
	if _, err := os.Stat(l.Dirs[0]); l.NoCreate && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: Missing data directory %s, automatic data directory creation is disabled (zookeeper.datadir.autocreate is false)", noAccess, l.Dirs[0])
	}
	if l.StartEmpty || l.Begun() {
		return nil
	}
	for _, dir := range l.Dirs {
		if _, err := os.Stat(filepath.Join(dir, memberMark)); err == nil {
			return fmt.Errorf("%s: %s is itself the data of a triglot serve: with --data-dir %s it is served, with --start-empty Triglot starts with no znodes beside it", noAccess, dir, dir)
		}
		file, err := zooKeeperData(dir)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", noAccess, err)
		case file != "":
			return fmt.Errorf("%s: %s is a ZooKeeper's data, which is not imported: with --start-empty Triglot starts with no znodes beside it", noAccess, file)
		}
	}
	return nil
}

// checkWritable refuses directories that cannot be made or written, as ZooKeeper's
// FileTxnSnapLog does, before anything else is tried.
func checkWritable(m *config.Member) error {
	if err := writable(m.DataDir); err != nil {
		return fmt.Errorf("%s: --data-dir: %w", noAccess, err)
	}
	if m.WALDir == "" {
		return nil
	}
	if err := writable(m.WALDir); err != nil {
		return fmt.Errorf("%s: --wal-dir: %w", noAccess, err)
	}
	return nil
}

// writable looks at a directory, or at the one in which it would be made.
func writable(dir string) error {
	info, err := os.Stat(dir)
	missing := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
	switch above := filepath.Dir(dir); {
	case missing && above != dir:
		return writable(above)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("cannot write to %s: %w", dir, err)
	}
	return nil
}

// zooKeeperData returns a file of a ZooKeeper's with data, empty if there is none.
func zooKeeperData(dir string) (string, error) {
	dir = filepath.Join(dir, "version-2")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "snapshot.") && !strings.HasPrefix(e.Name(), "log.") {
			continue
		}
		if info, err := e.Info(); err == nil && info.Size() > 0 {
			return filepath.Join(dir, e.Name()), nil
		}
	}
	return "", nil
}
