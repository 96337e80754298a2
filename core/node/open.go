package node

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/consensus"
	"github.com/triglot/triglot/core/member"
	"github.com/triglot/triglot/core/state"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/mvcc"
	"github.com/triglot/triglot/storage/raftlog"
)

// disk is what a member has on disk, opened and brought in step.
type disk struct {
	id  identity
	dir *dataDir
	log *raftlog.Log
	// growth is told what the log takes.
	growth *growth
	// engineOptions and caches are for every engine that is opened.
	engineOptions storage.Options
	caches        mvcc.Caches
	// present is nil until it is opened, see engine.
	present atomic.Pointer[engine]
	retired retired
	// replayed is closed, by settle, when what the log held at the start is applied.
	replayed chan struct{}
	settle   func()
}

func newDisk(dir *dataDir, id identity) *disk {
	d := &disk{dir: dir, id: id, growth: newGrowth(), replayed: make(chan struct{})}
	d.settle = sync.OnceFunc(func() { close(d.replayed) })
	return d
}

// openDisk opens the member in cfg's data directory, and founds it there if
// there is none. fatal is told when the engine or the log has failed for good.
func openDisk(cfg *Config, m *metrics, fatal func(error)) (*disk, error) {
	// Before anything is made: what is refused now must be refused again.
	plan, err := planStart(cfg)
	if err != nil {
		return nil, err
	}
	if err := plan.askPeers(cfg); err != nil {
		return nil, err
	}
	dir, err := openDataDir(cfg.FS, cfg.DataDir)
	if err != nil {
		return nil, err
	}
	d := newDisk(dir, plan.id)
	if cfg.WAL.Dir != "" {
		if dir.wal, err = openWALDir(cfg.FS, cfg.WAL.Dir, plan.id); err != nil {
			return nil, errors.Join(err, dir.Close())
		}
	}
	if err := d.open(cfg, plan, m, fatal); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// plan is who the member is, and whether it is to be founded: with founders, and
// with what source holds unless that is nil; or, if joining, with what one of the
// hosts holds, which is in joined when it is here.
type plan struct {
	id       identity
	founded  bool
	founders []core.Member
	source   *source

	joining bool
	hosts   []answered
	joined  consensus.Installed
}

// askPeers asks other members what only they know.
func (p *plan) askPeers(cfg *Config) error {
	switch {
	case p.founded || p.source != nil:
		return nil
	case p.joining:
		return p.planJoin(cfg)
	default:
		return p.checkFounders(cfg)
	}
}

// planStart compares what the configuration says with whose directory it is.
func planStart(cfg *Config) (plan, error) {
	id, founded, err := readIdentity(cfg.FS, cfg.DataDir)
	if err != nil {
		return plan{}, err
	}
	// The id of a member that was added later does not follow from its flags.
	if founded && (cfg.Cluster.TrustDataDir || cfg.Cluster.Existing) {
		return plan{id: id, founded: true}, nil
	}
	if !founded {
		if p, ok, err := planTakeover(cfg); ok || err != nil {
			return p, err
		}
	}
	founders, self, err := founding(&cfg.Cluster, cfg.Name)
	if err != nil {
		return plan{}, err
	}
	if !founded && cfg.Cluster.Existing {
		return plan{joining: true}, nil
	}
	if founded && id != self {
		return plan{}, fmt.Errorf("data directory %s belongs to %v, but --initial-cluster, --initial-cluster-token and "+
			"--initial-advertise-peer-urls describe %v: give the flags it was made with, or another --data-dir", cfg.DataDir, id, self)
	}
	return plan{id: self, founded: founded, founders: founders}, nil
}

// founding derives the founding members, and which of them this member is.
func founding(c *Founding, name string) ([]core.Member, identity, error) {
	founders, err := member.Found(c.Peers, c.Token)
	if err != nil {
		return nil, identity{}, err
	}
	if _, err := member.Self(c.Peers, name, c.AdvertisePeerURLs); err != nil {
		return nil, identity{}, err
	}
	return founders, identity{
		cluster: member.ClusterID(founders),
		member:  member.ID(c.AdvertisePeerURLs, c.Token),
	}, nil
}

func (d *disk) open(cfg *Config, p plan, m *metrics, fatal func(error)) error {
	prepare := d.dir.beginFounding
	if p.founded {
		prepare = d.dir.forgetFounding
	}
	if err := prepare(); err != nil {
		return err
	}
	if p.joining {
		if err := d.join(cfg, &p, m); err != nil {
			return err
		}
	}
	if err := d.openParts(cfg, m, fatal); err != nil {
		return err
	}
	if !p.founded {
		if err := d.found(cfg, &p); err != nil {
			return err
		}
	}
	e := d.engine()
	var err error
	if e.machine, err = state.Open(e.db, d.caches); err != nil {
		return fmt.Errorf("%s: %w", d.dir.join(stateName), err)
	}
	if err := d.checkCluster(e.db); err != nil {
		return err
	}
	if err := d.checkMount(cfg.Cluster.Mount); err != nil {
		return err
	}
	if err := d.checkAdvertised(&cfg.Cluster); err != nil {
		return err
	}
	if err := d.align(cfg.Logger); err != nil || !p.founded || !cfg.Cluster.ForceNew {
		return err
	}
	if err := d.checkDeserted(cfg); err != nil {
		return err
	}
	return d.standAlone(cfg.Logger)
}

// checkAdvertised refuses the directory of one member to another: two of one name would
// vote twice. It knows the other by its peer URLs.
func (d *disk) checkAdvertised(c *Founding) error {
	head, err := state.HeadOf(d.engine().db)
	if err != nil {
		return err
	}
	self := memberIn(head.Members, d.id.member)
	for _, url := range c.AdvertisePeerURLs {
		if self == nil || slices.Contains(self.PeerURLs, url) {
			continue
		}
		for _, m := range head.Members {
			if slices.Contains(m.PeerURLs, url) {
				return fmt.Errorf("data directory %s belongs to %v, but --initial-advertise-peer-urls has %s, which is member %x: it was copied; "+
					"give this member its own, or start with an empty one", d.dir.path, d.id, url, uint64(m.ID))
			}
		}
	}
	return nil
}

// checkCluster refuses the state of another cluster.
func (d *disk) checkCluster(db *storage.DB) error {
	cluster, err := state.ClusterIn(db)
	if err != nil {
		return err
	}
	if cluster != d.id.cluster {
		return fmt.Errorf("the state in %s is of cluster %x, but %s says %v: put back what belongs together, "+
			"or restore this member from a peer or a backup", db.Dir(), cluster, markerName, d.id)
	}
	return nil
}

func (d *disk) openParts(cfg *Config, m *metrics, fatal func(error)) error {
	d.engineOptions = cfg.Memory.engine()
	d.engineOptions.FS, d.engineOptions.Logger, d.engineOptions.OnFatal = cfg.FS, cfg.Logger.With("component", "storage"), fatal
	path, err := d.dir.statePath()
	if err != nil {
		return err
	}
	options := d.engineOptions
	options.Settled = d.replayed
	db, err := storage.Open(path, options)
	if err != nil {
		return err
	}
	d.setEngine(&engine{db: db})
	d.caches = mvcc.Caches{
		Versions: mvcc.NewCache(cfg.Memory.RowCache),
		Rows:     mvcc.NewCache(cfg.Memory.ZnodeCache),
	}
	d.log, err = raftlog.Open(d.dir.logPath(), raftlog.Options{
		FS:           cfg.FS,
		SegmentBytes: cfg.WAL.SegmentBytes,
		UnsafeNoSync: cfg.WAL.UnsafeNoSync,
		Logger:       cfg.Logger.With("component", "raftlog"),
		OnSync: func(took time.Duration, bytes int) {
			m.observeSync(took, bytes)
			d.growth.add(bytes)
		},
		OnWrite: m.observeWrite,
	})
	return err
}

// found makes the member: its first state, unless it has joined, a log that begins behind
// it and, when both are durable, the mark.
func (d *disk) found(cfg *Config, p *plan) error {
	if p.joining {
		if err := d.log.Reset(p.joined.Index, p.joined.Term); err != nil {
			return err
		}
		return d.dir.endFounding(d.id)
	}
	prefix, err := mountPrefix(cfg.Cluster.Mount)
	if err != nil {
		return err
	}
	if p.source != nil {
		err = d.fill(cfg, p, prefix)
	} else {
		err = state.Bootstrap(d.engine().db, d.id.cluster, p.founders, prefix)
	}
	if err != nil {
		return err
	}
	if err := d.log.Reset(state.FirstIndex, state.FirstTerm); err != nil {
		return err
	}
	return d.dir.endFounding(d.id)
}

// align brings the log in step with the state, which a crash may have left ahead
// of it or behind: see `design.md` 6, opening a member.
func (d *disk) align(logger *slog.Logger) error {
	applied, term := d.engine().machine.Applied()
	first, err := d.log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := d.log.LastIndex()
	if err != nil {
		return err
	}
	switch {
	case last < state.FirstIndex:
		// Founding leaves a log that begins behind the first state.
		return fmt.Errorf("the raft log in %s is empty, though the member is not new: what it acknowledged last may be lost; "+
			"give the --wal-dir that it was founded with, or restore this member from a peer or a backup", d.dir.logPath())
	case d.log.HardState().GetCommit() > max(applied, last):
		return fmt.Errorf("the raft log in %s knows that entry %d is committed, but it ends at entry %d and the state at entry %d: "+
			"what was acknowledged between them is missing; restore this member from a peer or a backup",
			d.dir.logPath(), d.log.HardState().GetCommit(), last, applied)
	case applied > last:
		// The state was installed whole, or outlived the log that led to it.
		logger.Warn("the raft log ends before the state: starting a new log behind the state",
			"log_end", last, "applied", applied)
		return d.log.Reset(applied, term)
	case applied+1 < first:
		return fmt.Errorf("the raft log begins at entry %d but the state ends at entry %d: entries between them are missing; "+
			"restore this member from a peer or a backup", first, applied)
	}
	logged, err := d.log.Term(applied)
	if err != nil {
		return err
	}
	if logged != term {
		return d.replaceLog(logger, applied, term, logged)
	}
	return d.log.RaiseCommit(applied)
}

// replaceLog begins a new log behind a state whose last entry is of another term than
// the log has it: the state was installed, and a crash came before the log was reset,
// in which there are entries that were never committed.
func (d *disk) replaceLog(logger *slog.Logger, applied, term, logged uint64) error {
	if commit := d.log.HardState().GetCommit(); commit >= applied {
		return fmt.Errorf("the raft log in %s has entry %d committed in term %d, the state in %s has it of term %d: they do not belong together; "+
			"restore this member from a peer or a backup", d.dir.logPath(), applied, logged, d.engine().db.Dir(), term)
	}
	logger.Warn("the state was installed and the raft log is not its own: starting a new log behind the state",
		"applied", applied, "term", term, "log_term", logged)
	return d.log.Reset(applied, term)
}

// close closes what has been opened, and gives the directory up.
func (d *disk) close() error { return errors.Join(d.closeParts(), d.dir.Close()) }

// closeParts closes what has been opened, the state last written first.
func (d *disk) closeParts() error {
	var errs []error
	e := d.engine()
	if e != nil && e.machine != nil {
		errs = append(errs, e.machine.Close())
	}
	errs = append(errs, d.closeRetired())
	if d.log != nil {
		errs = append(errs, d.log.Close())
	}
	if e != nil {
		errs = append(errs, e.db.Close())
	}
	return errors.Join(errs...)
}
