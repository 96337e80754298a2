package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/triglot/triglot/compat-tests/bench/heavy/heavybars"
	"github.com/triglot/triglot/compat-tests/server"
)

// face is a server, and what is put into it by which protocol.
type face struct {
	name   string
	target server.Target
	znodes bool
	dial   func(ctx context.Context, p *server.Process) (client, error)
}

var faceByName = map[string]face{
	"triglot": {name: "triglot", target: server.Triglot, dial: dialEtcd},
	"etcd":    {name: "etcd", target: server.Etcd, dial: dialEtcd},
	"znodes":  {name: "znodes", target: server.Triglot, znodes: true, dial: dialZK},
}

// storeKind is what a store holds: so many keys, of so many revisions if that is not 0.
type storeKind struct {
	face
	keys, revisions int
}

func (s storeKind) String() string {
	return heavybars.Store(s.name, s.keys, s.revisions)
}

// filling is how a store was filled, kept beside it.
type filling struct {
	origin
	Seconds float64 `json:"seconds"`
	// DiskBytes is what its files took on the disk once the server was quiet.
	DiskBytes int64 `json:"disk_bytes"`
	// PeakRSS is the most memory the server had while it was filled.
	PeakRSS int64 `json:"peak_rss_bytes"`
	// Revision is the server's, if the store has a history of so many.
	Revision int64 `json:"revision,omitempty"`
}

// readyTimeout is for etcd, which reads every key when it starts.
const readyTimeout = 10 * time.Minute

// advertised is never dialled, but the member's id is derived from it: a copy must be started
// with the same.
const advertised = "http://127.0.0.1:2380"

func (c *config) start(ctx context.Context, s storeKind, dir string) (*server.Process, error) {
	o := server.Options{Target: s.target, Binary: c.builds[s.target].path, Dir: dir, ReadyTimeout: readyTimeout, AdvertisePeerURL: advertised}
	if s.target == server.Etcd {
		o.Args = []string{"--quota-backend-bytes", fmt.Sprint(int64(32) << 30)}
	} else {
		o.Args = []string{"--quota-backend-bytes", "-1", "--auto-compaction-retention", "0"}
	}
	return server.Start(ctx, o)
}

// filledStore is the directory of the filled store, which it fills if it is not there, or if it
// was filled otherwise than it would be now.
func (c *config) filledStore(ctx context.Context, s storeKind) (dir string, f *filling, err error) {
	dir = filepath.Join(c.filled, s.String())
	if f, err = readJSON[filling](dir + ".json"); err != nil {
		return "", nil, err
	}
	if f != nil && c.fits(s, *f) {
		return dir, f, nil
	}
	for _, old := range []string{dir + ".json", dir} { // the mark first, should this be cut short
		if err := os.RemoveAll(old); err != nil {
			return "", nil, err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, err
	}
	logf("filling %v", s)
	if f, err = c.fill(ctx, s, dir); err != nil {
		return "", nil, fmt.Errorf("filling %v: %w", s, err)
	}
	logf("filled %v in %.0f s, %d MiB on disk", s, f.Seconds, f.DiskBytes>>20)
	return dir, f, writeJSON(dir+".json", f)
}

func (c *config) fill(ctx context.Context, s storeKind, dir string) (f *filling, err error) {
	p, err := c.start(ctx, s, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	cl, err := s.dial(ctx, p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cl.close()) }()
	f = &filling{origin: c.filledNow(s)}
	watched := watchRSS(p.PID())
	begin := time.Now()
	f.Revision, err = s.write(ctx, cl)
	f.Seconds = time.Since(begin).Seconds()
	f.PeakRSS = watched.end()
	if err != nil {
		return nil, err
	}
	if err := c.settle(ctx, p.PID(), 2*time.Minute); err != nil {
		return nil, err
	}
	f.DiskBytes, err = diskBytes(p.DataDir())
	return f, err
}

// write puts everything into an empty store. Its keys come many to a transaction, which is one
// revision: how many are missing to those it is to have, only the server knows.
func (s storeKind) write(ctx context.Context, cl client) (revision int64, err error) {
	if err := cl.fill(ctx, s.keys); err != nil || s.revisions == 0 {
		return 0, err
	}
	kv := cl.(*etcdClient) // the others have no revisions
	if revision, err = kv.revision(ctx); err != nil {
		return 0, err
	}
	if err := overwrite(ctx, cl, s.keys, s.revisions-int(revision)); err != nil {
		return 0, err
	}
	if revision, err = kv.revision(ctx); err == nil && revision != int64(s.revisions) {
		err = fmt.Errorf("the server is at revision %d, and not at %d", revision, s.revisions)
	}
	return revision, err
}

// copied is a copy of the filled store, and a function that removes it.
func (c *config) copied(ctx context.Context, s storeKind) (dir string, f *filling, remove func() error, err error) {
	from, f, err := c.filledStore(ctx, s)
	if err != nil {
		return "", nil, nil, err
	}
	dir = filepath.Join(c.filled, "copy-"+s.String())
	remove = func() error { return os.RemoveAll(dir) }
	if err := remove(); err != nil {
		return "", nil, nil, err
	}
	if text, err := exec.CommandContext(ctx, "cp", "-a", "--reflink=auto", from, dir).CombinedOutput(); err != nil {
		return "", nil, nil, errors.Join(fmt.Errorf("copying %s: %w: %s", from, err, text), remove())
	}
	// Lest the copy's way to the disk is measured.
	return dir, f, remove, syncFiles(dir)
}

// diskBytes is what the files of a directory take on the disk.
func diskBytes(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) { // it went meanwhile
				return nil
			}
			return err
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() {
			return nil
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			total += st.Blocks * 512
		}
		return nil
	})
	return total, err
}
