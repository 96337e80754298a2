package backup

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state"
	"github.com/triglot/triglot/core/state/auth"
	"github.com/triglot/triglot/core/state/lease"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/etcdfile"
	"github.com/triglot/triglot/storage/keys"
	"github.com/triglot/triglot/storage/mvcc"
)

// Target is the store that a file is imported into.
type Target struct {
	Cluster uint64
	Members []core.Member
	// Mount is the prefix of the keys that are znodes. MountAsked says that it was
	// asked for, and may not be another one because the file says so.
	Mount      string
	MountAsked bool
}

// ImportOptions are what a restore can be asked for besides.
type ImportOptions struct {
	// BumpRevision is added to the revision, and the result marked as compacted: to
	// clients that have seen the store as it was after the backup, it seems to have
	// gone on (etcdutl --bump-revision, --mark-compacted). Zero does nothing.
	BumpRevision int64
	// Progress is told now and then how much of the file has been read; nil is nobody.
	Progress func(done, total int64)
}

// Summary is what was imported.
type Summary struct {
	Rev, Compacted core.Rev
	// Versions is the number of versions, Leases of leases, Sessions of those that are
	// sessions, Users of users.
	Versions                int64
	Leases, Sessions, Users int
	// Znodes is how the rows of znodes came about.
	Znodes ZnodeSource
}

// ZnodeSource is where the rows of znodes came from.
type ZnodeSource uint8

// The sources.
const (
	// ZnodesCarried were in the file, if there are any.
	ZnodesCarried ZnodeSource = iota
	// ZnodesMissing were not, so that they were made from the keys.
	ZnodesMissing
	// ZnodesOutdated were, but etcd has written since, so that they were made from the
	// keys.
	ZnodesOutdated
)

// ErrMount says that the znodes of a file lie elsewhere than asked for.
var ErrMount = errors.New("its znodes are below another path")

// Import fills db, which must be empty, with what a file holds, as the first state of
// a cluster. If it fails, db is to be thrown away. What is wrong with the file is an
// error of etcdfile.
//
// The memory that it takes does not grow with the number of keys; leases, users and
// the changes of a single revision aside.
func Import(ctx context.Context, db *storage.DB, file *etcdfile.Reader, target Target, o ImportOptions) (Summary, error) {
	in := importer{ctx: ctx, file: file, options: o}
	if err := in.readHead(&target); err != nil {
		return Summary{}, err
	}
	if err := state.Bootstrap(db, target.Cluster, target.Members, target.Mount); err != nil {
		return Summary{}, err
	}
	caches := mvcc.Caches{Versions: mvcc.NewCache(importCache), Rows: mvcc.NewCache(importCache)}
	var err error
	if in.state, err = state.Import(db, caches, !in.carried); err != nil {
		return Summary{}, err
	}
	if err = in.run(); in.state.Znodes() == 0 {
		in.summary.Znodes = ZnodesCarried // all there were, which is none
	}
	return in.summary, errors.Join(err, in.state.Close())
}

// importCache bounds each cache of an import.
const importCache = 8 << 20

// importer is an import under way.
type importer struct {
	ctx     context.Context //nolint:containedctx // it lives as long as one call
	file    *etcdfile.Reader
	options ImportOptions
	state   *state.Importer

	meta etcdfile.Meta
	// last is the last revision of the file. carried says that the rows of znodes are
	// in it and up to date, which they are as of carriedRev.
	last, carriedRev core.Rev
	carried          bool
	leases           map[core.LeaseID]bool
	times, acls      *told
	summary          Summary
}

// readHead reads what decides how to go on.
func (in *importer) readHead(target *Target) error {
	var err error
	if in.meta, err = in.file.Meta(); err != nil {
		return err
	}
	last, err := in.file.LastRevision()
	if err != nil {
		return err
	}
	in.last = core.Rev(max(last, in.meta.ScheduledCompact, in.meta.FinishedCompact, 1))
	if in.options.BumpRevision < 0 || int64(in.last) > math.MaxInt64-in.options.BumpRevision {
		return fmt.Errorf("revision %d cannot be raised by %d", in.last, in.options.BumpRevision)
	}
	in.summary.Znodes = ZnodesMissing
	if !in.file.Has(sidecarMeta) {
		return nil
	}
	format, err1 := in.file.Row(sidecarMeta, metaFormat)
	rev, err2 := in.file.Row(sidecarMeta, metaRevision)
	mount, err3 := in.file.Row(sidecarRows, string(keys.AppendMeta(nil, keys.MetaMount)))
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	switch {
	case string(format) != sidecarFormat:
		return fmt.Errorf("what Triglot added to it has format %q, this version reads format %q: use the version that wrote it", format, sidecarFormat)
	case len(rev) != bytesOfRevision || mount == nil:
		return nil
	case string(mount) != target.Mount && target.MountAsked:
		return fmt.Errorf("%w, %q: leave --zk-prefix out", ErrMount, mount)
	}
	target.Mount = string(mount)
	in.carriedRev = core.Rev(binary.BigEndian.Uint64(rev))
	in.carried = in.carriedRev == in.last
	in.summary.Znodes = ZnodesOutdated
	if in.carried {
		in.summary.Znodes = ZnodesCarried
	}
	return nil
}

