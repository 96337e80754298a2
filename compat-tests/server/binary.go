package server

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
)

// Target says which server a process runs.
type Target string

// The servers that tests run against.
const (
	Etcd    Target = "etcd"    // stock etcd 3.7.3, the reference
	Triglot Target = "triglot" // this repository's binary
)

// TargetFromEnv is the server named by the environment variable TARGET;
// Triglot if it is unset. Running the same test with TARGET=etcd shows that the
// test itself is right.
func TargetFromEnv() (Target, error) {
	switch t := Target(os.Getenv("TARGET")); t {
	case "":
		return Triglot, nil
	case Etcd, Triglot:
		return t, nil
	default:
		return "", fmt.Errorf("TARGET=%s: want %s or %s", t, Etcd, Triglot)
	}
}

// tool is a binary that this package knows how to build.
type tool struct {
	module string // folder of the Go module, relative to the repository's root
	pkg    string // main package
	env    string // variable that names a ready binary instead; may be empty
	tags   string // build tags
}

var tools = map[string]tool{
	"etcd":    {module: "compat-tests/tools", pkg: "go.etcd.io/etcd/server/v3", env: "ETCD_BIN"},
	"etcdctl": {module: "compat-tests/tools", pkg: "go.etcd.io/etcd/etcdctl/v3", env: "ETCDCTL_BIN"},
	"etcdutl": {module: "compat-tests/tools", pkg: "go.etcd.io/etcd/etcdutl/v3", env: "ETCDUTL_BIN"},
	"triglot": {module: ".", pkg: "./cmd/triglot", env: "TRIGLOT_BIN"},
	// With etcd's failpoints, see core/failpoint.
	"triglot-failpoints": {module: ".", pkg: "./cmd/triglot", env: "TRIGLOT_FAILPOINTS_BIN", tags: "failpoints"},
}

// built remembers, for the life of this process, what Binary has answered. mu
// guards it and is held over the build: one build at a time is enough.
var built struct {
	mu    sync.Mutex
	paths map[string]string
}

// Binary returns the path of the named binary ("etcd", "etcdctl", "etcdutl",
// "triglot" or "triglot-failpoints"), built from this tree's sources if they have changed.
func Binary(name string) (string, error) {
	t, known := tools[name]
	if !known {
		return "", fmt.Errorf("no binary is called %q here", name)
	}
	if path := os.Getenv(t.env); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%s: %w", t.env, err)
		}
		return filepath.Abs(path)
	}
	built.mu.Lock()
	defer built.mu.Unlock()
	if path, ok := built.paths[name]; ok {
		return path, nil
	}
	path, err := t.build(name)
	if err != nil {
		return "", err
	}
	if built.paths == nil {
		built.paths = make(map[string]string)
	}
	built.paths[name] = path
	return path, nil
}

// build runs go build, which does nothing if the binary is up to date. Test
// binaries of several packages run at once, hence the lock file.
func (t tool) build(name string) (path string, err error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".build", "compat") // .build/triglot is make's own, with a version
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := LockFile(filepath.Join(dir, name+".lock"))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()

	path = filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-trimpath", "-tags", t.tags, "-o", path, t.pkg)
	if t.tags != "" { // another build of all that the binary needs, for its speed alone
		cmd.Args = slices.Insert(cmd.Args, 2, "-pgo=off")
	}
	cmd.Dir = filepath.Join(root, t.module)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, output.Bytes())
	}
	return path, nil
}

// Root is the repository's root folder.
func Root() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		// Built with -trimpath: the module's folder is where tests run.
		dir, err := os.Getwd()
		if err != nil {
			return "", err
		}
		file = filepath.Join(dir, "server", "binary.go")
	}
	for dir := filepath.Dir(file); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "compat-tests", "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no repository above %s", file)
}
