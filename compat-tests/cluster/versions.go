package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/triglot/triglot/compat-tests/server"
)

// previous is the commit of the release before this one: the last one that knew nothing
// of other members.
const previous = "31d2ae3"

// otherVersion is what the program of a rolling upgrade calls itself.
const otherVersion = "0.9.9-other"

// errNoHistory says that the sources of the previous release are not here.
var errNoHistory = errors.New("there is no git history here with commit " + previous)

// previousProgram is the binary of the previous release, built from the git history once
// and kept beside what else is built.
func previousProgram() (string, error) {
	return built("triglot-"+previous, func(path string) error {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		root, err := server.Root()
		if err != nil {
			return err
		}
		sources, err := os.MkdirTemp("", "triglot-"+previous+"-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(sources) }() // a temporary directory
		archive := filepath.Join(sources, "sources.tar")
		if err := command(root, "git", "archive", "--format=tar", "-o", archive, previous); err != nil {
			return fmt.Errorf("%w: %w", errNoHistory, err)
		}
		if err := command(sources, "tar", "xf", archive); err != nil {
			return err
		}
		return command(sources, "go", "build", "-trimpath", "-o", path, "./cmd/triglot")
	})
}

// otherProgram is the binary of this tree under another version.
func otherProgram() (string, error) {
	return built("triglot-other", func(path string) error {
		root, err := server.Root()
		if err != nil {
			return err
		}
		return command(root, "go", "build", "-trimpath", "-ldflags", "-X main.version="+otherVersion, "-o", path, "./cmd/triglot")
	})
}

// built is the path of a binary once build has made it. Several test binaries may want
// it at once.
func built(name string, build func(path string) error) (path string, err error) {
	root, err := server.Root()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".build", "compat")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := server.LockFile(filepath.Join(dir, name+".lock"))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	path = filepath.Join(dir, name)
	return path, build(path)
}

func command(dir string, args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", args[0], err, output.Bytes())
	}
	return nil
}