func (in *importer) run() error {
	for _, step := range []func() error{in.readLeases, in.readVersions, in.readRows} {
		if err := step(); err != nil {
			return err
		}
	}
	rest, err := in.readRest()
	if err != nil {
		return err
	}
	if in.ctx.Err() != nil {
		return context.Cause(in.ctx)
	}
	in.summary.Rev, in.summary.Compacted = rest.Rev, rest.Compacted
	return in.state.Finish(in.ctx, rest)
}

func (in *importer) readLeases() error {
	in.leases = map[core.LeaseID]bool{}
	return in.file.Leases(func(l *etcdfile.Lease) error {
		id := core.LeaseID(l.ID)
		in.leases[id] = true
		in.summary.Leases++
		ttl := seconds(max(l.TTL, 1))
		left := seconds(l.RemainingTTL)
		if left >= ttl {
			left = 0
		}
		return in.state.Lease(id, lease.Lease{TTL: ttl, Remaining: left})
	})
}

// seconds is a duration of n seconds, or the longest there is in milliseconds.
func seconds(n int64) time.Duration {
	const most = math.MaxInt64 / int64(time.Second)
	return time.Duration(min(max(n, 0), most)) * time.Second
}

// lookEvery is how many versions are read between looks at the context.
const lookEvery = 1 << 10

func (in *importer) readVersions() error {
	in.times, in.acls = newTold(in.file, sidecarTimes), newTold(in.file, sidecarACLs)
	defer in.times.stop()
	defer in.acls.stop()
	done := int64(0)
	return in.file.Versions(func(v *etcdfile.Version) error {
		done += int64(len(v.Key) + len(v.Value) + versionOverhead)
		if in.summary.Versions++; in.summary.Versions%lookEvery == 0 {
			if in.ctx.Err() != nil {
				return context.Cause(in.ctx)
			}
			if in.options.Progress != nil {
				in.options.Progress(min(done, in.file.Size()), in.file.Size())
			}
		}
		if only, err := in.onlyRevision(v); only || err != nil {
			in.summary.Versions--
			return err
		}
		kv := core.KV{ModRev: core.Rev(v.Main)}
		buf := make([]byte, len(v.Key)+len(v.Value))
		n := copy(buf, v.Key)
		kv.Key = buf[:n:n]
		if !v.Tombstone {
			copy(buf[n:], v.Value)
			kv.Value, kv.CreateRev, kv.Version, kv.Lease = buf[n:], core.Rev(v.CreateRev), v.Version, core.LeaseID(v.Lease)
			t, err := in.times.of(v)
			if err != nil {
				return err
			}
			kv.Time = max(int64(t), 0)
		}
		acl, err := in.acls.of(v)
		if err != nil {
			return err
		}
		if acl > math.MaxUint32 {
			return fmt.Errorf("damaged: a version of key %q has the ACL %d", v.Key, acl)
		}
		kv.ACL = core.ZnodeACL(acl)
		return in.state.Change(&kv)
	})
}

// onlyRevision reports whether v tells of nothing but its revision, which readHead has
// seen: it has no key, or it deletes one that Export found unused.
func (in *importer) onlyRevision(v *etcdfile.Version) (bool, error) {
	if len(v.Key) == 0 || !v.Tombstone || !bytes.HasPrefix(v.Key, []byte(unusedKey)) {
		return len(v.Key) == 0, nil
	}
	used, err := in.state.Exists(v.Key)
	return !used, err
}

// versionOverhead is about what a version takes in a file besides its key and value.
const versionOverhead = 60

// readRows reads the rows that etcd has no bucket for.
func (in *importer) readRows() error {
	count, policy := keys.AppendMeta(nil, keys.MetaZnodes), keys.AppendMeta(nil, keys.MetaACLPolicy)
	return in.file.Rows(sidecarRows, func(key, value []byte) error {
		key, value, ok := sidecarRow(key, value)
		if !ok {
			return fmt.Errorf("damaged: row %q of bucket %q", key, sidecarRows)
		}
		if id, ok := keys.DecodeLease(key); ok {
			return in.readSession(id, value)
		}
		switch isRow := keys.IsZnode(key) || string(key) == string(count); {
		case keys.IsACL(key):
			return in.state.ACLRow(key, value, in.carried)
		case string(key) == string(policy):
			return in.state.ACLPolicy(value)
		case isRow && in.carried:
			return in.state.Row(key, value)
		case isRow:
			return in.state.Recall(key, value, in.carriedRev)
		}
		return nil
	})
}

