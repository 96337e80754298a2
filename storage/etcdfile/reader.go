package etcdfile

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Reader reads a file. Whatever the file holds, it fails with an error that says
// what is wrong with it, and takes no more memory than its largest row. It is for
// one goroutine; several may read the same file.
type Reader struct {
	pages *pages
	names []string
	trees map[string]tree
	size  int64
}

// Hash says what the SHA-256 behind a snapshot's last page is to be.
type Hash uint8

// What a Reader does about it.
const (
	// HashRequired refuses a file without one.
	HashRequired Hash = iota
	// HashIgnored does not look at it.
	HashIgnored
)

// NewReader reads the directory of a file of size bytes.
func NewReader(file io.ReaderAt, size int64, h Hash) (*Reader, error) {
	if size == 0 {
		return nil, errors.New("empty, so it is no snapshot of etcd")
	}
	if h == HashRequired {
		if err := checkHash(file, size); err != nil {
			return nil, err
		}
	}
	if hasHash(size) {
		size -= sha256.Size
	}
	p, err := openPages(file, size)
	if err != nil {
		return nil, err
	}
	r := &Reader{pages: p, trees: map[string]tree{}, size: size}
	err = p.walk(tree{root: p.root}, func(e element) error {
		t, err := parseTree(e.value)
		if err != nil || !e.bucket {
			return errors.Join(err, damaged("bucket %q", e.key))
		}
		r.names = append(r.names, string(e.key))
		r.trees[string(e.key)] = t
		return nil
	})
	if err != nil {
		return nil, err
	}
	if _, ok := r.trees[bucketKey]; !ok {
		return nil, errors.New("a database, but not one of etcd: it has no keys")
	}
	return r, nil
}

// hasHash reports whether a file of a size ends with a hash: pages are multiples
// of 512 bytes.
func hasHash(size int64) bool { return size%512 == sha256.Size }

func checkHash(file io.ReaderAt, size int64) error {
	if !hasHash(size) {
		return errors.New("without a hash at its end: cut short, or copied from a data directory, " +
			"and then --skip-hash-check takes it as it is")
	}
	want := make([]byte, sha256.Size)
	if _, err := file.ReadAt(want, size-sha256.Size); err != nil {
		return fmt.Errorf("byte %d cannot be read: %w", size-sha256.Size, err)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(file, 0, size-sha256.Size)); err != nil {
		return fmt.Errorf("it cannot be read: %w", err)
	}
	if got := sum.Sum(nil); !bytes.Equal(got, want) {
		return fmt.Errorf("damaged: its SHA-256 is %x, but %x stands at its end; take another snapshot", got, want)
	}
	return nil
}

// Size is the number of bytes of the file without its hash.
func (r *Reader) Size() int64 { return r.size }

// Has reports whether there is a bucket of a name.
func (r *Reader) Has(bucket string) bool {
	_, ok := r.trees[bucket]
	return ok
}

// Rows calls fn for the rows of a bucket, in the order of their keys; of one that
// is not there it has none. The slices are valid during the call.
func (r *Reader) Rows(bucket string, fn func(key, value []byte) error) error {
	t, ok := r.trees[bucket]
	if !ok {
		return nil
	}
	return r.pages.walk(t, func(e element) error {
		if e.bucket {
			return damaged("a bucket in bucket %q", bucket)
		}
		return fn(e.key, e.value)
	})
}

// Row returns a row of a bucket, nil if there is none.
func (r *Reader) Row(bucket, key string) ([]byte, error) {
	var row []byte
	err := r.Rows(bucket, func(k, v []byte) error {
		if string(k) != key {
			return nil
		}
		row = append([]byte{}, v...)
		return errStop
	})
	return row, err
}

func badRow(bucket string, key []byte) error {
	return damaged("row %q of bucket %q does not decode", key, bucket)
}

// rowsOf calls fn for the rows of a bucket.
func rowsOf[T any](r *Reader, bucket string, decode func(key, value []byte) (T, bool), fn func(*T) error) error {
	return r.Rows(bucket, func(key, value []byte) error {
		row, ok := decode(key, value)
		if !ok {
			return badRow(bucket, key)
		}
		return fn(&row)
	})
}

