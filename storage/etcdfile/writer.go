package etcdfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// Writer writes a file, front to back: pages are written when they are full, and what it
// holds in memory does not grow with the rows of the bucket key and of those that are not
// etcd's, which must come in the order of their keys; of the other buckets everything is
// held. The buckets may take turns. It is for one goroutine. After an error, only Abort may
// be called.
type Writer struct {
	path string
	file *pageFile
	// trees are the buckets whose rows come in order, held the rows of the others.
	trees map[string]*treeWriter
	held  map[string]map[string][]byte

	key, row []byte // reused
}

// Create makes a file with all of etcd's buckets at path, where there must be none.
// Nothing in it is ever synced: a backup is sent on from the system's memory, and a sync
// of so much would hold up those of the raft log. Who keeps the file must sync it.
func Create(path string) (*Writer, error) {
	file, err := createPages(path)
	if err != nil {
		return nil, fmt.Errorf("etcdfile: %w", err)
	}
	w := &Writer{path: path, file: file, trees: map[string]*treeWriter{}, held: map[string]map[string][]byte{}}
	for _, name := range buckets {
		if name != bucketKey {
			w.held[name] = map[string][]byte{}
		}
	}
	w.tree(bucketKey)
	return w, nil
}

// MakeBucket makes a bucket that is not etcd's, if it is not there yet. Those of etcd always
// are.
func (w *Writer) MakeBucket(name string) error {
	if !strings.HasPrefix(name, ForeignPrefix) {
		return fmt.Errorf("etcdfile: the name of bucket %q does not begin with %s", name, ForeignPrefix)
	}
	w.tree(name)
	return nil
}

// Version writes a row of the bucket key. Rows must come in the order of their
// revisions. v is not kept.
func (w *Writer) Version(v *Version) error {
	w.key = v.AppendRevisionKey(w.key[:0])
	w.row = v.AppendKeyValue(w.row[:0])
	return w.add(bucketKey, w.key, w.row)
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
		if err := w.hold(bucketMeta, []byte(r.name), r.value); err != nil {
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
	return w.hold(bucketLease, binary.BigEndian.AppendUint64(nil, uint64(l.ID)), l.appendRow(nil))
}

// Alarm writes a row of the bucket alarm.
func (w *Writer) Alarm(a *Alarm) error { return w.hold(bucketAlarm, a.appendRow(nil), nil) }

// Cluster writes the bucket cluster.
func (w *Writer) Cluster(c *Cluster) error {
	if err := w.hold(bucketCluster, []byte(clusterDowngrade), c.downgradeRow()); err != nil || c.Version == "" {
		return err
	}
	return w.hold(bucketCluster, []byte(clusterVersion), []byte(c.Version))
}

// Member writes a row of the bucket members.
func (w *Writer) Member(m *Member) error {
	return w.hold(bucketMembers, memberKey(m.ID), mustJSON(m))
}

// Auth writes the bucket auth.
func (w *Writer) Auth(a *Auth) error {
	enabled := []byte{0}
	if a.Enabled {
		enabled[0] = 1
	}
	if err := w.hold(bucketAuth, []byte(authEnabled), enabled); err != nil {
		return err
	}
	return w.hold(bucketAuth, []byte(authRevision), binary.BigEndian.AppendUint64(nil, a.Revision))
}

// User writes a row of the bucket authUsers.
func (w *Writer) User(u *User) error { return w.hold(bucketUsers, []byte(u.Name), u.appendRow(nil)) }

// Role writes a row of the bucket authRoles.
func (w *Writer) Role(r *Role) error { return w.hold(bucketRoles, []byte(r.Name), r.appendRow(nil)) }

// Foreign writes a row of a bucket that is not etcd's, which is made if it is not
// there: its name begins with ForeignPrefix. Its rows must come in the order of their keys.
// Nothing is kept.
func (w *Writer) Foreign(bucket string, key, value []byte) error {
	if err := w.MakeBucket(bucket); err != nil {
		return err
	}
	return w.add(bucket, key, value)
}

// hold keeps a row until the end. It keeps value.
func (w *Writer) hold(bucket string, key, value []byte) error {
	w.held[bucket][string(key)] = value
	return nil
}

// add writes a row of a bucket whose rows come in order.
func (w *Writer) add(bucket string, key, value []byte) error {
	if err := w.tree(bucket).add(0, key, value); err != nil {
		return fmt.Errorf("etcdfile: bucket %s: %w", bucket, err)
	}
	return nil
}

func (w *Writer) tree(name string) *treeWriter {
	t := w.trees[name]
	if t == nil {
		t = &treeWriter{file: w.file}
		w.trees[name] = t
	}
	return t
}

// Close makes the file whole. It returns its length, a multiple of 4096 bytes.
func (w *Writer) Close() (size int64, err error) {
	for _, bucket := range slices.Sorted(maps.Keys(w.held)) {
		rows := w.held[bucket]
		for _, key := range slices.Sorted(maps.Keys(rows)) {
			if err := w.add(bucket, []byte(key), rows[key]); err != nil {
				return 0, err
			}
		}
		w.tree(bucket) // it may be empty
	}
	root := treeWriter{file: w.file}
	for _, bucket := range slices.Sorted(maps.Keys(w.trees)) {
		first, err := w.trees[bucket].finish()
		if err == nil {
			err = root.add(flagBucket, []byte(bucket), bucketValue(first))
		}
		if err != nil {
			return 0, fmt.Errorf("etcdfile: bucket %s: %w", bucket, err)
		}
	}
	at, err := root.finish()
	if err != nil {
		return 0, fmt.Errorf("etcdfile: %w", err)
	}
	if size, err = w.file.close(at); err != nil {
		return 0, fmt.Errorf("etcdfile: %w", err)
	}
	return size, nil
}

// Abort gives the file up and removes it.
func (w *Writer) Abort() error {
	err := w.file.file.Close()
	if errors.Is(err, os.ErrClosed) { // by a Close that failed
		err = nil
	}
	if err := errors.Join(err, os.Remove(w.path)); err != nil {
		return fmt.Errorf("etcdfile: give up %s: %w", w.path, err)
	}
	return nil
}
