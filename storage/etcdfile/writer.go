package etcdfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"go.etcd.io/bbolt"
)

// pageSize is that of the files of etcd on all common machines. It does not depend
// on this one, so that a store makes files of the same size everywhere.
const pageSize = 4096

// commitBytes is how much is put into one transaction: what bbolt holds in memory
// besides its pages.
const commitBytes = 4 << 20

// Writer writes a file. It is for one goroutine. After an error, only Abort may be
// called.
//
// Rows that come in the order of their keys fill their pages; the buckets may take
// turns, though that costs.
type Writer struct {
	db   *bbolt.DB
	path string

	tx      *bbolt.Tx
	buckets map[string]*bbolt.Bucket // of tx
	pending int                      // bytes in tx
	key     []byte                   // reused
}

// Create makes a file with all of etcd's buckets at path, where there must be none.
// Nothing in it is ever synced: a backup is sent on from the system's memory, and a sync
// of so much would hold up those of the raft log. Who keeps the file must sync it.
func Create(path string) (*Writer, error) {
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("etcdfile: %s: %w", path, errors.Join(os.ErrExist, err))
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		PageSize:     pageSize,
		NoSync:       true,
		NoGrowSync:   true,
		FreelistType: bbolt.FreelistMapType,
	})
	if err != nil {
		return nil, fmt.Errorf("etcdfile: %w", err)
	}
	w := &Writer{db: db, path: path}
	for _, name := range buckets {
		if err := w.MakeBucket(name); err != nil {
			return nil, errors.Join(err, w.Abort())
		}
	}
	return w, nil
}

// MakeBucket makes a bucket, if it is not there yet. Those of etcd always are.
func (w *Writer) MakeBucket(name string) error {
	_, err := w.bucket(name)
	return err
}

// Version writes a row of the bucket key. Rows must come in the order of their
// revisions. v is not kept.
func (w *Writer) Version(v *Version) error {
	w.key = v.AppendRevisionKey(w.key[:0])
	// bbolt keeps the value until the transaction ends: it must be memory of its own.
	return w.put(bucketKey, w.key, v.AppendKeyValue(make([]byte, 0, v.keyValueLen())))
}

// Meta writes the bucket meta.
func (w *Writer) Meta(m *Meta) error {
	rows := []struct {
		name  string
		value []byte
	}{
		{metaConsistentIndex, binary.BigEndian.AppendUint64(nil, m.Index)},
		{metaTerm, binary.BigEndian.AppendUint64(nil, m.Term)},
		{metaConfState, mustJSON(m.ConfState)},
		{metaStorageVersion, []byte(m.StorageVersion)},
		{metaScheduledCompact, compactRow(m.ScheduledCompact)},
		{metaFinishedCompact, compactRow(m.FinishedCompact)},
	}
	for _, r := range rows {
		if len(r.value) == 0 {
			continue
		}
		if err := w.put(bucketMeta, []byte(r.name), r.value); err != nil {
			return err
		}
	}
	return nil
}

func compactRow(rev int64) []byte {
	if rev <= 0 {
		return nil
	}
	return appendRevision(nil, rev, 0)
}

// Lease writes a row of the bucket lease.
func (w *Writer) Lease(l *Lease) error {
	return w.put(bucketLease, binary.BigEndian.AppendUint64(nil, uint64(l.ID)), l.appendRow(nil))
}

// Alarm writes a row of the bucket alarm.
func (w *Writer) Alarm(a *Alarm) error { return w.put(bucketAlarm, a.appendRow(nil), nil) }

// Cluster writes the bucket cluster.
func (w *Writer) Cluster(c *Cluster) error {
	if err := w.put(bucketCluster, []byte(clusterDowngrade), c.downgradeRow()); err != nil || c.Version == "" {
		return err
	}
	return w.put(bucketCluster, []byte(clusterVersion), []byte(c.Version))
}