// Versions calls fn for all versions of all keys, in the order of their revisions.
// A Version without a key says only that there was such a revision. What fn gets
// is valid during the call.
func (r *Reader) Versions(fn func(*Version) error) error {
	var v Version
	return r.Rows(bucketKey, func(key, value []byte) error {
		var ok bool
		if v, ok = decodeVersion(key, value); !ok {
			return badRow(bucketKey, key)
		}
		return fn(&v)
	})
}

// LastRevision is the last revision of which there is a row; zero if there is none.
func (r *Reader) LastRevision() (int64, error) {
	e, ok, err := r.pages.last(r.trees[bucketKey])
	if err != nil || !ok {
		return 0, err
	}
	rev, _, _, ok := decodeRevisionKey(e.key)
	if !ok {
		return 0, badRow(bucketKey, e.key)
	}
	return rev, nil
}

// Leases calls fn for all leases.
func (r *Reader) Leases(fn func(*Lease) error) error {
	return rowsOf(r, bucketLease, decodeLease, fn)
}

// Alarms calls fn for all alarms that stand.
func (r *Reader) Alarms(fn func(*Alarm) error) error {
	return rowsOf(r, bucketAlarm, func(key, _ []byte) (Alarm, bool) { return decodeAlarm(key) }, fn)
}

// Members calls fn for all members.
func (r *Reader) Members(fn func(*Member) error) error {
	return rowsOf(r, bucketMembers, decodeMember, fn)
}

// Users calls fn for all users, who are its own.
func (r *Reader) Users(fn func(*User) error) error { return rowsOf(r, bucketUsers, decodeUser, fn) }

// Roles calls fn for all roles, which are its own.
func (r *Reader) Roles(fn func(*Role) error) error { return rowsOf(r, bucketRoles, decodeRole, fn) }

// fields reads a bucket of named facts.
func (r *Reader) fields(bucket string, set func(name string, value []byte) bool) error {
	return r.Rows(bucket, func(key, value []byte) error {
		if !set(string(key), value) {
			return badRow(bucket, key)
		}
		return nil
	})
}

// Meta reads the bucket meta.
func (r *Reader) Meta() (m Meta, err error) {
	err = r.fields(bucketMeta, m.set)
	return m, err
}

// Cluster reads the bucket cluster.
func (r *Reader) Cluster() (c Cluster, err error) {
	err = r.fields(bucketCluster, c.set)
	return c, err
}

// Auth reads the bucket auth.
func (r *Reader) Auth() (a Auth, err error) {
	err = r.fields(bucketAuth, a.set)
	return a, err
}

// Status is what `etcdutl snapshot status` says of a file.
type Status struct {
	// Hash is the CRC-32C of all names of buckets, and their rows.
	Hash uint32 `json:"hash"`
	// Revision is the last one, Keys the number of keys that exist in it, Size that
	// of the file without its hash.
	Revision int64  `json:"revision"`
	Keys     int    `json:"totalKey"`
	Size     int64  `json:"totalSize"`
	Version  string `json:"version"`
}

// Status reads the whole file. It holds the names of all keys.
func (r *Reader) Status() (Status, error) {
	s := Status{Size: int64(r.pages.end) * r.pages.pageSize}
	add := func(b []byte) { s.Hash = crc32.Update(s.Hash, castagnoli, b) }
	keys := map[string]struct{}{}
	for _, name := range r.names {
		add([]byte(name))
		err := r.Rows(name, func(key, value []byte) error {
			add(key)
			add(value)
			if name != bucketKey {
				return nil
			}
			v, ok := decodeVersion(key, value)
			if !ok {
				return badRow(bucketKey, key)
			}
			s.Revision = v.Main
			if v.Tombstone {
				delete(keys, string(v.Key))
			} else {
				keys[string(v.Key)] = struct{}{}
			}
			return nil
		})
		if err != nil {
			return Status{}, err
		}
	}
	meta, err := r.Meta()
	s.Keys, s.Version = len(keys), meta.StorageVersion
	return s, err
}
