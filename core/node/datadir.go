package node

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/backup"
	"github.com/triglot/triglot/storage"
)

// The data directory:
//
//	member.json   who the member is; written last when the member is founded
//	founding      there while it is being founded: what else there is may go
//	lock          held while a process uses the directory
//	log/          the raft log (storage/raftlog), unless --wal-dir puts it elsewhere
//	state/        the state (storage); statedirs.go has what else there may be of states
//	snapshot.tmp/ snapshots that are being made; removed at the start
//	member.etcd/  what etcd had here before the state was made of it
//	fixtures/     certificates of --auto-tls (cmd/triglot)
//	reserve       room for deletes when the disk is nearly full; empty then
const (
	markerName = "member.json"
	foundName  = "founding"
	lockName   = "lock"
	logName    = "log"
	stateName  = "state"
	backupName = "snapshot" + tmpSuffix
	asideName  = backup.EtcdMember + ".etcd"
	// fixturesName holds the certificates that --auto-tls makes, as with etcd.
	fixturesName = "fixtures"
	// socketName is the socket of the member's own calls (--admin-socket), which a killed
	// process leaves behind.
	socketName = "admin.sock"
	// reserveName is given up when the disk is nearly full; see lowDisk.
	reserveName = "reserve"
	// reserveCategory labels its writes in the engine's statistics.
	reserveCategory storage.WriteCategory = "triglot-reserve"
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
	wal  *walDir // nil if the log is here too
}