// readSession reads the row of a lease: of a session, or more exact than etcd's.
func (in *importer) readSession(id core.LeaseID, row []byte) error {
	l, err := lease.DecodeRow(row)
	if err != nil {
		return err
	}
	if !in.leases[id] {
		return nil // it ended in etcd
	}
	if !l.Session() && !in.carried {
		return nil // etcd knows better
	}
	if l.Session() {
		in.summary.Sessions++
	}
	return in.state.Lease(id, l)
}

func (in *importer) readRest() (*state.Imported, error) {
	rest := &state.Imported{Rev: in.last, Compacted: core.Rev(max(in.meta.ScheduledCompact, in.meta.FinishedCompact))}
	if in.options.BumpRevision > 0 {
		rest.Rev += core.Rev(in.options.BumpRevision)
		rest.Compacted = rest.Rev
	}
	err := in.file.Alarms(func(a *etcdfile.Alarm) error {
		if t := core.AlarmType(a.Type); t == core.AlarmNoSpace || t == core.AlarmCorrupt {
			rest.Alarms = append(rest.Alarms, core.Alarm{Member: core.MemberID(a.Member), Type: t})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	cluster, err := in.file.Cluster()
	if err != nil {
		return nil, err
	}
	rest.DowngradeTo = cluster.Downgrade
	return rest, in.readAuth(rest)
}

func (in *importer) readAuth(rest *state.Imported) error {
	a, err := in.file.Auth()
	if err != nil {
		return err
	}
	rest.AuthEnabled, rest.AuthRev = a.Enabled, a.Revision
	err = in.file.Users(func(u *etcdfile.User) error {
		slices.Sort(u.Roles)
		rest.Users = append(rest.Users, auth.User{
			User: core.User{Name: u.Name, Roles: slices.Compact(u.Roles), NoPassword: u.NoPassword},
			Hash: u.Password,
		})
		in.summary.Users++
		return nil
	})
	if err != nil {
		return err
	}
	return in.file.Roles(func(r *etcdfile.Role) error {
		role := core.Role{Name: r.Name}
		for _, p := range r.Permissions {
			role.Permissions = append(role.Permissions, core.Permission{
				Type:     permissionType(p.Type),
				Interval: core.Interval{Key: p.Key, End: p.RangeEnd},
			})
		}
		rest.Roles = append(rest.Roles, role)
		return nil
	})
}

// permissionType is one of etcd's, whose order is that of ours.
func permissionType(t int32) core.PermissionType { return core.PermissionType(t) }

// told goes through what a bucket tells of versions beside the versions, whose order is
// the same.
type told struct {
	next func() (toldRow, error, bool)
	stop func()
	row  toldRow
	err  error
	more bool
}

type toldRow struct {
	key  string
	what uint64
}

func newTold(file *etcdfile.Reader, bucket string) *told {
	t := &told{}
	t.next, t.stop = iter.Pull2(func(yield func(toldRow, error) bool) {
		if !file.Has(bucket) {
			return
		}
		err := file.Rows(bucket, func(key, value []byte) error {
			if len(value) != 8 {
				return fmt.Errorf("what bucket %q tells of version %x has %d bytes", bucket, key, len(value))
			}
			if !yield(toldRow{string(key), binary.BigEndian.Uint64(value)}, nil) {
				return io.EOF
			}
			return nil
		})
		if err != nil && !errors.Is(err, io.EOF) {
			yield(toldRow{}, err)
		}
	})
	t.row, t.err, t.more = t.next()
	return t
}

// of is what is told of a version; zero if that is nothing.
func (t *told) of(v *etcdfile.Version) (uint64, error) {
	if !t.more || t.err != nil {
		return 0, t.err
	}
	key := string(v.AppendRevisionKey(nil))
	for t.more && t.err == nil && t.row.key < key {
		t.row, t.err, t.more = t.next()
	}
	if t.more && t.row.key == key {
		return t.row.what, t.err
	}
	return 0, t.err
}

// Explain says what an operator should know about the rows of znodes; empty if there
// is nothing.
func (s ZnodeSource) Explain() string {
	switch s {
	case ZnodesMissing:
		return "the file was not written by Triglot: what ZooKeeper clients see was made from the keys; " +
			"counters of children begin anew, times are unknown, and all access is open"
	case ZnodesOutdated:
		return "etcd has written to the store since Triglot did: what ZooKeeper clients see was made from the keys, " +
			"and completed with what was known before"
	case ZnodesCarried:
	}
	return ""
}
