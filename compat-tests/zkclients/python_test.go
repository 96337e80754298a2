package zkclients

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// pipTimeout bounds the making of the virtual environment.
const pipTimeout = 10 * time.Minute

// interpreter is the Python of the virtual environment, made once.
var interpreter = sync.OnceValues(makeVenv)

// makeVenv makes a virtual environment with what requirements.txt names, below
// .build, unless there is one already. Its name says which requirements it has.
func makeVenv() (python string, err error) {
	root, err := server.Root()
	if err != nil {
		return "", err
	}
	sum, err := hashFiles(filepath.Join("python", "requirements.txt"))
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".build", "compat", "python-"+sum)
	python, done := filepath.Join(dir, "bin", "python"), filepath.Join(dir, "complete")
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	unlock, err := server.LockFile(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if _, err := os.Stat(done); err == nil {
		return python, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), pipTimeout)
	defer cancel()
	if output, err := exec.CommandContext(ctx, "python3", "-m", "venv", "--clear", dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("python3 with venv is needed: apt-get install python3-venv: %w\n%s", err, output)
	}
	output, err := exec.CommandContext(ctx, python, "-m", "pip", "install", "--quiet",
		"--requirement", filepath.Join("python", "requirements.txt")).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("pip install: %w\n%s", err, output)
	}
	return python, os.WriteFile(done, nil, 0o644)
}

// runPython runs the tests of a module of python/.
func runPython(t *testing.T, module string, env ...string) {
	t.Helper()
	python, err := interpreter()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "-B", "-W", "ignore::ResourceWarning", "-m", "unittest", "-v", module)
	cmd.Dir = "python"
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = 10 * time.Second
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", output)
	ran := regexp.MustCompile(`Ran (\d+) tests in`).FindSubmatch(output)
	require.NotNil(t, ran, "%s", output)
	require.NotEqual(t, "0", string(ran[1]))
	require.NotContains(t, string(output), "skipped")
	t.Logf("%s: %s", module, ran[0])
}

func TestKazoo(t *testing.T) {
	runPython(t, "kazoo_test", "ZK_ENDPOINT="+shared.zk)
}

func TestEtcd3gw(t *testing.T) {
	needEtcd(t, shared)
	runPython(t, "etcd3gw_test", "ETCD_ENDPOINT="+strings.TrimPrefix(shared.etcd, "http://"))
}