// openDataDir makes and locks the directory, having checked that it is not
// something else's.
func openDataDir(fs storage.FS, path string) (*dataDir, error) {
	d := &dataDir{fs: fs, path: path}
	if err := makeDir(fs, path); err != nil {
		return nil, fmt.Errorf("--data-dir %s cannot be made: %w; give another", path, err)
	}
	if err := d.checkForeign(); err != nil {
		return nil, err
	}
	lock, err := fs.Lock(d.join(lockName))
	if err != nil {
		return nil, fmt.Errorf("data directory %s is in use by another process (%w): stop that, or give another --data-dir", path, err)
	}
	d.lock = lock
	if err := errors.Join(d.clearBackups(), d.clearStates()); err != nil {
		return nil, errors.Join(err, d.Close())
	}
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

// logPath is where the raft log is.
func (d *dataDir) logPath() string {
	if d.wal != nil {
		return d.wal.path
	}
	return d.join(logName)
}

func (d *dataDir) Close() error {
	if d.wal == nil {
		return d.lock.Close()
	}
	return errors.Join(d.wal.lock.Close(), d.lock.Close())
}

// checkForeign refuses a directory with files that are not a member's.
func (d *dataDir) checkForeign() error {
	names, err := d.fs.List(d.path)
	if err != nil {
		return fmt.Errorf("--data-dir %s cannot be read: %w; give a directory", d.path, err)
	}
	has := func(name string) bool { return slices.Contains(names, name) }
	if err := d.checkWithin(names); err != nil {
		return err
	}
	for _, name := range names {
		switch {
		case slices.Contains(ownNames, name), isStateDir(name):
		case name == "lost+found": // the data directory is a file system of its own
		case name == backup.EtcdMember && (has(foundName) || !has(markerName)): // see planTakeover
		case name == backup.EtcdMember:
			return fmt.Errorf("data directory %s is Triglot's, and etcd has been started on it: remove %s, or move it away, if what etcd has "+
				"written there is not wanted", d.path, d.join(name))
		case name == "version-2" || name == "myid":
			return fmt.Errorf("data directory %s is ZooKeeper's (it holds %q): give another --data-dir", d.path, name)
		default:
			return fmt.Errorf("data directory %s holds %q, which is not Triglot's: give an empty --data-dir", d.path, name)
		}
	}
	hasState := slices.ContainsFunc(names, func(name string) bool { _, ok := stateNumber(name); return ok })
	if (has(logName) || hasState) && !has(markerName) && !has(foundName) {
		return fmt.Errorf("data directory %s holds %s or %s but no %s, which says whose they are: "+
			"restore that file, or give an empty --data-dir", d.path, logName, stateName, markerName)
	}
	return nil
}

// checkWithin refuses a directory in which a member has its own, which is what a
// triglot zookeeper makes of ZooKeeper's dataDir.
func (d *dataDir) checkWithin(names []string) error {
	for _, name := range names {
		if slices.Contains(ownNames, name) || isStateDir(name) {
			continue
		}
		if _, err := d.fs.Stat(d.fs.PathJoin(d.join(name), markerName)); err == nil {
			return fmt.Errorf("data directory %s is not a member's, but holds the one of a member: give --data-dir %s", d.path, d.join(name))
		}
	}
	return nil
}

// ownNames are the names of a member's files.
var ownNames = []string{markerName, markerName + tmpSuffix, foundName, lockName, logName, backupName, asideName, fixturesName, reserveName, socketName}

// tmpSuffix ends the name of a file that is being written.
const tmpSuffix = ".tmp"

// readIdentity reads who a directory belongs to; ok is false if it is nobody's
// yet, or missing.
func readIdentity(fs storage.FS, dir string) (id identity, ok bool, err error) {
	path := fs.PathJoin(dir, markerName)
	f, err := fs.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return identity{}, false, nil
	}
	if err != nil {
		return identity{}, false, fmt.Errorf("--data-dir %s cannot be read: %w; give a directory", dir, err)
	}
	defer f.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(f)
	if err != nil {
		return identity{}, false, fmt.Errorf("read %s: %w", path, err)
	}
	id, err = parseMarker(b)
	if err != nil {
		return identity{}, false, fmt.Errorf("%s: %w", path, err)
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
	if err := cmp.Or(err1, err2); err != nil {
		return identity{}, fmt.Errorf("the ids of the cluster and the member are damaged (%w): restore the file", err)
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
	if err := d.writeSynced(markerName+tmpSuffix, append(b, '\n')); err != nil {
		return err
	}
	if err := d.fs.Rename(d.join(markerName+tmpSuffix), d.join(markerName)); err != nil {
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

// beginFounding empties the directory of what a founding that did not come to its
// end has left, and notes that another one has begun.
func (d *dataDir) beginFounding() error {
	if _, err := d.fs.Stat(d.join(foundName)); d.wal != nil && errors.Is(err, os.ErrNotExist) {
		if err := d.wal.checkUnused(d.fs); err != nil {
			return err
		}
	}
	if err := d.writeSynced(foundName, nil); err != nil {
		return err
	}
	if err := d.sync(); err != nil {
		return err
	}
	names, err := d.fs.List(d.path)
	if err != nil {
		return err
	}
	old := []string{d.logPath(), d.join(logName), d.join(markerName + tmpSuffix)}
	for _, name := range names {
		if _, ok := stateNumber(name); ok { // what is being received is kept
			old = append(old, d.join(name))
		}
	}
	for _, path := range old {
		if err := d.fs.RemoveAll(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("clear what an unfinished start has left: %w", err)
		}
	}
	return nil
}

// endFounding makes the directory the member's, durably.
func (d *dataDir) endFounding(id identity) error {
	if d.wal != nil {
		if err := syncDir(d.fs, d.fs.PathDir(d.wal.path)); err != nil {
			return err
		}
	}
	if err := d.sync(); err != nil {
		return err
	}
	if err := d.setIdentity(id); err != nil {
		return err
	}
	return d.forgetFounding()
}

// forgetFounding removes the note of a founding that came to its end, so that it
// cannot excuse the loss of the mark. Before that it puts aside what etcd had here.
func (d *dataDir) forgetFounding() error {
	if err := d.setEtcdAside(); err != nil {
		return err
	}
	err := d.fs.Remove(d.join(foundName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.sync()
}
