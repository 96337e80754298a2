package backup

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/etcdfile"
)

// File is an open file of etcd's format.
type File struct {
	*etcdfile.Reader
	path string
	file storage.File
}

// Open opens a file to read it. Errors name the file, as those of Explain do.
func Open(fs storage.FS, path string, h etcdfile.Hash) (*File, error) {
	info, err := fs.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%s: there is no such file", path)
	case err != nil:
		return nil, fmt.Errorf("%s: it cannot be read: %w", path, err)
	case info.IsDir():
		return nil, fmt.Errorf("%s: a directory; give the file that `etcdctl snapshot save` has made", path)
	}
	f, err := fs.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: it cannot be read: %w", path, err)
	}
	r, err := etcdfile.NewReader(f, info.Size(), h)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return &File{Reader: r, path: path, file: f}, nil
}

// Explain names the file in an error that came from what it holds.
func (f *File) Explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", f.path, err)
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// EtcdMember is the folder of a data directory that is etcd's.
const EtcdMember = "member"

// EtcdDir is a data directory that `etcdutl snapshot restore` has made and that no
// etcd has run on.
type EtcdDir struct {
	fs   storage.FS
	path string
	wal  *etcdfile.WAL
}

// FindEtcdDir looks whether a data directory is one that etcdutl has made; nil if it
// holds nothing of etcd's. It refuses any other of etcd's.
func FindEtcdDir(fs storage.FS, dataDir string) (*EtcdDir, error) {
	path := fs.PathJoin(dataDir, EtcdMember)
	info, err := fs.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("--data-dir %s cannot be read: %w; give another", dataDir, err)
	case !info.IsDir():
		return nil, fmt.Errorf("data directory %s is etcd's (it holds %q): give another --data-dir", dataDir, EtcdMember)
	}
	d := &EtcdDir{fs: fs, path: path}
	if err := d.judge(); err != nil {
		return nil, fmt.Errorf("data directory %s is etcd's, and %w. Triglot takes over only what `etcdutl snapshot restore` has just made: "+
			"take a backup of that etcd (etcdctl snapshot save FILE), then `triglot restore FILE --data-dir` an empty directory", dataDir, err)
	}
	return d, nil
}

// judge reads what says whose the directory is, and whether etcd has run on it.
func (d *EtcdDir) judge() error {
	if _, err := d.fs.Stat(d.dbPath()); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return errors.New("has no member/snap/db: it is older than etcd 3, or not whole")
		}
		return err
	}
	segments, err := d.segments()
	if err != nil {
		return err
	}
	readers := make([]io.Reader, 0, len(segments))
	var open []io.Closer
	defer func() {
		for _, f := range open {
			_ = f.Close() // read only
		}
	}()
	for _, name := range segments {
		f, err := d.fs.Open(d.fs.PathJoin(d.walDir(), name))
		if err != nil {
			return err
		}
		open, readers = append(open, f), append(readers, f)
	}
	if d.wal, err = etcdfile.ReadWAL(readers...); err != nil {
		return err
	}
	return d.judgeDB()
}

// judgeDB looks whether the database is as far as the log.
func (d *EtcdDir) judgeDB() error {
	f, err := d.Open()
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	meta, err := f.Meta()
	switch {
	case err != nil:
		return f.Explain(err)
	case meta.Index != uint64(len(d.wal.Founders)):
		return etcdfile.ErrUsed
	}
	return nil
}

func (d *EtcdDir) walDir() string { return d.fs.PathJoin(d.path, "wal") }

func (d *EtcdDir) dbPath() string { return d.fs.PathJoin(d.path, "snap", "db") }

// segments are the names of the log's files, in order.
func (d *EtcdDir) segments() ([]string, error) {
	names, err := d.fs.List(d.walDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, ".wal") })
	if len(names) == 0 {
		return nil, errors.New("has no log in member/wal: it was restored with --wal-dir, or is not whole")
	}
	slices.SortFunc(names, cmp.Compare[string])
	return names, nil
}

// Open opens the database.
func (d *EtcdDir) Open() (*File, error) { return Open(d.fs, d.dbPath(), etcdfile.HashIgnored) }

// Identity is who the directory belongs to.
func (d *EtcdDir) Identity() (cluster uint64, member core.MemberID) {
	return d.wal.Cluster, core.MemberID(d.wal.Member)
}

// Founders are the founding members, by id.
func (d *EtcdDir) Founders() []core.Member {
	members := make([]core.Member, 0, len(d.wal.Founders))
	for _, f := range d.wal.Founders {
		members = append(members, core.Member{ID: core.MemberID(f.ID), PeerURLs: f.PeerURLs})
	}
	slices.SortFunc(members, func(a, b core.Member) int { return cmp.Compare(a.ID, b.ID) })
	return members
}
