package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/triglot/triglot/core/backup"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/etcdfile"
)

// source is the file that a member is founded with, instead of with nothing.
type source struct {
	open    func() (*backup.File, error)
	options backup.ImportOptions
	// ctx ends the import; summary is what it was.
	ctx     context.Context //nolint:containedctx // of one call
	summary backup.Summary
}

// planTakeover plans to found the member with what `etcdutl snapshot restore` has
// left in its data directory; ok is false if there is nothing of etcd's. It keeps the
// ids of cluster and member, and who that is follows from etcd's log, as it does in
// etcd.
//
// etcd's files stay as they are until the mark is written: whenever the start is cut
// short, the next one begins anew, or has only to put them aside.
func planTakeover(cfg *Config) (p plan, ok bool, err error) {
	etcd, err := backup.FindEtcdDir(cfg.FS, cfg.DataDir)
	if err != nil || etcd == nil {
		return plan{}, false, err
	}
	p.founders = etcd.Founders()
	p.id.cluster, p.id.member = etcd.Identity()
	if _, self, err := founding(&cfg.Cluster, cfg.Name); !cfg.Cluster.TrustDataDir && (err != nil || self != p.id) {
		return plan{}, false, fmt.Errorf("data directory %s was restored for %v: give the --name, --initial-cluster, --initial-cluster-token and "+
			"--initial-advertise-peer-urls that it was restored with, or another --data-dir", cfg.DataDir, p.id)
	}
	if _, err := cfg.FS.Stat(cfg.FS.PathJoin(cfg.DataDir, asideName)); !errors.Is(err, os.ErrNotExist) {
		return plan{}, false, fmt.Errorf("data directory %s holds both %s and %s: remove one of them", cfg.DataDir, backup.EtcdMember, asideName)
	}
	cfg.Logger.Info("taking over the data directory of a restored etcd", "data-dir", cfg.DataDir, "member", p.id.String())
	p.source = &source{ctx: context.Background(), open: etcd.Open}
	p.source.options.Progress = logProgress(cfg.Logger)
	return p, true, nil
}

// setEtcdAside renames what etcd had here, once a member was founded with it.
func (d *dataDir) setEtcdAside() error {
	if _, err := d.fs.Stat(d.join(backup.EtcdMember)); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	if err := d.fs.Rename(d.join(backup.EtcdMember), d.join(asideName)); err != nil {
		return fmt.Errorf("put aside etcd's files: %w", err)
	}
	return d.sync()
}

// fill makes the first state of what p's source holds.
func (d *disk) fill(cfg *Config, p *plan, prefix string) error {
	file, err := p.source.open()
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // read only
	target := backup.Target{Cluster: d.id.cluster, Members: p.founders, Mount: prefix, MountAsked: cfg.Cluster.Mount != ""}
	start := time.Now()
	s, err := backup.Import(p.source.ctx, d.engine().db, file.Reader, target, p.source.options)
	if err != nil {
		return file.Explain(err)
	}
	p.source.summary = s
	cfg.Logger.Info("took over etcd's file", "revision", s.Rev, "compacted", s.Compacted, "versions", s.Versions, "leases", s.Leases,
		"sessions", s.Sessions, "users", s.Users, "took", time.Since(start).Round(time.Millisecond))
	if text := s.Znodes.Explain(); text != "" {
		cfg.Logger.Info(text)
	}
	return nil
}

// progressEvery is how often the log tells of the progress of something long.
const progressEvery = 5 * time.Second

func logProgress(log *slog.Logger) func(done, total int64) {
	last := time.Now()
	return func(done, total int64) {
		if time.Since(last) < progressEvery {
			return
		}
		last = time.Now()
		log.Info("reading etcd's file", "percent", 100*done/max(total, 1))
	}
}

// RestoreConfig says what Restore makes, of which file.
type RestoreConfig struct {
	File string
	// SkipHash takes a file without a hash, or with a wrong one.
	SkipHash bool
	// Member says which data directory to make, and for whom: Name, DataDir, Cluster,
	// and how much memory it may take. It is made as Start would found it.
	Member  Config
	Options backup.ImportOptions
}

// restoring ends the name of a data directory that is being made.
const restoring = ".restoring"

// Restore makes a data directory of a file, durably: all of it, or, if it fails or ctx
// ends, nothing. It refuses one that holds anything.
func Restore(ctx context.Context, r RestoreConfig) (backup.Summary, error) {
	cfg := r.Member.withDefaults()
	if err := cfg.validate(); err != nil {
		return backup.Summary{}, err
	}
	cfg.DataDir = filepath.Clean(cfg.DataDir)
	if err := checkVacant(cfg.FS, cfg.DataDir); err != nil {
		return backup.Summary{}, err
	}
	hash := etcdfile.HashRequired
	if r.SkipHash {
		hash = etcdfile.HashIgnored
	}
	final := cfg.DataDir
	p, err := planStart(&cfg)
	if err != nil {
		return backup.Summary{}, err
	}
	file, err := backup.Open(cfg.FS, r.File, hash)
	if err != nil {
		return backup.Summary{}, err
	}
	p.source = &source{ctx: ctx, options: r.Options, open: func() (*backup.File, error) { return file, nil }}

	cfg.DataDir = final + restoring
	// It is locked until it has its name, or is gone; what another one makes is its own.
	dir, err := openDataDir(cfg.FS, cfg.DataDir)
	if err != nil {
		return backup.Summary{}, errors.Join(err, file.Close())
	}
	err = makeMember(&cfg, &p, dir) //nolint:contextcheck // p.source has it
	if err == nil {
		err = publish(cfg.FS, cfg.DataDir, final)
	}
	if err != nil {
		return backup.Summary{}, errors.Join(err, cfg.FS.RemoveAll(cfg.DataDir), dir.Close())
	}
	return p.source.summary, dir.Close()
}

// checkVacant refuses a data directory that holds anything.
func checkVacant(fs storage.FS, path string) error {
	names, err := fs.List(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("--data-dir %s cannot be read: %w; give one that does not exist", path, err)
	case len(names) > 0:
		return fmt.Errorf("--data-dir %s is not empty (it holds %q): a restore makes a new one", path, names[0])
	}
	return nil
}

// makeMember founds a member in a directory of its own, which stays locked. An engine
// that fails must not be closed, nor waited for: the process is about to end.
func makeMember(cfg *Config, p *plan, dir *dataDir) error {
	d := newDisk(dir, p.id)
	// A restore that was killed after its last step has left its mark. The note comes
	// first: what has neither is refused.
	if err := dir.writeSynced(foundName, nil); err != nil {
		return err
	}
	if err := cfg.FS.Remove(dir.join(markerName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	fatal := make(chan error, 1)
	done := make(chan error, 1)
	go func() {
		done <- d.open(cfg, *p, newMetrics(nil), func(err error) {
			select {
			case fatal <- err:
			default: // one reason is enough
			}
		})
	}()
	select {
	case err := <-fatal:
		return err
	case err := <-done:
		return errors.Join(err, d.closeParts())
	}
}

// publish gives a directory its name, durably.
func publish(fs storage.FS, from, to string) error {
	if err := fs.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("--data-dir %s cannot be replaced: %w; give one that does not exist", to, err)
	}
	if err := fs.Rename(from, to); err != nil {
		return err
	}
	if err := syncDir(fs, fs.PathDir(to)); err != nil {
		return errors.Join(err, fs.RemoveAll(to))
	}
	return nil
}