// Member writes a row of the bucket members.
func (w *Writer) Member(m *Member) error {
	return w.put(bucketMembers, memberKey(m.ID), mustJSON(m))
}

// Auth writes the bucket auth.
func (w *Writer) Auth(a *Auth) error {
	enabled := []byte{0}
	if a.Enabled {
		enabled[0] = 1
	}
	if err := w.put(bucketAuth, []byte(authEnabled), enabled); err != nil {
		return err
	}
	return w.put(bucketAuth, []byte(authRevision), binary.BigEndian.AppendUint64(nil, a.Revision))
}

// User writes a row of the bucket authUsers.
func (w *Writer) User(u *User) error { return w.put(bucketUsers, []byte(u.Name), u.appendRow(nil)) }

// Role writes a row of the bucket authRoles.
func (w *Writer) Role(r *Role) error { return w.put(bucketRoles, []byte(r.Name), r.appendRow(nil)) }

// Foreign writes a row of a bucket that is not etcd's, which is made if it is not
// there: its name begins with ForeignPrefix. It copies key and keeps value.
func (w *Writer) Foreign(bucket string, key, value []byte) error {
	if !strings.HasPrefix(bucket, ForeignPrefix) {
		return fmt.Errorf("etcdfile: the name of bucket %q does not begin with %s", bucket, ForeignPrefix)
	}
	return w.put(bucket, key, value)
}

// put writes a row. bbolt copies the key; value is kept.
func (w *Writer) put(name string, key, value []byte) error {
	b, err := w.bucket(name)
	if err != nil {
		return err
	}
	if err := b.Put(key, value); err != nil {
		return fmt.Errorf("etcdfile: bucket %s: %w", name, err)
	}
	if w.pending += len(key) + len(value); w.pending < commitBytes {
		return nil
	}
	return w.commit()
}

// bucket returns a bucket of the transaction under way, and begins one if there is
// none.
func (w *Writer) bucket(name string) (*bbolt.Bucket, error) {
	if b := w.buckets[name]; b != nil {
		return b, nil
	}
	if w.tx == nil {
		tx, err := w.db.Begin(true)
		if err != nil {
			return nil, fmt.Errorf("etcdfile: %w", err)
		}
		w.tx, w.buckets, w.pending = tx, make(map[string]*bbolt.Bucket, len(buckets)), 0
	}
	b, err := w.tx.CreateBucketIfNotExists([]byte(name))
	if err != nil {
		return nil, fmt.Errorf("etcdfile: bucket %s: %w", name, err)
	}
	b.FillPercent = 1 // rows come in order, so a page that was split stays as it is
	w.buckets[name] = b
	return b, nil
}

func (w *Writer) commit() error {
	if w.tx == nil {
		return nil
	}
	err := w.tx.Commit()
	w.tx, w.buckets = nil, nil
	if err != nil {
		return fmt.Errorf("etcdfile: %w", err)
	}
	return nil
}

// Close makes the file whole. It returns its length, a multiple of 4096 bytes.
func (w *Writer) Close() (size int64, err error) {
	if err := w.commit(); err != nil {
		return 0, err
	}
	// bbolt makes room in big steps; what it has not used goes.
	err = w.db.View(func(tx *bbolt.Tx) error {
		size = tx.Size()
		return nil
	})
	if err := errors.Join(err, w.db.Close()); err != nil {
		return 0, fmt.Errorf("etcdfile: %w", err)
	}
	if err := os.Truncate(w.path, size); err != nil {
		return 0, fmt.Errorf("etcdfile: %w", err)
	}
	return size, nil
}

// Abort gives the file up and removes it.
func (w *Writer) Abort() error {
	var errs []error
	if w.tx != nil {
		errs = append(errs, w.tx.Rollback())
	}
	errs = append(errs, w.db.Close(), os.Remove(w.path))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("etcdfile: give up %s: %w", w.path, err)
	}
	return nil
}
