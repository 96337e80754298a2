package backup

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state"
	"github.com/triglot/triglot/core/state/lease"
	"github.com/triglot/triglot/storage/etcdfile"
	"github.com/triglot/triglot/storage/mvcc"
)

// ExportOptions sets up an Export.
type ExportOptions struct {
	// Dir is a directory for the file and the runs, which is the caller's and empty. The
	// caller removes it.
	Dir string
	// SortBytes bounds the memory for sorting; zero is 32 MiB.
	SortBytes int
	// Pace is called now and then; its error ends the export. Nil never rests.
	Pace mvcc.Pace
	// Logger is told of progress; nil is slog.Default.
	Logger *slog.Logger
}

const (
	defaultSortBytes = 32 << 20
	fileName         = "snapshot.db"
)

// Exported is a file that was made.
type Exported struct {
	Path string
	// Size is a multiple of 512.
	Size int64
	// Version is that of etcd's storage schema.
	Version string
	Rev     core.Rev
}

// spareBytes is what an export leaves to the others on the disk.
const spareBytes = 64 << 20

// Need is about how many bytes Export needs on the disk for a store of a logical
// size: the sorted runs and the file, which has its pages' overhead.
func Need(size int64) int64 { return size*5/2 + spareBytes }

// Export writes a view as a snapshot of etcd, whose trailing hash is not in it; it is not
// synced. It takes over the hold on v, and gives it up as soon as all is read. What it
// leaves in o.Dir after an error is for the caller to remove.
func Export(ctx context.Context, v *state.View, o ExportOptions) (Exported, error) {
	if o.SortBytes == 0 {
		o.SortBytes = defaultSortBytes
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Pace == nil {
		o.Pace = ctx.Err
	}
	out, err := export(v, o)
	if err != nil {
		return Exported{}, fmt.Errorf("backup: %w", err)
	}
	return out, nil
}

func export(v *state.View, o ExportOptions) (Exported, error) {
	out := Exported{Path: filepath.Join(o.Dir, fileName), Version: v.ClusterVersion(), Rev: v.Rev()}
	w, err := write(v, o, out.Path)
	v.Close() // what is left may take long
	if err != nil {
		return Exported{}, err
	}
	out.Size, err = w.Close()
	return out, err
}

// write writes all of a view.
func write(v *state.View, o ExportOptions, path string) (*etcdfile.Writer, error) {
	facts, err := v.Facts()
	if err != nil {
		return nil, err
	}
	w, err := etcdfile.Create(path)
	if err != nil {
		return nil, err
	}
	e := &exporter{view: v, facts: facts, w: w, options: o, progress: newProgress(o.Logger)}
	if err := e.run(); err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	return w, nil
}

// exporter writes one file.
type exporter struct {
	view     *state.View
	facts    state.Facts
	w        *etcdfile.Writer
	options  ExportOptions
	progress progress

	rev   core.Rev // of the last row
	sub   int64    // what its next row gets
	rows  int
	row   etcdfile.Version // reused
	place []byte           // reused
}

func (e *exporter) run() error {
	// What is small first: it is then seen early that the file can be written.
	for _, step := range []func() error{e.writeMeta, e.writeMembers, e.writeAuth, e.writeLeases, e.writeSidecar, e.writeVersions} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// version is that of the storage schema, which etcd takes from the cluster's.
func (e *exporter) version() string { return e.view.ClusterVersion() }

func (e *exporter) writeMeta() error {
	compacted := int64(max(e.facts.CompactRev, 0))
	m := etcdfile.Meta{
		Index:            e.facts.Index,
		Term:             e.facts.Term,
		StorageVersion:   e.version(),
		ScheduledCompact: compacted,
		FinishedCompact:  compacted,
	}
	autoLeave := false
	m.ConfState.AutoLeave = &autoLeave
	for i := range e.facts.Members {
		id := uint64(e.facts.Members[i].ID)
		if e.facts.Members[i].Learner {
			m.ConfState.Learners = append(m.ConfState.Learners, id)
		} else {
			m.ConfState.Voters = append(m.ConfState.Voters, id)
		}
	}
	if err := e.w.Meta(&m); err != nil {
		return err
	}
	return e.w.Cluster(&etcdfile.Cluster{Version: e.version(), Downgrade: e.view.DowngradeTo()})
}

func (e *exporter) writeMembers() error {
	for i := range e.facts.Members {
		m := &e.facts.Members[i]
		row := etcdfile.Member{
			ID: uint64(m.ID), Name: m.Name, IsLearner: m.Learner,
			PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs,
		}
		if err := e.w.Member(&row); err != nil {
			return err
		}
	}
	for _, a := range e.facts.Alarms {
		if err := e.w.Alarm(&etcdfile.Alarm{Member: uint64(a.Member), Type: int32(a.Type)}); err != nil {
			return err
		}
	}
	return nil
}

// writeLeases writes leases for etcd, which knows whole seconds only and no
// sessions: to it a session is a lease, so that its ephemerals go when nobody renews
// it. The rows themselves are among the others of ours.
func (e *exporter) writeLeases() error {
	return e.view.EachLeaseRow(func(id core.LeaseID, l lease.Lease, _ []byte) error {
		return e.w.Lease(&etcdfile.Lease{ID: int64(id), TTL: wholeSeconds(l.TTL), RemainingTTL: wholeSeconds(l.Remaining)})
	})
}

// wholeSeconds rounds up.
func wholeSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

func (e *exporter) writeSidecar() error {
	if err := e.w.Foreign(sidecarMeta, []byte(metaFormat), []byte(sidecarFormat)); err != nil {
		return err
	}
	rev := binary.BigEndian.AppendUint64(nil, uint64(e.facts.Rev))
	if err := e.w.Foreign(sidecarMeta, []byte(metaRevision), rev); err != nil {
		return err
	}
	for _, bucket := range []string{sidecarRows, sidecarTimes, sidecarACLs} {
		if err := e.w.MakeBucket(bucket); err != nil {
			return err
		}
	}
	long := 0
	err := e.view.EachSidecarRow(e.options.Pace, func(key, value []byte) error {
		if len(key) > maxSidecarKey {
			long++
			return nil
		}
		return e.w.Foreign(sidecarRows, key, value)
	})
	if err != nil || long == 0 {
		return err
	}
	// They come behind the others in the file, and may be too many to be held.
	long = 0
	return e.view.EachSidecarRow(e.options.Pace, func(key, value []byte) error {
		if len(key) <= maxSidecarKey {
			return nil
		}
		long++
		key, value = longRow(long, key, value)
		return e.w.Foreign(sidecarRows, key, value)
	})
}

// writeVersions writes the bucket key and the times of versions.
func (e *exporter) writeVersions() error {
	s := &sorter{dir: e.options.Dir, limit: e.options.SortBytes, pace: e.options.Pace}
	if err := gather(e.view, e.options.Pace, s); err != nil {
		return err
	}
	m, err := s.sorted()
	if err != nil {
		return err
	}
	err = order(e.view, m, e.options.SortBytes/4, e.writeVersion)
	if err := errors.Join(err, m.Close()); err != nil {
		return err
	}
	if err := e.reachRevision(); err != nil {
		return err
	}
	for _, path := range s.runs {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// writeVersion writes a version, behind what its revision did to the key before it.
// The values of those writes are not known any more.
func (e *exporter) writeVersion(r *record) error {
	if e.rows++; e.rows%pacedRows == 0 {
		if err := e.options.Pace(); err != nil {
			return err
		}
		e.progress.report(e.rows, e.facts.Rev, r.ModRev)
	}
	if r.deleted {
		if err := e.put(&record{KV: core.KV{Key: r.Key, ModRev: r.ModRev, ACL: r.ACL}}); err != nil {
			return err
		}
	}
	before := *r
	if int64(r.puts) > maxRepeated/int64(len(r.Value)+1) {
		before.Value = nil
	}
	for ; before.puts > 0; before.puts-- {
		before.Version = r.Version - int64(before.puts)
		if err := e.put(&before); err != nil {
			return err
		}
	}
	return e.put(r)
}

const (
	pacedRows = 128 // some tenths of a millisecond
	// maxRepeated bounds the bytes of a value that stand for those of earlier writes.
	maxRepeated = 1 << 20
)

// put writes one row of the bucket key.
func (e *exporter) put(r *record) error {
	if r.ModRev != e.rev {
		e.rev, e.sub = r.ModRev, 0
	}
	e.row = etcdfile.Version{
		Main: int64(r.ModRev), Sub: e.sub, Tombstone: r.Deleted(),
		Key: r.Key, Value: r.Value,
		CreateRev: int64(r.CreateRev), Version: r.Version, Lease: int64(r.Lease),
	}
	e.sub++
	if err := e.w.Version(&e.row); err != nil {
		return err
	}
	if err := e.tell(sidecarTimes, uint64(r.Time)); err != nil {
		return err
	}
	return e.tell(sidecarACLs, uint64(r.ACL))
}

// tell says something of the row that was written last, which zero need not be.
func (e *exporter) tell(bucket string, what uint64) error {
	if what == 0 {
		return nil
	}
	e.place = e.row.AppendRevisionKey(e.place[:0])
	return e.w.Foreign(bucket, e.place, binary.BigEndian.AppendUint64(nil, what))
}

// reachRevision makes the last row one of the store's revision, which is where etcd
// goes on from: a revision may have changed znodes and no key, and what the last ones
// wrote may have been given up. It deletes a key that does not exist.
func (e *exporter) reachRevision() error {
	if e.rev >= e.facts.Rev || e.facts.Rev <= 1 {
		return nil
	}
	key := []byte(unusedKey)
	for {
		res, err := e.view.Range(context.Background(), &core.Range{Interval: core.Interval{Key: key}, CountOnly: true})
		if err != nil {
			return err
		}
		if res.Count == 0 {
			break
		}
		key = append(key, '+')
	}
	return e.put(&record{KV: core.KV{Key: key, ModRev: e.facts.Rev}})
}

// unusedKey is a key that nobody uses.
const unusedKey = "\x00triglot: a revision that changed no key"

// progress tells of long exports.
type progress struct {
	log  *slog.Logger
	next time.Time
}

// progressInterval is the time between two lines.
const progressInterval = 5 * time.Second

func newProgress(log *slog.Logger) progress {
	return progress{log: log, next: time.Now().Add(progressInterval)}
}

func (p *progress) report(rows int, rev, at core.Rev) {
	if now := time.Now(); now.After(p.next) {
		p.next = now.Add(progressInterval)
		p.log.Info("saving snapshot", "rows", rows, "at-revision", at, "revision", rev)
	}
}
