package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/triglot/triglot/cmd/triglot/config"
	"github.com/triglot/triglot/cmd/triglot/logging"
	"github.com/triglot/triglot/core/backup"
	"github.com/triglot/triglot/core/node"
)

// restoreFlags are those of `etcdutl snapshot restore`, and the mount.
type restoreFlags struct {
	dataDir, walDir, name          string
	cluster, token, advertisePeers string
	skipHash, markCompacted        bool
	bump, mmapSize                 uint64
	mount                          string
}

func (p *process) restoreCommand() *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a data directory of a backup",
		Long: `Make a data directory of a backup: a file that "etcdctl snapshot save" took of
Triglot or of etcd. The member that is started on it is a new one of a new cluster.

It is all there when the command ends well, and otherwise there is nothing. The flags
are those of "etcdutl snapshot restore".`,
		Example: `  triglot restore backup.db --data-dir /var/lib/triglot
  triglot serve --data-dir /var/lib/triglot`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error { return p.restore(cmd, &f, args[0]) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.dataDir, "data-dir", "", "the directory to make; NAME.etcd if not given")
	flags.StringVar(&f.name, "name", "default", "the member's name")
	flags.StringVar(&f.cluster, "initial-cluster", "", "the cluster's members as NAME=URL,…, the same for each of them; this one alone if not given")
	flags.StringVar(&f.token, "initial-cluster-token", "etcd-cluster", "tells clusters with the same members apart")
	flags.StringVar(&f.advertisePeers, "initial-advertise-peer-urls", "http://localhost:2380", "the member's URLs for its peers")
	flags.BoolVar(&f.skipHash, "skip-hash-check", false, "take a file without a hash, as it is in a data directory, or with a wrong one")
	flags.Uint64Var(&f.bump, "bump-revision", 0, "add to the revision, so that it is beyond all that clients have seen")
	flags.BoolVar(&f.markCompacted, "mark-compacted", false, "mark that revision as compacted; goes with --bump-revision")
	flags.StringVar(&f.mount, "zk-prefix", "", "the path below which keys are znodes; that of the backup, or "+node.DefaultMount+", if not given")
	flags.StringVar(&f.walDir, "wal-dir", "", "not supported")
	flags.Uint64Var(&f.mmapSize, "initial-memory-map-size", 0, "has no effect")
	_ = flags.MarkHidden("wal-dir")
	_ = flags.MarkHidden("initial-memory-map-size")
	return cmd
}

func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return &config.UsageError{Err: fmt.Errorf("%s takes one file, not %d", cmd.CommandPath(), len(args))}
}

// member is the member that the flags describe.
func (f *restoreFlags) member(cmd *cobra.Command) (node.Config, error) {
	usage := func(format string, args ...any) (node.Config, error) {
		return node.Config{}, &config.UsageError{Err: fmt.Errorf(format, args...)}
	}
	switch {
	case f.walDir != "":
		return usage("--wal-dir is not supported here: a restore puts the log in --data-dir; start the member without it, too")
	case (f.bump > 0) != f.markCompacted:
		return usage("--bump-revision and --mark-compacted go together: give both, or none")
	case f.bump > 1<<62:
		return usage("--bump-revision %d is too much", f.bump)
	case f.name == "":
		return usage("--name is empty: give the member a name")
	}
	peers, err := config.ParseURLs(f.advertisePeers)
	if err != nil || len(peers) == 0 {
		return usage("--initial-advertise-peer-urls %q: %w", f.advertisePeers, cmpErr(err, errors.New("no URL")))
	}
	if !cmd.Flags().Changed("initial-cluster") {
		pairs := make([]string, 0, len(peers))
		for _, u := range peers.Strings() {
			pairs = append(pairs, f.name+"="+u)
		}
		f.cluster = strings.Join(pairs, ",")
	}
	founders, err := (&config.Config{Cluster: config.Cluster{Initial: f.cluster}}).Founders()
	if err != nil {
		return usage("%w", err)
	}
	if f.dataDir == "" {
		f.dataDir = f.name + ".etcd"
	}
	return node.Config{
		Name:    f.name,
		DataDir: f.dataDir,
		Cluster: node.Founding{Peers: founders, Token: f.token, AdvertisePeerURLs: peers.Strings(), Mount: f.mount},
		Memory:  restoreMemory,
	}, nil
}

// restoreMemory is enough for what is written in order and read once.
var restoreMemory = node.Memory{BlockCache: 16 << 20, MemTable: 16 << 20, RowCache: 1 << 20, ZnodeCache: 1 << 20, Ring: 1 << 20}

// restoreSpare is what a restore may take besides what it caches: with less, the
// collector of garbage takes half as long again as all else.
const restoreSpare = 176 << 20

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

func (p *process) restore(cmd *cobra.Command, f *restoreFlags, file string) error {
	member, err := f.member(cmd)
	if err != nil {
		return err
	}
	member.Logger = slog.New(logging.NewHandler(p.stderr, logging.Text, slog.LevelWarn))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(restoreMemory.Budget() + restoreSpare)
	}
	bar := newProgress(p.stderr)
	start := time.Now()
	s, err := node.Restore(ctx, node.RestoreConfig{
		File: file, SkipHash: f.skipHash, Member: member,
		Options: backup.ImportOptions{BumpRevision: int64(f.bump), Progress: bar.report},
	})
	bar.end()
	if err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted; nothing was left behind")
		}
		return err
	}
	say(p.stdout, fmt.Sprintf("Restored %s: revision %d, %d versions, %d leases (%d of them sessions), %d users, in %v.\n",
		f.dataDir, s.Rev, s.Versions, s.Leases, s.Sessions, s.Users, time.Since(start).Round(10*time.Millisecond)))
	if text := s.Znodes.Explain(); text != "" {
		say(p.stdout, "Note: "+text+".\n")
	}
	return nil
}
