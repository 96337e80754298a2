package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

// The data directory:
//
//	member.json   who the member is; written last when the member is made
//	lock          held while a process uses the directory
//	log/          the raft log (storage/raftlog)
//	state/        the state (storage)
const (
	markerName = "member.json"
	lockName   = "lock"
	logName    = "log"
	stateName  = "state"
)

// dataFormat is the layout of the data directory as a whole.
const dataFormat = 1

// marker is the content of member.json.
type marker struct {
	Product string `json:"product"`
	Format  int    `json:"format"`
	// Cluster and Member are ids in hexadecimal, as etcdctl prints them.
	Cluster string `json:"cluster"`
	Member  string `json:"member"`
}

const (
	product = "triglot"
	// markerCategory labels the writes of the mark in the engine's statistics.
	markerCategory storage.WriteCategory = "triglot-member"
)

// identity is who a member is.
type identity struct {
	cluster uint64
	member  core.MemberID
}

func (i identity) String() string {
	return fmt.Sprintf("member %x of cluster %x", uint64(i.member), i.cluster)
}

// dataDir is an open data directory.
type dataDir struct {
	fs   storage.FS
	path string
	lock io.Closer
}

// openDataDir makes and locks the directory, having checked that it is not
// something else's.
func openDataDir(fs storage.FS, path string) (*dataDir, error) {
	d := &dataDir{fs: fs, path: path}
	if err := makeDir(fs, path); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	if err := d.checkForeign(); err != nil {
		return nil, err
	}
	lock, err := fs.Lock(d.join(lockName))
	if err != nil {
		return nil, fmt.Errorf("data directory %s is in use by another process: %w", path, err)
	}
	d.lock = lock
	return d, nil
}

// makeDir makes a directory and those above it that are missing, durably.
func makeDir(fs storage.FS, path string) error {
	if _, err := fs.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	parent := fs.PathDir(path)
	if parent != path {
		if err := makeDir(fs, parent); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return syncDir(fs, parent)
}

func (d *dataDir) join(name string) string { return d.fs.PathJoin(d.path, name) }

func (d *dataDir) Close() error { return d.lock.Close() }

// checkForeign refuses a directory with files that are not a member's.
func (d *dataDir) checkForeign() error {
	names, err := d.fs.List(d.path)
	if err != nil {
		return fmt.Errorf("read the data directory: %w", err)
	}
	for _, name := range names {
		switch {
		case slices.Contains([]string{markerName, markerName + ".tmp", lockName, logName, stateName}, name):
		case name == "member":
			return fmt.Errorf("data directory %s is etcd's (it holds %q): give another --data-dir", d.path, name)
		case name == "version-2" || name == "myid":
			return fmt.Errorf("data directory %s is ZooKeeper's (it holds %q): give another --data-dir", d.path, name)
		default:
			return fmt.Errorf("data directory %s holds %q, which is not Triglot's: give an empty --data-dir", d.path, name)
		}
	}
	return nil
}

// identity reads who the directory belongs to; ok is false if it is nobody yet.
func (d *dataDir) identity() (id identity, ok bool, err error) {
	f, err := d.fs.Open(d.join(markerName))
	if errors.Is(err, os.ErrNotExist) {
		return identity{}, false, nil
	}
	if err != nil {
		return identity{}, false, err
	}
	defer f.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(f)
	if err != nil {
		return identity{}, false, fmt.Errorf("read %s: %w", d.join(markerName), err)
	}
	id, err = parseMarker(b)
	if err != nil {
		return identity{}, false, fmt.Errorf("%s: %w", d.join(markerName), err)
	}
	return id, true, nil
}

func parseMarker(b []byte) (identity, error) {
	var m marker
	if err := json.Unmarshal(b, &m); err != nil || m.Product != product {
		return identity{}, errors.New("this is not the mark of a Triglot member: give another --data-dir, or restore the file")
	}
	if m.Format != dataFormat {
		return identity{}, fmt.Errorf("the data directory has format %d, this version reads format %d: use the version that wrote it", m.Format, dataFormat)
	}
	cluster, err1 := strconv.ParseUint(m.Cluster, 16, 64)
	self, err2 := strconv.ParseUint(m.Member, 16, 64)
	if err := errors.Join(err1, err2); err != nil {
		return identity{}, fmt.Errorf("the ids of the cluster and the member are damaged: %w", err)
	}
	return identity{cluster: cluster, member: core.MemberID(self)}, nil
}

// setIdentity writes the mark, durably: from then on the directory is a member's.
func (d *dataDir) setIdentity(id identity) error {
	b, err := json.MarshalIndent(marker{
		Product: product,
		Format:  dataFormat,
		Cluster: strconv.FormatUint(id.cluster, 16),
		Member:  strconv.FormatUint(uint64(id.member), 16),
	}, "", "  ")
	if err != nil {
		return err
	}
	if err := d.writeSynced(markerName+".tmp", append(b, '\n')); err != nil {
		return err
	}
	if err := d.fs.Rename(d.join(markerName+".tmp"), d.join(markerName)); err != nil {
		return err
	}
	return d.sync()
}

func (d *dataDir) writeSynced(name string, b []byte) error {
	f, err := d.fs.Create(d.join(name), markerCategory)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// sync makes the directory's entries durable.
func (d *dataDir) sync() error { return syncDir(d.fs, d.path) }

func syncDir(fs storage.FS, path string) error {
	f, err := fs.OpenDir(path)
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// clear removes what a start that did not come to its end has left.
func (d *dataDir) clear() error {
	for _, name := range []string{logName, stateName, markerName + ".tmp"} {
		if err := d.fs.RemoveAll(d.join(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("clear what an unfinished start has left: %w", err)
		}
	}
	return nil
}
